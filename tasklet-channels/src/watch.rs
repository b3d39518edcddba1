//! The latest of a value that changes: receivers see what it is, not all that it was.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::channel::Direction;
use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::id::ChannelId;
use tasklet_core::operation::AnyBackend;
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{self, ArmOf, Attempt, Ended, Found, Patience, TypedArm, WaitFuture, Waiters, deadline};

use crate::error::{Cause, RecvError, SendError};
use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::wake::tell_all;

struct State<T> {
    id: ChannelId,
    value: Arc<T>,
    /// Rises with each change.
    version: u64,
    closed: bool,
    watchers: Waiters<()>,
}

impl<T> State<T> {
    fn change(&mut self, value: Arc<T>) -> Arc<T> {
        self.version += 1;
        std::mem::replace(&mut self.value, value)
    }
}

struct Shared<T> {
    place: Locked<State<T>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    fn close(&self) {
        self.place.lock().closed = true;
        self.tell();
    }

    /// Tells all who wait to look again.
    fn tell(&self) {
        tell_all(&self.place, |state| &mut state.watchers);
    }
}

/// A value that is watched, with its first state.
///
/// # Examples
///
/// ```
/// let (sender, mut receiver) = tasklet_channels::watch(1);
/// assert_eq!(*receiver.get(), 1);
/// sender.send(2).unwrap();
/// sender.send(3).unwrap();
/// receiver.changed().unwrap();
/// assert_eq!(*receiver.get(), 3);
/// assert!(!receiver.has_changed());
/// ```
pub fn watch<T>(value: T) -> (WatchSender<T>, WatchReceiver<T>) {
    let state =
        State { id: ChannelId::next(), value: Arc::new(value), version: 0, closed: false, watchers: Waiters::new() };
    let shared =
        Arc::new(Shared { place: Locked::new(state), senders: AtomicUsize::new(1), receivers: AtomicUsize::new(1) });
    (WatchSender { shared: shared.clone() }, WatchReceiver { shared, seen: 0 })
}

/// Changes a value that is watched.
pub struct WatchSender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> WatchSender<T> {
    /// Changes the value, and tells all receivers.
    ///
    /// # Scheduling
    ///
    /// Never parks. Receivers that wait are made runnable.
    ///
    /// # Errors
    ///
    /// No receiver is left, or it was closed. The value is in the error.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        // Allocated before the lock is taken.
        let value = Arc::new(value);
        let mut state = self.shared.place.lock();
        if state.closed || self.shared.receivers.load(Ordering::Relaxed) == 0 {
            drop(state);
            let value = Arc::into_inner(value).expect("nobody else has it");
            return Err(SendError::new(value, Cause::Closed));
        }
        let before = state.change(value);
        drop(state);
        drop(before);
        self.shared.tell();
        Ok(())
    }

    /// Changes the value, whether there is a receiver or not, and returns the one before.
    ///
    /// # Scheduling
    ///
    /// As [`send`](Self::send).
    pub fn replace(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let before = self.shared.place.lock().change(value);
        self.shared.tell();
        before
    }

    /// The value.
    pub fn get(&self) -> Arc<T> {
        self.shared.place.lock().value.clone()
    }

    /// A receiver that has seen the value as it is.
    pub fn subscribe(&self) -> WatchReceiver<T> {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        let seen = self.shared.place.lock().version;
        WatchReceiver { shared: self.shared.clone(), seen }
    }

    /// From now on the value is not changed by [`send`](Self::send): receivers that wait for a change are told that none will come.
    ///
    /// # Scheduling
    ///
    /// Receivers that wait are made runnable. The caller goes on.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.shared.place.lock().closed
    }

    /// Receivers alive.
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.load(Ordering::Relaxed)
    }
}

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        WatchSender { shared: self.shared.clone() }
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        // Relaxed: what others have changed, they have changed under the lock.
        if self.shared.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.shared.close();
        }
    }
}

/// Watches a value. Each clone has seen what the original had.
pub struct WatchReceiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> WatchReceiver<T> {
    /// The value, which counts as seen.
    pub fn get(&mut self) -> Arc<T> {
        let state = self.shared.place.lock();
        self.seen = state.version;
        state.value.clone()
    }

    /// The value, without having seen it.
    pub fn peek(&self) -> Arc<T> {
        self.shared.place.lock().value.clone()
    }

