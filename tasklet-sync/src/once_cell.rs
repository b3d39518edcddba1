//! A value that is set once.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::once::Once;

/// A value that is set once: std's `OnceLock`, for tasklets and threads.
///
/// # Examples
///
/// ```
/// use tasklet_sync::OnceCell;
///
/// static CELL: OnceCell<String> = OnceCell::new();
///
/// assert_eq!(CELL.get(), None);
/// assert_eq!(CELL.get_or_init(|| "first".to_owned()), "first");
/// assert_eq!(CELL.set("second".to_owned()), Err("second".to_owned()));
/// ```
///
/// # Differences from std
///
/// - It is called `OnceCell`, as in the `once_cell` crate; std uses that name for one that is not `Sync`.
/// - The function of [`get_or_init`](Self::get_or_init) may wait, and others that come meanwhile park.
///
/// # Invariants
///
/// The value is written by the one function that `once` runs, and read when that is done.
pub struct OnceCell<T> {
    once: Once,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: references are given to all threads, so `T` must be `Sync`; a value that one thread has set another one may drop or take, so it
// must be `Send`. What is written and when is read is said above.
unsafe impl<T: Sync + Send> Sync for OnceCell<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceCell<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceCell<T> {}

impl<T> OnceCell<T> {
    constant! {
        /// A cell without a value.
        pub const fn new() -> OnceCell<T> {
            OnceCell { once: Once::new(), value: UnsafeCell::new(None) }
        }
    }

    /// The value, if there is one.
    #[inline(always)]
    pub fn get(&self) -> Option<&T> {
        if !self.once.is_completed() {
            return None;
        }
        // SAFETY: it was written, and is not written again while the cell is borrowed.
        unsafe { &*self.value.get() }.as_ref()
    }

    /// The value, which nobody else can reach.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until there is a value, set by somebody else.
    ///
    /// # Scheduling
    ///
    /// If there is one, none. Else the caller parks.
    ///
    /// # Panics
    ///
    /// The caller may not wait: see the [crate](crate#rules). Unwinds with what is thrown at the caller while it waits.
    #[track_caller]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("it was set")
    }

    /// Sets the value.
    ///
    /// # Scheduling
    ///
    /// If somebody is about to set it, the caller parks until that is done.
    ///
    /// # Errors
    ///
    /// There is one already; the error is the other one.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("it is called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; if there is none, `f` makes it. If `f` unwinds there is none yet, and the next caller's function is called.
    ///
    /// # Scheduling
    ///
    /// If somebody is about to set it, the caller parks until that is done.
    ///
    /// # Panics
    ///
    /// Where `f` does, and as [`wait`](Self::wait). If `f` asks for the same cell, it waits for ever.
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            self.once.call_once_force(|_| {
                let value = f();
                // SAFETY: nobody has a reference: it is not done yet, and nobody else is at it.
                unsafe { *self.value.get() = Some(value) };
            });
        }
        self.get().expect("it was set")
    }

    /// The value, if there is one.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out. The cell is as a new one.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        OnceCell::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> Self {
        let cell = OnceCell::new();
        let _ = cell.set(value);
        cell
    }
}

impl<T: Clone> Clone for OnceCell<T> {
    fn clone(&self) -> Self {
        self.get().cloned().map_or_else(OnceCell::new, OnceCell::from)
    }
}

impl<T: PartialEq> PartialEq for OnceCell<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceCell<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("OnceCell");
        match self.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
