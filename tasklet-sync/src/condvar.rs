//! Waiting for a condition on what a mutex guards.

use std::fmt;
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

use tasklet_core::wait::deadline;

use crate::gate::Gate;
use crate::mutex::MutexGuard;
use crate::waiting::{AtEnd, Limit};

/// Waits, with a mutex unlocked meanwhile, until somebody notifies.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use tasklet_scheduler::stealing::{self, Runtime};
/// use tasklet_sync::{Condvar, Mutex};
/// # use tasklet_backend_corosensei::Corosensei;
///
/// let shared = Arc::new((Mutex::new(false), Condvar::new()));
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// let there = shared.clone();
/// let waiter = runtime.spawn(move || {
///     let (ready, changed) = &*there;
///     drop(changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap());
/// });
/// // A plain thread notifies a tasklet.
/// *shared.0.lock().unwrap() = true;
/// shared.1.notify_all();
/// waiter.join().unwrap();
/// # Ok::<(), stealing::BuildError>(())
/// ```
///
/// # Differences from std
///
/// - [`WaitTimeoutResult`] is a type of this crate, since std's cannot be made.
/// - Any number of mutexes may be used with one condition variable.
/// - A tasklet that is killed while it waits unwinds *without* the mutex: it locks it when it goes on, and it does not. A notification that it
///   was given goes to the next. So does one whose receiver is killed while it locks the mutex again.
/// - Under a cancelled token [`wait`](Self::wait) unwinds as a kill does, and the forms with a time limit return at once, as if it was up: so a
///   loop that ends when the time is up ends.
pub struct Condvar {
    gate: Gate,
}

/// Whether a wait has ended because its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether nobody has notified in time, or the caller could not wait at all. The condition may hold all the same.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    constant! {
        /// A condition variable that nobody waits at.
        pub const fn new() -> Condvar {
            Condvar { gate: Gate::new(()) }
        }
    }

    /// Unlocks the mutex, waits for a notification, and locks it again. It may return without one.
    ///
    /// # Scheduling
    ///
    /// The caller parks, and again if the mutex is taken.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the guard.
    ///
    /// # Panics
    ///
    /// The caller may not wait: see the [crate](crate#rules). Unwinds with what is thrown at the caller, without the mutex.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_with(guard, |gate, seen| gate.wait_long(seen)).0
    }

    /// Waits as long as the condition is true.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait), and where `condition` does.
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for at most this long on the clock of the caller's scheduler. If the caller may not wait, the time is up at once.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait). The time limit is that of the notification, not of the mutex.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller, without the mutex.
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let limit = Limit::after(limit);
        let (guard, ended) = self.wait_with(guard, |gate, seen| gate.wait(seen, limit));
        let result = WaitTimeoutResult(ended.is_err());
        match guard {
            Ok(guard) => Ok((guard, result)),
            Err(error) => Err(PoisonError::new((error.into_inner(), result))),
        }
    }

    /// As [`wait_while`](Self::wait_while), for at most this long on the clock of the caller's scheduler. If the caller may not wait, the time
    /// is up at once. `timed_out` tells that the condition was still true.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As [`wait_timeout`](Self::wait_timeout), and where `condition` does.
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let limit = Limit::At(deadline(limit));
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            let (locked, ended) = self.wait_with(guard, |gate, seen| gate.wait(seen, limit));
            guard = match locked {
                Ok(guard) => guard,
                Err(error) => {
                    let result = WaitTimeoutResult(ended.is_err());
                    return Err(PoisonError::new((error.into_inner(), result)));
                }
            };
            if ended.is_err() {
                let still = condition(&mut guard);
                return Ok((guard, WaitTimeoutResult(still)));
            }
        }
    }

    fn wait_with<'a, T: ?Sized, R>(
        &self,
        guard: MutexGuard<'a, T>,
        wait: impl FnOnce(&Gate, u64) -> R,
    ) -> (LockResult<MutexGuard<'a, T>>, R) {
        let mutex = MutexGuard::mutex(&guard);
        // Read with the mutex locked: a notification of whoever has it next ends this epoch, or finds the caller waiting.
        let seen = self.gate.epoch();
        drop(guard);
        let ended = wait(&self.gate, seen);
        let pass_on = AtEnd(|| self.notify_one());
        let guard = mutex.lock();
        pass_on.disarm();
        (guard, ended)
    }

    /// Wakes the one that has waited longest.
    ///
    /// # Scheduling
    ///
    /// It becomes runnable; the caller goes on.
    pub fn notify_one(&self) {
        self.gate.open_one();
    }

    /// Wakes all that wait.
    ///
    /// # Scheduling
    ///
    /// They become runnable, oldest first; the caller goes on.
    pub fn notify_all(&self) {
        self.gate.open();
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").field("waiting", &self.gate.waiting()).finish()
    }
}