    /// Whether it has changed since it was seen last.
    pub fn has_changed(&self) -> bool {
        self.shared.place.lock().version != self.seen
    }

    /// Whether no sender is left, or it was closed.
    pub fn is_closed(&self) -> bool {
        self.shared.place.lock().closed
    }

    /// Waits until the value has changed since it was seen last.
    ///
    /// # Scheduling
    ///
    /// Unless it has, the caller parks.
    ///
    /// # Errors
    ///
    /// No sender is left, or it was closed, and the value was seen; or the caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller.
    pub fn changed(&self) -> Result<(), RecvError> {
        loop {
            match wait::perform::<AnyBackend, _>(self.attempt(), None, Patience::Wait) {
                Err(error) if error.is_would_block() => {}
                changed => return changed,
            }
        }
    }

    /// As [`changed`](Self::changed), but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`changed`](Self::changed), and [`RecvError::is_timeout`].
    ///
    /// # Panics
    ///
    /// As [`changed`](Self::changed).
    pub fn changed_timeout(&self, limit: Duration) -> Result<(), RecvError> {
        self.changed_deadline(deadline(limit))
    }

    /// As [`changed`](Self::changed), but waits until the clock of the caller's scheduler shows `at`, at most.
    ///
    /// # Errors
    ///
    /// As [`changed_timeout`](Self::changed_timeout).
    ///
    /// # Panics
    ///
    /// As [`changed`](Self::changed).
    pub fn changed_deadline(&self, at: Duration) -> Result<(), RecvError> {
        loop {
            match wait::perform_until::<AnyBackend, _>(self.attempt(), None, at) {
                Err(error) if error.is_would_block() => {}
                changed => return changed,
            }
        }
    }

    /// Waits until the value fulfils a condition, and returns it. It counts as seen.
    ///
    /// # Scheduling
    ///
    /// As [`changed`](Self::changed).
    ///
    /// # Errors
    ///
    /// As [`changed`](Self::changed).
    ///
    /// # Panics
    ///
    /// As [`changed`](Self::changed), and where `is_it` does.
    pub fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<Arc<T>, RecvError> {
        loop {
            let value = self.get();
            if is_it(&value) {
                return Ok(value);
            }
            self.changed()?;
        }
    }

    /// A change, in async code.
    pub fn changed_async(&self) -> impl Future<Output = Result<(), RecvError>> + use<'_, T> {
        WaitFuture::new(self.attempt(), None)
    }

    /// A change, as an arm of a select.
    pub fn changed_arm(&self) -> impl TypedArm<Output = Result<(), RecvError>> + use<'_, T> {
        ArmOf::new(self.attempt(), None)
    }

    fn attempt(&self) -> Changed<'_, T> {
        Changed { place: &self.shared.place, seen: self.seen, is_closed: false, has_looked: false }
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        WatchReceiver { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T: fmt::Debug> fmt::Debug for WatchSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchSender").field(&self.get()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for WatchReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchReceiver").field(&self.peek()).finish()
    }
}

/// Waits for a change. Who is told of one looks again.
struct Changed<'r, T> {
    place: &'r Locked<State<T>>,
    /// The version that the receiver has seen.
    seen: u64,
    is_closed: bool,
    has_looked: bool,
}

// SAFETY: A1, A2: the place is the receiver's, which is borrowed; the list is a field that nobody replaces. A3: nothing is looked at through
// the receiver.
unsafe impl<T> Attempt for Changed<'_, T> {
    type State = State<T>;
    type Message = ();
    type Output = Result<(), RecvError>;

    const LOOKS_AGAIN: bool = true;

    fn place(&self) -> &Guarded<State<T>> {
        self.place
    }

    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<()> {
        &mut state.watchers
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Channel { id: self.place.lock().id, direction: Direction::Receive }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State<T>, _: &mut Option<()>, _: &dyn Scheduler) -> Found {
        self.is_closed = state.version == self.seen && state.closed;
        self.has_looked = self.is_closed || state.version != self.seen;
        if self.has_looked { Found::Done } else { Found::Wait }
    }

    fn finish(&mut self, _: &mut Option<()>, ended: Ended) -> Self::Output {
        match Cause::of(ended) {
            None if self.is_closed => Err(RecvError::new(Cause::Closed)),
            None if self.has_looked => Ok(()),
            // It was told to look again.
            None => Err(RecvError::new(Cause::WouldBlock)),
            Some(cause) => Err(RecvError::new(cause)),
        }
    }
}
