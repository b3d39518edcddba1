//! Code that runs elsewhere, while the tasklet that calls it parks: where it may block, or on a pool of somebody else's.
//!
//! Where the scheduler's own place is, see [`offload`](crate::scheduler::Scheduler::offload). What lies here is the wait, and the way of the result.
//!
//! A [`Job`] is called or dropped, once, on any thread; either ends the wait. One that is leaked ends nothing: its caller waits for ever, and what it
//! borrows stays.

mod deferred;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

pub use deferred::deferred;

use crate::current;
use crate::tasklet::{Record, spot};
use crate::unwind::{Payload, drop_quietly};

/// What is called on another thread. It does not unwind.
pub type Job = Box<dyn FnOnce() + Send>;

/// Calls `f` where it may block, while the tasklet parks. `f` may borrow: the tasklet does not go on, and is not unwound, before `f` has returned.
///
/// Where there is no such place, on a plain thread and under a scheduler without one, and while the thread is unwinding, `f` is called right there.
///
/// # Scheduling
///
/// The caller parks, and is appended to the queue of its scheduler when `f` has returned.
///
/// # Panics
///
/// With what `f` panics with, and in a [swapped](crate::swap) tasklet, from whose stack `f` cannot borrow while that waits. Unwinds with what is
/// thrown at the caller, when `f` has returned; then the result is dropped.
#[track_caller]
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    if thread::panicking() || !current::can_offload() {
        return f();
    }
    elsewhere("blocking", offload, f)
}

/// As [`blocking`], for what borrows nothing: also in a swapped tasklet.
///
/// # Panics
///
/// With what `f` panics with. Unwinds with what is thrown at the caller, when `f` has returned; then the result is dropped.
pub fn blocking_owned<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if thread::panicking() || !current::can_offload() {
        return f();
    }
    let call = Call::new(f);
    let errand = Errand(Some(call.clone()));
    call.wait("blocking", || offload(Box::new(move || errand.run())))
}

fn offload(job: Job) {
    if let Err(job) = current::offload(job) {
        job();
    }
}

/// Has `place` call `f`, wherever that is, and parks the caller meanwhile. `f` may borrow: the caller does not go on, and is not unwound, before the job
/// that `place` gets was called or dropped. Errors name `what`, the function that a user calls.
///
/// # Scheduling
///
/// The caller parks, and is appended to the queue of its scheduler when `f` has returned. A plain thread is parked, and so is a tasklet's
/// if it unwinds.
///
/// # Panics
///
/// With what `f` panics with; if the job was dropped without being called; with what `place` panics with; and in a [swapped](crate::swap) tasklet, from
/// whose stack `f` cannot borrow while that waits. Unwinds with what is thrown at the caller, when `f` has returned; then the result is dropped.
///
/// # Examples
///
/// ```
/// use tasklet_core::blocking::elsewhere;
///
/// let text = String::from("here and there");
/// let words = elsewhere("my_pool", |job| drop(std::thread::spawn(job)), || text.split(' ').count());
/// assert_eq!(words, 3);
/// ```
#[track_caller]
pub fn elsewhere<T: Send>(what: &str, place: impl FnOnce(Job), f: impl FnOnce() -> T + Send) -> T {
    current::refuse_swapped(what);
    let call = Call::new(f);
    let errand = Errand(Some(call.clone()));
    let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || errand.run());
    // SAFETY: only the lifetime changes. What may borrow is `f` and its result. The errand in the job, called or dropped, takes `f` out of the call and
    // is done with it before `is_done`, which we wait for, whatever happens; then we take the result. What the errand's count still holds afterwards
    // is an empty call. A job that is leaked never sets `is_done`, so we wait for ever.
    let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
    call.wait(what, || place(job))
}

/// A call, counted by its caller and by its errand: whoever ends the wait may be in the middle of it when the caller goes on.
struct Call<F, T> {
    f: Mutex<Option<F>>,
    result: Mutex<Option<Result<T, Payload>>>,
    is_done: AtomicBool,
    caller: Arc<Record>,
}

