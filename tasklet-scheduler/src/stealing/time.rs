//! Time limits, and sleeping in async code.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tasklet_core::current;
use tasklet_core::id::SchedulerId;
use tasklet_core::scheduler::{Scheduler as _, TimerKey};

use super::timers::Timer;
use super::worker::Worker;

/// The time of [`timeout`] was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    number: u64,
}

impl Elapsed {
    pub(super) fn of(number: u64) -> Elapsed {
        Elapsed { number }
    }

    /// Rises with the depth of limits that are nested.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was up")
    }
}

impl std::error::Error for Elapsed {}

/// Calls `f`, and ends it if it takes longer than `limit`: it unwinds from where it waits then, or from its next scheduling point, and its
/// destructors run. Code that computes does not notice before it calls [`checkpoint`](super::checkpoint) or waits.
///
/// Limits may be nested. A kill counts more than a limit.
///
/// # Scheduling
///
/// As `f`.
///
/// # Errors
///
/// The time was up before `f` returned.
///
/// # Panics
///
/// As `f`, and if no tasklet of the stealing scheduler calls.
#[track_caller]
pub fn timeout<T>(limit: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let start = |worker: &Worker| {
        worker.is_in_tasklet().then(|| {
            let number = worker.timers.number();
            let at = worker.now().saturating_add(limit);
            (number, worker.start(at, Timer::Elapsed(worker.current_record(), number)))
        })
    };
    // SAFETY: the worker is used for a timer.
    let Some((number, key)) = unsafe { current::with_scheduler(start) }.flatten() else {
        panic!("could not limit the time: no tasklet of a runtime calls");
    };
    let result = catch_unwind(AssertUnwindSafe(f));
    // SAFETY: as above.
    unsafe { current::with_scheduler(|worker: &Worker| worker.end_timeout(key, number)) };
    match result {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast_ref::<Elapsed>() {
            Some(elapsed) if elapsed.number == number => Err(*elapsed),
            _ => resume_unwind(payload),
        },
    }
}

impl Worker {
    /// A `timeout` of the running tasklet is over: its timer, and its interrupt if that has not been raised, are of no use any more.
    fn end_timeout(&self, key: TimerKey, number: u64) {
        drop(self.timers.stop(key));
        let fields = self.local(self.current());
        if let Some(payload) = fields.take_interrupt() {
            let ours = payload.downcast_ref::<Elapsed>().is_some_and(|elapsed| elapsed.number == number);
            if !ours {
                fields.set_interrupt(Some(payload));
            }
        }
    }
}

/// A future that is ready when the runtime's clock shows a certain time. Made by [`sleep_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct SleepAsync {
    time: Duration,
    at: Option<Duration>,
    /// With the worker whose timer it is: keys of two may be equal.
    timer: Option<(SchedulerId, TimerKey)>,
}

/// Sleeps in async code.
///
/// # Panics
///
/// Polling panics on a thread that is no worker of a runtime.
pub fn sleep_async(time: Duration) -> SleepAsync {
    SleepAsync { time, at: None, timer: None }
}

impl SleepAsync {
    /// Ends its timer, if that is this worker's. One of another worker goes off for nothing, which does no harm.
    fn stop_timer(&mut self, worker: &Worker) {
        if let Some((home, key)) = self.timer.take()
            && home == worker.token.home().id()
        {
            drop(worker.timers.stop(key));
        }
    }
}

impl Drop for SleepAsync {
    fn drop(&mut self) {
        // SAFETY: the waker that is dropped is the only code of users' here, and cannot end the worker whose code runs.
        unsafe { current::with_scheduler(|worker: &Worker| self.stop_timer(worker)) };
    }
}

impl Future for SleepAsync {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let poll = |worker: &Worker| {
            let now = worker.now();
            let at = *this.at.get_or_insert_with(|| now.saturating_add(this.time));
            if now >= at {
                return Poll::Ready(());
            }
            this.stop_timer(worker);
            let key = worker.start_from(|| now, at, Timer::Wake(context.waker().clone()));
            this.timer = Some((worker.token.home().id(), key));
            Poll::Pending
        };
        // SAFETY: the waker that is cloned is the only code of users' here, and cannot end the worker whose code runs.
        match unsafe { current::with_scheduler(poll) } {
            Some(poll) => poll,
            None => panic!("could not sleep: a future that sleeps is polled by a worker of a runtime"),
        }
    }
}
