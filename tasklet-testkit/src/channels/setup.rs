//! What every test of channels begins with: a scheduler of the case, tasklets of either, waiting for what has to happen.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::{local, stealing};

pub(super) use crate::stealing::setup::{Census, Flag, LIMIT};

use super::Case;

/// Runs `body` as a tasklet: of a new local scheduler if the case has no workers, else of a new runtime.
#[track_caller]
pub(crate) fn run<B: Backend>(case: Case, body: impl FnOnce() + Send + 'static) {
    if case.workers > 0 {
        return case.run::<B, _>(body);
    }
    let scheduler = local::Scheduler::<B>::new();
    let done = scheduler.spawn_joinable(body);
    if let Err(error) = done.join() {
        panic!("{error}");
    }
}

/// A tasklet of the caller's scheduler.
pub(crate) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    if stealing::worker_index().is_some() { stealing::spawn(f) } else { local::spawn_joinable(f) }
}

/// Lets others run, whatever calls.
pub(crate) fn give_way() {
    // Not on a thread that was never under a scheduler.
    let is_local = stealing::worker_index().is_none() && current::id().is_some();
    if is_local && local::run_count() > 1 {
        local::schedule();
    } else {
        stealing::yield_now();
    }
    std::thread::yield_now();
}

/// Lets others run until something has happened.
#[track_caller]
pub(crate) fn until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LIMIT, "what is waited for does not happen");
        give_way();
    }
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for a future as an executor does that knows nothing of tasklets: it only counts on being woken. Others run meanwhile.
pub(crate) fn block_on_alone<F: Future>(future: F) -> F::Output {
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut future = pin!(future);
    loop {
        until(|| woken.0.swap(false, Ordering::SeqCst));
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
    }
}
