//! What the tasklets of a test are. Each test runs
//!
//! - with stacks of their own;
//! - where the backend can do it, with [swapped](tasklet_scheduler::swapped) tasklets, on few slots, so that nearly every switch copies, and with
//!   poison where they were copied away. Not those whose tasklets lend their stack: their line in the list of the suite says `own` and
//!   the reason;
//! - if its line says `soft`, with [soft](tasklet_scheduler::stealing::spawn_async) tasklets, which do what is [written for both](crate::who), mostly
//!   the partners of a test's main tasklet. Under the local scheduler, which has no soft tasklets, a tasklet blocks on the same futures.
//!
//! # What has soft forms, and what has none
//!
//! | suite | chapter | soft | not, and why |
//! |---|---|---|---|
//! | [`channels`](crate::channels) | `buffers`, `meeting`, `orders` | all who send or receive | tests without a partner, or whose partner is a plain thread |
//! | | `closing` | all who send or receive | `reserve` and `wait_closed` have no future: those who call them keep a stack |
//! | | `once`, `everybody` | who awaits the message, the news, the change | a oneshot that several share: a future has it alone; tests without a partner |
//! | | `timing` | who sleeps and sends | limits: no operation of a channel has a future with one |
//! | | `racing`, `selecting` | who meets a select; who selects, in its poll | kills and limits of who selects: select has no future, so it ends when the poll does |
//! | | `leaving` | kills of those who send and receive; the futures themselves | limits; kills of selects and of `reserve` |
//! | | `again` | who waits beside, and hears of a close | arms; several who share a oneshot |
//! | | `unwinding` | | a future does not unwind: it is dropped, which `leaving` tests |
//! | [`stealing`](crate::stealing) | `joins` | who is joined, who joins | a tasklet that joins itself: one that awaits its own handle is not found out |
//! | | `kills` | before the first poll, where it awaits, by itself, after the end, racing with starts and messages | catching a kill and what passes through `catch_unwind`; what stays on a worker; halves of a `join` |
//! | | `shutdown` | all that wait, are in a queue or begin; the panic policy | who catches every kill; figures, which count polls as tasklets; a tasklet that computes, which is known by its stack |
//! | | `runtimes`, `places` | what is spawned into which runtime | making runtimes; a soft tasklet stays nowhere |
//! | | `fairness`, `budgets` | what goes on beside the observers: a pair, a storm, a chain, the injector; senders | the observers, whose bounds are about turns; loops that never return from their poll |
//! | | `time` | sleepers of all workers | limits are of calls; sleepers with one deadline are polled in any order |
//! | | `soft` | the chapter is about them | |
//! | | `cancel`, `locals`, `permits`, `scopes`, `blocking`, `stacks`, `trims` | | of the stack that calls: a token, a mask, a value, a permit, what is borrowed, the stack itself |
//! | [`sync`](crate::sync) | `locks`, `conditions`, `permits`, `meeting`, `onces` | all, in their polls: nothing there has a future | kills, which end a poll when that returns |
//! | | `leaving`, `programs`, `circles` | | kills and limits of who waits in a poll; a holder is the helper that polls |
//! | [`programs`](crate::programs) | `queues`, `news` | of the actors that are tasklets, each second one | |
//! | | `exact` | all actors, as tasklets that block on futures: their order is the model's | kills: a future leaves its channel when its tasklet unwinds, not before |
//! | [`bridges`](crate::bridges) | | | of the stack that lends what a pool computes on; of the host |
//! | [`semantics`](crate::semantics), [`differential`](crate::differential) | | | the local scheduler has no soft tasklets |
//! | [`histories`](crate::histories) | | | calls and answers of one caller, recorded on its stack; order and loss among futures is for `programs` |
//! | [`stress`](crate::stress) | | some of its actions spawn futures | the others are of stacks |
//! | [`contract`](crate::contract), [`swapped`](crate::swapped) | | | of switches and stacks |

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
