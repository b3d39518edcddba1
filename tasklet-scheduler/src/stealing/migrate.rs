//! Tasklets that may change their worker while they run: unsafe to ask for, and only where they yield.
//!
//! A started tasklet stays on its worker, because what it keeps on its stack may belong to the thread. One whose author promises that it keeps
//! no such thing may go on elsewhere after a yield. No other operation is such a point: they may all rely on the worker, and do.
//!
//! 1. The tasklet yields. It is in no queue; the worker chooses another.
//! 2. On the root, where the tasklet is surely suspended, the worker gives it up: its fiber leaves the engine's list, its record has no home. It
//!    goes into the deque, like a new tasklet.
//! 3. Whoever takes it out there, its old worker or a thief, takes it in: fiber, home, and a kill that was asked for in between, which found
//!    no home to ask and is kept in the record.

use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tasklet_core::tasklet::{JoinHandle, Record};
use tasklet_core::unwind::TaskletExit;

use super::spawn::{SpawnError, TaskletBuilder};
use super::task::Task;
use super::worker::Worker;
use crate::engine::{FiberHead, Host as _};

impl Worker {
    /// Whether the running tasklet may move.
    #[inline]
    pub(super) fn is_movable(&self) -> bool {
        // SAFETY: the running tasklet belongs to this worker.
        unsafe { self.current().local_unchecked() }.movable.get()
    }

    /// Whether a tasklet that yields is to be offered to all workers.
    #[inline]
    pub(super) fn is_departing(&self, record: &Record) -> bool {
        // SAFETY: as above.
        unsafe { record.local_unchecked() }.movable.get() && self.may_depart(record)
    }

    #[cold]
    fn may_depart(&self, record: &Record) -> bool {
        let fields = self.local(record);
        let is_bound = fields.has_interrupt() || fields.atomic.get() != 0;
        // Alone it has no reason to go.
        let has_others = !self.queue.is_empty() || !self.deque.is_empty();
        has_others && !is_bound && !self.closing.get() && !self.starved.get() && self.shared.seats.len() > 1
    }

    /// Offers a suspended tasklet to all workers. On the root.
    #[cold]
    pub(super) fn depart(&self, record: Arc<Record>) {
        let fiber = self.fiber_of(&record).expect("a started tasklet sits on a fiber");
        self.has_given_up.set(true);
        self.engine().give_up(fiber);
        record.give_up(&self.token);
        self.shared.seats[self.index].offered.fetch_add(1, Ordering::Relaxed);
        self.deque.push(Task::Resume(record).pack());
        self.call_others();
    }

    /// The fiber of a tasklet that was given up: it belongs to whoever takes the tasklet in.
    fn offered_fiber(&self, record: &Record) -> NonNull<FiberHead> {
        // SAFETY: as said; nobody else looks at it before it has a home again.
        let fiber = unsafe { record.local_unchecked() }.fiber.get();
        fiber.expect("a started tasklet sits on a fiber").cast()
    }

    /// Takes in a tasklet that a worker has offered.
    #[cold]
    pub(super) fn take_in(&self, record: Arc<Record>) -> Arc<Record> {
        let fiber: NonNull<FiberHead> = self.offered_fiber(&record);
        // SAFETY: F1, a suspended fiber; its host was the worker that has offered it, which keeps its memory.
        let from = unsafe { fiber.as_ref().host.get().cast::<Worker>().as_ref() };
        self.shared.seats[from.index].offered.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: it comes out of a deque, once, where `depart` has put it; H1 as for new tasklets.
        let is_killed = unsafe { record.adopt(&self.token) };
        self.engine().take_in(self, fiber);
        if is_killed {
            self.local(&record).set_interrupt(Some(Box::new(TaskletExit)));
        }
        record
    }
}

/// Makes a tasklet that may change its worker, and so its thread, wherever it calls [`yield_now`](super::yield_now). Never switches.
///
/// For long-running tasklets that compute and whose load cannot be foreseen. Others need not ask: before they start they go wherever
/// there is room.
///
/// # Errors
///
/// There is no runtime here, it is ending, or its backend's coroutines cannot change their thread: `generator` keeps them in
/// thread-locals.
///
/// # Safety
///
/// Wherever `f`, or what it calls, calls `yield_now`:
///
/// 1. no value on its stack belongs to the thread: nothing that is not `Send`, no `Rc`, no guard of a lock of std, no borrow of a
///    thread-local;
/// 2. no code that is active on its stack keeps the address of a thread-local across the call. Rust gives no way to see that: it is so if
///    the function that yields, and those that call it, use no thread-locals, and code that does is called in functions that are not
///    inlined into them;
/// 3. no function of this library that takes a closure is active on its stack: `join`, `scope`, `timeout`, `CancelToken::run`,
///    `TaskletLocal::with`, `Runtime::run`, a destructor of `Mask`, a future that is being polled.
#[track_caller]
pub unsafe fn spawn_migratable<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    // SAFETY: the caller's promise.
    unsafe { TaskletBuilder::at(Location::caller()).spawn_migratable(f) }
}
