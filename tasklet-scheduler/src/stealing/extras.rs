//! What few tasklets have, and therefore lies beside their fiber and not in their record: tasklet-local values, cancel tokens.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;

use tasklet_core::current;

use super::cancel::CancelToken;
use super::worker::Worker;
use crate::engine::FiberHead;

/// Of one tasklet that has started.
#[derive(Default)]
pub(crate) struct Extras {
    /// Values by the address of their key, in the order of their making.
    locals: Vec<(usize, Box<dyn Any>)>,
    /// Cancel tokens that it runs under, outermost first.
    pub(super) tokens: Vec<CancelToken>,
}

impl Drop for Extras {
    fn drop(&mut self) {
        // In reverse: a value may have been made with the help of an earlier one. The others are dropped even if one panics.
        while let Some(value) = self.locals.pop() {
            tasklet_core::unwind::drop_quietly(value);
        }
    }
}

impl FiberHead {
    #[inline]
    pub(super) fn has_extras(&self) -> bool {
        let extras = self.extras.take();
        let has = extras.is_some();
        self.extras.set(extras);
        has
    }
}

impl Worker {
    /// Calls `f` with the extras of the running tasklet; `None` on the root.
    pub(super) fn with_extras<R>(&self, f: impl FnOnce(&RefCell<Extras>) -> R) -> Option<R> {
        let head = self.current_head()?;
        let mut extras = head.extras.take().unwrap_or_default();
        // `f` is ours, short, and does not come back here.
        let cell = RefCell::new(std::mem::take(&mut *extras));
        let result = f(&cell);
        *extras = cell.into_inner();
        head.extras.set(Some(extras));
        Some(result)
    }
}

/// A key to a value that each tasklet has for itself: declare one with [`tasklet_local!`](crate::tasklet_local).
///
/// As [`std::thread::LocalKey`], for tasklets. A value is made when its tasklet first uses it, and dropped when the tasklet ends, the last one
/// made first. A soft tasklet has its values for one poll at a time.
pub struct TaskletLocal<T: 'static> {
    init: fn() -> T,
    /// Gives the key an address of its own, whatever `T` is.
    _address: u8,
}

impl<T: 'static> TaskletLocal<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> TaskletLocal<T> {
        TaskletLocal { init, _address: 0 }
    }

    /// Calls `f` with the calling tasklet's value.
    ///
    /// # Panics
    ///
    /// No tasklet of the stealing scheduler calls, or the value's initialiser or `f` uses the same value.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Some(result) => result,
            None => panic!("could not use a tasklet-local value: no tasklet of a runtime calls"),
        }
    }

    /// As [`with`](Self::with); `None` if no tasklet of the stealing scheduler calls.
    ///
    /// # Panics
    ///
    /// The value's initialiser or `f` uses the same value.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let key = std::ptr::from_ref(self).addr();
        // Out of the list while it is used: `f` may give way, and may use other values.
        let taken = here(|worker| {
            worker.with_extras(|extras| {
                let mut extras = extras.borrow_mut();
                let at = extras.locals.iter().position(|(other, _)| *other == key);
                at.map(|at| (at, std::mem::replace(&mut extras.locals[at].1, Box::new(InUse))))
            })
        })??;
        Some(match taken {
            Some((at, value)) => self.lend(at, value, f),
            None => {
                // Its initialiser must not find nothing again, and make it for ever.
                let making = Making { at: add(key)? };
                let value: Box<dyn Any> = Box::new((self.init)());
                drop(making);
                // Behind those that the initialiser has made, so that it is dropped before them.
                self.lend(add(key)?, value, f)
            }
        })
    }

    fn lend<R>(&self, at: usize, value: Box<dyn Any>, f: impl FnOnce(&T) -> R) -> R {
        let value: Box<T> = match value.downcast() {
            Ok(value) => value,
            Err(_) => panic!("a tasklet-local value was used while it was in use"),
        };
        // Put back however `f` ends.
        let lent = Lent { at, value: Box::into_raw(value) };
        // SAFETY: `lent` owns the value, and is dropped after `f`.
        f(unsafe { &*lent.value })
    }
}

/// A value that is in use.
struct InUse;

/// Adds a value that is in use to those of the calling tasklet. Returns its place.
fn add(key: usize) -> Option<usize> {
    here(|worker| {
        worker.with_extras(|extras| {
            let mut extras = extras.borrow_mut();
            extras.locals.push((key, Box::new(InUse)));
            extras.locals.len() - 1
        })
    })?
}

/// A value's initialiser runs. Afterwards its place is nobody's: others keep theirs.
struct Making {
    at: usize,
}

impl Drop for Making {
    fn drop(&mut self) {
        here(|worker| {
            worker.with_extras(|extras| {
                if let Some(place) = extras.borrow_mut().locals.get_mut(self.at) {
                    // No key lies at address zero.
                    place.0 = 0;
                }
            })
        });
    }
}

/// Puts a value back.
struct Lent<T: 'static> {
    at: usize,
    /// Owned.
    value: *mut T,
}

impl<T: 'static> Drop for Lent<T> {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw`, and taken back here alone.
        let mut value: Option<Box<dyn Any>> = Some(unsafe { Box::from_raw(self.value) });
        let put_back = |worker: &Worker| {
            worker.with_extras(|extras| {
                if let Some(place) = extras.borrow_mut().locals.get_mut(self.at) {
                    std::mem::swap(&mut place.1, value.as_mut().expect("it is put back once"));
                }
            })
        };
        here(put_back);
    }
}

/// Calls `f` with the worker whose tasklet calls.
fn here<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
    // SAFETY: what is passed here moves values in and out of a list.
    unsafe { current::with_scheduler(f) }
}

impl<T: 'static> fmt::Debug for TaskletLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskletLocal")
    }
}

/// Declares a value that each tasklet has for itself, as [`std::thread_local!`] does for threads.
///
/// Expands to a `static` of the type [`TaskletLocal`](crate::stealing::TaskletLocal) with the given visibility.
#[macro_export]
macro_rules! tasklet_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $init:expr;)+) => {
        $(
            $(#[$attribute])*
            $visibility static $name: $crate::stealing::TaskletLocal<$type> =
                $crate::stealing::TaskletLocal::new(|| $init);
        )+
    };
}
