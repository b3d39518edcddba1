//! A value that is made when it is first used.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::once_cell::OnceCell;

/// A value that its function makes when it is first used.
///
/// # Examples
///
/// ```
/// use tasklet_sync::LazyLock;
///
/// static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| "made when first used".split(' ').collect());
///
/// assert_eq!(WORDS.len(), 4);
/// ```
///
/// # Differences from std
///
/// The function may wait, and others that come meanwhile park. A kill that unwinds out of it poisons the value, as a panic does.
pub struct LazyLock<T, F = fn() -> T> {
    cell: OnceCell<T>,
    make: Cell<Option<F>>,
}

// SAFETY: the function is taken by the one caller that the cell lets make the value, on whichever thread: so it must be `Send`, and no two
// threads touch it at a time. The rest is the cell's.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    constant! {
        /// A value that `make` makes.
        pub const fn new(make: F) -> LazyLock<T, F> {
            LazyLock { cell: OnceCell::new(), make: Cell::new(Some(make)) }
        }
    }

    /// The value, which is made if it was not yet. The same as dereferencing.
    ///
    /// # Scheduling
    ///
    /// If it is there, none. If somebody makes it, the caller parks until that is done.
    ///
    /// # Panics
    ///
    /// Where the function does; and if it has unwound before. The caller may not wait: see the [crate](crate#rules). Unwinds with what is
    /// thrown at the caller while it waits.
    #[inline]
    #[track_caller]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        this.cell.get_or_init(|| match this.make.take() {
            Some(make) => make(),
            None => panic!("a lazy value was begun, and its function has unwound"),
        })
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("LazyLock");
        match self.cell.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
