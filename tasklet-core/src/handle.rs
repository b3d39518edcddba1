//! Handles to state behind a lock that costs nothing until a second thread can reach it.
//!
//! A [`Handle`] is [`Local`] or [`Shared`]. Local ones stay on the thread that made the state, so until the first shared one is made
//! there is nobody to exclude, and a flag is enough; from then on a mutex is taken. A channel between the tasklets of one scheduler
//! saves two atomic read-modify-writes per operation this way, and its values need not be `Send`.
//!
//! # Invariants
//!
//! - **K1** While `contended` is false, all handles are local and were made on one thread: local handles are neither `Send` nor
//!   `Sync`, and the first shared one sets the flag for ever.
//! - **K2** At most one guard lives at a time, and `borrowed` is set exactly then: without the mutex a second `lock` finds the flag
//!   set and panics, and no shared handle can be made; with it the mutex excludes.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};

use crate::id::TaskletId;
use crate::operation::{AnyBackend, Switch};
use crate::park::{ParkReason, Parked, WaitSite};
use crate::primitive::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard};

/// Marks a handle that stays on its thread. `S` says how operations through it [switch](crate::operation).
#[derive(Debug)]
pub struct Local<S = AnyBackend>(PhantomData<(*mut (), S)>);

/// Marks a handle that may go to other threads. `S` says how operations through it [switch](crate::operation).
#[derive(Debug)]
pub struct Shared<S = AnyBackend>(PhantomData<fn() -> S>);

mod sealed {
    pub trait Sealed {
        fn new() -> Self;
    }
}

use sealed::Sealed;

impl<S> Sealed for Local<S> {
    fn new() -> Self {
        Local(PhantomData)
    }
}

impl<S> Sealed for Shared<S> {
    fn new() -> Self {
        Shared(PhantomData)
    }
}

/// Where a handle may go, [`Local`] or [`Shared`], and how operations through it switch.
pub trait Reach: Sealed {
    /// How operations through it switch.
    type Switch: Switch;
    /// Whether it may go to other threads.
    const IS_SHARED: bool;
}

impl<S: Switch> Reach for Local<S> {
    type Switch = S;
    const IS_SHARED: bool = false;
}

impl<S: Switch> Reach for Shared<S> {
    type Switch = S;
    const IS_SHARED: bool = true;
}

/// State in which tasklets wait. The methods are those of [`WaitSite`], with the lock held.
pub trait Waits {
    /// See [`WaitSite::reason`].
    fn reason(&self, key: usize) -> ParkReason;
    /// See [`WaitSite::unlink`].
    fn unlink(&mut self, who: TaskletId, key: usize) -> Option<Parked>;
    /// See [`WaitSite::is_shared`]; `shared` and `local` are the numbers of handles.
    fn is_shared(&self, key: usize, shared: usize, local: usize) -> bool;
    /// A shared handle was dropped, or the last local one, and `shared` shared ones are left: who waits may be waiting for nobody now.
    fn on_fewer_handles(&self, shared: usize);
}

struct Inner<T> {
    contended: AtomicBool,
    /// Shared handles alive.
    handles: AtomicUsize,
    /// Local handles alive. Whoever waits through a shared handle may be on another thread than they are.
    locals: AtomicUsize,
    mutex: Mutex<()>,
    borrowed: Cell<bool>,
    value: UnsafeCell<T>,
}

/// One of several handles to a value behind a lock.
pub struct Handle<T: Waits, R: Reach> {
    inner: Arc<Inner<T>>,
    _reach: R,
}

// SAFETY: a shared handle exists, so `contended` is set (K1), and `borrowed` and `value` are reached with the mutex held; the other
// fields are `Sync`. Whoever locks may move the value away or drop it, so it must be `Send`.
unsafe impl<T: Waits + Send, S: Switch> Send for Handle<T, Shared<S>> {}
// SAFETY: as above.
unsafe impl<T: Waits + Send, S: Switch> Sync for Handle<T, Shared<S>> {}

/// Access to the value.
pub struct Guard<'a, T> {
    inner: &'a Inner<T>,
    _mutex: Option<MutexGuard<'a, ()>>,
}

impl<T: Waits, S: Switch> Handle<T, Local<S>> {
    /// The first handle to a new value.
    pub fn new(value: T) -> Handle<T, Local<S>> {
        let inner = Inner {
            contended: AtomicBool::new(false),
            handles: AtomicUsize::new(0),
            locals: AtomicUsize::new(1),
            mutex: Mutex::new(()),
            borrowed: Cell::new(false),
            value: UnsafeCell::new(value),
        };
        Handle { inner: Arc::new(inner), _reach: Local::new() }
    }
}

