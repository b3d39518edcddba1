//! One writer, or many readers.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

use crate::cycles::{Holder, Identity};
use crate::permits::Permits;
use crate::poison::{Flag, Witness};
use crate::waiting::{self, Limit, WaitError, number};

/// How many permits there are: as many readers may be at a time. A writer needs them all.
const ALL: usize = usize::MAX >> 1;

/// A value that one writer or any number of readers may use at a time.
///
/// Those who wait are let in in the order of their coming, readers that come one after the other together. So neither kind starves; and whoever
/// comes while a writer waits, waits behind it. One whose token is cancelled while it waits begins anew, behind the others.
///
/// # Examples
///
/// ```
/// use tasklet_sync::RwLock;
///
/// let names = RwLock::new(vec!["one"]);
/// {
///     let (first, second) = (names.read().unwrap(), names.read().unwrap());
///     assert_eq!(*first, *second);
/// }
/// names.write().unwrap().push("two");
/// assert_eq!(names.into_inner().unwrap().len(), 2);
/// ```
///
/// # Differences from std
///
/// - A tasklet that waits parks; its worker goes on with others.
/// - The order is as said. In std it depends on the system.
/// - A tasklet that reads and wants to read again waits for ever if a writer has come in between, or panics in builds with debug assertions.
/// - A kill that unwinds through a writer's guard poisons, as a panic does.
/// - There are time limits: see the [crate](crate#rules), which also says what [`read`](Self::read) and [`write`](Self::write) do where they may
///   not wait.
///
/// It is shared by threads if its value may be shared and moved. Not so:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>() {}
/// is_sync::<tasklet_sync::RwLock<std::cell::Cell<u8>>>();
/// ```
///
/// # Invariants
///
/// **X1** A guard of a reader stands for one permit, that of a writer for all of them.
pub struct RwLock<T: ?Sized> {
    permits: Permits,
    poison: Flag,
    identity: Identity,
    value: UnsafeCell<T>,
}

// SAFETY: readers on several threads share the value, so it must be `Sync`; a writer may move it out, so it must be `Send`. X1 excludes.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// A panic that leaves the value half done poisons it.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// Shared access to the value of an [`RwLock`], until it is dropped.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<tasklet_sync::RwLockReadGuard<'_, u8>>();
/// ```
#[must_use = "the lock is released when its guard is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    holder: Holder,
    _not_send: PhantomData<*mut ()>,
}

