//! Why a channel operation failed. A failed send gives the value back.

use std::fmt;

use tasklet_core::park::ParkError;
use tasklet_core::wait::Ended;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Closed,
    WouldBlock,
    TimedOut,
    NoBuffer,
    Park(ParkError),
}

impl Cause {
    /// Why an attempt that has ended so has failed, if it has.
    #[inline(always)]
    pub(crate) fn of(ended: Ended) -> Option<Cause> {
        match ended {
            Ended::Done => None,
            Ended::WouldBlock => Some(Cause::WouldBlock),
            Ended::Closed => Some(Cause::Closed),
            Ended::TimedOut => Some(Cause::TimedOut),
            Ended::Refused(error) => Some(Cause::Park(error)),
        }
    }

    fn is_closed(self) -> bool {
        self == Cause::Closed
    }

    fn is_would_block(self) -> bool {
        self == Cause::WouldBlock
    }

    fn park_error(self) -> Option<ParkError> {
        match self {
            Cause::Park(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Closed => f.write_str("the channel is closed"),
            Cause::WouldBlock => f.write_str("the operation would have to wait"),
            Cause::NoBuffer => f.write_str("a rendezvous has no room that could be reserved"),
            Cause::TimedOut => f.write_str("the time was up"),
            Cause::Park(error) => error.fmt(f),
        }
    }
}

/// A value could not be sent; it is in here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T> {
    value: T,
    cause: Cause,
}

impl<T> SendError<T> {
    pub(crate) fn new(value: T, cause: Cause) -> SendError<T> {
        SendError { value, cause }
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> SendError<U> {
        SendError { value: f(self.value), cause: self.cause }
    }

    /// The channel is a rendezvous: there is no room that could be reserved.
    pub fn is_no_buffer(&self) -> bool {
        self.cause == Cause::NoBuffer
    }

    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The channel is closed, and nothing is left in it for the caller.
    pub fn is_closed(&self) -> bool {
        self.cause.is_closed()
    }

    /// It would have had to wait, and does not.
    pub fn is_would_block(&self) -> bool {
        self.cause.is_would_block()
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.cause == Cause::TimedOut
    }

    /// Why the caller could not park or switch, if that is the cause.
    pub fn park_error(&self) -> Option<ParkError> {
        self.cause.park_error()
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({})", self.cause)
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not send: {}", self.cause)
    }
}

impl<T> std::error::Error for SendError<T> {}

/// One of several values could not be sent.
pub struct SendAllError<T> {
    /// Values sent before it.
    pub sent: usize,
    /// The one that failed. Later ones were not taken from the iterator.
    pub error: SendError<T>,
}

impl<T> fmt::Debug for SendAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAllError").field("sent", &self.sent).field("error", &self.error).finish()
    }
}

impl<T> fmt::Display for SendAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} values", self.error, self.sent)
    }
}

impl<T> std::error::Error for SendAllError<T> {}

/// No value could be received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecvError {
    cause: Cause,
}

impl RecvError {
    pub(crate) fn new(cause: Cause) -> RecvError {
        RecvError { cause }
    }

    /// The channel is closed, and nothing is left in it for the caller.
    pub fn is_closed(&self) -> bool {
        self.cause.is_closed()
    }

    /// It would have had to wait, and does not.
    pub fn is_would_block(&self) -> bool {
        self.cause.is_would_block()
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.cause == Cause::TimedOut
    }

    /// Why the caller could not park or switch, if that is the cause.
    pub fn park_error(&self) -> Option<ParkError> {
        self.cause.park_error()
    }
}

impl fmt::Debug for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvError({})", self.cause)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not receive: {}", self.cause)
    }
}

impl std::error::Error for RecvError {}
