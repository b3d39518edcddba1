//! What all waits of this crate have in common: limits, and what becomes of a caller that may not wait.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tasklet_core::current::Masked;
use tasklet_core::operation::AnyBackend;
use tasklet_core::park::ParkError;
use tasklet_core::unwind::{self, TaskletExit};
use tasklet_core::wait::{self, Attempt, Ended, Patience, WaitFuture};

/// Why a wait has not led to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitError {
    /// It would have been necessary to wait.
    WouldBlock,
    /// The time was up.
    TimedOut,
    /// The caller could not wait.
    Refused(ParkError),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::WouldBlock => f.write_str("the operation would block"),
            WaitError::TimedOut => f.write_str("the time was up"),
            WaitError::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {}

/// How long a wait may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// As long as it takes.
    Never,
    /// Until the caller's clock shows this.
    At(Duration),
    /// As long as it takes, with the thread blocked: where no other tasklet may run on it.
    InPlace,
}

impl Limit {
    /// From now on, on the caller's clock. One that is past the end of time is none.
    pub(crate) fn after(limit: Duration) -> Limit {
        match wait::deadline(limit) {
            Duration::MAX => Limit::Never,
            at => Limit::At(at),
        }
    }
}

/// What `ended` means if nothing was given.
pub(crate) fn outcome(ended: Ended) -> Result<(), WaitError> {
    match ended {
        Ended::Done => Ok(()),
        // Nobody is told otherwise than by being served: what was not given must not be taken as given.
        Ended::Closed => unreachable!("nothing that is waited for here can be closed"),
        Ended::WouldBlock => Err(WaitError::WouldBlock),
        Ended::TimedOut => Err(WaitError::TimedOut),
        Ended::Refused(error) => Err(WaitError::Refused(error)),
    }
}

/// Performs an attempt that parks, or blocks the thread.
pub(crate) fn perform<A: Attempt>(attempt: A, message: Option<A::Message>, limit: Limit) -> A::Output {
    match limit {
        Limit::Never => wait::perform::<AnyBackend, _>(attempt, message, Patience::Wait),
        Limit::At(at) => wait::perform_until::<AnyBackend, _>(attempt, message, at),
        Limit::InPlace => in_place(attempt, message),
    }
}

/// A wait that has no error to return was refused: waits in place where nothing may unwind, else unwinds. For waits that may be long.
pub(crate) fn insist<T>(error: WaitError, wait: impl FnOnce(Limit) -> Result<T, WaitError>) -> T {
    let error = if thread::panicking() {
        match wait(Limit::InPlace) {
            Ok(result) => return result,
            Err(error) => error,
        }
    } else {
        error
    };
    if error == WaitError::Refused(ParkError::Cancelled) {
        unwind::raise(Box::new(TaskletExit));
    }
    panic!("could not wait: {error}");
}

/// As [`insist`], for waits that are short by their nature: under a cancelled token, `wait` is called with what is thrown at the caller put off.
pub(crate) fn insist_masked<T>(error: WaitError, mut wait: impl FnMut(Limit) -> Result<T, WaitError>) -> T {
    if error != WaitError::Refused(ParkError::Cancelled) || thread::panicking() {
        return insist(error, wait);
    }
    let masked = Masked::new();
    let result = wait(Limit::Never);
    drop(masked);
    match result {
        Ok(result) => result,
        Err(error) => insist(error, wait),
    }
}

/// Waits as async code does, and blocks the thread meanwhile. Rare: the caller is a destructor that runs in a panic.
fn in_place<A: Attempt>(attempt: A, message: Option<A::Message>) -> A::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(WaitFuture::new(attempt, message));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Calls a function when it is dropped, unless it was disarmed: what has to be done however a wait ends, or if it unwinds.
pub(crate) struct AtEnd<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> AtEnd<F> {
    /// There is nothing left to do.
    pub(crate) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The number of a lock, for dumps and reports: its address.
#[inline(always)]
pub(crate) fn number<T: ?Sized>(place: &T) -> u64 {
    std::ptr::from_ref(place).cast::<()>().addr() as u64
}
