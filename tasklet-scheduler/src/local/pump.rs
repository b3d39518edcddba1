//! A scheduler in an event loop of somebody else's: it runs when it is called, and its host waits in its stead.
//!
//! While the host waits, the driver is *lent*: a notification makes a descriptor readable that the host polls. The protocol is that of a wait
//! ([`ReactorCell::lend`](tasklet_core::driver::ReactorCell::lend)): first the driver is lent, and if there was a notification before that, the inbox
//! is looked at again; who asks later finds it lent, and writes. Its models are in `tasklet-core/src/home/models.rs`.
//!
//! What the host itself makes runnable, on the scheduler's own thread, comes by no inbox: the ring tells of it (`Ring::set_tells`).

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::clock::Clock as _;
use tasklet_core::driver::Reactor;
use tasklet_core::park::ParkError;

use super::budget::Budget;
use super::error::RunError;
use super::inner::Inner;
use super::run::{RunOptions, RunOutcome};
use super::scheduler::Scheduler;
use crate::engine::Host as _;

/// Free stacks whose pages are released at a time, in 50 microseconds, before the host waits.
const COOL: usize = 64;

/// How long the host may wait before it calls [`Pump::run_once`] again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Not at all: there is more to run.
    Now,
    /// Until the descriptor is readable, and so long at most: then a timer goes off, or stacks are to be [looked
    /// at](super::Builder::trim_after).
    Within(Duration),
    /// Until the descriptor is readable.
    Event,
}

impl Next {
    /// The same as a limit for `poll(2)` and its like: none is for ever. Round it up to what your call can tell, or it comes too early and has
    /// to be called again.
    pub fn timeout(self) -> Option<Duration> {
        match self {
            Next::Now => Some(Duration::ZERO),
            Next::Within(limit) => Some(limit),
            Next::Event => None,
        }
    }
}

/// Drives a [`Scheduler`] from an event loop that knows nothing of tasklets: a descriptor to wait for, and a call that runs what is runnable.
///
/// The host calls [`run_once`](Self::run_once), waits until the descriptor is readable or the time is up that it was told, and calls again. It need not
/// read the descriptor, and must not.
///
/// What other threads do to the scheduler makes the descriptor readable, and so does what code of the host's thread does between two calls that does
/// not wait: a spawn, a send with room, an async task that wakes a tasklet. What waits there (a join, a receive) runs tasklets itself, as
/// ever on this scheduler; call [`run_once`](Self::run_once) after it, before the host waits.
///
/// # Examples
///
/// ```
/// # use tasklet_backend_corosensei::Corosensei as Backend;
/// # use tasklet_scheduler::local;
/// use rustix::event::{PollFd, PollFlags, Timespec, poll};
/// use std::time::Duration;
///
/// let scheduler = local::Scheduler::<Backend>::new();
/// let pump = local::Pump::new(&scheduler, tasklet_io::reactor)?;
/// let answer = scheduler.spawn_joinable(|| {
///     local::sleep(Duration::from_millis(5));
///     42
/// });
/// while !answer.is_finished() {
///     let limit = pump.run_once(None)?.timeout().map(|limit| Timespec::try_from(limit).unwrap());
///     // With what else the host waits for.
///     poll(&mut [PollFd::new(&pump, PollFlags::IN)], limit.as_ref())?;
/// }
/// assert_eq!(answer.join().unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pump<'s> {
    inner: Rc<Inner>,
    scheduler: PhantomData<&'s ()>,
}

impl<'s> Pump<'s> {
    /// For a scheduler whose tasklets may have waited for I/O already, or not: if not, `reactor` makes what to wait on.
    ///
    /// A clock that is not the system's is the host's to move, a [`VirtualClock`](tasklet_core::clock::VirtualClock) too: its driver moves it only where that waits.
    ///
    /// # Errors
    ///
    /// What `reactor` says; the scheduler has a driver of the application's that has no descriptor; and
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy), if it has a pump already: one host at a time waits for it.
    pub fn new<B: Backend>(
        scheduler: &'s Scheduler<B>,
        reactor: impl FnOnce() -> io::Result<Box<dyn Reactor>>,
    ) -> io::Result<Pump<'s>> {
        let inner = scheduler.inner().clone();
        let unfit = || {
            let message =
                "the scheduler's driver has no descriptor to wait for: use ThreadDriver, or one with a reactor";
            io::Error::new(io::ErrorKind::Unsupported, message)
        };
        let cell = inner.reactor().ok_or_else(unfit)?;
        cell.get_or_attach(reactor)?;
        cell.descriptor().ok_or_else(unfit)?;
        if inner.has_pump.replace(true) {
            let message = "the scheduler has a pump already, whose host waits for it: share that one, or drop it first";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        Ok(Pump { inner, scheduler: PhantomData })
    }

    /// Runs what is runnable, within `budget` if there is one, then returns and says how long the host may wait. Looks at timers, events and what other
    /// threads have asked for, and does not wait for any.
    ///
    /// # Scheduling
    ///
    /// As [`Scheduler::run_with`] with a soft budget for the whole run.
    ///
    /// # Errors
    ///
    /// As [`Scheduler::run_with`]. The others stay queued: call again, without waiting.
    ///
    /// # Panics
    ///
    /// As [`Scheduler::run`].
    pub fn run_once(&self, budget: Option<Budget>) -> Result<Next, RunError> {
        self.inner.pump(budget)
    }
}

impl Inner {
    fn pump(&self, budget: Option<Budget>) -> Result<Next, RunError> {
        if !self.is_at_rest() {
            return Err(RunError::Park(ParkError::Elsewhere));
        }
        self.take_back();
        let options = budget.map_or(RunOptions::new(), |budget| RunOptions::new().total(budget));
        match self.run(options)? {
            RunOutcome::Idle => {}
            _ => return Ok(Next::Now),
        }
        // Once more, since not all events may have been fetched at once: some hosts are told of new ones only.
        if self.poll_driver() || self.engine().cool(COOL) != 0 || !self.lend() {
            return Ok(Next::Now);
        }
        self.look_at_stacks();
        let Some(due) = self.next_timer().into_iter().chain(self.looks.due()).min() else { return Ok(Next::Event) };
        let left = due.saturating_sub(self.clock().now());
        Ok(if left.is_zero() { Next::Now } else { Next::Within(left) })
    }

    /// The host waits from now on. False if there is something to do.
    fn lend(&self) -> bool {
        let Some(cell) = self.reactor() else { return false };
        self.ring.set_tells(true);
        self.is_lent.set(true);
        loop {
            if self.ring.len() > 1 || self.token.has_requests() {
                return false;
            }
            if cell.lend() {
                return true;
            }
            // Somebody has notified, perhaps of what was found long ago.
        }
    }

    /// The host does not wait any more.
    fn take_back(&self) {
        self.ring.set_tells(false);
        self.is_lent.set(false);
        if let Some(cell) = self.reactor() {
            cell.take_back();
        }
    }
}

impl AsFd for Pump<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.reactor().and_then(|cell| cell.descriptor()).expect("it was there when the pump was made")
    }
}

impl AsRawFd for Pump<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Pump<'_> {
    fn drop(&mut self) {
        // In a tasklet, the run that has called it took it back.
        if self.inner.is_at_rest() {
            self.inner.take_back();
        }
        self.inner.has_pump.set(false);
    }
}

impl fmt::Debug for Pump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("fd", &self.as_raw_fd()).finish_non_exhaustive()
    }
}
