//! Soft tasklets: futures on the same workers, in the same deques, behind the same join handles.
//!
//! A soft tasklet is polled by a helper tasklet, so what it calls may block: then the helper parks, with the future on its stack, and the
//! worker makes another helper. It may be polled by another worker each time, which is why it is `Send`.
//!
//! # States
//!
//! One word says where a soft tasklet is: in no queue, in one, being polled, or being polled and woken meanwhile. A wake makes the first the
//! second and the third the fourth, and nothing of the others; so it is in one queue at most, once. No wake allocates: the waker is a
//! count of the soft tasklet itself.

mod state;

use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use tasklet_core::current;
use tasklet_core::id::TaskletId;
use tasklet_core::tasklet::{JoinHandle, Promise, Record, Spec};
use tasklet_core::unwind::{Payload, drop_quietly};

use state::{Polled, State};

use super::shared::Shared;
use super::task::Task;
use super::worker::Worker;

/// A soft tasklet.
// Aligned so that its address has two bits left for the kind of a task.
#[repr(align(8))]
pub(super) struct Soft {
    state: State,
    shared: Arc<Shared>,
    /// Taken while it is polled, which one at a time does: the lock is never waited for.
    stage: Mutex<Option<Box<dyn Stage + Send>>>,
}

/// The future and the promise of its result, whatever their types.
trait Stage {
    /// Whether it has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> bool;

    /// Whether somebody has killed it.
    fn is_over(&self) -> bool;
}

struct Running<F: Future> {
    /// Pinned: it lies in the box that `Soft` has of this, and is not moved out of it.
    future: F,
    promise: Option<Promise<F::Output>>,
}

impl<F: Future<Output: Send + 'static>> Stage for Running<F> {
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        // SAFETY: see the field.
        let future = unsafe { Pin::new_unchecked(&mut self.future) };
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.poll(context)));
        let result: Result<F::Output, Payload> = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => Err(payload),
        };
        if let Some(promise) = self.promise.take() {
            drop_quietly(promise.fulfil(result));
        }
        true
    }

    fn is_over(&self) -> bool {
        self.promise.as_ref().is_none_or(|promise| promise.record().is_finished())
    }
}

/// A soft tasklet that is in no queue yet.
pub(super) fn make<F>(shared: &Arc<Shared>, id: TaskletId, spec: Spec, future: F) -> (Arc<Soft>, JoinHandle<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (promise, handle) = Record::promise(id, spec);
    let record = promise.record().clone();
    let stage = Running { future, promise: Some(promise) };
    let soft =
        Arc::new(Soft { state: State::queued(), shared: shared.clone(), stage: Mutex::new(Some(Box::new(stage))) });
    shared.add_soft(&soft);
    // A kill ends the promise at once; this is what has the future dropped then. Weak: when nobody can wake it any more, it goes.
    drop(record.on_finish(end_waker(Arc::downgrade(&soft))));
    (soft, handle)
}

/// A waker for the end of a soft tasklet's promise: if that was a kill, the future is to be dropped. Of a weak reference, and without an
/// allocation.
fn end_waker(soft: Weak<Soft>) -> Waker {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: the data of this vtable is a weak reference, which is not used up here.
            let soft = ManuallyDrop::new(unsafe { Weak::from_raw(data.cast::<Soft>()) });
            RawWaker::new(Weak::into_raw(Weak::clone(&soft)).cast(), &VTABLE)
        },
        // SAFETY: as above, and used up.
        |data| wake_weak(&unsafe { Weak::from_raw(data.cast::<Soft>()) }),
        // SAFETY: as above, and not used up.
        |data| wake_weak(&ManuallyDrop::new(unsafe { Weak::from_raw(data.cast::<Soft>()) })),
        // SAFETY: as above, and used up.
        |data| drop(unsafe { Weak::from_raw(data.cast::<Soft>()) }),
    );
    // SAFETY: the functions do what the contract of a waker asks for; a weak reference may be used from any thread.
    unsafe { Waker::from_raw(RawWaker::new(Weak::into_raw(soft).cast(), &VTABLE)) }
}

fn wake_weak(soft: &Weak<Soft>) {
    if let Some(soft) = soft.upgrade() {
        soft.wake();
    }
}

impl Soft {
    /// Puts it into a queue: of the worker that calls, if it is of the same runtime.
    pub(super) fn schedule(this: Arc<Soft>) {
        let here = |worker: &Worker| Arc::ptr_eq(&worker.shared, &this.shared);
        // SAFETY: the worker is looked at and let go.
        if unsafe { current::with_scheduler(here) } == Some(true) {
            let mut task = Some(Task::Poll(this));
            // SAFETY: pushing a task runs no code that could end the worker whose code runs.
            unsafe {
                current::with_scheduler(|worker: &Worker| {
                    if let Some(task) = task.take() {
                        worker.push(task);
                    }
                })
            };
        } else {
            let shared = this.shared.clone();
            shared.inject(Task::Poll(this));
        }
    }

    /// Its runtime ends, or nobody will poll it: drops the future, and tells whoever joins it, unless it is being polled.
    pub(super) fn discard(&self) {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop_quietly(stage);
    }

    /// Polls it once, on a helper tasklet.
    pub(super) fn run(self: Arc<Soft>) {
        self.state.begin_poll();
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut stage) = stage else { return };
        let waker = Waker::from(self.clone());
        if stage.is_over() || stage.poll(&mut Context::from_waker(&waker)) {
            self.state.end();
            drop_quietly(stage);
            return;
        }
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
        if !self.shared.is_open() {
            // Nobody will poll it again. Looked at when the future is back: the end of the runtime finds it there, or we find the end.
            return self.discard();
        }
        if self.state.end_poll() == Polled::Again {
            Soft::schedule(self);
        }
    }
}

impl Wake for Soft {
    fn wake(self: Arc<Soft>) {
        if self.state.wake() {
            Soft::schedule(self);
        }
    }

    fn wake_by_ref(self: &Arc<Soft>) {
        if self.state.wake() {
            Soft::schedule(self.clone());
        }
    }
}
