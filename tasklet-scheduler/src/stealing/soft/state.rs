//! Where a soft tasklet is: the protocol between those who wake it and the one that polls it, apart from what it holds, so that loom's
//! models can look at it alone.
//!
//! Both sides only exchange the word, and never write it without reading it: a wake that finds the tasklet in a queue leaves the poll to
//! whoever takes it out, who therefore has to see what was done before that wake. A plain store at the beginning of a poll could be
//! held back by the processor until the poll has looked, and the wake be lost between the two.

use crate::primitive::atomic::{AtomicU8, Ordering};

/// In no queue; somebody has to wake it.
const WAITING: u8 = 0;
/// In a queue.
const QUEUED: u8 = 1;
/// Being polled.
const POLLED: u8 = 2;
/// Being polled, and to be polled again.
const WOKEN: u8 = 3;
/// It has ended.
const ENDED: u8 = 4;

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
}

impl State {
    /// Of one that is about to be put into a queue.
    pub(super) fn queued() -> State {
        State(AtomicU8::new(QUEUED))
    }

    /// Whoever took it out of its queue polls it.
    pub(super) fn begin_poll(&self) {
        // Acquire: pairs with the release in `wake`: what was done before a wake is seen by the poll that is to come.
        let before = self.0.swap(POLLED, Ordering::AcqRel);
        debug_assert_eq!(before, QUEUED, "a soft tasklet that is polled was in a queue");
    }

    /// It was polled, and is where the next poll finds it.
    pub(super) fn end_poll(&self) -> Polled {
        // Release: what the poll has left behind is seen by the next, which begins after a wake that has read this. Acquire: as in
        // `begin_poll`.
        if self.0.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Polled::Waits;
        }
        self.0.swap(QUEUED, Ordering::AcqRel);
        Polled::Again
    }

    /// It has ended: wakes have no effect any more.
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
