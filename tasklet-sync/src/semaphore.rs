//! A number of permits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::permits::Permits;
use crate::waiting::{self, Limit, WaitError};

/// A number of permits, of which each lets one in.
///
/// Those who wait are let in in the order of their coming, however many permits each wants: one that wants many is not passed by those who
/// want few.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use tasklet_scheduler::stealing::{self, Runtime};
/// use tasklet_sync::Semaphore;
/// # use tasklet_backend_corosensei::Corosensei;
///
/// let connections = Arc::new(Semaphore::new(2));
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// runtime.run(|| {
///     let tasklets: Vec<_> = (0..10)
///         .map(|_| {
///             let connections = connections.clone();
///             stealing::spawn(move || {
///                 let _permit = connections.acquire();
///                 // At most two are here at a time.
///                 stealing::yield_now();
///             })
///         })
///         .collect();
///     tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
/// });
/// assert_eq!(connections.available_permits(), 2);
/// # Ok::<(), stealing::BuildError>(())
/// ```
///
/// # Differences from std
///
/// std has none. The names are those of the `tokio` crate's, which can be closed; this one cannot.
pub struct Semaphore {
    permits: Permits,
}

/// Permits of a [`Semaphore`], which go back when it is dropped. They may go to other threads.
#[must_use = "permits go back when they are dropped"]
#[clippy::has_significant_drop]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

/// Permits of a [`Semaphore`] that it keeps alive. They may go to other threads, and go back when it is dropped.
#[must_use = "permits go back when they are dropped"]
#[clippy::has_significant_drop]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl Semaphore {
    constant! {
        /// A semaphore with so many permits.
        pub const fn new(permits: usize) -> Semaphore {
            Semaphore { permits: Permits::new(permits) }
        }
    }

    /// How many permits nobody has. It may be different a moment later.
    pub fn available_permits(&self) -> usize {
        self.permits.available()
    }

    /// Adds permits.
    ///
    /// # Scheduling
    ///
    /// Those for whom there are enough now become runnable, oldest first; the caller goes on.
    ///
    /// # Panics
    ///
    /// There would be more than `usize::MAX`. Nothing has changed then.
    #[track_caller]
    pub fn add_permits(&self, count: usize) {
        assert!(self.permits.add(count), "there are more permits than can be counted");
    }

    /// Removes up to so many of the permits that nobody has, for good. Returns how many.
    pub fn forget_permits(&self, count: usize) -> usize {
        self.permits.forget(count)
    }

    /// Takes a permit.
    ///
    /// # Scheduling
    ///
    /// If there is one and nobody waits, none. Else the caller parks.
    ///
    /// # Panics
    ///
    /// The caller may not wait: see the [crate](crate#rules). Unwinds with what is thrown at the caller while it waits.
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Takes so many permits at once. It waits until there are so many, for ever if that never is.
    ///
    /// # Scheduling
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_many(&self, count: usize) -> SemaphorePermit<'_> {
        self.take(count);
        self.permit(count)
    }

    /// Takes a permit if that takes no wait.
    ///
    /// # Errors
    ///
    /// [`WaitError::WouldBlock`]: there is none, or somebody waits for it.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, WaitError> {
        self.try_acquire_many(1)
    }

    /// Takes so many permits if that takes no wait.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_many(&self, count: usize) -> Result<SemaphorePermit<'_>, WaitError> {
        if self.permits.try_take(count) { Ok(self.permit(count)) } else { Err(WaitError::WouldBlock) }
    }

    /// As [`acquire`](Self::acquire), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// The time was up, or the caller may not wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn acquire_timeout(&self, limit: Duration) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_many_timeout(1, limit)
    }

    /// As [`acquire_many`](Self::acquire_many), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    ///
    /// # Panics
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    pub fn acquire_many_timeout(&self, count: usize, limit: Duration) -> Result<SemaphorePermit<'_>, WaitError> {
        self.take_within(count, limit)?;
        Ok(self.permit(count))
    }

    /// As [`acquire`](Self::acquire), but the permit keeps the semaphore alive.
    ///
    /// # Scheduling
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_owned(self: &Arc<Self>) -> OwnedSemaphorePermit {
        self.acquire_many_owned(1)
    }

    /// As [`acquire_many`](Self::acquire_many), but the permits keep the semaphore alive.
    ///
    /// # Scheduling
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_many_owned(self: &Arc<Self>, count: usize) -> OwnedSemaphorePermit {
        self.take(count);
        OwnedSemaphorePermit { semaphore: self.clone(), count }
    }

    /// As [`try_acquire`](Self::try_acquire), but the permit keeps the semaphore alive.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(self: &Arc<Self>) -> Result<OwnedSemaphorePermit, WaitError> {
        self.try_acquire_many_owned(1)
    }

    /// As [`try_acquire_many`](Self::try_acquire_many), but the permits keep the semaphore alive.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_many_owned(self: &Arc<Self>, count: usize) -> Result<OwnedSemaphorePermit, WaitError> {
        if !self.permits.try_take(count) {
            return Err(WaitError::WouldBlock);
        }
        Ok(OwnedSemaphorePermit { semaphore: self.clone(), count })
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), but the permit keeps the semaphore alive.
    ///
    /// # Scheduling
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    ///
    /// # Panics
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    pub fn acquire_owned_timeout(self: &Arc<Self>, limit: Duration) -> Result<OwnedSemaphorePermit, WaitError> {
        self.acquire_many_owned_timeout(1, limit)
    }

    /// As [`acquire_many_timeout`](Self::acquire_many_timeout), but the permits keep the semaphore alive.
    ///
    /// # Scheduling
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    ///
    /// # Panics
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    pub fn acquire_many_owned_timeout(
        self: &Arc<Self>,
        count: usize,
        limit: Duration,
    ) -> Result<OwnedSemaphorePermit, WaitError> {
        self.take_within(count, limit)?;
        Ok(OwnedSemaphorePermit { semaphore: self.clone(), count })
    }

    fn permit(&self, count: usize) -> SemaphorePermit<'_> {
        SemaphorePermit { semaphore: self, count }
    }

    fn take(&self, count: usize) {
        if self.permits.try_take(count) {
            return;
        }
        if let Err(error) = self.permits.take(count, None, Limit::Never) {
            waiting::insist(error, |limit| self.permits.take(count, None, limit));
        }
    }

    fn take_within(&self, count: usize, limit: Duration) -> Result<(), WaitError> {
        if self.permits.try_take(count) { Ok(()) } else { self.permits.take(count, None, Limit::after(limit)) }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (available, waiting) = (self.permits.available(), self.permits.waiting());
        f.debug_struct("Semaphore").field("available", &available).field("waiting", &waiting).finish()
    }
}

