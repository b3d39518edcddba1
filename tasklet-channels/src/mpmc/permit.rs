//! Room in a buffer that was reserved.

use std::fmt;

use super::Chan;
use super::sender::SenderBy;
use crate::error::{Cause, SendError};
use crate::primitive::atomic::Ordering;
use crate::wake::wake;

/// Room for one message. Dropping it gives the room to others; one that is forgotten keeps it, and the channel from ending.
#[must_use = "a permit that is dropped gives its room up"]
pub struct PermitBy<'s, T, S> {
    _sender: &'s SenderBy<T, S>,
    chan: &'s Chan<T>,
}

impl<'s, T, S> PermitBy<'s, T, S> {
    pub(super) fn new(sender: &'s SenderBy<T, S>, chan: &'s Chan<T>) -> Self {
        PermitBy { _sender: sender, chan }
    }

    /// Sends a message into the room that was reserved, also if the channel was closed meanwhile.
    ///
    /// # Scheduling
    ///
    /// Never parks. A receiver that waits is made runnable.
    ///
    /// # Errors
    ///
    /// No receiver is left. The message is in the error.
    pub fn send(self, message: T) -> Result<(), SendError<T>> {
        let chan = self.chan;
        std::mem::forget(self);
        let mut cell = Some(message);
        let mut state = chan.place.lock();
        // Under the lock, so that a last receiver which goes now discards what is put into the buffer.
        if chan.receivers.load(Ordering::Relaxed) == 0 {
            drop(state);
            chan.give_up();
            let message = cell.take().expect("a message that was not sent is here");
            return Err(SendError::new(message, Cause::Closed));
        }
        state.reserved -= 1;
        let woken = state.give(&mut cell);
        state.buffer.extend(cell.take());
        // If it went to a receiver, its room is free.
        let admitted = if woken.is_some() { state.admit() } else { None };
        drop(state);
        wake(woken);
        wake(admitted);
        chan.wake_if_closed();
        Ok(())
    }
}

impl<T, S> Drop for PermitBy<'_, T, S> {
    fn drop(&mut self) {
        self.chan.give_up();
    }
}

impl<T, S> fmt::Debug for PermitBy<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug("Permit", self.chan, f)
    }
}
