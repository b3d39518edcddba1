//! A permit and who waits for it: the protocol of [`Spot`](super::Spot), over any type of waiter, so that loom's models can look at it
//! alone.

use std::sync::PoisonError;

use crate::primitive::{Mutex, MutexGuard};

/// Holds a permit, or the one who waits for it.
pub(super) struct Slot<W> {
    state: Mutex<State<W>>,
}

enum State<W> {
    Empty,
    Permit,
    Waiting(W),
}

impl<W> Slot<W> {
    pub(super) fn new() -> Slot<W> {
        Slot { state: Mutex::new(State::Empty) }
    }

    /// Leaves a permit, unless somebody waits: then the permit is that one's, and the caller has it to wake.
    #[must_use = "who is taken out of the slot is woken by the caller or by nobody"]
    pub(super) fn leave(&self) -> Option<W> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Permit) {
            State::Empty | State::Permit => None,
            State::Waiting(waiter) => {
                *state = State::Empty;
                Some(waiter)
            }
        }
    }

    /// Takes a permit that is there.
    pub(super) fn take(&self) -> bool {
        Self::take_from(&mut self.lock())
    }

    /// Takes a permit that is there, or puts a waiter into the slot. Returns whether there was a permit, and no waiter was made.
    pub(super) fn take_or_wait(&self, make: impl FnOnce() -> W) -> bool {
        // The lock is held until the waiter is in the slot: a permit that is left meanwhile wakes it.
        let mut state = self.lock();
        let taken = Self::take_from(&mut state);
        if !taken {
            *state = State::Waiting(make());
        }
        taken
    }

    /// Takes the waiter out of the slot, if it is in there.
    pub(super) fn unlink(&self, is_it: impl FnOnce(&W) -> bool) -> Option<W> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Empty) {
            State::Waiting(waiter) if is_it(&waiter) => Some(waiter),
            other => {
                *state = other;
                None
            }
        }
    }

    fn take_from(state: &mut State<W>) -> bool {
        let taken = matches!(state, State::Permit);
        if taken {
            *state = State::Empty;
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod models;
