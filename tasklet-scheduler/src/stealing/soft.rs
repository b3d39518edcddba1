//! Soft tasklets: futures on the same workers, in the same deques, behind the same join handles.
//!
//! A soft tasklet is polled by a helper tasklet, so what it calls may block: then the helper parks, with the future under it, and the
//! worker makes another helper. It may be polled by another worker each time, which is why it is `Send`.
//!
//! | file | what it is |
//! |---|---|
//! | `cell` | where it lies: one allocation for all that there is of it; who keeps what of it alive |
//! | `state` | where it is: who may poll it, put it into a queue, drop it |
//! | `registry` | all that have not ended |
//!
//! # States
//!
//! One word says where a soft tasklet is: in no queue, in one, being polled, or being polled and woken meanwhile. A wake makes the first the
//! second and the third the fourth, and nothing of the others; so it is in one queue at most, once. No wake allocates: the waker is a
//! count of the soft tasklet itself. The table of all steps is in `state`.

mod cell;
mod registry;
mod state;

use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use tasklet_core::current;
use tasklet_core::id::TaskletId;
use tasklet_core::tasklet::JoinHandle;

use state::Polled;

use super::shared::Shared;
use super::task::Task;
use super::worker::{BUDGET, Worker};
use crate::engine::FiberHead;

pub(super) use cell::{Header, Soft};
pub(super) use registry::Registry;

/// Polls in a row that a helper does: what a tasklet costs to begin and to end, and the switch from and to others that can go on, is paid once
/// for them. A guess: `choose` counts them as one turn.
const STREAK: u32 = 8;

/// A soft tasklet that is in no queue yet: the caller puts it into one.
#[inline]
pub(super) fn make<F>(
    shared: &Arc<Shared>,
    id: TaskletId,
    site: &'static Location<'static>,
    name: Option<String>,
    future: F,
) -> (Soft, JoinHandle<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (soft, handle) = cell::make(shared, id, site, name, future);
    shared.softs.add(&soft);
    (soft, handle)
}

impl Soft {
    /// Puts it into a queue: of the worker that calls, if it is of the same runtime.
    fn schedule(self) {
        let mut soft = Some(self);
        // SAFETY: pushing a task runs no code that could end the worker whose code runs.
        unsafe {
            current::with_scheduler(|worker: &Worker| {
                if let Some(soft) = soft.take_if(|soft| Arc::ptr_eq(&worker.shared, soft.shared())) {
                    worker.push(Task::Poll(soft));
                }
            })
        };
        if let Some(soft) = soft {
            let shared = soft.shared().clone();
            shared.inject(Task::Poll(soft));
        }
    }

    /// Its runtime ends, or nobody will poll it: drops the future, and tells whoever joins it. If it is being polled, the poll does.
    pub(super) fn discard(&self) {
        if self.state.discard() {
            self.drop_future();
        }
    }

    /// It has ended without a result, and the future is the caller's.
    fn drop_future(&self) {
        self.shared().softs.remove(self);
        // SAFETY: the state says whose the future is, and it has ended once.
        unsafe { self.give_up() };
    }

    /// Polls it, on a helper tasklet, and then those that come next, one poll each.
    pub(super) fn run(self) {
        let mut next = Some(self);
        for left in (0..STREAK).rev() {
            let Some(soft) = next.take() else { return };
            soft.run_once();
            if left != 0 {
                // SAFETY: the worker runs no code of users meanwhile.
                next = unsafe { current::with_scheduler(Worker::next_soft) }.flatten();
            }
        }
    }

    fn run_once(self) {
        if !self.state.begin_poll() {
            return;
        }
        if self.promised.is_finished() {
            // Killed.
            self.state.end();
            return self.drop_future();
        }
        // Of the same count: no waker is made for a poll.
        // SAFETY: it is not dropped, and `self` outlives it.
        let waker = ManuallyDrop::new(unsafe { waker(self.header()) });
        // SAFETY: it is being polled, so the future is ours.
        if unsafe { self.poll(&mut Context::from_waker(&waker)) } {
            self.state.end();
            self.shared().softs.remove(&self);
            // SAFETY: the poll has brought the result, and is the last.
            return unsafe { self.finish() };
        }
        if !self.shared().is_open() {
            // Nobody will poll it again.
            self.state.end();
            return self.drop_future();
        }
        match self.state.end_poll() {
            Polled::Waits => {}
            Polled::Again => self.schedule(),
            Polled::Ended => self.drop_future(),
        }
    }

    /// Brings about a poll, unless one is to come already.
    fn wake(self) {
        if self.state.wake() {
            self.schedule();
        }
    }
}

impl Worker {
    /// The next task, if that is a soft tasklet, for the helper that runs and has polled another: it goes on with this one as if it had begun
    /// with it. None if the poll has left something behind in the helper, or there is something else to look at. Who has a count of the
    /// helper's record may have thrown something at it or left a permit, or may do that later.
    fn next_soft(&self) -> Option<Soft> {
        let fields = self.current_local();
        if self.token.has_requests()
            || fields.atomic.get() != 0
            || fields.lent.get()
            || self.current_head().is_none_or(FiberHead::has_extras)
        {
            return None;
        }
        match self.deque.pop()?.unpack() {
            Task::Poll(soft) => {
                debug_assert!(!fields.has_interrupt(), "whoever throws something at a tasklet has its record");
                self.token.grant(BUDGET);
                let seat = &self.shared.seats[self.index];
                seat.tick();
                seat.counters.started.add(1);
                seat.counters.polled.add(1);
                seat.counters.finished.add(1);
                Some(soft)
            }
            other => {
                self.deque.push(other.pack());
                None
            }
        }
    }
}

/// # Safety
///
/// The waker owns a strong count of the soft tasklet.
unsafe fn waker(header: NonNull<Header>) -> Waker {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(
        // SAFETY: the data of this vtable is a strong count, which is not used up here.
        |data| RawWaker::new(Soft::clone(&ManuallyDrop::new(unsafe { of(data) })).into_raw().as_ptr().cast(), &VTABLE),
        // SAFETY: as above, and used up.
        |data| unsafe { of(data) }.wake(),
        |data| {
            // SAFETY: as above, and not used up.
            let soft = ManuallyDrop::new(unsafe { of(data) });
            if soft.state.wake() {
                Soft::clone(&soft).schedule();
            }
        },
        // SAFETY: as above, and used up.
        |data| drop(unsafe { of(data) }),
    );
    /// # Safety
    ///
    /// The data is of a waker of a soft tasklet, and its count is used up, or not dropped.
    unsafe fn of(data: *const ()) -> Soft {
        // SAFETY: the caller's promise; it comes from a pointer that is not null.
        unsafe { Soft::from_raw(NonNull::new_unchecked(data.cast_mut().cast())) }
    }
    // SAFETY: the functions do what the contract of a waker asks for; a count may be used from any thread.
    unsafe { Waker::from_raw(RawWaker::new(header.as_ptr().cast(), &VTABLE)) }
}
