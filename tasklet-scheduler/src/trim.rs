//! When a scheduler looks at the stacks of tasklets that wait, to give back what they do not need.
//!
//! It goes through its fibers in rounds, some at a look, where it has nothing else to do, and now and then where it has. A round begins when the
//! one before is as old as the scheduler was [told](Looks::new), and the first one so long after something has run. When a round has found nothing that
//! has moved and nothing to give back, it was the last until something runs: a scheduler with nothing to do does nothing. A fiber that is suspended where it was in the round before is taken for one that
//! has waited since: nothing is noted when a tasklet gives way or goes on, so one that has come back to the same place looks the same. That
//! costs it page faults, once a round at most.
//!
//! # Figures
//!
//! Linux 6.18, 2-core AMD EPYC VM, `cargo run --release -p tasklet-scheduler --example trim_costs`, 10,000 tasklets that have called 100 KiB deep
//! once and wait: 106,496 bytes in memory for each, and 4096 when they were trimmed. That takes 7 to 10 us a stack, of which 1.3 are to find
//! out what there is; the next call as deep takes 25 us longer (a page fault each, 38 us instead of 13).

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::engine::{Trim, Trimmed, Which};

/// How long a tasklet waits before its stack is looked at, where nobody says otherwise. One that calls 100 KiB deep once in a round pays 32 us
/// for it: 3 percent of a processor for 10,000 such, who have a gigabyte less meanwhile.
pub(crate) const TRIM_AFTER: Duration = Duration::from_secs(10);

/// Stacks measured at a time, in which nothing else runs: 20 microseconds if none has anything to give back, 110 if all have called 100 KiB
/// deep.
const MEASURED: usize = 16;

/// Fibers looked at at a time, whether or not their stacks are measured: each may miss the cache.
const AT_A_TIME: usize = 512;

/// After a look, nothing is looked at for so many times as long as that took: looking takes 2 percent of the time at most.
const REST: u32 = 49;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A whole round was calm, and no tasklet has run since: there is nothing to look at.
    Settled,
    /// Tasklets have run since: a round is to begin.
    Disturbed,
    /// There are rounds.
    Looking,
}

/// Where a scheduler is in its round.
pub(crate) struct Looks {
    /// From one round to the next; `None`: there are none.
    after: Cell<Option<Duration>>,
    /// When the next look is due, on the scheduler's clock.
    due: Cell<Duration>,
    /// When the round began.
    began: Cell<Duration>,
    /// The place of the next fiber.
    place: Cell<usize>,
    /// So far, the round has found nothing that has moved and nothing to release.
    is_calm: Cell<bool>,
    state: Cell<State>,
}

impl Looks {
    pub(crate) fn new(after: Option<Duration>) -> Looks {
        Looks {
            after: Cell::new(after),
            due: Cell::default(),
            began: Cell::default(),
            place: Cell::new(0),
            is_calm: Cell::new(true),
            state: Cell::new(State::Settled),
        }
    }

    /// From now on, rounds are so far apart.
    pub(crate) fn set_after(&self, after: Option<Duration>) {
        self.after.set(after);
    }

    /// Whether nothing is ever looked at.
    pub(crate) fn is_off(&self) -> bool {
        self.after.get().is_none()
    }

    /// Tasklets have run.
    #[inline]
    pub(crate) fn disturb(&self) {
        if self.state.get() == State::Settled {
            self.state.set(State::Disturbed);
        }
    }

    /// Whether there is anything to look at, at some time.
    #[inline]
    pub(crate) fn are_wanted(&self) -> bool {
        !self.is_off() && self.state.get() != State::Settled
    }

    /// When the next look is due, if there is anything to look at.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.are_wanted().then(|| self.due.get())
    }

    /// Looks at some fibers, if it is time.
    pub(crate) fn look(&self, now: Duration, engine: &dyn Trim) -> Trimmed {
        let Some(after) = self.after.get().filter(|_| self.are_wanted()) else { return Trimmed::default() };
        if self.state.get() == State::Disturbed {
            // Who waits now has not waited for long.
            self.state.set(State::Looking);
            self.due.set(now.saturating_add(after));
        }
        if now < self.due.get() {
            return Trimmed::default();
        }
        let place = self.place.get();
        if place == 0 {
            self.began.set(now);
            self.is_calm.set(true);
        }
        let start = Instant::now();
        let trimmed = engine.trim(Which::Resting, place..place.saturating_add(AT_A_TIME), MEASURED);
        let rest = now.saturating_add(start.elapsed() * REST);
        if trimmed.moved != 0 || trimmed.stacks != 0 {
            self.is_calm.set(false);
        }
        self.place.set(trimmed.next.unwrap_or(0));
        if trimmed.next.is_some() {
            self.due.set(rest);
        } else {
            self.due.set(self.began.get().saturating_add(after).max(rest));
            if self.is_calm.get() {
                self.state.set(State::Settled);
            }
        }
        trimmed
    }
}
