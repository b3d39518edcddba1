//! The timers of one thread's scheduler, earliest first.
//!
//! A tree ordered by time and number: a timer that is stopped, as most time limits are, is gone at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use tasklet_core::scheduler::TimerKey;

/// Timers, and for each a `T`: what happens when the time has come.
pub(crate) struct Timers<T> {
    tree: RefCell<BTreeMap<TimerKey, T>>,
    earliest: Cell<Option<Duration>>,
    numbers: Cell<u64>,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { tree: RefCell::default(), earliest: Cell::new(None), numbers: Cell::new(0) }
    }
}

impl<T> Timers<T> {
    /// A number that no other timer here has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    pub(crate) fn start(&self, at: Duration, timer: T) -> TimerKey {
        let key = TimerKey { at, number: self.number() };
        self.tree.borrow_mut().insert(key, timer);
        if self.earliest.get().is_none_or(|earliest| at < earliest) {
            self.earliest.set(Some(at));
        }
        key
    }

    /// Ends a timer; gives back what it was, if it has not gone off, for the caller to drop.
    pub(crate) fn stop(&self, key: TimerKey) -> Option<T> {
        if self.earliest.get().is_none_or(|earliest| key.at < earliest) {
            // It has gone off, as what it is for has usually found out.
            return None;
        }
        let mut tree = self.tree.borrow_mut();
        let timer = tree.remove(&key)?;
        if self.earliest.get() == Some(key.at) {
            self.earliest.set(tree.keys().next().map(|first| first.at));
        }
        Some(timer)
    }

    /// When the next one goes off.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<Duration> {
        self.earliest.get()
    }

    /// Takes the earliest, if its time has come.
    pub(crate) fn take_due(&self, now: Duration) -> Option<T> {
        if self.earliest.get().is_none_or(|earliest| earliest > now) {
            return None;
        }
        let mut tree = self.tree.borrow_mut();
        let (_, timer) = tree.pop_first()?;
        self.earliest.set(tree.keys().next().map(|first| first.at));
        Some(timer)
    }

    /// Whether there is one of which `is` says so.
    pub(crate) fn any(&self, is: impl FnMut(&T) -> bool) -> bool {
        self.tree.borrow().values().any(is)
    }

    /// Takes all.
    pub(crate) fn clear(&self) -> impl Iterator<Item = T> {
        self.earliest.set(None);
        self.tree.take().into_values()
    }
}
