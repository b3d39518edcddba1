//! Every message to every receiver. A sender never waits: who is too slow misses the oldest, and is told how many.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::channel::Direction;
use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::id::ChannelId;
use tasklet_core::operation::AnyBackend;
use tasklet_core::park::{ParkError, ParkReason};
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{
    self, ArmOf, Attempt, Ended, Found, Patience, TypedArm, WaitFuture, Waiters, Woken, deadline,
};

use crate::error::{Cause, SendError};
use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::wake::tell_all;

struct State<T> {
    id: ChannelId,
    capacity: usize,
    /// The latest messages.
    ring: VecDeque<Arc<T>>,
    /// The number of the first in the ring; messages are numbered from 0.
    first: u64,
    closed: bool,
    receivers: Waiters<()>,
}

impl<T> State<T> {
    /// The number of the next message.
    fn next(&self) -> u64 {
        self.first + self.ring.len() as u64
    }
}

struct Shared<T> {
    place: Locked<State<T>>,
    senders: AtomicUsize,
    /// The first of new ones is counted, and the last one leaves, with the place locked: so a message that was sent to somebody is kept.
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    fn close(&self) {
        self.place.lock().closed = true;
        self.tell();
    }

    /// Tells all who wait to look again.
    fn tell(&self) {
        tell_all(&self.place, |state| &mut state.receivers);
    }
}

/// A channel whose messages go to all receivers. It keeps the last `capacity` of them for those who are slow.
///
/// # Panics
///
/// `capacity` is zero.
///
/// # Examples
///
/// ```
/// let (sender, first) = tasklet_channels::broadcast(16);
/// let second = sender.subscribe();
/// sender.send("news").unwrap();
/// assert_eq!(*first.recv().unwrap(), "news");
/// assert_eq!(*second.recv().unwrap(), "news");
/// ```
#[track_caller]
pub fn broadcast<T>(capacity: usize) -> (BroadcastSender<T>, BroadcastReceiver<T>) {
    assert!(capacity > 0, "a broadcast keeps one message at least");
    let state = State {
        id: ChannelId::next(),
        capacity,
        ring: VecDeque::new(),
        first: 0,
        closed: false,
        receivers: Waiters::new(),
    };
    let shared =
        Arc::new(Shared { place: Locked::new(state), senders: AtomicUsize::new(1), receivers: AtomicUsize::new(1) });
    (BroadcastSender { shared: shared.clone() }, BroadcastReceiver { shared, next: Locked::new(0) })
}

/// Why nothing was received from a broadcast.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BroadcastError {
    cause: Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Lagged(u64),
    Other(Cause),
}

impl BroadcastError {
    /// How many messages the receiver has missed; the next one is the oldest that is left.
    pub fn lagged(&self) -> Option<u64> {
        match self.cause {
            Lost::Lagged(count) => Some(count),
            Lost::Other(_) => None,
        }
    }

    /// No sender is left, or it was closed, and all was received.
    pub fn is_closed(&self) -> bool {
        self.cause == Lost::Other(Cause::Closed)
    }

    /// There is nothing, and the operation does not wait.
    pub fn is_would_block(&self) -> bool {
        self.cause == Lost::Other(Cause::WouldBlock)
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.cause == Lost::Other(Cause::TimedOut)
    }

    /// Why the caller could not park, if that is the cause.
    pub fn park_error(&self) -> Option<ParkError> {
        match self.cause {
            Lost::Other(Cause::Park(error)) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Lost::Lagged(count) => write!(f, "could not receive: {count} messages were missed"),
            Lost::Other(cause) => write!(f, "could not receive: {cause}"),
        }
    }
}

impl fmt::Debug for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BroadcastError({self})")
    }
}

impl std::error::Error for BroadcastError {}

