//! Sleeping, intervals, time limits. All follow the clock of the scheduler whose code runs; a plain thread has one of its own.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tasklet_core::current;
use tasklet_core::id::{SchedulerId, TaskletId};
use tasklet_core::operation::{self, AnyBackend, Operation, Step};
use tasklet_core::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
use tasklet_core::scheduler::{Scheduler, TimerKey};

use super::timers::Timer;
use super::worker::Worker;

/// The time of the clock that [`sleep_until`] counts in: since that clock's start.
pub fn now() -> Duration {
    current::now()
}

/// Parks the caller for `time`, or a little longer: see [`Builder::timer_slack`](super::Builder::timer_slack).
///
/// # Scheduling
///
/// The caller parks, and is appended to its worker's queue when the time is up.
///
/// # Panics
///
/// The caller may not park: a local scheduler has no timers, a hook must not switch. Unwinds with what is thrown at the caller. If its
/// [`CancelToken`](super::CancelToken) is cancelled, it returns early.
#[track_caller]
pub fn sleep(time: Duration) {
    sleep_until(current::now().saturating_add(time));
}

/// Parks the caller until the [clock](now) shows `at`.
///
/// # Scheduling
///
/// As [`sleep`].
///
/// # Panics
///
/// As [`sleep`].
#[track_caller]
pub fn sleep_until(at: Duration) {
    match try_sleep_until(at) {
        Ok(()) | Err(ParkError::Cancelled) => {}
        Err(error) => panic!("could not sleep: {error}"),
    }
}

/// As [`sleep_until`], but says why the caller did not sleep until then.
///
/// # Scheduling
///
/// As [`sleep`].
///
/// # Errors
///
/// See [`ParkError`].
///
/// # Panics
///
/// Unwinds with what is thrown at the caller.
pub fn try_sleep_until(at: Duration) -> Result<(), ParkError> {
    let bed = Bed(Cell::new(None));
    operation::perform_until::<AnyBackend, _>(Nap { bed: &bed, refused: None }, at)
}

/// Where a sleeping tasklet waits: nobody serves it.
struct Bed(Cell<Option<Parked>>);

// SAFETY: P1, `unlink` compares.
unsafe impl WaitSite for Bed {
    fn reason(&self, _: usize) -> ParkReason {
        ParkReason::Sleep
    }

    fn unlink(&self, who: TaskletId, _: usize) -> Option<Parked> {
        let parked = self.0.take()?;
        if parked.record().id() == who {
            return Some(parked);
        }
        self.0.set(Some(parked));
        None
    }

    fn is_shared(&self, _: usize) -> bool {
        // Its timer comes whatever others do.
        true
    }
}

struct Nap<'b> {
    bed: &'b Bed,
    refused: Option<ParkError>,
}

impl<'b> Operation<'b> for Nap<'b> {
    type Output = Result<(), ParkError>;

    fn begin(&mut self, scheduler: &dyn Scheduler) -> Step<'b> {
        scheduler.begin_operation();
        self.refused = scheduler.may_park().err();
        if self.refused.is_some() {
            return Step::Done;
        }
        self.bed.0.set(Some(scheduler.begin_park()));
        Step::Park { site: self.bed, key: 0 }
    }

    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output {
        self.refused.map_or(outcome.map(|_| ()), Err)
    }
}

/// Ticks at regular times. Made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: Duration,
    period: Duration,
}

/// Ticks every `period`, first now. A tick that comes late does not shift those after it; those missed altogether are left out.
///
/// # Panics
///
/// `period` is zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period above zero");
    Interval { next: current::now(), period }
}

impl Interval {
    /// Waits for the next tick, and returns the time it was due at.
    ///
    /// # Scheduling
    ///
    /// As [`sleep`].
    ///
    /// # Panics
    ///
    /// As [`sleep`].
    #[track_caller]
    pub fn tick(&mut self) -> Duration {
        let due = self.next;
        sleep_until(due);
        let late = current::now().saturating_sub(due);
        let missed = u32::try_from(late.as_nanos() / self.period.as_nanos()).unwrap_or(u32::MAX);
        self.next = due.saturating_add(self.period.saturating_mul(missed.saturating_add(1)));
        due
    }
}

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
            let key = worker.start(at, Timer::Wake(context.waker().clone()));
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
