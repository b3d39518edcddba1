//! Fork and join of two closures, without an allocation.
//!
//! The second closure lies on the caller's stack, and a reference to it in the worker's deque, while the caller runs the first. If nobody
//! has taken it by then, which is the rule, the caller takes it back and calls it. The idea is Cilk's, the form Rayon's.
//!
//! # Invariant
//!
//! **J1** A fork stays where it is until it is settled, or its caller has taken its only [`ForkRef`] back: `join` returns and
//! unwinds only then.

mod handover;

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use tasklet_core::current;
use tasklet_core::tasklet::{Record, StackKind, spot};
use tasklet_core::unwind::Payload;

use handover::HandOver;

use super::task::Task;
use super::worker::Worker;

#[repr(C)]
struct Head {
    /// Calls the closure and stores its result.
    run: unsafe fn(NonNull<Head>),
    /// With the caller, which is alive while it waits.
    handover: HandOver<NonNull<Record>>,
}

#[repr(C)]
struct Fork<F, T> {
    head: Head,
    f: UnsafeCell<Option<F>>,
    result: UnsafeCell<Option<Result<T, Payload>>>,
}

/// The right to run a fork, once. Dropping it leaves that to the fork's caller.
pub(super) struct ForkRef(NonNull<Head>);

// SAFETY: `join` asks for closure and result to be `Send`, and the state orders their use.
unsafe impl Send for ForkRef {}

impl ForkRef {
    pub(super) fn into_raw(self) -> NonNull<()> {
        std::mem::ManuallyDrop::new(self).0.cast()
    }

    /// # Safety
    ///
    /// The pointer is from [`into_raw`](Self::into_raw), and is used once.
    pub(super) unsafe fn from_raw(raw: NonNull<()>) -> ForkRef {
        ForkRef(raw.cast())
    }

    /// Runs it, in a tasklet.
    pub(super) fn run(self) {
        let head = std::mem::ManuallyDrop::new(self).0;
        // SAFETY: J1.
        let run = unsafe { head.as_ref() }.run;
        // SAFETY: the right to run it was `self`.
        unsafe { run(head) };
        settle(head);
    }
}

impl Drop for ForkRef {
    fn drop(&mut self) {
        settle(self.0);
    }
}

/// Gives the fork back to its caller: it may be gone when this returns.
fn settle(head: NonNull<Head>) {
    let share = |caller: &NonNull<Record>| {
        // SAFETY: J1: the caller is in `join`, so its record is alive; every record is made in an `Arc`.
        unsafe {
            Arc::increment_strong_count(caller.as_ptr());
            Arc::from_raw(caller.as_ptr())
        }
    };
    // SAFETY: J1, and the right to run it, which there is once, was the caller's.
    let caller = unsafe { HandOver::settle(NonNull::from(&(*head.as_ptr()).handover), share) };
    caller.spot().unpark();
}

impl<T, F: FnOnce() -> T> Fork<F, T> {
    /// # Safety
    ///
    /// `head` is that of a `Fork<F, T>`, and the caller has the right to run it.
    unsafe fn run(head: NonNull<Head>) {
        // SAFETY: the caller's promise: `Fork` is `repr(C)` and begins with its head; J1.
        let fork = unsafe { head.cast::<Fork<F, T>>().as_ref() };
        // SAFETY: whoever has the right to run it alone touches these.
        let f = unsafe { (*fork.f.get()).take() };
        let result = f.map(|f| catch_unwind(AssertUnwindSafe(f)));
        // SAFETY: as above.
        unsafe { *fork.result.get() = result };
    }
}

/// Calls both closures, the second on another worker if one has nothing to do, and returns both results.
///
/// The fastest way to divide work: without an allocation, and if nobody is idle at the price of two calls. A closure is called on its
/// caller's stack or on a fresh one of the runtime's default size. Outside of a runtime, and in a [swapped](crate::swapped) tasklet, whose stack
/// cannot be borrowed from while it waits, one is called after the other.
///
/// # Scheduling
///
/// If another worker, or another tasklet of this one, has taken up the second closure, the caller parks until it has returned. A kill of
/// the caller is raised when both have.
///
/// # Panics
///
/// With what a closure panics with, when both have ended; of two panics, the first closure's. If the first panics before anybody has taken
/// up the second, the second is dropped without being called.
#[inline]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    // SAFETY: the worker runs the calling tasklet, which stays on it; it ends after its tasklets.
    let worker =
        unsafe { current::with_scheduler(|worker: &Worker| worker.can_fork().then_some(NonNull::from(worker))) };
    match worker.flatten() {
        // SAFETY: as above.
        Some(worker) => join_on(unsafe { worker.as_ref() }, a, b),
        None => (a(), b()),
    }
}

impl Worker {
    /// Gives up a fork that lies below others in the deque.
    #[cold]
    fn take_back(&self, fork: NonNull<Head>) {
        let mut others = Vec::new();
        while let Some(task) = self.deque.pop() {
            if task.is_fork(fork.cast()) {
                drop(task);
                break;
            }
            others.push(task);
        }
        others.into_iter().rev().for_each(|task| self.deque.push(task));
    }

    #[inline]
    fn can_fork(&self) -> bool {
        self.is_in_tasklet() && !self.closing.get() && self.current_local().kind.get() == StackKind::Private
    }
}

#[inline]
fn join_on<A, B, RA, RB>(worker: &Worker, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let fork = Fork {
        head: Head { run: Fork::<B, RB>::run, handover: HandOver::new(worker.running.get()) },
        f: UnsafeCell::new(Some(b)),
        result: UnsafeCell::new(None),
    };
    let head = NonNull::from(&fork).cast::<Head>();
    worker.deque.push(Task::Fork(ForkRef(head)).pack());
    worker.call_others();
    let first = catch_unwind(AssertUnwindSafe(a));
    match worker.deque.pop() {
        Some(task) if task.is_fork(head.cast()) => {
            // Its only reference is back.
            task.forget();
            let first = first.unwrap_or_else(|payload| resume_unwind(payload));
            // SAFETY: nobody else has the right to run it.
            let b = unsafe { (*fork.f.get()).take() };
            (first, b.expect("nobody has run it")())
        }
        other => {
            if let Some(task) = other {
                worker.deque.push(task);
            }
            // If it lies below what the first closure has left there. Somebody else may have no stack for it, or, while the caller's
            // thread unwinds, never come to it. Thieves take the oldest, so if it is gone, all that is there is newer.
            worker.take_back(head);
            join_taken(&fork, first)
        }
    }
}

/// Somebody has taken up the second closure, or it lies below others in the deque.
#[cold]
fn join_taken<RA, RB, B: FnOnce() -> RB>(fork: &Fork<B, RB>, first: Result<RA, Payload>) -> (RA, RB) {
    let thrown = spot::wait_until(|| fork.head.handover.is_settled());
    let first = first.unwrap_or_else(|payload| resume_unwind(payload));
    if let Some(payload) = thrown {
        resume_unwind(payload);
    }
    // SAFETY: it is settled, so nobody else touches it.
    let (b, result) = unsafe { ((*fork.f.get()).take(), (*fork.result.get()).take()) };
    let second = match (result, b) {
        (Some(result), _) => result.unwrap_or_else(|payload| resume_unwind(payload)),
        // Abandoned: the runtime ends.
        (None, Some(b)) => b(),
        (None, None) => unreachable!("a fork has a closure or a result"),
    };
    (first, second)
}