/// Exclusive access to the value of an [`RwLock`], until it is dropped.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<tasklet_sync::RwLockWriteGuard<'_, u8>>();
/// ```
#[must_use = "the lock is released when its guard is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    holder: Holder,
    witness: Witness,
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives shared references to the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    constant! {
        /// A lock that nobody holds.
        pub const fn new(value: T) -> RwLock<T> {
            RwLock {
                permits: Permits::new(ALL),
                poison: Flag::new(),
                identity: Identity::new(),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// The lock is poisoned; the error has the value.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.poison.is_set();
        let value = self.value.into_inner();
        if poisoned { Err(PoisonError::new(value)) } else { Ok(value) }
    }
}

impl<T: ?Sized> RwLock<T> {
    fn reader(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let holder = self.identity.held();
        self.poison.result(RwLockReadGuard { lock: self, holder, _not_send: PhantomData })
    }

    fn writer(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let holder = self.identity.held();
        self.poison.result(RwLockWriteGuard { lock: self, holder, witness: Flag::witness(), _not_send: PhantomData })
    }

    fn take(&self, count: usize) {
        if self.permits.try_take(count) {
            return;
        }
        let edge = self.identity.edge(number(&self.permits));
        let wait = |limit| self.permits.take(count, Some(&edge), limit);
        if let Err(error) = wait(Limit::Never) {
            waiting::insist_masked(error, wait);
        }
    }

    fn take_within(&self, count: usize, limit: impl FnOnce() -> Limit) -> Result<(), WaitError> {
        if self.permits.try_take(count) { Ok(()) } else { self.permits.take(count, None, limit()) }
    }

    fn give(&self, count: usize, holder: &Holder) {
        self.identity.released_by(holder);
        self.permits.give(count);
    }

    /// Waits until nobody writes, nor has come before to write, and locks it for reading.
    ///
    /// # Scheduling
    ///
    /// If that is so, none. Else the caller parks.
    ///
    /// # Errors
    ///
    /// The lock is poisoned; the error has the guard.
    ///
    /// # Panics
    ///
    /// The caller would have to wait and may not, or (with debug assertions) for ever: see the [crate](crate#rules).
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.take(1);
        self.reader()
    }

    /// Waits until nobody else has the lock, and locks it for writing.
    ///
    /// # Scheduling
    ///
    /// If that is so, none. Else the caller parks.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Panics
    ///
    /// As [`read`](Self::read).
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.take(ALL);
        self.writer()
    }

    /// Locks it for reading if that takes no wait.
    ///
    /// # Errors
    ///
    /// Somebody writes or waits; or it is poisoned.
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.permits.try_take(1) { Ok(self.reader()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Locks it for writing if that takes no wait.
    ///
    /// # Errors
    ///
    /// Somebody has it or waits; or it is poisoned.
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.permits.try_take(ALL) { Ok(self.writer()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// As [`read`](Self::read), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the time was up, or the caller may not wait: its token is cancelled, a trap is set. Else the lock is poisoned.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn try_read_for(&self, limit: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_within(|| Limit::after(limit))
    }

    /// As [`try_read_for`](Self::try_read_for), until the clock of the caller's scheduler shows `at`.
    ///
    /// # Scheduling
    ///
    /// As [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As [`try_read_for`](Self::try_read_for).
    ///
    /// # Panics
    ///
    /// As [`try_read_for`](Self::try_read_for).
    pub fn try_read_until(&self, at: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_within(|| Limit::At(at))
    }

    fn read_within(&self, limit: impl FnOnce() -> Limit) -> TryLockResult<RwLockReadGuard<'_, T>> {
        match self.take_within(1, limit) {
            Ok(()) => Ok(self.reader()?),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    /// As [`write`](Self::write), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As [`try_read_for`](Self::try_read_for).
    ///
    /// # Panics
    ///
    /// As [`try_read_for`](Self::try_read_for).
    pub fn try_write_for(&self, limit: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_within(|| Limit::after(limit))
    }

    /// As [`try_write_for`](Self::try_write_for), until the clock of the caller's scheduler shows `at`.
    ///
    /// # Scheduling
    ///
    /// As [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As [`try_read_for`](Self::try_read_for).
    ///
    /// # Panics
    ///
    /// As [`try_read_for`](Self::try_read_for).
    pub fn try_write_until(&self, at: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_within(|| Limit::At(at))
    }

    fn write_within(&self, limit: impl FnOnce() -> Limit) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match self.take_within(ALL, limit) {
            Ok(()) => Ok(self.writer()?),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    /// Whether a writer's guard was dropped by a panic or a kill.
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
    /// The lock is poisoned; the error has the value.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.poison.is_set();
        let value = self.value.get_mut();
        if poisoned { Err(PoisonError::new(value)) } else { Ok(value) }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader, with nobody writing in between. Readers that wait in front of the first writer are let in.
    pub fn downgrade(guard: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        let guard = ManuallyDrop::new(guard);
        // SAFETY: the guard is not used any more, nor dropped.
        let holder = unsafe { std::ptr::read(&guard.holder) };
        // X1. It stays a holder.
        guard.lock.permits.give(ALL - 1);
        RwLockReadGuard { lock: guard.lock, holder, _not_send: PhantomData }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: X1: nobody writes while there is a reader.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: X1: other references are this guard's.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.give(1, &self.holder);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.poison.end(&self.witness);
        self.lock.give(ALL, &self.holder);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.is_poisoned()).field("waiting", &self.permits.waiting()).finish()
    }
}