/// The way to a call and back: it is made, or it is told that it will not be.
struct Errand<F: FnOnce() -> T + Send, T: Send>(Option<Arc<Call<F, T>>>);

impl<F: FnOnce() -> T + Send, T: Send> Errand<F, T> {
    fn run(mut self) {
        if let Some(call) = self.0.take() {
            call.run();
        }
    }
}

impl<F: FnOnce() -> T + Send, T: Send> Drop for Errand<F, T> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            drop_quietly(call.take());
            call.end();
        }
    }
}

impl<T: Send, F: FnOnce() -> T + Send> Call<F, T> {
    fn new(f: F) -> Arc<Call<F, T>> {
        let (f, result) = (Mutex::new(Some(f)), Mutex::new(None));
        Arc::new(Call { f, result, is_done: AtomicBool::new(false), caller: current::record() })
    }

    fn take(&self) -> Option<F> {
        self.f.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn run(&self) {
        let result = self.take().map(|f| catch_unwind(AssertUnwindSafe(f)));
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = result;
        self.end();
    }

    fn end(&self) {
        // Release: pairs with the acquire in `wait`.
        self.is_done.store(true, Ordering::Release);
        self.caller.spot().unpark();
    }

    #[track_caller]
    fn wait(&self, what: &str, place: impl FnOnce()) -> T {
        // Whatever it does, the job may be on its way.
        let placed = catch_unwind(AssertUnwindSafe(place));
        // Acquire: pairs with the release in `end`.
        let thrown = spot::wait_until(|| self.is_done.load(Ordering::Acquire));
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = thrown.or(placed.err()) {
            drop_quietly(result);
            resume_unwind(payload);
        }
        match result {
            Some(result) => result.unwrap_or_else(|payload| resume_unwind(payload)),
            None => panic!("{what}: the job was dropped without being called: its pool has ended, or has refused it"),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::unwind::message;

    fn caught(f: impl FnOnce()) -> String {
        message(&catch_unwind(AssertUnwindSafe(f)).unwrap_err()).to_owned()
    }

    #[test]
    fn a_job_that_is_dropped_ends_the_wait() {
        for place in [|job: Job| drop(job), |job: Job| drop(thread::spawn(move || drop(job)))] {
            let text = caught(|| elsewhere("my_pool", place, || ()));
            assert!(text.starts_with("my_pool: the job was dropped without being called"), "{text}");
        }
    }

    #[test]
    fn what_is_not_called_is_dropped_with_the_job() {
        // Before the wait ends: what it borrows is its caller's again then.
        struct Tells<'a>(&'a Mutex<Option<thread::ThreadId>>);
        impl Drop for Tells<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = Some(thread::current().id());
            }
        }
        for _ in 0..100 {
            let (dropped, mut dropper) = (Mutex::new(None), None);
            let tells = Tells(&dropped);
            let place = |job: Job| dropper = Some(thread::spawn(move || drop(job)));
            caught(|| elsewhere("my_pool", place, move || drop(tells)));
            assert_eq!(*dropped.lock().unwrap(), dropper.map(|thread| thread.thread().id()));
        }
    }

    #[test]
    fn a_place_that_panics_is_waited_for() {
        let text = caught(|| elsewhere("my_pool", |_| panic!("no room"), || ()));
        assert_eq!(text, "no room");
        let (mut value, held) = (1, Arc::new(Mutex::new(())));
        let place = |job: Job| {
            let _until_it_unwinds = held.lock().unwrap();
            let released = held.clone();
            thread::spawn(move || {
                drop(released.lock());
                job();
            });
            panic!("too late");
        };
        assert_eq!(caught(|| elsewhere("my_pool", place, || value = 2)), "too late");
        assert_eq!(value, 2, "the job had its borrow until the end");
    }

    #[test]
    fn a_result_may_come_at_once() {
        assert_eq!(elsewhere("my_pool", |job| job(), || 5), 5);
    }
}
