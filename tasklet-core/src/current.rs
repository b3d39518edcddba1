//! The scheduler that runs on this thread: the one file that reads thread-locals.
//!
//! The accessors are never inlined, so that the compiler cannot keep a thread-local's address across a call that switches stacks.
//! What they return is a scheduler, and a started tasklet never changes its scheduler; so it may be kept across a switch, while a
//! thread-local's address may not.
//!
//! A thread has at most one *active* scheduler, the innermost one that has left its main tasklet, and any number of *adopted*
//! ones, whose main tasklet is the code that runs. The current scheduler is the active one, else the one adopted last.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::id::SchedulerId;
use crate::scheduler::Scheduler;
use crate::stack::overflow::{self, RunningTasklet};
use crate::thread::ThreadScheduler;

thread_local! {
    static CURRENT: Cell<Option<NonNull<dyn Scheduler>>> = const { Cell::new(None) };
    static ACTIVE: Cell<Option<NonNull<dyn Scheduler>>> = const { Cell::new(None) };
    static ADOPTED: Cell<Vec<NonNull<dyn Scheduler>>> = const { Cell::new(Vec::new()) };
    static THREAD: Cell<Option<Rc<ThreadScheduler>>> = const { Cell::new(None) };
}

#[inline(never)]
fn current() -> Option<NonNull<dyn Scheduler>> {
    // A thread that is exiting has no scheduler any more.
    CURRENT.try_with(Cell::get).unwrap_or(None)
}

/// Calls `f` with the scheduler of the code that runs: the active one, else the one adopted last, else the thread itself, which
/// can park and wake but has no other tasklets.
pub fn with<R>(f: impl FnOnce(&dyn Scheduler) -> R) -> R {
    match current() {
        // SAFETY: A1 (on `Activation` and `adopt`): a pointer in `CURRENT` is valid until the code that runs returns to whoever
        // put it there, which cannot happen during this call.
        Some(scheduler) => f(unsafe { scheduler.as_ref() }),
        None => f(&*thread()),
    }
}

/// Calls `f` with the current scheduler if its type is `S`, and a tasklet of it or its host runs.
pub fn with_scheduler<S: Scheduler, R>(f: impl FnOnce(&S) -> R) -> Option<R> {
    let scheduler = current()?;
    // SAFETY: A1, as in `with`.
    let scheduler: &dyn Scheduler = unsafe { scheduler.as_ref() };
    (scheduler as &dyn std::any::Any).downcast_ref::<S>().map(f)
}

/// Which scheduler the code that runs belongs to, if any.
pub fn id() -> Option<SchedulerId> {
    // SAFETY: A1, as in `with`.
    current().map(|scheduler| unsafe { scheduler.as_ref() }.home().id())
}

#[inline(never)]
fn thread() -> Rc<ThreadScheduler> {
    let make = || Rc::new(ThreadScheduler::new());
    THREAD
        .try_with(|slot| {
            let scheduler = slot.take().unwrap_or_else(make);
            slot.set(Some(scheduler.clone()));
            scheduler
        })
        .unwrap_or_else(|_| make())
}

#[inline(never)]
fn recompute() {
    let active = ACTIVE.with(Cell::get);
    let current = active.or_else(|| {
        ADOPTED.with(|adopted| {
            let list = adopted.take();
            let last = list.last().copied();
            adopted.set(list);
            last
        })
    });
    CURRENT.with(|slot| slot.set(current));
}

/// Makes `scheduler` the current one of this thread's own code, until [`release`].
///
/// # Safety
///
/// **A1** `scheduler` stays valid until it was released, on this thread.
pub unsafe fn adopt(scheduler: NonNull<dyn Scheduler>) {
    ADOPTED.with(|adopted| {
        let mut list = adopted.take();
        list.push(scheduler);
        adopted.set(list);
    });
    recompute();
}

/// Ends [`adopt`].
pub fn release(scheduler: NonNull<dyn Scheduler>) {
    // A thread that is exiting may have dropped the list before the scheduler.
    let _ = ADOPTED.try_with(|adopted| {
        let mut list = adopted.take();
        list.retain(|other| !std::ptr::addr_eq(other.as_ptr(), scheduler.as_ptr()));
        adopted.set(list);
        recompute();
    });
}

/// A scheduler has left its main tasklet: it is the active one until this is dropped.
#[must_use = "the scheduler is active only while this lives"]
pub struct Activation {
    outer: Option<NonNull<dyn Scheduler>>,
}

/// Makes `scheduler` the active one of this thread.
///
/// # Safety
///
/// **A1** `scheduler` stays valid until the activation was dropped, and activations of one thread are dropped in reverse order.
#[inline(never)]
pub unsafe fn activate(scheduler: NonNull<dyn Scheduler>) -> Activation {
    CURRENT.with(|slot| slot.set(Some(scheduler)));
    Activation { outer: ACTIVE.with(|slot| slot.replace(Some(scheduler))) }
}

impl Drop for Activation {
    #[inline(never)]
    fn drop(&mut self) {
        ACTIVE.with(|slot| slot.set(self.outer));
        recompute();
    }
}

/// Makes a stack overflow of a tasklet print its name, number, stack size and what to do, and abort. Without it the guard stops an
/// overflow all the same, and the process dies by the signal alone.
///
/// Installs handlers for SIGSEGV and SIGBUS, once per process; other faults go to the handlers that were there before. A thread
/// that was not made by Rust needs a signal stack: see
/// [`ensure_signal_stack`](crate::stack::overflow::ensure_signal_stack).
///
/// # Errors
///
/// The system refused a handler.
pub fn install_overflow_handler() -> std::io::Result<()> {
    fn query(tell: &mut dyn FnMut(RunningTasklet<'_>)) {
        // SAFETY: A1, as in `with`.
        if let Some(running) = current().and_then(|scheduler| unsafe { scheduler.as_ref() }.running()) {
            tell(running);
        }
    }
    // SAFETY: `query` reads a constant-initialised thread-local without a destructor and the fields of the current scheduler, which
    // `Scheduler::running` promises to do nothing but read.
    unsafe { overflow::install_overflow_handler(query) }
}
