//! Code that blocks, while the tasklet that calls it parks.
//!
//! Where it runs is the scheduler's: see [`offload`](crate::scheduler::Scheduler::offload). What lies here is the wait, and the way of the result.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::current;
use crate::tasklet::{Record, spot};
use crate::unwind::Payload;

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
    current::refuse_swapped("blocking");
    let call = Call::new(f);
    let job: Box<dyn FnOnce() + Send + '_> = Box::new(|| call.run());
    // SAFETY: only the lifetime changes. `call` stays until `is_done`, which the job sets when it has used it for the last time, and which
    // we wait for, whatever happens; a job that comes back is called and dropped here.
    let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
    call.wait(job)
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
    let call = Arc::new(Call::new(f));
    let other = call.clone();
    call.wait(Box::new(move || other.run()))
}

/// A call, where its caller waits or beside it.
struct Call<F, T> {
    f: Mutex<Option<F>>,
    result: Mutex<Option<Result<T, Payload>>>,
    is_done: AtomicBool,
    caller: Arc<Record>,
}

impl<T: Send, F: FnOnce() -> T + Send> Call<F, T> {
    fn new(f: F) -> Call<F, T> {
        let (f, result) = (Mutex::new(Some(f)), Mutex::new(None));
        Call { f, result, is_done: AtomicBool::new(false), caller: current::record() }
    }

    fn run(&self) {
        let f = self.f.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = f.map(|f| catch_unwind(AssertUnwindSafe(f)));
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = result;
        let caller = self.caller.clone();
        // Release: pairs with the acquire in `wait`. `self` may be gone from here on.
        self.is_done.store(true, Ordering::Release);
        caller.spot().unpark();
    }

    fn wait(&self, job: Job) -> T {
        if let Err(job) = current::offload(job) {
            job();
        }
        // Acquire: pairs with the release in `run`.
        let thrown = spot::wait_until(|| self.is_done.load(Ordering::Acquire));
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = thrown {
            drop(result);
            resume_unwind(payload);
        }
        result.expect("a call that is done has a result").unwrap_or_else(|payload| resume_unwind(payload))
    }
}
