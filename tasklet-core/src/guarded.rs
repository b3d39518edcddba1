//! State behind a lock that is held for a few instructions, and that costs nothing until a second thread can reach the state.
//!
//! # Invariants
//!
//! - **K1** While `contended` is false, one thread alone has references to the state: a [`Guarded`] is not `Sync`, and whoever gives
//!   one to a second thread calls [`share`](Guarded::share) before.
//! - **K2** At most one guard lives at a time. Without contention `borrowed` is set exactly then, so a second `lock` finds it and
//!   panics; else the lock excludes.

mod raw;

use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};

use crate::primitive::atomic::{AtomicBool, Ordering};
pub(crate) use raw::{FIRST, RawLock};

/// The lock of a [`Guarded`], whatever that guards.
pub struct Latch {
    lock: RawLock,
    contended: AtomicBool,
    borrowed: Cell<bool>,
}

/// State behind a lock; see the module.
pub struct Guarded<T> {
    latch: Latch,
    value: UnsafeCell<T>,
}

/// Access to the state.
pub struct Guard<'a, T> {
    guarded: &'a Guarded<T>,
    locked: bool,
}

impl Latch {
    /// Takes the lock. Returns what [`release`](Self::release) is to be told.
    #[inline(always)]
    fn acquire(&self) -> bool {
        let contended = self.is_contended();
        if contended {
            self.lock.lock();
        } else {
            assert!(!self.borrowed.replace(true), "a channel's lock is taken twice by one thread");
        }
        contended
    }

    #[inline(always)]
    fn release(&self, locked: bool) {
        if locked {
            self.lock.unlock();
        } else {
            self.borrowed.set(false);
        }
    }

    #[inline(always)]
    fn is_contended(&self) -> bool {
        self.contended.load(Ordering::Relaxed)
    }

    /// Takes the lock for as long as it takes to look at several places; see [`wait::select`](crate::wait).
    #[inline]
    pub(crate) fn lock_raw(&self) {
        self.acquire();
    }

    /// Releases what [`lock_raw`](Self::lock_raw) has taken.
    ///
    /// # Safety
    ///
    /// The caller has called `lock_raw`, and no reference to the value is left.
    #[inline]
    pub(crate) unsafe fn unlock_raw(&self) {
        // `contended` does not change while the lock is taken: `share` refuses.
        self.release(self.is_contended());
    }
}

impl<T> Guarded<T> {
    /// State that one thread reaches.
    pub fn new(value: T) -> Guarded<T> {
        let latch = Latch { lock: RawLock::new(), contended: AtomicBool::new(false), borrowed: Cell::new(false) };
        Guarded { latch, value: UnsafeCell::new(value) }
    }

    /// State that any thread reaches; in constants too.
    #[cfg(not(loom))]
    const fn shared(value: T) -> Guarded<T> {
        let latch = Latch { lock: RawLock::new(), contended: AtomicBool::new(true), borrowed: Cell::new(false) };
        Guarded { latch, value: UnsafeCell::new(value) }
    }

    /// The state may be reached by several threads from now on.
    ///
    /// # Panics
    ///
    /// The lock is taken.
    pub fn share(&self) {
        if !self.is_contended() {
            assert!(!self.latch.borrowed.get(), "a channel cannot be shared while it is locked");
            // Relaxed: whoever gets a reference on another thread gets it after this, and this thread has done it itself.
            self.latch.contended.store(true, Ordering::Relaxed);
        }
    }

    /// Whether several threads may reach it.
    pub fn is_contended(&self) -> bool {
        self.latch.is_contended()
    }

    /// Takes the lock.
    ///
    /// # Panics
    ///
    /// The caller has it already, and the state was never shared. (Else it would wait for itself.)
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_, T> {
        let locked = self.latch.acquire();
        Guard { guarded: self, locked }
    }

    /// The lock, without what it guards.
    pub(crate) fn latch(&self) -> &Latch {
        &self.latch
    }

    /// The value, for whoever holds the lock through [`Latch::lock_raw`].
    pub(crate) fn value_raw(&self) -> *mut T {
        self.value.get()
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.guarded.latch.release(self.locked);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: K2, this is the only guard.
        unsafe { &*self.guarded.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: K2, this is the only guard, and it is borrowed mutably.
        unsafe { &mut *self.guarded.value.get() }
    }
}

/// State that any thread may reach.
pub struct Locked<T>(Guarded<T>);

// SAFETY: it is contended from the beginning, so the lock excludes (K1, K2); whoever locks may move the value away or drop it, so it must
// be `Send`.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// State that any thread may reach.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Locked<T> {
        Locked(Guarded::shared(value))
    }

    /// State that any thread may reach. Loom's locks cannot be made in constants.
    #[cfg(loom)]
    pub fn new(value: T) -> Locked<T> {
        let guarded = Guarded::new(value);
        guarded.share();
        Locked(guarded)
    }
}

impl<T> Deref for Locked<T> {
    type Target = Guarded<T>;

    #[inline(always)]
    fn deref(&self) -> &Guarded<T> {
        &self.0
    }
}
