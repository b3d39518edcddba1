//! On what kind of stack the tasklets of a test sit: each test runs with stacks of their own and, where the backend can do it, with
//! [swapped](tasklet_scheduler::swapped) tasklets, on few slots, so that nearly every switch copies, and with poison where they were copied away.
//!
//! A test whose tasklets lend their stack says so in the list of its suite, with the reason, and runs on stacks of their own.

use tasklet_core::backend::{Backend, Swaps};
use tasklet_core::stack::StackSize;
pub use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::swapped::Slots;
use tasklet_scheduler::{local, stealing};

/// The kinds that a test runs with; `own` has the reason, if it is for stacks of their own alone.
#[doc(hidden)]
pub fn of<B: Backend>(own: &[&str]) -> &'static [StackKind] {
    if own.is_empty() && matches!(B::swaps(), Swaps::Yes) {
        &[StackKind::Private, StackKind::Swapped]
    } else {
        &[StackKind::Private]
    }
}

/// Runs a test of the local scheduler with each kind.
#[doc(hidden)]
pub fn run_each<B: Backend>(own: &[&str], body: fn(StackKind)) {
    for &kind in of::<B>(own) {
        // Shown if it fails.
        println!("with {kind:?} stacks");
        body(kind);
    }
}

/// A builder of a local scheduler whose tasklets are of a kind.
pub(crate) fn local<B: Backend>(kind: StackKind) -> local::Builder<B> {
    let builder = local::Scheduler::builder();
    match kind {
        StackKind::Private => builder,
        // SAFETY: tests whose tasklets lend what is on their stacks are not run with this kind.
        StackKind::Swapped => unsafe { builder.slots(slots(1)).swapped() }.expect("a backend that swaps"),
    }
}

/// A builder of a runtime whose tasklets are of a kind.
pub(crate) fn stealing<B: Backend>(kind: StackKind, workers: usize) -> stealing::Builder<B> {
    let builder = stealing::Builder::new().workers(workers);
    match kind {
        StackKind::Private => builder,
        // SAFETY: as above.
        StackKind::Swapped => unsafe { builder.slots(slots(1 + workers % 2)).swapped() }.expect("a backend that swaps"),
    }
}

/// Small ones: some tests have room for a few stacks only.
fn slots(count: usize) -> Slots {
    Slots::new().count(count).size(StackSize::new(256 << 10).expect("a stack size")).poison(true)
}
