//! How the caller of a `join` learns what became of its second closure: the protocol, apart from closures and stacks, so that loom's
//! models can look at it alone.

use std::ptr::NonNull;

use crate::primitive::atomic::{AtomicU8, Ordering};

/// Nobody has come to its end.
const PENDING: u8 = 0;
/// Its result is there, or it will not be run and the caller runs it.
const SETTLED: u8 = 1;

/// Lies in a fork, on the caller's stack: gone as soon as the caller has seen that it is settled.
pub(super) struct HandOver<C> {
    state: AtomicU8,
    /// The one to tell.
    caller: C,
}

impl<C> HandOver<C> {
    pub(super) fn new(caller: C) -> HandOver<C> {
        HandOver { state: AtomicU8::new(PENDING), caller }
    }

    /// Whether the fork is the caller's again, with what was stored in it before.
    pub(super) fn is_settled(&self) -> bool {
        // Acquire: pairs with the release in `settle`.
        self.state.load(Ordering::Acquire) == SETTLED
    }

    /// Gives the fork back to its caller. Returns what `share` makes of the one to tell, who is told afterwards: the fork may be gone
    /// then, and is not touched after its state was set.
    ///
    /// # Safety
    ///
    /// `this` is alive and not settled; nobody else settles it.
    pub(super) unsafe fn settle<S>(this: NonNull<HandOver<C>>, share: impl FnOnce(&C) -> S) -> S {
        // SAFETY: the caller's promise.
        let caller = share(unsafe { &(*this.as_ptr()).caller });
        // SAFETY: as above. Release: publishes the result, and that the caller was looked at, to `is_settled`.
        unsafe { (*this.as_ptr()).state.store(SETTLED, Ordering::Release) };
        caller
    }
}

#[cfg(all(test, loom))]
mod models;
