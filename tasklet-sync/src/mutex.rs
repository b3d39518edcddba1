//! Mutual exclusion.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

use crate::poison::{Flag, Witness};
use crate::raw_mutex::RawMutex;
use crate::waiting::Limit;

/// A value that one tasklet or thread at a time may use.
///
/// A lock that is free costs two atomic read-modify-writes, to take and to release. Who finds it taken looks again for a microsecond or two and
/// then waits in a queue, parked.
///
/// Whoever comes first takes a free lock, also before those who wait; one that was woken in vain several times gets it handed over. With
/// [`new_fair`](Self::new_fair) it always goes to the oldest waiter. That is slower where tasklets of several workers use a lock often: each of
/// them has to be woken before the next one can have it.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use tasklet_scheduler::stealing::{self, Runtime};
/// use tasklet_sync::Mutex;
/// # use tasklet_backend_corosensei::Corosensei;
///
/// let total = Arc::new(Mutex::new(0));
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// runtime.run(|| {
///     let add = |n: u64| {
///         let total = total.clone();
///         stealing::spawn(move || *total.lock().unwrap() += n)
///     };
///     let tasklets: Vec<_> = (1..=10).map(add).collect();
///     tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
/// });
/// assert_eq!(*total.lock().unwrap(), 55);
/// # Ok::<(), stealing::BuildError>(())
/// ```
///
/// # Differences from std
///
/// - A tasklet that waits parks; its worker goes on with others.
/// - A kill that unwinds through a guard poisons, as a panic does.
/// - There are time limits, fairness, and a report of circles: see the [crate](crate#rules), which also says what [`lock`](Self::lock) does where
///   it may not wait.
/// - A tasklet that locks what it holds waits for ever, or panics in builds with debug assertions. So does a guard that another tasklet of the
///   thread was given, in those builds: it counts as held by the tasklet that has locked.
///
/// It is shared by threads if its value may move between them. Not so:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>() {}
/// is_sync::<tasklet_sync::Mutex<std::rc::Rc<u8>>>();
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Flag,
    value: UnsafeCell<T>,
}

// SAFETY: whoever has a reference can move the value out through a guard, so it must be `Send`; guards exclude each other (M1).
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// A panic that leaves the value half done poisons it.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// Access to the value of a [`Mutex`], until it is dropped.
///
/// It stays on its thread, which the tasklet that has locked stays on too:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<tasklet_sync::MutexGuard<'_, u8>>();
/// ```
#[must_use = "the mutex is unlocked when its guard is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    witness: Witness,
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives shared references to the value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    constant! {
        /// A mutex that nobody holds.
        pub const fn new(value: T) -> Mutex<T> {
            Mutex { raw: RawMutex::new(false), poison: Flag::new(), value: UnsafeCell::new(value) }
        }
    }

    constant! {
        /// A mutex that is handed to the oldest waiter whenever it is unlocked: first in, first out.
        ///
        /// Those who find it taken get it in the order in which they have begun to wait, tasklets and threads alike. One whose token is cancelled
        /// while it waits begins anew, behind the others: see the [crate](crate#rules).
        pub const fn new_fair(value: T) -> Mutex<T> {
            Mutex { raw: RawMutex::new(true), poison: Flag::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the value.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.poison.is_set();
        let value = self.value.into_inner();
        if poisoned { Err(PoisonError::new(value)) } else { Ok(value) }
    }
}

impl<T: ?Sized> Mutex<T> {
    #[inline(always)]
    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, witness: Flag::witness(), _not_send: PhantomData }
    }

    /// Waits until the mutex is free, and locks it.
    ///
    /// # Scheduling
    ///
    /// If it is free, none. Else the caller parks.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the guard.
    ///
    /// # Panics
    ///
    /// The caller would have to wait and may not, or (with debug assertions) for ever: see the [crate](crate#rules).
    /// Unwinds with what is thrown at the caller while it waits.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock();
        self.poison.result(self.guard())
    }

    /// Locks the mutex if that takes no wait.
    ///
    /// # Errors
    ///
    /// It is locked or, if it is a fair one, waited for; or it is poisoned. Where somebody waits, it counts as locked also for the moment in which it
    /// is settled who is next, though nobody holds it then.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if !self.raw.try_lock() {
            return Err(TryLockError::WouldBlock);
        }
        Ok(self.poison.result(self.guard())?)
    }

    /// As [`lock`](Self::lock), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`lock`](Self::lock).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the time was up, or the caller may not wait: its token is cancelled, a trap is set. Else the mutex is poisoned.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn try_lock_for(&self, limit: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_within(|| Limit::after(limit))
    }

    /// As [`try_lock_for`](Self::try_lock_for), until the clock of the caller's scheduler shows `at`.
    ///
    /// # Scheduling
    ///
    /// As [`lock`](Self::lock).
    ///
    /// # Errors
    ///
    /// As [`try_lock_for`](Self::try_lock_for).
    ///
    /// # Panics
    ///
    /// As [`try_lock_for`](Self::try_lock_for).
    pub fn try_lock_until(&self, at: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_within(|| Limit::At(at))
    }

    fn lock_within(&self, limit: impl FnOnce() -> Limit) -> TryLockResult<MutexGuard<'_, T>> {
        match self.raw.try_lock_until(limit) {
            Ok(()) => Ok(self.poison.result(self.guard())?),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    /// Whether somebody holds it. It may be different a moment later.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Whether a guard was dropped by a panic or a kill.
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// What is guarded is whole again.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, which nobody else can reach.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the value.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.poison.is_set();
        let value = self.value.get_mut();
        if poisoned { Err(PoisonError::new(value)) } else { Ok(value) }
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Unlocks the mutex; if somebody waits, the oldest waiter has it then, before anybody who comes later.
    pub fn unlock_fair(guard: MutexGuard<'a, T>) {
        guard.mutex.poison.end(&guard.witness);
        guard.mutex.raw.unlock_fair();
        std::mem::forget(guard);
    }

    /// The mutex it is of.
    pub(crate) fn mutex(guard: &MutexGuard<'a, T>) -> &'a Mutex<T> {
        guard.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: M1: the guard's owner holds the lock, so other references are this guard's.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.end(&self.witness);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.is_poisoned()).field("waiting", &self.raw.waiting()).finish()
    }
}