/// Sends to all receivers.
pub struct BroadcastSender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> BroadcastSender<T> {
    /// Sends a message to all receivers there are. Returns how many.
    ///
    /// # Scheduling
    ///
    /// Never parks. Receivers that wait are made runnable.
    ///
    /// # Errors
    ///
    /// There is no receiver, or the channel is closed. The message is in the error.
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        // Allocated before the lock is taken.
        let message = Arc::new(message);
        let mut state = self.shared.place.lock();
        let receivers = self.shared.receivers.load(Ordering::Relaxed);
        if receivers == 0 || state.closed {
            drop(state);
            let message = Arc::into_inner(message).expect("nobody else has it");
            return Err(SendError::new(message, Cause::Closed));
        }
        let oldest = if state.ring.len() == state.capacity { state.ring.pop_front() } else { None };
        state.first += u64::from(oldest.is_some());
        state.ring.push_back(message);
        drop(state);
        drop(oldest);
        self.shared.tell();
        Ok(receivers)
    }

    /// A receiver of what is sent from now on.
    pub fn subscribe(&self) -> BroadcastReceiver<T> {
        let state = self.shared.place.lock();
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        let next = state.next();
        drop(state);
        BroadcastReceiver { shared: self.shared.clone(), next: Locked::new(next) }
    }

    /// Closes the channel: nothing can be sent any more. What was sent can still be received.
    ///
    /// # Scheduling
    ///
    /// Receivers that wait are made runnable. The caller goes on.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.shared.place.lock().closed
    }

    /// Messages that are kept at most.
    pub fn capacity(&self) -> usize {
        self.shared.place.lock().capacity
    }

    /// Messages that are kept, at most [the capacity](broadcast).
    pub fn len(&self) -> usize {
        self.shared.place.lock().ring.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Receivers alive.
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.load(Ordering::Relaxed)
    }

    /// Whether both are of one channel.
    pub fn same_channel(&self, other: &BroadcastSender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for BroadcastSender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        BroadcastSender { shared: self.shared.clone() }
    }
}

impl<T> Drop for BroadcastSender<T> {
    fn drop(&mut self) {
        // Relaxed: what others have sent, they have sent under the lock.
        if self.shared.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.shared.close();
        }
    }
}

impl<T> fmt::Debug for BroadcastSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSender").field("id", &self.shared.place.lock().id.get()).finish_non_exhaustive()
    }
}

/// Receives all that is sent. A clone receives what the original has not received yet.
///
/// Callers that share one receiver share what it receives.
pub struct BroadcastReceiver<T> {
    shared: Arc<Shared<T>>,
    /// The number of the message it receives next.
    next: Locked<u64>,
}

impl<T> BroadcastReceiver<T> {
    /// Waits for the next message.
    ///
    /// # Scheduling
    ///
    /// Unless there is one, the caller parks.
    ///
    /// # Errors
    ///
    /// Messages were [missed](BroadcastError::lagged), the channel is closed or no sender is left, or the caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller.
    pub fn recv(&self) -> Result<Arc<T>, BroadcastError> {
        loop {
            if let Some(received) = wait::perform::<AnyBackend, _>(self.attempt(), None, Patience::Wait) {
                return received;
            }
        }
    }

    /// As [`recv`](Self::recv), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`BroadcastError::is_would_block`].
    pub fn try_recv(&self) -> Result<Arc<T>, BroadcastError> {
        wait::perform::<AnyBackend, _>(self.attempt(), None, Patience::Now)
            .unwrap_or(Err(BroadcastError { cause: Lost::Other(Cause::WouldBlock) }))
    }

