//! One message, once: no queue, one allocation.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tasklet_core::channel::Direction;
use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::id::ChannelId;
use tasklet_core::operation::AnyBackend;
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{
    self, ArmOf, Attempt, Claimed, Ended, Found, Mapped, Patience, TypedArm, Waiters, Woken, deadline,
};

use crate::error::{Cause, RecvError, SendError};
use crate::wake::wake_all;

/// What the lock guards.
struct State<T> {
    id: ChannelId,
    message: Option<T>,
    /// Nothing will be sent any more.
    sent: bool,
    /// Nothing will be received any more.
    closed: bool,
    receivers: Waiters<()>,
    /// Of async code that waits for the message: the last that has asked.
    waker: Option<Waker>,
    /// Those who wait for the receiver to go.
    watchers: Waiters<()>,
}

impl<T> State<T> {
    /// The message, or that it will never come; `None` if it may.
    fn receive(&mut self) -> Option<Result<T, RecvError>> {
        match self.message.take() {
            Some(message) => Some(Ok(message)),
            None => (self.sent || self.closed).then(|| Err(RecvError::new(Cause::Closed))),
        }
    }

    /// Tells one of those who need not wait any more to look again.
    fn tell_one(&mut self) -> Option<Woken> {
        if self.sent || self.closed {
            if let Some(waker) = self.waker.take() {
                return Some(Woken::Waker(waker));
            }
            if let Some(receiver) = self.receivers.claim() {
                return Some(receiver.serve());
            }
        }
        if self.closed { self.watchers.claim().map(Claimed::serve) } else { None }
    }
}

type Place<T> = Arc<Locked<State<T>>>;

/// A channel for one message.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = tasklet_channels::oneshot();
/// std::thread::spawn(move || sender.send("done"));
/// assert_eq!(receiver.recv().unwrap(), "done");
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let place = Arc::new(Locked::new(State {
        id: ChannelId::next(),
        message: None,
        sent: false,
        closed: false,
        receivers: Waiters::new(),
        waker: None,
        watchers: Waiters::new(),
    }));
    (OneshotSender { place: place.clone() }, OneshotReceiver { place })
}

/// Sends the one message. Dropping it without doing so ends the receiver's wait with an error.
pub struct OneshotSender<T> {
    place: Place<T>,
}

impl<T> OneshotSender<T> {
    /// Sends the message.
    ///
    /// # Scheduling
    ///
    /// Never parks. A receiver that waits is made runnable.
    ///
    /// # Errors
    ///
    /// The receiver is gone, or was closed. The message is in the error.
    pub fn send(self, message: T) -> Result<(), SendError<T>> {
        let mut state = self.place.lock();
        if state.closed {
            drop(state);
            return Err(SendError::new(message, Cause::Closed));
        }
        state.sent = true;
        // It stays there until somebody looks: who is told may be killed, or be a future that is not polled again. Our drop tells them.
        state.message = Some(message);
        Ok(())
    }

    /// Whether nobody will receive the message.
    pub fn is_closed(&self) -> bool {
        self.place.lock().closed
    }

    /// Waits until nobody will receive the message any more, so that there is no need to make it.
    ///
    /// # Scheduling
    ///
    /// Unless it is so, the caller parks.
    ///
    /// # Errors
    ///
    /// The caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller.
    pub fn wait_closed(&self) -> Result<(), RecvError> {
        wait::perform::<AnyBackend, _>(Closed { place: &self.place }, None, Patience::Wait)
    }

    /// That nobody will receive the message any more, as an arm of a select.
    pub fn closed_arm(&self) -> impl TypedArm<Output = Result<(), RecvError>> + use<'_, T> {
        ArmOf::new(Closed { place: &self.place }, None)
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        self.place.lock().sent = true;
        tell(&self.place);
    }
}

impl<T> fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender").field("id", &self.place.lock().id.get()).finish_non_exhaustive()
    }
}

/// Receives the one message. In async code, it is the future of it.
pub struct OneshotReceiver<T> {
    place: Place<T>,
}

