//! Whether a guard was dropped by a panic, as std has it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};

/// Whether what is guarded may be half done.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

/// What a guard remembers: whether its owner was unwinding already.
#[derive(Debug)]
pub(crate) struct Witness {
    panicking: bool,
}

impl Flag {
    pub(crate) const fn new() -> Flag {
        Flag(AtomicBool::new(false))
    }

    /// A guard begins.
    #[inline(always)]
    pub(crate) fn witness() -> Witness {
        Witness { panicking: std::thread::panicking() }
    }

    /// A guard ends.
    #[inline(always)]
    pub(crate) fn end(&self, witness: &Witness) {
        if !witness.panicking && std::thread::panicking() {
            // Relaxed: the lock that is released next orders it.
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// A result with this guard or value.
    #[inline(always)]
    pub(crate) fn result<G>(&self, guard: G) -> LockResult<G> {
        if self.is_set() { Err(PoisonError::new(guard)) } else { Ok(guard) }
    }
}
