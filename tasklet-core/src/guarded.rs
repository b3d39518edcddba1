//! State behind a lock that is held for a few instructions, and that costs nothing until a second thread can reach the state.
//!
//! # Invariants
//!
//! - **K1** While `contended` is false, one thread alone has references to the state: a [`Guarded`] is not `Sync`, and whoever gives
//!   one to a second thread calls [`share`](Guarded::share) before.
//! - **K2** At most one guard lives at a time. Without contention `borrowed` is set exactly then, so a second `lock` finds it and
//!   panics; else the lock excludes.

use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};

use crate::primitive::atomic::{AtomicBool, Ordering};

/// How often a thread looks at a taken lock, waiting twice as long each time, before it lets others run: the holder is out of it within
/// some hundred instructions unless the system has taken its processor away. Doubling also keeps two processors from exchanging the lock
/// for each single operation, which costs more than the operations do.
const SPINS: u32 = 8;

/// How often it lets others run before it sleeps in between.
const YIELDS: u32 = 64;

/// A lock for a few instructions, in which nothing of users runs. Whoever waits for it spins, then lets other threads run.
///
/// A lock that puts its waiters to sleep has to ask, when it is released, whether somebody sleeps: a second atomic read-modify-write,
/// which would be a third of a channel operation's.
pub(crate) struct RawLock(AtomicBool);

impl RawLock {
    pub(crate) fn new() -> RawLock {
        RawLock(AtomicBool::new(false))
    }

    #[inline(always)]
    pub(crate) fn lock(&self) {
        // Acquire: pairs with the release in `unlock`.
        if self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) {
        let mut round = 0;
        loop {
            // Acquire: as in `lock`.
            if !self.0.load(Ordering::Relaxed)
                && self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
            pause(round);
            round += 1;
        }
    }

    #[inline(always)]
    pub(crate) fn unlock(&self) {
        // Release: pairs with the acquire in `lock`.
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(loom)]
fn pause(_: u32) {
    loom::thread::yield_now();
}

#[cfg(not(loom))]
fn pause(round: u32) {
    if round < SPINS {
        for _ in 0..1 << round {
            std::hint::spin_loop();
        }
    } else if round < YIELDS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

/// State behind a lock; see the module.
pub struct Guarded<T> {
    lock: RawLock,
    contended: AtomicBool,
    borrowed: Cell<bool>,
    value: UnsafeCell<T>,
}

/// Access to the state.
pub struct Guard<'a, T> {
    guarded: &'a Guarded<T>,
    locked: bool,
}

impl<T> Guarded<T> {
    /// State that one thread reaches.
    pub fn new(value: T) -> Guarded<T> {
        Guarded {
            lock: RawLock::new(),
            contended: AtomicBool::new(false),
            borrowed: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// The state may be reached by several threads from now on.
    ///
    /// # Panics
    ///
    /// The lock is taken.
    pub fn share(&self) {
        if !self.is_contended() {
            assert!(!self.borrowed.get(), "a channel cannot be shared while it is locked");
            // Relaxed: whoever gets a reference on another thread gets it after this, and this thread has done it itself.
            self.contended.store(true, Ordering::Relaxed);
        }
    }

    /// Whether several threads may reach it.
    pub fn is_contended(&self) -> bool {
        self.contended.load(Ordering::Relaxed)
    }

    /// Takes the lock.
    ///
    /// # Panics
    ///
    /// The caller has it already, and the state was never shared. (Else it would wait for itself.)
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_, T> {
        let locked = self.acquire();
        Guard { guarded: self, locked }
    }

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

    /// Takes the lock for as long as it takes to look at several places; see [`wait::select`](crate::wait).
    pub(crate) fn lock_raw(&self) {
        self.acquire();
    }

    /// Releases what [`lock_raw`](Self::lock_raw) has taken.
    ///
    /// # Safety
    ///
    /// The caller has called `lock_raw`, and no reference to the value is left.
    pub(crate) unsafe fn unlock_raw(&self) {
        // `contended` does not change while the lock is taken: `share` refuses.
        self.release(self.is_contended());
    }

    /// The value, for whoever holds the lock through [`lock_raw`](Self::lock_raw).
    pub(crate) fn value_raw(&self) -> *mut T {
        self.value.get()
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.guarded.release(self.locked);
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
