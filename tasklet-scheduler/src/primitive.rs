//! The atomics and locks of the protocols between workers: std's, or loom's where `cfg(loom)` models them.
//!
//! Only what has a model takes them from here. Under `cfg(loom)` these types work inside of a model and nowhere else.

#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

/// A piece of memory that models watch: it is freed once, and used before that alone. In all other builds there is nothing of it.
#[derive(Default)]
pub(crate) struct Memory {
    #[cfg(loom)]
    freed: loom::cell::UnsafeCell<bool>,
}

impl Memory {
    /// It is about to be used.
    #[inline(always)]
    pub(crate) fn touch(&self) {
        #[cfg(loom)]
        // SAFETY: loom checks it.
        self.freed.with(|freed| assert!(!unsafe { *freed }, "memory is used that was freed"));
    }

    /// Nobody uses it any more. Returns whether to free it: a model does that later, so that it sees whoever uses it meanwhile.
    #[inline(always)]
    pub(crate) fn end(&self) -> bool {
        #[cfg(loom)]
        // SAFETY: loom checks it.
        self.freed.with_mut(|freed| assert!(!std::mem::replace(unsafe { &mut *freed }, true), "memory is freed twice"));
        !cfg!(loom)
    }

    /// Whether [`end`](Self::end) was called.
    #[cfg(all(test, loom))]
    pub(crate) fn has_ended(&self) -> bool {
        // SAFETY: loom checks it.
        self.freed.with(|freed| unsafe { *freed })
    }
}
