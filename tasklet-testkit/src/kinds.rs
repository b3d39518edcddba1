//! On what kind of stack the tasklets of a test sit: each test runs with stacks of their own and, where the backend can do it, with
//! [swapped](tasklet_scheduler::swapped) tasklets, on few slots, so that nearly every switch copies, and with poison where they were copied away.
//!
//! A test whose tasklets lend their stack says so in the list of its suite, with the reason, and runs on stacks of their own.

use tasklet_core::backend::{Backend, Swaps};
use tasklet_core::stack::StackSize;
pub use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::swapped::Slots;
use tasklet_scheduler::{local, stealing};

/// What the list of a suite says of a test.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It runs on stacks of their own alone, for this reason.
    Own(&'static str),
    /// It runs with soft tasklets too.
    Soft,
}

/// What a line in the list of a suite says.
#[doc(hidden)]
#[macro_export]
macro_rules! __mark {
    (own $reason:literal) => {
        $crate::kinds::Mark::Own($reason)
    };
    (soft) => {
        $crate::kinds::Mark::Soft
    };
}

/// The kinds of stacks that a test with these marks runs with.
#[doc(hidden)]
pub fn of<B: Backend>(marks: &[Mark]) -> &'static [StackKind] {
    let own = marks.iter().any(|mark| matches!(mark, Mark::Own(_)));
    if !own && matches!(B::swaps(), Swaps::Yes) {
        &[StackKind::Private, StackKind::Swapped]
    } else {
        &[StackKind::Private]
    }
}

/// Runs a test of the local scheduler with each kind.
#[doc(hidden)]
pub fn run_each<B: Backend>(marks: &[Mark], body: fn(StackKind)) {
    for &kind in of::<B>(marks) {
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
