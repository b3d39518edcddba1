//! What travels up a tasklet's stack: panics, interrupts thrown at it, and the exit that kill raises.
//!
//! A tasklet is killed by unwinding: it is resumed, and the call it was suspended in raises [`TaskletExit`] with
//! [`std::panic::resume_unwind`], so that destructors run in order and no panic hook does. Payloads are caught at the tasklet's
//! root, by its record, on every backend.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

/// What a panic or an interrupt carries, as in [`std::thread::Result`].
pub type Payload = Box<dyn Any + Send + 'static>;

/// The payload that kill raises. It ends a tasklet silently: no hook prints it and no scheduler reports it.
///
/// Code that catches unwinding can tell it with [`is_tasklet_exit`], and should raise it again; a tasklet that keeps it simply
/// goes on living.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskletExit;

/// Whether a caught payload is the exit that kill raises.
///
/// # Examples
///
/// ```
/// use tasklet_core::unwind::{TaskletExit, is_tasklet_exit, Payload};
///
/// let payload: Payload = Box::new(TaskletExit);
/// assert!(is_tasklet_exit(&payload));
/// ```
pub fn is_tasklet_exit(payload: &Payload) -> bool {
    payload.is::<TaskletExit>()
}

/// The text of a panic payload, if it is one of the two types `panic!` makes.
pub fn message(payload: &Payload) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a payload that is not text"
    }
}

/// Calls `f` at a tasklet's root and catches what unwinds out of it.
///
/// Unwind safety is asserted: the closure is gone after the call, and what it shared with others they see as they would after a
/// panic on another thread.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Raises an interrupt at a suspension point. No panic hook runs.
pub fn raise(payload: Payload) -> ! {
    resume_unwind(payload)
}

/// Drops a value whose destructor may panic, where there is nobody to give the panic to.
///
/// The panic hook has printed it by then; the payload is forgotten if dropping it panics too.
pub fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch(|| drop(value))
        && let Err(second) = catch(|| drop(payload))
    {
        std::mem::forget(second);
    }
}

/// Wakes, where there is nobody to give a panic to: a waker is the user's code.
pub fn wake_quietly(waker: Waker) {
    if let Err(payload) = catch(|| waker.wake()) {
        drop_quietly(payload);
    }
}

/// Ends the process if dropped: for code whose unwinding would leave the scheduler's invariants broken.
pub struct AbortOnUnwind(&'static str);

impl AbortOnUnwind {
    /// Arms the guard; `what` says which invariant would be broken.
    pub fn new(what: &'static str) -> AbortOnUnwind {
        AbortOnUnwind(what)
    }

    /// The code returned: disarms the guard.
    pub fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("tasklet: {} must not unwind; aborting", self.0);
        std::process::abort();
    }
}
