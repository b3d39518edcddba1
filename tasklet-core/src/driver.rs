//! What a scheduler sleeps on when it has nothing to run.
//!
//! Drivers wait and notify. A notification that comes while nobody waits is kept, so that a scheduler which looked at its inbox
//! and then waits misses nothing; several are kept as one.

use std::any::Any;
use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use crate::clock::VirtualClock;
use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::primitive::{Condvar, Mutex, MutexGuard};

/// Ends a driver's wait, from any thread.
///
/// It is called in the middle of channel operations, possibly with a channel's lock held, so it must not use channels or schedulers. A
/// panic in it ends the process: whoever notifies may have lent what lies on its stack.
pub trait Notify: Send + Sync {
    /// Ends the current wait, or the next one.
    fn notify(&self);
}

/// Blocks the calling thread until there may be something to run.
///
/// A scheduler calls it in a quiet section: what would switch or change its queue is refused meanwhile. A panic in it ends the process,
/// because it would leave a switch half done.
pub trait Driver {
    /// Returns after a notification that no earlier wait returned for, or when `timeout` has passed. May return early.
    fn wait(&self, timeout: Option<Duration>);

    /// What ends the wait from outside.
    fn notifier(&self) -> Arc<dyn Notify>;

    /// Takes note of what has happened outside, without waiting; a scheduler that always has something to run calls it now and then. Returns
    /// whether something has.
    fn poll(&self) -> bool {
        false
    }

    /// Where a [`Reactor`] can be attached; none if this driver cannot wait on one.
    fn reactor(&self) -> Option<&ReactorCell> {
        None
    }
}

/// Events of the operating system, which a driver waits for together with notifications. It makes what waits for them runnable, under the
/// scheduler that waits on the driver.
pub trait Reactor: Any {
    /// Returns after events, after a notification, or when `timeout` has passed. May return early. With a timeout of zero it does not wait.
    /// Returns whether there were events.
    fn wait(&self, timeout: Option<Duration>) -> bool;

    /// What ends the wait from outside.
    fn notifier(&self) -> Arc<dyn Notify>;

    /// What is readable while there are events, or a notification, that no wait has returned for; if there is such a descriptor.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Where a driver has its [`Reactor`], once somebody has waited for events.
#[derive(Default)]
pub struct ReactorCell {
    reactor: OnceCell<Box<dyn Reactor>>,
    signal: Arc<Signal>,
}

impl ReactorCell {
    /// The reactor; `make` makes it if there is none. It is called on the thread that waits on the driver.
    ///
    /// # Errors
    ///
    /// As `make`.
    pub fn get_or_attach(&self, make: impl FnOnce() -> io::Result<Box<dyn Reactor>>) -> io::Result<&dyn Reactor> {
        if let Some(reactor) = self.reactor.get() {
            return Ok(&**reactor);
        }
        let reactor = make()?;
        // The thread does not wait, so nobody notifies it where it would.
        let _ = self.signal.reactor.set(reactor.notifier());
        Ok(&**self.reactor.get_or_init(|| reactor))
    }

    /// What a host can wait on in the driver's stead: see [`Reactor::descriptor`]. None before a reactor was attached.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.reactor.get()?.descriptor()
    }

    /// A host is about to wait on the [descriptor](Self::descriptor) in the driver's stead: from now on, a notification of the driver makes it readable,
    /// until [`take_back`](Self::take_back) or the driver's next wait. False if there was a notification already, which is taken by that: the caller looks
    /// at what it was notified of, and comes again.
    ///
    /// On the thread that waits on the driver.
    #[must_use = "a notification was taken"]
    pub fn lend(&self) -> bool {
        // Release: pairs with the acquire in `notify`: where the waiter waits is known.
        let lent = self.signal.state.compare_exchange(EMPTY, WAITING, Ordering::Release, Ordering::Relaxed).is_ok();
        lent || !self.signal.take()
    }

    /// The host does not wait any more. The caller looks at what it may have been notified of, and at [events](Driver::poll).
    pub fn take_back(&self) {
        // Acquire: pairs with the release in `notify`.
        self.signal.state.swap(EMPTY, Ordering::Acquire);
    }

    /// Makes the descriptor readable, whoever waits.
    pub fn ring(&self) {
        if let Some(reactor) = self.signal.reactor.get() {
            reactor.notify();
        }
    }
}

impl fmt::Debug for ReactorCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorCell").field("is_attached", &self.reactor.get().is_some()).finish_non_exhaustive()
    }
}

/// Waits on a condition variable or, once a tasklet of its scheduler has waited for I/O, on a [`Reactor`].
///
/// Not [`std::thread::park`], whose token belongs to one OS thread: the reference backend runs a scheduler's tasklets on several.
#[derive(Debug, Default)]
pub struct ThreadDriver {
    cell: ReactorCell,
}

/// A notification costs a system call only if somebody waits. As std's parker for threads.
#[derive(Default)]
struct Signal {
    /// `EMPTY`, `WAITING` or `NOTIFIED`.
    state: AtomicU8,
    /// Held by the waiter from before it says so until it waits.
    lock: Mutex<()>,
    changed: Condvar,
    /// Where the waiter waits instead, if there is one. Set by the waiter while it does not wait.
    reactor: OnceLock<Arc<dyn Notify>>,
}

