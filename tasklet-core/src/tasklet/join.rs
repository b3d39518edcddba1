//! Waiting for a tasklet's result.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::record::Record;
use crate::id::TaskletId;
use crate::park::ParkError;
use crate::unwind::{self, Payload};

/// The right to the result of a tasklet, as [`std::thread::JoinHandle`] is to a thread's.
///
/// Dropping it detaches the tasklet: it goes on, and its result or panic is dropped.
///
/// # Differences from `std::thread::JoinHandle`
///
/// - Joining from a tasklet parks the tasklet, not its thread; a plain thread is parked.
/// - A tasklet that was killed gives [`JoinError::is_killed`], not a payload.
/// - Waiting for oneself, or for a tasklet that nobody will ever run again, is an error where it can be told.
pub struct JoinHandle<T> {
    record: Arc<Record>,
    /// The result moves to whoever joins: the handle may travel only if it may.
    result: PhantomData<T>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(record: Arc<Record>) -> JoinHandle<T> {
        JoinHandle { record, result: PhantomData }
    }

    /// The tasklet's identity.
    pub fn id(&self) -> TaskletId {
        self.record.id()
    }

    /// The tasklet's record, for schedulers.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Whether [`join`](Self::join) would return at once. Never parks.
    pub fn is_finished(&self) -> bool {
        self.record.is_finished()
    }

    /// Parks the caller until the tasklet has finished.
    ///
    /// # Scheduling
    ///
    /// If the tasklet has finished, the caller goes on. Else it parks, and the next in the queue runs; when the tasklet has finished,
    /// the caller is appended to the queue.
    ///
    /// # Errors
    ///
    /// The caller may not park, or nobody would ever wake it: see [`ParkError`]. The handle can be used again.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller, or with an error of a tasklet if the caller is the main tasklet.
    pub fn wait(&self) -> Result<(), ParkError> {
        self.record.await_finish()
    }

    /// Waits for the tasklet and returns its result.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The tasklet panicked or was killed, or [`wait`](Self::wait) failed. In the last case the result is lost with the handle; call
    /// `wait` first where that can happen.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn join(self) -> Result<T, JoinError> {
        self.wait().map_err(|error| JoinError { cause: Cause::Park(error) })?;
        // SAFETY: `Record::joinable` made this one handle together with the record, for the closure's own type; the tasklet has
        // finished; `self` is consumed.
        match unsafe { self.record.take_result::<T>() } {
            Some(Ok(value)) => Ok(value),
            Some(Err(payload)) if unwind::is_tasklet_exit(&payload) => Err(JoinError { cause: Cause::Killed }),
            Some(Err(payload)) => Err(JoinError { cause: Cause::Panic(payload) }),
            None => Err(JoinError { cause: Cause::Killed }),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // Once it has finished nobody else looks at the result, so the second look, which is dearer, is for the race alone.
        if self.record.is_finished() || self.record.detach() {
            // SAFETY: as in `join`; the handle is going away. The result may be `!Send`, but then so is the handle.
            unwind::drop_quietly(unsafe { self.record.take_result::<T>() });
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinHandle").field(&self.record).finish()
    }
}

/// A tasklet has no result to give.
pub struct JoinError {
    cause: Cause,
}

enum Cause {
    Panic(Payload),
    Killed,
    Park(ParkError),
}

impl JoinError {
    /// The tasklet was killed before it returned.
    pub fn is_killed(&self) -> bool {
        matches!(self.cause, Cause::Killed)
    }

    /// The tasklet panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }

    /// Why the caller could not wait, if that is the cause.
    pub fn park_error(&self) -> Option<ParkError> {
        match self.cause {
            Cause::Park(error) => Some(error),
            _ => None,
        }
    }

    /// What the tasklet panicked with.
    pub fn into_panic(self) -> Option<Payload> {
        match self.cause {
            Cause::Panic(payload) => Some(payload),
            _ => None,
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Panic(payload) => write!(f, "the tasklet panicked: {}", unwind::message(payload)),
            Cause::Killed => f.write_str("the tasklet was killed"),
            Cause::Park(error) => write!(f, "could not wait for the tasklet: {error}"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
