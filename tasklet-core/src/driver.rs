//! What a scheduler sleeps on when it has nothing to run.
//!
//! Drivers wait and notify. A notification that comes while nobody waits is kept, so that a scheduler which looked at its inbox
//! and then waits misses nothing; several are kept as one.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Ends a driver's wait, from any thread.
pub trait Notify: Send + Sync {
    /// Ends the current wait, or the next one.
    fn notify(&self);
}

/// Blocks the calling thread until there may be something to run.
pub trait Driver {
    /// Returns after a notification that no earlier wait returned for, or when `timeout` has passed. May return early.
    fn wait(&self, timeout: Option<Duration>);

    /// What ends the wait from outside.
    fn notifier(&self) -> Arc<dyn Notify>;
}

/// Waits on a condition variable: the driver of a scheduler that has no I/O of its own.
///
/// Not [`std::thread::park`], whose token belongs to one OS thread: the reference backend runs a scheduler's tasklets on several.
#[derive(Debug, Default)]
pub struct ThreadDriver {
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Signal {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Notify for Signal {
    fn notify(&self) {
        *self.notified.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

impl Driver for ThreadDriver {
    fn wait(&self, timeout: Option<Duration>) {
        let mut notified = self.signal.notified.lock().unwrap_or_else(PoisonError::into_inner);
        if !*notified {
            notified = match timeout {
                None => self.signal.changed.wait(notified).unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    self.signal.changed.wait_timeout(notified, timeout).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *notified = false;
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.signal.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notification_before_the_wait_is_kept() {
        let driver = ThreadDriver::default();
        driver.notifier().notify();
        driver.notifier().notify();
        driver.wait(None);
        driver.wait(Some(Duration::ZERO));
    }
}
