//! Where a soft tasklet is: the protocol between those who wake it and the one that polls it, apart from what it holds, so that loom's
//! models can look at it alone.
//!
//! Both sides only exchange the word, and never write it without reading it: a wake that finds the tasklet in a queue leaves the poll to
//! whoever takes it out, who therefore has to see what was done before that wake. A plain store at the beginning of a poll could be
//! held back by the processor until the poll has looked, and the wake be lost between the two.
//!
//! | from | to | by |
//! |---|---|---|
//! | waiting | queued | a wake, which puts it into a queue |
//! | queued | polled | whoever takes it out of the queue; the future is theirs |
//! | polled | woken | a wake |
//! | polled | waiting | the end of the poll |
//! | woken | queued | the end of the poll, which puts it into a queue |
//! | waiting, queued | ended | a discard; the future is the discarder's |
//! | polled, woken | doomed | a discard, which leaves the future to the end of the poll |
//! | polled, woken, doomed | ended | the last poll |
//!
//! So the future has one owner at a time: nobody while it waits or is queued, the poll, and at last whoever has made it ended, who drops it.

use crate::primitive::atomic::{AtomicU8, Ordering};

/// In no queue; somebody has to wake it.
const WAITING: u8 = 0;
/// In a queue.
const QUEUED: u8 = 1;
/// Being polled.
const POLLED: u8 = 2;
/// Being polled, and to be polled again.
const WOKEN: u8 = 3;
/// Being polled, for the last time.
const DOOMED: u8 = 4;
/// It has ended.
const ENDED: u8 = 5;

/// The word.
pub(super) struct State(AtomicU8);

/// What becomes of a soft tasklet that was polled and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "one that was woken meanwhile is in no queue and is woken by nobody else"]
pub(super) enum Polled {
    /// The next wake puts it into a queue.
    Waits,
    /// It was woken meanwhile: the caller puts it into a queue.
    Again,
    /// It was discarded meanwhile: it has ended, and the future is the caller's to drop.
    Ended,
}

impl State {
    /// Of one that is about to be put into a queue.
    pub(super) fn queued() -> State {
        State(AtomicU8::new(QUEUED))
    }

    /// Whoever took it out of its queue polls it, unless it has ended.
    #[must_use = "one that has ended must not be polled"]
    pub(super) fn begin_poll(&self) -> bool {
        // Acquire: pairs with the release in `wake`: what was done before a wake is seen by the poll that is to come.
        let before = self.0.compare_exchange(QUEUED, POLLED, Ordering::AcqRel, Ordering::Relaxed);
        debug_assert!(matches!(before, Ok(_) | Err(ENDED)), "a soft tasklet that is polled was in a queue");
        before.is_ok()
    }

    /// It was polled, and is where the next poll finds it.
    pub(super) fn end_poll(&self) -> Polled {
        // Release: what the poll has left behind is seen by the next, which begins after a wake that has read this, and by a discard. Acquire:
        // as in `begin_poll`.
        let next = |state| match state {
            POLLED => WAITING,
            WOKEN => QUEUED,
            _ => ENDED,
        };
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| Some(next(state))) {
            Ok(POLLED) => Polled::Waits,
            Ok(WOKEN) => Polled::Again,
            Ok(_) | Err(_) => Polled::Ended,
        }
    }

    /// Nobody will poll it any more. Returns whether the future is the caller's to drop; else it has ended, or the poll that is going on
    /// will see to it.
    #[must_use = "a future without an owner is leaked"]
    pub(super) fn discard(&self) -> bool {
        let next = |state| match state {
            WAITING | QUEUED => ENDED,
            POLLED | WOKEN => DOOMED,
            state => state,
        };
        // Acquire: pairs with the release in `end_poll`: what the last poll has left behind is seen by whoever drops it.
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| Some(next(state)));
        matches!(before, Ok(WAITING | QUEUED))
    }

    /// It has ended, says the poll: wakes and discards have no effect any more.
    pub(super) fn end(&self) {
        self.0.store(ENDED, Ordering::Relaxed);
    }

    /// Whether this wake is the one that puts it into a queue.
    pub(super) fn wake(&self) -> bool {
        let next = |state| match state {
            WAITING => Some(QUEUED),
            POLLED => Some(WOKEN),
            // Written again, so that what was done before this wake is seen by the poll that is to come.
            state => Some(state),
        };
        // Release: pairs with the acquire in `begin_poll`.
        self.0.fetch_update(Ordering::Release, Ordering::Relaxed, next) == Ok(WAITING)
    }
}

#[cfg(all(test, loom))]
mod models;
