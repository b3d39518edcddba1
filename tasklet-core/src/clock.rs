//! Time as schedulers see it: real, or virtual for tests and simulations.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tells the time since an arbitrary start. Never goes back.
///
/// A scheduler calls it in a quiet section: what would switch or change its queue is refused meanwhile. A panic in it ends the process,
/// because it would leave a switch half done.
pub trait Clock {
    /// Time since the clock's start.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock. All real clocks of a process agree: a point in time means the same to every scheduler that has one,
/// and to plain threads. They count from when the system started, or so.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealClock {
    // Nothing so far, and nobody outside relies on that.
    _private: (),
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        // Not `Instant`, which tells no time but that since another one: all would have to share that other one.
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes a time to where it is told to, which is ours.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        assert_eq!(result, 0, "every system that Rust runs on has a monotonic clock");
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Not those alone that one was made from, or that one thread made.
    #[test]
    fn all_real_clocks_agree() {
        let first = RealClock::default();
        let mut before = first.now();
        for _ in 0..100 {
            let on_another_thread = std::thread::spawn(|| RealClock::default().now()).join().unwrap();
            let on_this = RealClock::default().now();
            let after = first.now();
            assert!(before <= on_another_thread && on_another_thread <= on_this && on_this <= after);
            before = after;
        }
    }

    #[test]
    fn the_real_clock_goes_as_fast_as_others() {
        let (clock, outer) = (RealClock::default(), std::time::Instant::now());
        let start = clock.now();
        let inner = std::time::Instant::now();
        while inner.elapsed() < Duration::from_millis(10) {}
        let (least, took) = (inner.elapsed(), clock.now() - start);
        assert!(least <= took && took <= outer.elapsed(), "{took:?}");
    }
}
