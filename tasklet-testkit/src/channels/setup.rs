//! What every test of channels begins with: a scheduler of the case, tasklets of either, waiting for what has to happen.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_core::clock::VirtualClock;
use tasklet_core::current;
use tasklet_core::driver::VirtualDriver;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::{local, stealing};

use crate::kinds;
pub(super) use crate::stealing::setup::{Census, Flag, LIMIT};

use super::Case;

/// Runs `body` as a tasklet: of a new local scheduler if the case has no workers, else of a new runtime.
#[track_caller]
pub(crate) fn run<B: Backend>(case: Case, body: impl FnOnce() + Send + 'static) {
    if case.workers > 0 {
        return case.run::<B, _>(body);
    }
    let scheduler = kinds::local::<B>(case.kind).build();
    let done = scheduler.spawn_joinable(body);
    if let Err(error) = done.join() {
        panic!("{error}");
    }
}

/// As [`run`], in virtual time.
#[track_caller]
pub(crate) fn run_virtual<B: Backend>(case: Case, body: impl FnOnce(&VirtualClock) + Send + 'static) {
    if case.workers > 0 {
        return case.run_virtual::<B, _>(body);
    }
    let clock = Arc::new(VirtualClock::default());
    let driver = VirtualDriver::new(clock.clone());
    let scheduler = kinds::local::<B>(case.kind).clock(clock.clone()).driver(driver).build();
    if let Err(error) = scheduler.spawn_joinable(move || body(&clock)).join() {
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
pub(crate) fn until(mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LIMIT, "what is waited for does not happen");
        give_way();
    }
}

/// A waker that calls `f` whenever it is cloned, woken or dropped.
pub(crate) fn probe(f: impl Fn() + Send + Sync + 'static) -> Waker {
    type Probe = Box<dyn Fn() + Send + Sync>;

    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: a waker's data is that of an `Arc` which the waker has; it keeps it.
            let probe = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Probe>()) });
            probe();
            raw(Arc::clone(&probe))
        },
        |data| {
            // SAFETY: as above; the waker is used up.
            let probe = unsafe { Arc::from_raw(data.cast::<Probe>()) };
            probe();
        },
        |data| {
            // SAFETY: as above; it keeps it.
            let probe = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Probe>()) });
            probe();
        },
        |data| {
            // SAFETY: as above; the waker is used up.
            let probe = unsafe { Arc::from_raw(data.cast::<Probe>()) };
            probe();
        },
    );

    fn raw(probe: Arc<Probe>) -> RawWaker {
        RawWaker::new(Arc::into_raw(probe).cast(), &TABLE)
    }

    // SAFETY: the table's functions treat the data as the `Arc` it is, and may be called from any thread.
    unsafe { Waker::from_raw(raw(Arc::new(Box::new(f)))) }
}
