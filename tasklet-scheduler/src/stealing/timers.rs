//! The timers of one worker, earliest first.
//!
//! A tree ordered by time and number: a timer that is stopped, as most time limits are, is gone at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tasklet_core::scheduler::TimerKey;
use tasklet_core::tasklet::Record;

/// What happens when the time has come.
pub(super) enum Timer {
    /// The wait of a tasklet ends.
    Wait(Arc<Record>),
    /// A `timeout` of a tasklet, by its number, is over.
    Elapsed(Arc<Record>, u64),
    /// Async code goes on.
    Wake(Waker),
}

/// A sleep may end later than asked for by this part of its length, so that timers of the same magnitude go off together: each wakes
/// its worker, which costs more than what most tasklets then do.
const SLACK_PART: u32 = 32;

/// The time at which a timer goes off that is asked for at `at`: up to a 32nd of its length later, and `limit` at most.
pub(super) fn coalesced(at: Duration, now: Duration, limit: Duration) -> Duration {
    let slack = (at.saturating_sub(now) / SLACK_PART).min(limit);
    // The same steps for all timers of a magnitude: powers of two.
    let step = match slack.as_nanos() {
        0 | 1 => return at,
        nanos => 1u128 << nanos.ilog2(),
    };
    let rounded = at.as_nanos().next_multiple_of(step);
    u64::try_from(rounded).map_or(at, Duration::from_nanos)
}

#[derive(Default)]
pub(super) struct Timers {
    tree: RefCell<BTreeMap<TimerKey, Timer>>,
    earliest: Cell<Option<Duration>>,
    numbers: Cell<u64>,
}

impl Timers {
    /// A number that no other timer of this worker has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    pub(super) fn start(&self, at: Duration, timer: Timer) -> TimerKey {
        let key = TimerKey { at, number: self.number() };
        self.tree.borrow_mut().insert(key, timer);
        if self.earliest.get().is_none_or(|earliest| at < earliest) {
            self.earliest.set(Some(at));
        }
        key
    }

    /// Ends a timer; gives back what it was, if it has not gone off, for the caller to drop.
    pub(super) fn stop(&self, key: TimerKey) -> Option<Timer> {
        let mut tree = self.tree.borrow_mut();
        let timer = tree.remove(&key)?;
        if self.earliest.get() == Some(key.at) {
            self.earliest.set(tree.keys().next().map(|first| first.at));
        }
        Some(timer)
    }

    /// When the next one goes off.
    #[inline]
    pub(super) fn earliest(&self) -> Option<Duration> {
        self.earliest.get()
    }

    /// Takes the earliest, if its time has come.
    pub(super) fn take_due(&self, now: Duration) -> Option<Timer> {
        if self.earliest.get().is_none_or(|earliest| earliest > now) {
            return None;
        }
        let mut tree = self.tree.borrow_mut();
        let (_, timer) = tree.pop_first()?;
        self.earliest.set(tree.keys().next().map(|first| first.at));
        Some(timer)
    }

    /// Takes all.
    pub(super) fn clear(&self) -> impl Iterator<Item = Timer> {
        self.earliest.set(None);
        self.tree.take().into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_go_off_together_and_little_late() {
        let (now, limit) = (Duration::from_millis(5), Duration::from_millis(1));
        let mut times = std::collections::BTreeSet::new();
        for micros in 0..1_000_000u64 {
            let asked = now + Duration::from_micros(micros);
            let at = coalesced(asked, now, limit);
            assert!(at >= asked && at - asked <= limit && at - asked <= Duration::from_micros(micros) / SLACK_PART);
            times.insert(at);
        }
        assert!(times.len() < 4000, "{} times", times.len());
        let exact = now + Duration::from_nanos(123_456_789);
        assert_eq!(coalesced(exact, now, Duration::ZERO), exact);
        assert_eq!(coalesced(Duration::MAX, now, limit), Duration::MAX);
    }
}