impl<'a> SemaphorePermit<'a> {
    /// The permits do not go back: there are fewer from now on.
    pub fn forget(mut self) {
        self.count = 0;
    }

    /// How many permits it stands for.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes so many permits out of it, as a value of their own. `None` if it has fewer.
    pub fn split(&mut self, count: usize) -> Option<SemaphorePermit<'a>> {
        self.count = self.count.checked_sub(count)?;
        Some(SemaphorePermit { semaphore: self.semaphore, count })
    }

    /// Adds the permits of another one.
    ///
    /// # Panics
    ///
    /// The other one is of another semaphore. Its permits go back.
    #[track_caller]
    pub fn merge(&mut self, mut other: SemaphorePermit<'a>) {
        assert!(std::ptr::eq(self.semaphore, other.semaphore), "permits of another semaphore cannot be added");
        self.count = self.count.saturating_add(std::mem::take(&mut other.count));
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.permits.give(self.count);
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit").field("count", &self.count).finish_non_exhaustive()
    }
}

impl OwnedSemaphorePermit {
    /// The permits do not go back: there are fewer from now on.
    pub fn forget(mut self) {
        self.count = 0;
    }

    /// How many permits it stands for.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes so many permits out of it, as a value of their own. `None` if it has fewer.
    pub fn split(&mut self, count: usize) -> Option<OwnedSemaphorePermit> {
        self.count = self.count.checked_sub(count)?;
        Some(OwnedSemaphorePermit { semaphore: self.semaphore.clone(), count })
    }

    /// Adds the permits of another one.
    ///
    /// # Panics
    ///
    /// The other one is of another semaphore. Its permits go back.
    #[track_caller]
    pub fn merge(&mut self, mut other: OwnedSemaphorePermit) {
        assert!(Arc::ptr_eq(&self.semaphore, &other.semaphore), "permits of another semaphore cannot be added");
        self.count = self.count.saturating_add(std::mem::take(&mut other.count));
    }

    /// The semaphore it is of.
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        self.semaphore.permits.give(self.count);
    }
}

impl fmt::Debug for OwnedSemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSemaphorePermit").field("count", &self.count).finish_non_exhaustive()
    }
}
