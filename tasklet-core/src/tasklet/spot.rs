//! A place where one tasklet waits for a permit: what `park` and `unpark`, and all that waits for an event of its own, rest on.
//!
//! As with [`std::thread::park`]: a permit that is left while nobody waits is kept, several are kept as one, and a wait may end
//! although what it was for has not happened. So waits are loops that look again.

mod permit;

use std::time::Duration;

use permit::Slot;

use super::record::Record;
use crate::current;
use crate::id::TaskletId;
use crate::operation::{self, AnyBackend, Operation, Step};
use crate::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
use crate::scheduler::{Observed, Scheduler};
use crate::unwind::{self, Payload};

/// Holds a permit, or the right to wake the tasklet that waits for one.
pub struct Spot {
    slot: Slot<Parked>,
}

/// How a wait for a permit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// There was one, or somebody has left one.
    Taken,
    /// The time was up.
    TimedOut,
}

impl Spot {
    pub(super) fn new() -> Spot {
        Spot { slot: Slot::new() }
    }

    /// Leaves a permit, or wakes the tasklet that waits for one. From any thread.
    ///
    /// # Scheduling
    ///
    /// The tasklet is appended to the queue of its scheduler; the caller goes on.
    pub fn unpark(&self) {
        if let Some(parked) = self.slot.leave() {
            current::unpark(parked);
        }
    }

    /// Takes a permit that is there.
    pub fn take(&self) -> bool {
        self.slot.take()
    }
}

// SAFETY: P1, `unlink` compares.
unsafe impl WaitSite for Spot {
    fn reason(&self, _: usize) -> ParkReason {
        ParkReason::Permit
    }

    fn unlink(&self, who: TaskletId, _: usize) -> Option<Parked> {
        self.slot.unlink(|parked| parked.record().id() == who)
    }

    fn is_shared(&self, _: usize) -> bool {
        // Handles to a tasklet may be anywhere.
        true
    }
}

/// Waits for the permit of the calling tasklet.
struct Wait<'r> {
    record: &'r Record,
    refused: Option<ParkError>,
}

impl<'r> Operation<'r> for Wait<'r> {
    type Output = Result<Permit, ParkError>;

    fn begin(&mut self, scheduler: &dyn Scheduler, _: Observed) -> Step<'r> {
        if self.record.spot.take() {
            return Step::Done;
        }
        self.refused = scheduler.may_park().err();
        if self.refused.is_some() {
            return Step::Done;
        }
        if self.record.spot.slot.take_or_wait(|| scheduler.begin_park()) {
            return Step::Done;
        }
        Step::Park { site: &self.record.spot, key: 0 }
    }

    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output {
        match self.refused {
            Some(error) => Err(error),
            None => outcome.map(|wake| if wake == Wake::TimedOut { Permit::TimedOut } else { Permit::Taken }),
        }
    }
}

/// Parks the calling tasklet, or thread, until there is a permit for it.
///
/// # Scheduling
///
/// If there is a permit, the caller goes on. Else it parks.
///
/// # Errors
///
/// See [`ParkError`].
///
/// # Panics
///
/// Unwinds with what is thrown at the caller.
pub fn park() -> Result<Permit, ParkError> {
    let record = current::record();
    operation::perform::<AnyBackend, _>(Wait { record: &record, refused: None })
}

/// As [`park`], until the scheduler's clock shows `at` at the latest.
///
/// # Scheduling
///
/// As [`park`].
///
/// # Errors
///
/// As [`park`].
///
/// # Panics
///
/// As [`park`].
pub fn park_until(at: Duration) -> Result<Permit, ParkError> {
    let record = current::record();
    operation::perform_until::<AnyBackend, _>(Wait { record: &record, refused: None }, at)
}

/// Keeps a payload, or drops it if there is one: its destructor is the user's, and must not unwind here.
fn keep_first(kept: &mut Option<Payload>, payload: Payload) {
    if kept.is_none() {
        *kept = Some(payload);
    } else {
        unwind::drop_quietly(payload);
    }
}

/// Waits until `is_done`, whatever happens: what is thrown at the caller meanwhile is kept and given back. For waits whose early end
/// would leave a borrow dangling. Whoever makes `is_done` true leaves a permit for the caller afterwards.
///
/// # Scheduling
///
/// Parks as often as it takes. Where the caller may not park, because its thread unwinds, its thread is blocked.
#[must_use = "what was thrown at the caller is still to be raised"]
pub fn wait_until(is_done: impl Fn() -> bool) -> Option<Payload> {
    if is_done() {
        return None;
    }
    let record = current::record();
    let masked = current::Masked::new();
    let (mut thrown, mut taken) = (None, false);
    while !is_done() {
        match unwind::catch(|| operation::perform::<AnyBackend, _>(Wait { record: &record, refused: None })) {
            Ok(Ok(_)) => taken = true,
            // It may not park, and others make progress without it. Rare: the caller is a destructor that runs in a panic, or a hook.
            Ok(Err(_)) => std::thread::sleep(Duration::from_micros(50)),
            Err(payload) => keep_first(&mut thrown, payload),
        }
    }
    drop(masked);
    // What was thrown has waited for the end of the mask, and is raised only by a scheduling point; this is one.
    if !std::thread::panicking()
        && let Err(payload) = unwind::catch(current::finish_switch)
    {
        keep_first(&mut thrown, payload);
    }
    if taken {
        // It may have been somebody else's, meant for another wait: those look again.
        record.spot.unpark();
    }
    thrown
}
