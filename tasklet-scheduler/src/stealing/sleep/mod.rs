#![doc = include_str!("README.md")]

use std::sync::PoisonError;

use crate::primitive::atomic::{AtomicUsize, Ordering, fence};
use crate::primitive::{Mutex, MutexGuard};

/// Who searches and who sleeps, of the workers of one runtime.
pub(super) struct Sleep {
    /// `{ sleeping: 16 bits, searching: 16 bits }`
    counts: AtomicUsize,
    sleepers: Mutex<Vec<usize>>,
    max_searching: usize,
}

const ONE_SEARCHING: usize = 1;
const ONE_SLEEPING: usize = 1 << 16;
const MASK: usize = (1 << 16) - 1;

/// A read of `counts`.
#[derive(Clone, Copy)]
struct Counts(usize);

impl Counts {
    fn searching(self) -> usize {
        self.0 & MASK
    }

    fn sleeping(self) -> usize {
        self.0 >> 16
    }

    /// Whether a sleeper is to be called for new work.
    fn wants_one(self) -> bool {
        self.searching() == 0 && self.sleeping() != 0
    }
}

/// Whether somebody else still searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the last searcher that found work calls another"]
pub(super) enum Searchers {
    /// The caller was the last.
    None,
    /// There are others.
    Some,
}

/// How a worker comes out of the list of sleepers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roused {
    /// It was called, and counts as searching.
    Called,
    /// It has left by itself, as what it said.
    ByItself,
}

/// What a worker does next that leaves the list by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// It found nothing for others to do.
    Busy,
    /// It has seen work when it looked a last time: whoever submitted that may have called nobody because of this worker's search. So it
    /// searches on, and calls another when it has found something and more is there.
    Searching,
}

impl Sleep {
    pub(super) fn new(workers: usize) -> Sleep {
        Sleep {
            counts: AtomicUsize::new(0),
            sleepers: Mutex::new(Vec::with_capacity(workers)),
            max_searching: (workers / 2).max(1),
        }
    }

    /// A busy worker wants to search. `false` if enough do.
    pub(super) fn start_searching(&self) -> bool {
        let counts = Counts(self.counts.load(Ordering::Relaxed));
        // Two that read this at once may both pass: one searcher too many does no harm.
        if counts.searching() >= self.max_searching {
            return false;
        }
        self.counts.fetch_add(ONE_SEARCHING, Ordering::Relaxed);
        true
    }

    /// A searcher has found work.
    pub(super) fn stop_searching(&self) -> Searchers {
        // SeqCst: in one order with the fences of submitters, who may have called nobody because of this searcher: it looks at what
        // there is after this.
        let before = Counts(self.counts.fetch_sub(ONE_SEARCHING, Ordering::SeqCst));
        debug_assert!(before.searching() > 0, "nobody searches: {:#x}", before.0);
        fence(Ordering::SeqCst);
        if before.searching() == 1 { Searchers::None } else { Searchers::Some }
    }

    /// Puts a worker into the list (F1, F2). It looks for work once more after this, and then waits or [leaves](Self::leave).
    pub(super) fn enter(&self, worker: usize, was_searching: bool) {
        let mut sleepers = self.lock();
        sleepers.push(worker);
        let change = if was_searching { ONE_SLEEPING - ONE_SEARCHING } else { ONE_SLEEPING };
        // SeqCst, and the fence: F1 and F2 of the README, against S2 in `call_for`.
        self.counts.fetch_add(change, Ordering::SeqCst);
        drop(sleepers);
        fence(Ordering::SeqCst);
    }

    /// A worker does not sleep any more, for whatever reason.
    pub(super) fn leave(&self, worker: usize, as_what: Leaves) -> Roused {
        let mut sleepers = self.lock();
        match sleepers.iter().position(|other| *other == worker) {
            Some(at) => {
                sleepers.swap_remove(at);
                match as_what {
                    Leaves::Busy => self.counts.fetch_sub(ONE_SLEEPING, Ordering::Relaxed),
                    // SeqCst: as in `take_sleeper`.
                    Leaves::Searching => self.counts.fetch_sub(ONE_SLEEPING - ONE_SEARCHING, Ordering::SeqCst),
                };
                Roused::ByItself
            }
            None => Roused::Called,
        }
    }

    /// Whether a worker that has entered the list has not been called.
    pub(super) fn is_listed(&self, worker: usize) -> bool {
        self.lock().contains(&worker)
    }

    /// After work was put into a deque of the caller's: whom to notify, if anybody.
    #[inline]
    pub(super) fn call(&self) -> Option<usize> {
        // Relaxed: the caller does the work itself if nobody comes.
        if Counts(self.counts.load(Ordering::Relaxed)).wants_one() { self.take_sleeper() } else { None }
    }

    /// After work was put into the injector (S1): whom to notify, if anybody (S2, S3).
    pub(super) fn call_for_injected(&self) -> Option<usize> {
        // SeqCst: S2 of the README, against F2 in `enter`.
        fence(Ordering::SeqCst);
        self.call()
    }

    #[cold]
    fn take_sleeper(&self) -> Option<usize> {
        let mut sleepers = self.lock();
        if !Counts(self.counts.load(Ordering::Relaxed)).wants_one() {
            return None;
        }
        let worker = sleepers.pop()?;
        // SeqCst: a submitter that sees this searcher relies on what it looks at later.
        self.counts.fetch_sub(ONE_SLEEPING - ONE_SEARCHING, Ordering::SeqCst);
        Some(worker)
    }

    /// Workers that sleep.
    pub(super) fn sleeping(&self) -> usize {
        Counts(self.counts.load(Ordering::Relaxed)).sleeping()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        // Nothing panics while the lock is held.
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_sleeper_is_called_at_a_time() {
        let sleep = Sleep::new(4);
        assert_eq!(sleep.call_for_injected(), None);
        sleep.enter(0, false);
        assert!(sleep.start_searching());
        sleep.enter(1, true);
        assert_eq!((sleep.sleeping(), sleep.call()), (2, Some(1)));
        assert_eq!(sleep.call(), None, "one searches already");
        assert_eq!(sleep.leave(1, Leaves::Busy), Roused::Called);
        assert_eq!(sleep.stop_searching(), Searchers::None);
        assert_eq!(sleep.call(), Some(0));
        assert_eq!((sleep.sleeping(), sleep.leave(0, Leaves::Busy)), (0, Roused::Called));
    }

    #[test]
    fn who_leaves_by_itself_is_not_called() {
        let sleep = Sleep::new(2);
        sleep.enter(1, false);
        assert_eq!(sleep.leave(1, Leaves::Busy), Roused::ByItself);
        assert_eq!(sleep.call_for_injected(), None);
        sleep.enter(1, false);
        assert_eq!(sleep.leave(1, Leaves::Searching), Roused::ByItself);
        assert_eq!((sleep.call_for_injected(), sleep.stop_searching()), (None, Searchers::None));
    }
}
