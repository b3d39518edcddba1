//! Time as schedulers see it: real, or virtual for tests and simulations.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells the time since an arbitrary start. Never goes back.
///
/// A scheduler calls it in a quiet section: what would switch or change its queue is refused meanwhile. A panic in it ends the process,
/// because it would leave a switch half done.
pub trait Clock {
    /// Time since the clock's start.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct RealClock {
    start: Instant,
}

impl Default for RealClock {
    fn default() -> Self {
        RealClock { start: Instant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to. Clones of an [`Arc`](std::sync::Arc) of it show the same time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tasklet_core::clock::{Clock, VirtualClock};
///
/// let clock = VirtualClock::default();
/// clock.advance(Duration::from_secs(3));
/// assert_eq!(clock.now(), Duration::from_secs(3));
/// ```
#[derive(Debug, Default)]
pub struct VirtualClock {
    now: Mutex<Duration>,
}

impl VirtualClock {
    /// Moves the clock forward, to the largest [`Duration`] at most.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = now.saturating_add(by);
    }

    /// Moves the clock forward to `to`; does nothing if it is later already.
    pub fn advance_to(&self, to: Duration) {
        let mut now = self.lock();
        *now = (*now).max(to);
    }

    fn lock(&self) -> MutexGuard<'_, Duration> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        *self.lock()
    }
}

impl<C: Clock + ?Sized> Clock for std::rc::Rc<C> {
    fn now(&self) -> Duration {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Duration {
        (**self).now()
    }
}
