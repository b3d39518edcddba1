//! What all waits of this crate have in common: limits, and what becomes of a caller that may not wait.

use std::fmt;
use std::time::Duration;

use tasklet_core::current::Masked;
use tasklet_core::operation::AnyBackend;
use tasklet_core::park::ParkError;
use tasklet_core::unwind::{self, TaskletExit};
use tasklet_core::wait::{self, Attempt, Ended, Patience};

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

/// Performs an attempt that parks.
pub(crate) fn perform<A: Attempt>(attempt: A, message: Option<A::Message>, limit: Limit) -> A::Output {
    match limit {
        Limit::Never => wait::perform::<AnyBackend, _>(attempt, message, Patience::Wait),
        Limit::At(at) => wait::perform_until::<AnyBackend, _>(attempt, message, at),
    }
}

/// A wait that has no error to return was refused: waits in place where nothing may unwind, else unwinds. For waits that may be long.
pub(crate) fn insist<T>(error: WaitError, mut attempt: impl FnMut() -> Option<T>) -> T {
    if std::thread::panicking() {
        return in_place(&mut attempt);
    }
    if error == WaitError::Refused(ParkError::Cancelled) {
        unwind::raise(Box::new(TaskletExit));
    }
    panic!("could not wait: {error}");
}

/// As [`insist`], for waits that are short by their nature: under a cancelled token, `wait` is called with what is thrown at the caller put off.
pub(crate) fn insist_masked<T>(
    error: WaitError,
    attempt: impl FnMut() -> Option<T>,
    wait: impl FnOnce() -> Result<T, WaitError>,
) -> T {
    if error != WaitError::Refused(ParkError::Cancelled) || std::thread::panicking() {
        return insist(error, attempt);
    }
    let masked = Masked::new();
    let result = wait();
    drop(masked);
    match result {
        Ok(result) => result,
        Err(error) => insist(error, attempt),
    }
}

/// Blocks the thread until the attempt succeeds. Rare: the caller is a destructor that runs in a panic.
fn in_place<T>(attempt: &mut impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        std::thread::sleep(Duration::from_micros(50));
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