impl<T: Waits, R: Reach> Handle<T, R> {
    /// Another handle.
    ///
    /// # Panics
    ///
    /// The first shared handle cannot be made while the lock is taken.
    pub fn to<S: Reach>(&self) -> Handle<T, S> {
        if S::IS_SHARED {
            if !self.inner.contended.load(Ordering::Relaxed) {
                assert!(!self.inner.borrowed.get(), "a channel cannot be shared while it is locked");
                // Relaxed: whoever gets the shared handle gets it after this, and this thread has done it itself.
                self.inner.contended.store(true, Ordering::Relaxed);
            }
            self.inner.handles.fetch_add(1, Ordering::Relaxed);
        } else if self.inner.contended.load(Ordering::Relaxed) {
            self.inner.locals.fetch_add(1, Ordering::Relaxed);
        } else {
            // K1: no other thread counts here.
            self.inner.locals.store(self.inner.locals.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        Handle { inner: self.inner.clone(), _reach: S::new() }
    }

    /// Whether both refer to one value.
    pub fn is_same<S: Reach>(&self, other: &Handle<T, S>) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Shared handles alive.
    pub fn shared_handles(&self) -> usize {
        self.inner.handles.load(Ordering::Relaxed)
    }

    /// Takes the lock.
    ///
    /// # Panics
    ///
    /// This thread has it already, and no handle is or was shared. (With the mutex taken, it would wait for itself.)
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        // SAFETY: the caller has a handle.
        unsafe { self.inner.lock() }
    }
}

impl<T: Waits, R: Reach> Handle<T, R> {
    /// The value as a place to wait at. It lives as long as any handle; the caller's does while it waits.
    #[inline]
    pub fn site<'a>(&'a self) -> &'a (dyn WaitSite + 'a) {
        &*self.inner
    }
}

impl<T> Inner<T> {
    /// # Safety
    ///
    /// The caller has a handle, or acts on the thread of somebody who has one.
    #[inline]
    unsafe fn lock(&self) -> Guard<'_, T> {
        let mutex = if self.contended.load(Ordering::Relaxed) { Some(self.take_mutex()) } else { None };
        assert!(!self.borrowed.replace(true), "a channel's lock is taken twice by one thread");
        Guard { inner: self, _mutex: mutex }
    }

    #[inline(never)]
    fn take_mutex(&self) -> MutexGuard<'_, ()> {
        self.mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: P1, `unlink` looks.
unsafe impl<T: Waits> WaitSite for Inner<T> {
    fn reason(&self, key: usize) -> ParkReason {
        // SAFETY: a `dyn WaitSite` is not `Sync`, and one is made by `Handle::site` alone: this is the thread of that handle.
        unsafe { self.lock() }.reason(key)
    }

    fn unlink(&self, who: TaskletId, key: usize) -> Option<Parked> {
        // SAFETY: as in `reason`.
        let claimed = unsafe { self.lock() }.unlink(who, key);
        assert!(
            claimed.as_ref().is_none_or(|parked| parked.record().id() == who),
            "a wait site gave out another waiter"
        );
        claimed
    }

    fn is_shared(&self, key: usize) -> bool {
        // Acquire: pairs with the release in `Handle::drop`, so that the last message of a handle is seen before it is missed.
        let (shared, local) = (self.handles.load(Ordering::Acquire), self.locals.load(Ordering::Acquire));
        // SAFETY: as in `reason`.
        unsafe { self.lock() }.is_shared(key, shared, local)
    }
}

impl<T: Waits, R: Reach> Drop for Handle<T, R> {
    fn drop(&mut self) {
        if R::IS_SHARED {
            // Release: pairs with the acquire in `Inner::is_shared`.
            let left = self.inner.handles.fetch_sub(1, Ordering::Release) - 1;
            self.lock().on_fewer_handles(left);
        } else if self.inner.contended.load(Ordering::Relaxed) {
            // Release: as above.
            if self.inner.locals.fetch_sub(1, Ordering::Release) == 1 {
                let shared = self.shared_handles();
                self.lock().on_fewer_handles(shared);
            }
        } else {
            // K1: no other thread counts here.
            self.inner.locals.store(self.inner.locals.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.inner.borrowed.set(false);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: K2, this is the only guard.
        unsafe { &*self.inner.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: K2, this is the only guard, and it is borrowed mutably.
        unsafe { &mut *self.inner.value.get() }
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Counter(u64);

    impl Waits for Counter {
        fn reason(&self, _: usize) -> ParkReason {
            ParkReason::Resume
        }
        fn unlink(&mut self, _: TaskletId, _: usize) -> Option<Parked> {
            None
        }
        fn is_shared(&self, _: usize, shared: usize, _: usize) -> bool {
            shared != 0
        }
        fn on_fewer_handles(&self, _: usize) {}
    }

    #[test]
    fn shared_handles_exclude_each_other() {
        let local: Handle<Counter, Local> = Handle::new(Counter(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let handle: Handle<Counter, Shared> = local.to();
                std::thread::spawn(move || (0..10_000).for_each(|_| handle.lock().0 += 1))
            })
            .collect();
        (0..10_000).for_each(|_| local.lock().0 += 1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(local.shared_handles(), 0);
        assert_eq!(local.lock().0, 50_000);
    }

    #[test]
    #[should_panic(expected = "taken twice")]
    fn second_lock_of_the_one_thread_is_refused() {
        let handle: Handle<Counter, Local> = Handle::new(Counter(0));
        let _first = handle.lock();
        let _second = handle.lock();
    }

    #[test]
    #[should_panic(expected = "cannot be shared")]
    fn sharing_while_locked_is_refused() {
        let handle: Handle<Counter, Local> = Handle::new(Counter(0));
        let _first = handle.lock();
        let _shared: Handle<Counter, Shared> = handle.to();
    }
}
