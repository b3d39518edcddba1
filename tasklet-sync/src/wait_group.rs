//! Waiting until all clones are gone.

use crate::primitive::atomic::{AtomicUsize, Ordering};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::gate::Gate;
use crate::waiting::{Limit, WaitError};

/// A group that can be waited for: it has ended when all its members, which are its clones, were dropped.
///
/// # Examples
///
/// ```
/// use tasklet_scheduler::stealing::{self, Runtime};
/// use tasklet_sync::WaitGroup;
/// # use tasklet_backend_corosensei::Corosensei;
///
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// let group = WaitGroup::new();
/// for _ in 0..10 {
///     let member = group.clone();
///     runtime.spawn(move || {
///         // Something useful.
///         drop(member);
///     });
/// }
/// group.wait();
/// # Ok::<(), stealing::BuildError>(())
/// ```
///
/// # Differences from std
///
/// std has none. The names are those of the `crossbeam` crate; a member that panics or is killed leaves the group as any other.
pub struct WaitGroup {
    inner: Arc<Inner>,
}

struct Inner {
    members: AtomicUsize,
    gate: Gate,
}

impl WaitGroup {
    /// A group of one member.
    pub fn new() -> WaitGroup {
        WaitGroup { inner: Arc::new(Inner { members: AtomicUsize::new(1), gate: Gate::new(()) }) }
    }

    /// How many members there are, this one included.
    pub fn members(&self) -> usize {
        self.inner.members.load(Ordering::Relaxed)
    }

    /// Leaves the group, and waits until all others have left it.
    ///
    /// # Scheduling
    ///
    /// If there are no others, none. Else the caller parks.
    ///
    /// # Panics
    ///
    /// The caller may not wait: see the [crate](crate#rules). Unwinds with what is thrown at the caller while it waits.
    pub fn wait(self) {
        let inner = self.leave();
        if let Some(seen) = inner.look() {
            inner.gate.wait_long(seen);
        }
    }

    /// As [`wait`](Self::wait), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The time was up, or the caller may not wait. It has left the group in any case.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn wait_timeout(self, limit: Duration) -> Result<(), WaitError> {
        let inner = self.leave();
        match inner.look() {
            None => Ok(()),
            Some(seen) => inner.gate.wait(seen, Limit::after(limit)),
        }
    }

    fn leave(self) -> Arc<Inner> {
        self.inner.clone()
    }
}

impl Inner {
    /// The epoch in which there were members, if there were. A group that has ended has no members ever again.
    fn look(&self) -> Option<u64> {
        let seen = self.gate.epoch();
        // Acquire: pairs with the release in `drop`.
        (self.members.load(Ordering::Acquire) != 0).then_some(seen)
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        // Relaxed: whoever waits has left the group already, or is this one.
        self.inner.members.fetch_add(1, Ordering::Relaxed);
        WaitGroup { inner: self.inner.clone() }
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        // AcqRel: whoever sees zero has seen what all members did before.
        if self.inner.members.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.gate.open();
        }
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("members", &self.members()).finish()
    }
}
