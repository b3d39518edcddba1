//! The end of a tasklet, as its home, those who wait for it and its join handle agree on it. The protocol is in this folder's README.
//!
//! Apart from the record, over any type of waiter, so that loom's models can look at it alone.

use std::sync::PoisonError;

use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::primitive::{Mutex, MutexGuard};

/// The tasklet has finished; its result, if it is kept, belongs to the join handle.
const FINISHED: u8 = 1;
/// Somebody waits, or has waited, for it to finish.
const JOINERS: u8 = 2;
/// The join handle is gone: whoever comes second, it or the end of the tasklet, drops the result.
const DETACHED: u8 = 4;
/// It was made with a join handle, so it is never bound again: the handle reads the body from any thread.
const JOINABLE: u8 = 8;

/// Whether a tasklet has finished, who waits for that, and who owns its result.
pub(super) struct Finish<W> {
    shared: AtomicU8,
    #[expect(clippy::box_collection, reason = "one word in the records of all that nobody waits for")]
    joiners: Mutex<Option<Box<Vec<W>>>>,
}

/// What whoever ends a tasklet owes.
#[must_use = "the joiners wait, and a result without a handle is to be dropped"]
pub(super) struct Finished<W> {
    /// The join handle is gone: the result is the caller's to drop.
    pub(super) detached: bool,
    /// Those to wake.
    pub(super) joiners: Vec<W>,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The waiter is in the list: whoever finishes or unlinks it has it.
    Registered,
    /// The tasklet has finished; no waiter was made.
    Finished,
}

impl<W> Finish<W> {
    /// For a tasklet without a join handle.
    pub(super) fn new() -> Finish<W> {
        Finish { shared: AtomicU8::new(0), joiners: Mutex::new(None) }
    }

    /// For a tasklet with a join handle.
    pub(super) fn joinable() -> Finish<W> {
        Finish { shared: AtomicU8::new(JOINABLE), joiners: Mutex::new(None) }
    }

    pub(super) fn is_joinable(&self) -> bool {
        self.shared.load(Ordering::Relaxed) & JOINABLE != 0
    }

    /// Whether the result is there.
    pub(super) fn is_finished(&self) -> bool {
        // Acquire: pairs with the release in `finish`, so that the result is seen.
        self.shared.load(Ordering::Acquire) & FINISHED != 0
    }

    /// The tasklet begins anew. Only for one without a join handle: nobody else waits for it or looks at it.
    pub(super) fn reset(&self) {
        self.shared.store(0, Ordering::Relaxed);
    }

    /// The result is there.
    pub(super) fn finish(&self) -> Finished<W> {
        // Release: publishes the result to `is_finished`, `await_with` and `detach`. Acquire: pairs with the setting of `JOINERS` and
        // `DETACHED` there.
        let before = self.shared.fetch_or(FINISHED, Ordering::AcqRel);
        let joiners = if before & JOINERS != 0 { self.lock().take() } else { None };
        Finished { detached: before & DETACHED != 0, joiners: joiners.map(|list| *list).unwrap_or_default() }
    }

    /// Puts a waiter into the list, unless the tasklet has finished.
    pub(super) fn await_with(&self, make: impl FnOnce() -> W) -> Awaited {
        // The lock is held until the waiter is in the list: `finish` waits for it.
        let mut joiners = self.lock();
        // Acquire: the result is seen if `FINISHED` is. Release: pairs with the acquire in `finish`.
        if self.shared.fetch_or(JOINERS, Ordering::AcqRel) & FINISHED != 0 {
            return Awaited::Finished;
        }
        joiners.get_or_insert_default().push(make());
        Awaited::Registered
    }

    /// The join handle is gone. Returns whether the tasklet has finished, so that the result is the caller's to drop.
    pub(super) fn detach(&self) -> bool {
        // Acquire: the result is seen if `FINISHED` is. Release: pairs with the acquire in `finish`.
        self.shared.fetch_or(DETACHED, Ordering::AcqRel) & FINISHED != 0
    }

    /// Takes one waiter out of the list, if it is in there.
    pub(super) fn unlink(&self, is_it: impl FnMut(&W) -> bool) -> Option<W> {
        let mut joiners = self.lock();
        let list = joiners.as_mut()?;
        let at = list.iter().position(is_it)?;
        Some(list.remove(at))
    }

    #[expect(clippy::box_collection, reason = "as the field")]
    fn lock(&self) -> MutexGuard<'_, Option<Box<Vec<W>>>> {
        self.joiners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod models;
