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
