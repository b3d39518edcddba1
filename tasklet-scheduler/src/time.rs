//! Sleeping and intervals, for tasklets of every scheduler and for plain threads. All follow the clock of the scheduler whose code runs;
//! a plain thread has the system's.

use std::cell::Cell;
use std::time::Duration;

use tasklet_core::current;
use tasklet_core::id::TaskletId;
use tasklet_core::operation::{self, AnyBackend, Operation, Step};
use tasklet_core::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
use tasklet_core::scheduler::{Observed, Scheduler};

/// The time of the clock that [`sleep_until`] counts in: since that clock's start. For those on the system's clock, which is the default,
/// it is the same time everywhere in the process.
pub fn now() -> Duration {
    current::now()
}

/// Parks the caller for `time`; on the work-stealing scheduler maybe a little longer: see
/// [`Builder::timer_slack`](crate::stealing::Builder::timer_slack).
///
/// It returns early if the caller's [`CancelToken`](crate::stealing::CancelToken) is cancelled, and at once where a local scheduler
/// allows no switch because the thread is unwinding.
///
/// # Scheduling
///
/// The caller parks, and is appended to the queue of its scheduler, or of its worker, when the time is up. A time of zero lets the
/// others in the queue run first.
///
/// # Panics
///
/// The caller may not park: a trap is set, a hook calls, or a scheduler has no timers; those of this crate have. Unwinds with what is
/// thrown at the caller.
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
        Ok(()) | Err(ParkError::Cancelled | ParkError::Unwinding) => {}
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

    fn begin(&mut self, scheduler: &dyn Scheduler, _: Observed) -> Step<'b> {
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