impl<T> OneshotReceiver<T> {
    /// Waits for the message.
    ///
    /// # Scheduling
    ///
    /// Unless it was sent, the caller parks.
    ///
    /// # Errors
    ///
    /// The sender is gone, the message was received before, or the caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller.
    pub fn recv(&self) -> Result<T, RecvError> {
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
    /// As [`recv`](Self::recv), and [`RecvError::is_would_block`].
    pub fn try_recv(&self) -> Result<T, RecvError> {
        wait::perform::<AnyBackend, _>(self.attempt(), None, Patience::Now)
            .unwrap_or(Err(RecvError::new(Cause::WouldBlock)))
    }

    /// As [`recv`](Self::recv), but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::is_timeout`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvError> {
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
    pub fn recv_deadline(&self, at: Duration) -> Result<T, RecvError> {
        loop {
            match self.try_recv() {
                Err(error) if error.is_would_block() => {}
                received => return received,
            }
            if let Some(received) = wait::perform_until::<AnyBackend, _>(self.attempt(), None, at) {
                return received;
            }
        }
    }

    /// Receiving, as an arm of a select.
    pub fn recv_arm(&self) -> impl TypedArm<Output = Result<T, RecvError>> + use<'_, T> {
        Mapped::new(ArmOf::new(self.attempt(), None), |received: Option<Result<T, RecvError>>| {
            received.expect("an arm that was told to look again has looked")
        })
    }

    fn attempt(&self) -> Recv<'_, T> {
        Recv { place: &self.place, received: None }
    }

    /// From now on the message cannot be sent. One that was can be received; who waits for one does so in vain, and is told.
    pub fn close(&self) {
        close(&self.place);
    }
}

fn close<T>(place: &Locked<State<T>>) {
    place.lock().closed = true;
    tell(place);
}

/// Tells all those who need not wait any more to look again.
fn tell<T>(place: &Locked<State<T>>) {
    wake_all(place, State::tell_one);
}

/// The message, for async code.
impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A waker is the user's code: it is cloned and dropped with nothing locked.
        let waker = context.waker().clone();
        let mut state = self.place.lock();
        if let Some(received) = state.receive() {
            drop(state);
            return Poll::Ready(received);
        }
        let replaced = state.waker.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        let mut state = self.place.lock();
        state.closed = true;
        let (message, waker) = (state.message.take(), state.waker.take());
        drop(state);
        tell(&self.place);
        drop((message, waker));
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotReceiver").field("id", &self.place.lock().id.get()).finish_non_exhaustive()
    }
}

/// Receives the message. Who is told that it is there looks again.
struct Recv<'p, T> {
    place: &'p Locked<State<T>>,
    received: Option<Result<T, RecvError>>,
}

// SAFETY: A1, A2: the place is borrowed; the list is a field that nobody replaces.
unsafe impl<T> Attempt for Recv<'_, T> {
    type State = State<T>;
    type Message = ();
    /// `None` if it is to look again.
    type Output = Option<Result<T, RecvError>>;

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
        self.received = state.receive();
        if self.received.is_some() { Found::Done } else { Found::Wait }
    }

    fn finish(&mut self, _: &mut Option<()>, ended: Ended) -> Self::Output {
        self.received.take().or_else(|| Cause::of(ended).map(|cause| Err(RecvError::new(cause))))
    }

    fn abandon(&mut self, state: &mut State<T>, _: &mut Option<()>) -> Option<Woken> {
        if let Some(Ok(message)) = self.received.take() {
            state.message = Some(message);
        }
        None
    }
}

/// Waits until the receiver is gone.
struct Closed<'p, T> {
    place: &'p Locked<State<T>>,
}

// SAFETY: A1, A2: as above.
unsafe impl<T> Attempt for Closed<'_, T> {
    type State = State<T>;
    type Message = ();
    type Output = Result<(), RecvError>;

    fn place(&self) -> &Guarded<State<T>> {
        self.place
    }

    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<()> {
        &mut state.watchers
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Channel { id: self.place.lock().id, direction: Direction::Send }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State<T>, _: &mut Option<()>, _: &dyn Scheduler) -> Found {
        if state.closed { Found::Done } else { Found::Wait }
    }

    fn finish(&mut self, _: &mut Option<()>, ended: Ended) -> Self::Output {
        Cause::of(ended).map_or(Ok(()), |cause| Err(RecvError::new(cause)))
    }
}
