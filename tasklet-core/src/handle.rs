//! Handles to state behind a lock that costs nothing until a second thread can reach it.
//!
//! A [`Handle`] is [`Local`] or [`Shared`]. Local ones stay on the thread that made the state, so until the first shared one is made
//! there is nobody to exclude, and a flag is enough; from then on the lock is taken. A channel between the tasklets of one scheduler
//! saves its atomics this way, and its values need not be `Send`. Invariant K1 of [`guarded`](crate::guarded): local handles are neither
//! `Send` nor `Sync`, and the first shared one shares the state for ever.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

use crate::guarded::{Guard, Guarded};
use crate::home::{Home, Remote};
use crate::operation::{AnyBackend, Switch};
use crate::primitive::atomic::{AtomicUsize, Ordering};

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

/// State in which tasklets wait.
pub trait Waits {
    /// A shared handle was dropped, or the last local one, and `shared` shared ones are left: the homes of those who may be waiting for
    /// nobody now. They are asked to look for a deadlock.
    fn deserted(&self, shared: usize) -> Vec<Arc<Home>>;
}

struct Inner<T> {
    /// Shared handles alive.
    handles: AtomicUsize,
    /// Local handles alive. Whoever waits through a shared handle may be on another thread than they are.
    locals: AtomicUsize,
    value: Guarded<T>,
}

/// One of several handles to a value behind a lock.
pub struct Handle<T: Waits, R: Reach> {
    inner: Arc<Inner<T>>,
    _reach: R,
}

// SAFETY: a shared handle exists, so the value is contended (K1), and is reached with the lock held; the other fields are `Sync`. Whoever
// locks may move the value away or drop it, so it must be `Send`.
unsafe impl<T: Waits + Send, S: Switch> Send for Handle<T, Shared<S>> {}
// SAFETY: as above.
unsafe impl<T: Waits + Send, S: Switch> Sync for Handle<T, Shared<S>> {}

impl<T: Waits, S: Switch> Handle<T, Local<S>> {
    /// The first handle to a new value.
    pub fn new(value: T) -> Handle<T, Local<S>> {
        let inner = Inner { handles: AtomicUsize::new(0), locals: AtomicUsize::new(1), value: Guarded::new(value) };
        Handle { inner: Arc::new(inner), _reach: Local::new() }
    }
}

/// A handle that somebody lends, as a value: what lies where the handle does is not looked at any more. It does not count.
pub struct Lent<'h, T: Waits, R: Reach> {
    handle: ManuallyDrop<Handle<T, R>>,
    _lender: PhantomData<&'h Handle<T, R>>,
}

impl<T: Waits, R: Reach> Deref for Lent<'_, T, R> {
    type Target = Handle<T, R>;

    #[inline(always)]
    fn deref(&self) -> &Handle<T, R> {
        &self.handle
    }
}

impl<'h, T: Waits, R: Reach> Lent<'h, T, R> {
    /// The value and its lock, for as long as the handle is lent.
    #[inline(always)]
    pub fn place(&self) -> &'h Guarded<T> {
        // SAFETY: the handle is borrowed for `'h`, so what it counts lives as long.
        unsafe { &*std::ptr::from_ref(self.handle.place()) }
    }
}

impl<T: Waits, R: Reach> Handle<T, R> {
    /// The handle as a value, while it is borrowed.
    #[inline(always)]
    pub fn lend(&self) -> Lent<'_, T, R> {
        // SAFETY: a second handle of the same count, which is never dropped, and is gone when the borrow of the first one ends.
        Lent { handle: ManuallyDrop::new(unsafe { std::ptr::read(self) }), _lender: PhantomData }
    }

    /// Another handle.
    ///
    /// # Panics
    ///
    /// The first shared handle cannot be made while the lock is taken.
    pub fn to<S: Reach>(&self) -> Handle<T, S> {
        if S::IS_SHARED {
            self.inner.value.share();
            self.inner.handles.fetch_add(1, Ordering::Relaxed);
        } else if self.inner.value.is_contended() {
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

    /// The value and its lock.
    #[inline(always)]
    pub fn place(&self) -> &Guarded<T> {
        &self.inner.value
    }

    /// Takes the lock.
    ///
    /// # Panics
    ///
    /// See [`Guarded::lock`].
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_, T> {
        self.inner.value.lock()
    }

    /// Whether somebody on another thread may come to whoever waits through this handle.
    pub fn is_awaited_elsewhere(&self) -> bool {
        // Acquire: pairs with the release in `Handle::drop`, so that the last message of a handle is seen before it is missed.
        let (shared, local) = (self.inner.handles.load(Ordering::Acquire), self.inner.locals.load(Ordering::Acquire));
        // A waiter's own handle brings nobody. Local handles are elsewhere for who came through a shared one: at least, they may be.
        if R::IS_SHARED { shared + local > 1 } else { shared > 0 }
    }
}

impl<T: Waits, R: Reach> Handle<T, R> {
    fn recheck(&self, shared: usize) {
        // A home may wake its thread in the user's way: not under the lock.
        let homes = self.lock().deserted(shared);
        for home in homes {
            // A home that has ended has nobody who waits.
            let _ = home.submit(Remote::Recheck);
        }
    }
}

impl<T: Waits, R: Reach> Drop for Handle<T, R> {
    fn drop(&mut self) {
        if R::IS_SHARED {
            // Release: pairs with the acquire in `is_awaited_elsewhere`.
            let left = self.inner.handles.fetch_sub(1, Ordering::Release) - 1;
            self.recheck(left);
        } else if self.inner.value.is_contended() {
            // Release: as above.
            if self.inner.locals.fetch_sub(1, Ordering::Release) == 1 {
                let shared = self.shared_handles();
                self.recheck(shared);
            }
        } else {
            // K1: no other thread counts here.
            self.inner.locals.store(self.inner.locals.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Counter(u64);

    impl Waits for Counter {
        fn deserted(&self, _: usize) -> Vec<Arc<Home>> {
            Vec::new()
        }
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
