//! Receivers that time itself sends to.
//!
//! Nothing runs for them: who waits for one waits until the time it is due at, on the clock of its own scheduler.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tasklet_core::current;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Arm, Found, Order, TypedArm};

use crate::error::{Cause, RecvError};
use crate::select::{Limit, SelectError, select_in};

/// Receives points in time when they have come. Made by [`after`] and [`tick`]; clones share what comes: each point goes to one of them.
///
/// Its times are on the [clock](tasklet_core::current::now) of whoever made it. The clocks of all schedulers and threads agree unless they
/// were given another.
#[derive(Clone)]
pub struct Timer {
    shared: Arc<Mutex<Due>>,
}

#[derive(Clone, Copy)]
struct Due {
    /// `None` when nothing comes any more.
    next: Option<Duration>,
    period: Option<Duration>,
}

/// A receiver of one point in time, `time` from now.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tasklet_channels::{after, rendezvous, select};
///
/// let (_sender, receiver) = rendezvous::<i32>();
/// let deadline = after(Duration::from_millis(1));
/// select! {
///     recv(receiver) -> _ => panic!("nobody sends"),
///     recv(deadline) -> at => assert!(at.is_ok()),
/// }
/// ```
pub fn after(time: Duration) -> Timer {
    at(current::now().saturating_add(time))
}

/// A receiver of one point in time, on the [clock](tasklet_core::current::now) of the caller's scheduler.
pub fn at(at: Duration) -> Timer {
    Timer { shared: Arc::new(Mutex::new(Due { next: Some(at), period: None })) }
}

/// A receiver of points in time, `period` apart, the first one `period` from now. One that nobody has received when the next is due is
/// received late; those that were missed altogether are left out.
///
/// # Panics
///
/// `period` is zero.
#[track_caller]
pub fn tick(period: Duration) -> Timer {
    assert!(!period.is_zero(), "a tick needs a period above zero");
    let next = current::now().saturating_add(period);
    Timer { shared: Arc::new(Mutex::new(Due { next: Some(next), period: Some(period) })) }
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, Due> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the point that is due.
    fn take(&self, now: Duration) -> Option<Duration> {
        let mut due = self.lock();
        let at = due.next.filter(|at| *at <= now)?;
        due.next = due.period.map(|period| {
            let missed = u32::try_from((now - at).as_nanos() / period.as_nanos()).unwrap_or(u32::MAX);
            at.saturating_add(period.saturating_mul(missed.saturating_add(1)))
        });
        Some(at)
    }

    /// Waits for the next point, and returns it. If none comes any more, it waits for ever, as on [`never`](crate::never); a plain thread is
    /// told so by an error.
    ///
    /// # Scheduling
    ///
    /// Unless a point is due, the caller parks.
    ///
    /// # Errors
    ///
    /// The caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller.
    pub fn recv(&self) -> Result<Duration, RecvError> {
        self.receive(Limit::Never)
    }

    /// As [`recv`](Self::recv), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// [`RecvError::is_would_block`].
    pub fn try_recv(&self) -> Result<Duration, RecvError> {
        self.take(current::now()).ok_or(RecvError::new(Cause::WouldBlock))
    }

    /// As [`recv`](Self::recv), but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::is_timeout`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, limit: Duration) -> Result<Duration, RecvError> {
        self.receive(Limit::In(limit))
    }

    /// As [`recv`](Self::recv), but waits until the clock shows `at`, at most.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_deadline(&self, at: Duration) -> Result<Duration, RecvError> {
        self.receive(Limit::At(at))
    }

    fn receive(&self, limit: Limit) -> Result<Duration, RecvError> {
        let mut arm = self.recv_arm();
        match select_in(&mut [&mut arm], Order::Biased, limit) {
            Ok(_) => arm.output(),
            Err(error) => Err(RecvError::new(cause(error))),
        }
    }

    /// Receives point after point.
    ///
    /// # Scheduling
    ///
    /// Each step is a [`recv`](Self::recv).
    pub fn iter(&self) -> impl Iterator<Item = Duration> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The next point, as an arm of a select.
    pub fn recv_arm(&self) -> impl TypedArm<Output = Result<Duration, RecvError>> + '_ {
        TimerArm { timer: self, received: None, due: None }
    }
}

fn cause(error: SelectError) -> Cause {
    match error.park_error() {
        Some(error) => Cause::Park(error),
        None if error.is_timeout() => Cause::TimedOut,
        None => Cause::Closed,
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = *self.lock();
        f.debug_struct("Timer").field("next", &due.next).field("period", &due.period).finish()
    }
}

struct TimerArm<'t> {
    timer: &'t Timer,
    received: Option<Duration>,
    /// When it is due, as the select that waits for it was told: nobody looks at the timer itself while its owner's stack may be elsewhere.
    due: Option<Duration>,
}

// SAFETY: it has no place, and is in no list.
unsafe impl Arm for TimerArm<'_> {
    fn look(&mut self, scheduler: &dyn Scheduler) -> Found {
        // One that it was given, and that nobody has taken, is not lost.
        self.received = self.received.or_else(|| self.timer.take(scheduler.now()));
        if self.received.is_some() { Found::Done } else { Found::Wait }
    }

    fn delist(&mut self) {}

    fn is_shared(&self) -> bool {
        self.due.is_some()
    }

    fn prepare(&mut self) -> Option<Duration> {
        self.due = self.timer.lock().next;
        self.due
    }
}

impl TypedArm for TimerArm<'_> {
    type Output = Result<Duration, RecvError>;

    fn output(&mut self) -> Self::Output {
        self.received.take().ok_or(RecvError::new(Cause::WouldBlock))
    }
}