/// Nobody waits, and there is no notification.
const EMPTY: u8 = 0;
/// Somebody waits.
const WAITING: u8 = 1;
/// There is a notification.
const NOTIFIED: u8 = 2;

impl Signal {
    /// Takes a notification that is there. Only the waiter does.
    fn take(&self) -> bool {
        // Acquire: pairs with the release in `notify`.
        self.state.compare_exchange(NOTIFIED, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // Nothing panics while the lock is held.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notify for Signal {
    fn notify(&self) {
        // Release: pairs with the acquire in `take`, also when the state does not change. Acquire: pairs with the release where the state
        // becomes `WAITING`: where it waits is known.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == WAITING {
            if let Some(reactor) = self.reactor.get() {
                return reactor.notify();
            }
            // The waiter holds the lock until it waits, so the notification cannot come in between.
            drop(self.lock());
            self.changed.notify_one();
        }
    }
}

impl Driver for ThreadDriver {
    fn wait(&self, timeout: Option<Duration>) {
        let signal = &*self.cell.signal;
        if signal.take() {
            return;
        }
        if let Some(reactor) = self.cell.reactor.get() {
            // Release: pairs with the acquire in `notify`.
            if signal.state.compare_exchange(EMPTY, WAITING, Ordering::Release, Ordering::Relaxed).is_ok() {
                reactor.wait(timeout);
            }
            // Acquire: as in `take`. Notified or not, the wait is over.
            signal.state.swap(EMPTY, Ordering::Acquire);
            return;
        }
        let lock = signal.lock();
        if signal.state.compare_exchange(EMPTY, WAITING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            drop(lock);
            signal.take();
            return;
        }
        match timeout {
            None => {
                let mut lock = lock;
                loop {
                    lock = signal.changed.wait(lock).unwrap_or_else(PoisonError::into_inner);
                    if signal.take() {
                        return;
                    }
                }
            }
            Some(timeout) => {
                drop(signal.changed.wait_timeout(lock, timeout).unwrap_or_else(PoisonError::into_inner));
                // Acquire: as in `take`. Early or late, the wait is over.
                signal.state.swap(EMPTY, Ordering::Acquire);
            }
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.cell.signal.clone()
    }

    fn poll(&self) -> bool {
        self.cell.reactor.get().is_some_and(|reactor| reactor.wait(Some(Duration::ZERO)))
    }

    fn reactor(&self) -> Option<&ReactorCell> {
        Some(&self.cell)
    }
}

/// Waits in virtual time: a wait with a timeout moves a [`VirtualClock`] forward and returns at once, so that a program that sleeps
/// for hours is over in milliseconds, and on one worker always in the same order. A wait without one blocks until a notification.
///
/// Where several workers or schedulers share a clock, each moves it when it has nothing to run, whatever the others do, and not for sleepers alone: a
/// worker waits a millisecond before it sleeps for good, and until the stacks of those who wait are to be looked at (`trim_after`). So time
/// may pass, by seconds, while a tasklet elsewhere runs, and a time limit may end what had just begun.
///
/// # Examples
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use tasklet_core::clock::{Clock, VirtualClock};
/// use tasklet_core::driver::{Driver, VirtualDriver};
///
/// let clock = Arc::new(VirtualClock::default());
/// let driver = VirtualDriver::new(clock.clone());
/// driver.wait(Some(Duration::from_secs(3600)));
/// assert_eq!(clock.now(), Duration::from_secs(3600));
/// ```
#[derive(Debug)]
pub struct VirtualDriver {
    clock: Arc<VirtualClock>,
    real: ThreadDriver,
}

impl VirtualDriver {
    /// A driver that moves `clock`.
    pub fn new(clock: Arc<VirtualClock>) -> VirtualDriver {
        VirtualDriver { clock, real: ThreadDriver::default() }
    }
}

impl Driver for VirtualDriver {
    fn wait(&self, timeout: Option<Duration>) {
        match timeout {
            None => self.real.wait(None),
            // A notification that is there already ends the wait before any time passes.
            Some(timeout) => {
                if !self.real.cell.signal.take() && !self.real.poll() {
                    self.clock.advance(timeout);
                }
            }
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.real.notifier()
    }

    fn poll(&self) -> bool {
        self.real.poll()
    }

    fn reactor(&self) -> Option<&ReactorCell> {
        self.real.reactor()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn virtual_time_passes_only_when_nobody_has_notified() {
        let clock = Arc::new(VirtualClock::default());
        let driver = VirtualDriver::new(clock.clone());
        driver.notifier().notify();
        driver.wait(Some(Duration::from_secs(1)));
        assert_eq!(clock.now(), Duration::ZERO);
        driver.wait(Some(Duration::from_secs(1)));
        assert_eq!(clock.now(), Duration::from_secs(1));
    }

    #[test]
    fn notification_before_the_wait_is_kept() {
        let driver = ThreadDriver::default();
        driver.notifier().notify();
        driver.notifier().notify();
        driver.wait(None);
        driver.wait(Some(Duration::ZERO));
    }
}
