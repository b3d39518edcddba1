//! What every test of channels begins with: a scheduler of the case, tasklets of either, waiting for what has to happen.

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
