//! A job whose result goes to a join handle.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Job;
use crate::id::TaskletIds;
use crate::tasklet::{JoinHandle, Promised, Vtable};
use crate::unwind::{Payload, drop_quietly};

/// A job that calls `f`, and the handle that its result goes to.
///
/// A kill before the call drops `f`, and the job does nothing; later it has no effect, since nothing interrupts the call. If the job is dropped without
/// being called, it counts as killed.
#[track_caller]
pub fn deferred<F: FnOnce() -> T + Send + 'static, T: Send + 'static>(f: F) -> (Job, JoinHandle<T>) {
    let id = TaskletIds::default().next_id();
    let promised = Promised::new(id, Location::caller(), None, const { &Deferred::<F, T>::VTABLE });
    let deferred = Arc::new(Deferred { promised, slot: Mutex::new(Slot::Call(f)) });
    let errand = Errand(Some(deferred.clone()));
    // The handle's count, which `release` gives back.
    let pointer = NonNull::new(Arc::into_raw(deferred).cast_mut()).expect("it is somewhere");
    // SAFETY: it is the only one, of the type in the table, and has a count of what it points to.
    let handle = unsafe { Promised::handle(pointer.cast()) };
    (Box::new(move || errand.run()), handle)
}

/// What is called, and what came of it. The head of the handle is its beginning.
#[repr(C)]
struct Deferred<F, T> {
    promised: Promised,
    slot: Mutex<Slot<F, T>>,
}

enum Slot<F, T> {
    Call(F),
    Result(Result<T, Payload>),
    Empty,
}

/// The job's count. Ends what was not called when it is dropped.
struct Errand<F: FnOnce() -> T, T>(Option<Arc<Deferred<F, T>>>);

impl<F: FnOnce() -> T, T> Errand<F, T> {
    fn run(mut self) {
        let Some(this) = self.0.take() else { return };
        if !this.promised.keep() {
            return;
        }
        let result = match this.take() {
            Slot::Call(f) => Slot::Result(catch_unwind(AssertUnwindSafe(f))),
            other => other,
        };
        *this.lock() = result;
        this.promised.end(|| drop_quietly(this.take()));
    }
}

impl<F: FnOnce() -> T, T> Drop for Errand<F, T> {
    fn drop(&mut self) {
        if let Some(this) = self.0.take()
            && this.promised.keep()
        {
            drop_quietly(this.take());
            this.promised.end(|| {});
        }
    }
}

impl<F, T> Deferred<F, T> {
    const VTABLE: Vtable = Vtable {
        // For owners who poll. The job is none of them.
        poll: |_, _| true,
        clear: |_| {},
        free: |_| {},
        take: Self::take_result,
        killed: Self::killed,
        release: Self::release,
    };

    fn lock(&self) -> MutexGuard<'_, Slot<F, T>> {
        // Nothing panics while the lock is held.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Slot<F, T> {
        std::mem::replace(&mut self.lock(), Slot::Empty)
    }

    unsafe fn take_result(this: NonNull<Promised>, to: NonNull<()>) {
        // SAFETY: this table is of values of this type, whose beginning `this` points to, and the handle has a count.
        let this = unsafe { this.cast::<Self>().as_ref() };
        let result = match this.take() {
            Slot::Result(result) => Some(result),
            Slot::Call(_) | Slot::Empty => None,
        };
        // SAFETY: the handle's promise.
        unsafe { to.cast::<Option<Result<T, Payload>>>().write(result) };
    }

    unsafe fn killed(this: NonNull<Promised>) {
        // SAFETY: as above.
        drop_quietly(unsafe { this.cast::<Self>().as_ref() }.take());
    }

    unsafe fn release(this: NonNull<Promised>) {
        // SAFETY: `deferred` has set this count aside for the handle, which calls this last; an `Arc` was made of this type.
        drop(unsafe { Arc::from_raw(this.cast::<Self>().as_ptr().cast_const()) });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_result_goes_to_the_handle() {
        let (job, handle) = deferred(|| String::from("a"));
        assert!(!handle.is_finished());
        job();
        assert!(handle.is_finished());
        assert_eq!(handle.join().unwrap(), "a");
        let (job, handle) = deferred(|| -> () { std::panic::resume_unwind(Box::new(7)) });
        std::thread::spawn(job);
        assert_eq!(handle.join().unwrap_err().into_panic().unwrap().downcast_ref(), Some(&7));
    }

    #[test]
    fn everything_is_dropped_once_whatever_comes_first() {
        let witness = Arc::new(());
        let held = || witness.clone();
        let (job, handle) = deferred({
            let held = held();
            move || held
        });
        drop(job);
        assert!(handle.join().unwrap_err().is_killed(), "a job that nobody calls");
        let (job, handle) = deferred({
            let held = held();
            move || held
        });
        handle.kill();
        assert_eq!(Arc::strong_count(&witness), 1, "a kill drops what was to be called");
        job();
        assert!(handle.join().unwrap_err().is_killed());
        for is_called_first in [true, false] {
            let (job, handle) = deferred({
                let held = held();
                move || held
            });
            if is_called_first {
                job();
                drop(handle);
            } else {
                drop(handle);
                job();
            }
            assert_eq!(Arc::strong_count(&witness), 1);
        }
    }
}