    /// As [`recv`](Self::recv), but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`BroadcastError::is_timeout`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, limit: Duration) -> Result<Arc<T>, BroadcastError> {
        self.recv_deadline(deadline(limit))
    }

    /// As [`recv`](Self::recv), but waits until the clock of the caller's scheduler shows `at`, at most.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_deadline(&self, at: Duration) -> Result<Arc<T>, BroadcastError> {
        loop {
            if let Some(received) = wait::perform_until::<AnyBackend, _>(self.attempt(), None, at) {
                return received;
            }
        }
    }

    /// Receives in async code.
    pub async fn recv_async(&self) -> Result<Arc<T>, BroadcastError> {
        loop {
            if let Some(received) = WaitFuture::new(self.attempt(), None).await {
                return received;
            }
        }
    }

    /// Receiving, as an arm of a select.
    pub fn recv_arm(&self) -> impl TypedArm<Output = Result<Arc<T>, BroadcastError>> + use<'_, T> {
        wait::Mapped::new(ArmOf::new(self.attempt(), None), |received: Option<Result<_, _>>| {
            received.expect("an arm that was told to look again has looked")
        })
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.shared.place.lock().closed
    }

    /// Messages that it has not received, and that are kept.
    pub fn len(&self) -> usize {
        let state = self.shared.place.lock();
        let next = *self.next.lock();
        (state.next() - next.max(state.first)) as usize
    }

    /// Whether nothing is there to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn attempt(&self) -> Recv<'_, T> {
        Recv { place: &self.shared.place, receiver: self, received: None, after: 0 }
    }
}

impl<T> Clone for BroadcastReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        let next = *self.next.lock();
        BroadcastReceiver { shared: self.shared.clone(), next: Locked::new(next) }
    }
}

impl<T> Drop for BroadcastReceiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.place.lock();
        if self.shared.receivers.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Nobody is left to have what is kept.
            state.first = state.next();
            let ring = std::mem::take(&mut state.ring);
            drop(state);
            drop(ring);
        }
    }
}

impl<T> fmt::Debug for BroadcastReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceiver").field("id", &self.shared.place.lock().id.get()).finish_non_exhaustive()
    }
}

/// Receives the next message. Who is told of one looks again.
struct Recv<'r, T> {
    place: &'r Locked<State<T>>,
    receiver: &'r BroadcastReceiver<T>,
    received: Option<Result<Arc<T>, Lost>>,
    /// The number that the receiver was at then.
    after: u64,
}

// SAFETY: A1, A2: the place is the receiver's, which is borrowed; the list is a field that nobody replaces. A3: only an attempt looks at the
// receiver.
unsafe impl<T> Attempt for Recv<'_, T> {
    type State = State<T>;
    type Message = ();
    /// `None` if it is to look again.
    type Output = Option<Result<Arc<T>, BroadcastError>>;

    const LOOKS_AGAIN: bool = true;

    fn place(&self) -> &Guarded<State<T>> {
        self.place
    }

    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<()> {
        &mut state.receivers
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Channel { id: self.place.lock().id, direction: Direction::Receive }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State<T>, _: &mut Option<()>, _: &dyn Scheduler) -> Found {
        // The channel's lock first, as everywhere.
        let mut next = self.receiver.next.lock();
        if *next < state.first {
            self.received = Some(Err(Lost::Lagged(state.first - *next)));
            *next = state.first;
        } else if let Some(message) = state.ring.get((*next - state.first) as usize) {
            self.received = Some(Ok(message.clone()));
            *next += 1;
            self.after = *next;
        } else if state.closed {
            self.received = Some(Err(Lost::Other(Cause::Closed)));
        } else {
            return Found::Wait;
        }
        Found::Done
    }

    fn finish(&mut self, _: &mut Option<()>, ended: Ended) -> Self::Output {
        let received = match (self.received.take(), Cause::of(ended)) {
            (Some(received), _) => received,
            (None, Some(cause)) => Err(Lost::Other(cause)),
            (None, None) => return None,
        };
        Some(received.map_err(|cause| BroadcastError { cause }))
    }

    fn abandon(&mut self, _: &mut State<T>, _: &mut Option<()>) -> Option<Woken> {
        if let Some(Ok(_)) = self.received.take() {
            // Unless others have received through the same receiver since.
            let mut next = self.receiver.next.lock();
            if *next == self.after {
                *next -= 1;
            }
        }
        None
    }
}
