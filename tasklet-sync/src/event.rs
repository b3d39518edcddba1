//! Something that has happened, until it is reset.

use crate::primitive::atomic::{AtomicBool, Ordering};
use std::fmt;
use std::time::Duration;

use crate::gate::Gate;
use crate::waiting::{Limit, WaitError};

/// A flag that can be waited for. It stays set until it is reset.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use tasklet_scheduler::stealing::{self, Runtime};
/// use tasklet_sync::Event;
/// # use tasklet_backend_corosensei::Corosensei;
///
/// let started = Arc::new(Event::new());
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// let tells = started.clone();
/// runtime.spawn(move || tells.set());
/// started.wait();
/// # Ok::<(), stealing::BuildError>(())
/// ```
///
/// # Differences from std
///
/// std has none. Where a standard library has one, it is of this kind: Python's `threading.Event`, a manual-reset event of Windows.
pub struct Event {
    /// Inside is whether it is set; an epoch ends when it is.
    gate: Gate<bool>,
    /// The same, to be looked at without the lock.
    set: AtomicBool,
}

impl Event {
    constant! {
        /// An event that has not happened.
        pub const fn new() -> Event {
            Event { gate: Gate::new(false), set: AtomicBool::new(false) }
        }
    }

    /// It has happened: all that wait go on, and nobody waits until it is reset.
    ///
    /// # Scheduling
    ///
    /// They become runnable, oldest first; the caller goes on.
    pub fn set(&self) {
        let ended = self.gate.with(|inside| {
            // Release: pairs with the acquire in `is_set`.
            self.set.store(true, Ordering::Release);
            let first = !std::mem::replace(&mut inside.own, true);
            first.then(|| inside.end_epoch())
        });
        if let Some(epoch) = ended {
            self.gate.release(epoch);
        }
    }

    /// It has not happened any more. Those that waited when it was set go on all the same.
    pub fn reset(&self) {
        self.gate.with(|inside| {
            self.set.store(false, Ordering::Relaxed);
            inside.own = false;
        });
    }

    /// Whether it has happened.
    pub fn is_set(&self) -> bool {
        // Acquire: pairs with the release in `set`.
        self.set.load(Ordering::Acquire)
    }

    /// Waits until it has happened.
    ///
    /// # Scheduling
    ///
    /// If it has, none. Else the caller parks.
    ///
    /// # Panics
    ///
    /// The caller may not wait: see the [crate](crate#rules). Unwinds with what is thrown at the caller while it waits.
    pub fn wait(&self) {
        if let Some(seen) = self.look() {
            self.gate.wait_long(seen);
        }
    }

    /// As [`wait`](Self::wait), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The time was up, or the caller may not wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn wait_timeout(&self, limit: Duration) -> Result<(), WaitError> {
        match self.look() {
            None => Ok(()),
            Some(seen) => self.gate.wait(seen, Limit::after(limit)),
        }
    }

    /// The epoch in which it has not happened, if it has not.
    fn look(&self) -> Option<u64> {
        if self.is_set() {
            return None;
        }
        self.gate.with(|inside| (!inside.own).then(|| inside.epoch()))
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).field("waiting", &self.gate.waiting()).finish()
    }
}
