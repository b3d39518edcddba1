//! One message, once: no queue, one allocation.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tasklet_core::channel::Direction;
use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::id::ChannelId;
use tasklet_core::operation::AnyBackend;
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{
    self, ArmOf, Attempt, Claimed, Ended, Found, Patience, TypedArm, WaitFuture, Waiters, Woken, deadline,
};

use crate::error::{Cause, RecvError, SendError};

/// What the lock guards.
struct State<T> {
    id: ChannelId,
    message: Option<T>,
    /// Nothing will be sent any more.
    sent: bool,
    /// Nothing will be received any more.
    closed: bool,
    receiver: Waiters<T>,
    /// Those who wait for the receiver to go.
    watchers: Waiters<()>,
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
        receiver: Waiters::new(),
        watchers: Waiters::new(),
    }));
    (OneshotSender { place: place.clone() }, OneshotReceiver { future: WaitFuture::new(Recv::new(place), None) })
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
        let mut message = Some(message);
        let woken = state.receiver.claim().map(|mut receiver| {
            *receiver.cell() = message.take();
            receiver.serve()
        });
        state.message = message;
        drop(state);
        wake(woken);
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
        let mut state = self.place.lock();
        let woken = if state.sent { None } else { state.receiver.claim().map(Claimed::close) };
        state.sent = true;
        drop(state);
        wake(woken);
    }
}

impl<T> fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender").field("id", &self.place.lock().id.get()).finish_non_exhaustive()
    }
}

/// Receives the one message. In async code, it is the future of it.
pub struct OneshotReceiver<T> {
    future: WaitFuture<Recv<Place<T>>>,
}

impl<T> OneshotReceiver<T> {
    fn place(&self) -> &Place<T> {
        &self.future.attempt().place
    }

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
        wait::perform::<AnyBackend, _>(Recv::new(&**self.place()), None, Patience::Wait)
    }

    /// As [`recv`](Self::recv), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::is_would_block`].
    pub fn try_recv(&self) -> Result<T, RecvError> {
        wait::perform::<AnyBackend, _>(Recv::new(&**self.place()), None, Patience::Now)
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
        match self.try_recv() {
            Err(error) if error.is_would_block() => {
                wait::perform_until::<AnyBackend, _>(Recv::new(&**self.place()), None, at)
            }
            received => received,
        }
    }

    /// Receiving, as an arm of a select.
    pub fn recv_arm(&self) -> impl TypedArm<Output = Result<T, RecvError>> + use<'_, T> {
        ArmOf::new(Recv::new(&**self.place()), None)
    }

    /// From now on the message cannot be sent. One that was can be received.
    pub fn close(&self) {
        close(self.place());
    }
}

fn close<T>(place: &Locked<State<T>>) {
    place.lock().closed = true;
    loop {
        let woken = place.lock().watchers.claim().map(Claimed::serve);
        match woken {
            Some(woken) => woken.wake(),
            None => return,
        }
    }
}

/// The message, for async code.
impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned with the receiver: nothing moves it out.
        unsafe { self.map_unchecked_mut(|this| &mut this.future) }.poll(context)
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        let place = self.place().clone();
        close(&place);
        let message = place.lock().message.take();
        drop(message);
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotReceiver").field("id", &self.place().lock().id.get()).finish_non_exhaustive()
    }
}

fn wake(woken: Option<Woken>) {
    if let Some(woken) = woken {
        woken.wake();
    }
}

/// Receives the message. `P` leads to the place.
struct Recv<P> {
    place: P,
    refused: bool,
}

impl<P> Recv<P> {
    fn new(place: P) -> Recv<P> {
        Recv { place, refused: false }
    }
}

/// What leads to a place.
trait Leads {
    type Message;

    fn place(&self) -> &Guarded<State<Self::Message>>;
}

impl<T> Leads for Place<T> {
    type Message = T;

    fn place(&self) -> &Guarded<State<T>> {
        self
    }
}

impl<T> Leads for &Locked<State<T>> {
    type Message = T;

    fn place(&self) -> &Guarded<State<T>> {
        self
    }
}

// SAFETY: A1, A2: `place` leads to one place, which lives as long; the list is a field that nobody replaces.
unsafe impl<P: Leads> Attempt for Recv<P> {
    type State = State<P::Message>;
    type Message = P::Message;
    type Output = Result<P::Message, RecvError>;

    fn place(&self) -> &Guarded<Self::State> {
        self.place.place()
    }

    fn waiters<'s>(&self, state: &'s mut Self::State) -> &'s mut Waiters<P::Message> {
        &mut state.receiver
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Channel { id: self.place.place().lock().id, direction: Direction::Receive }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut Self::State, cell: &mut Option<P::Message>, _: &dyn Scheduler) -> Found {
        *cell = state.message.take();
        if cell.is_none() && !state.sent {
            return Found::Wait;
        }
        self.refused = cell.is_none();
        Found::Done
    }

    fn finish(&mut self, cell: &mut Option<P::Message>, ended: Ended) -> Self::Output {
        match if self.refused { Some(Cause::Closed) } else { Cause::of(ended) } {
            None => Ok(cell.take().expect("a receiver that was served has a message")),
            Some(cause) => Err(RecvError::new(cause)),
        }
    }

    fn abandon(&mut self, state: &mut Self::State, cell: &mut Option<P::Message>) -> Option<Woken> {
        state.message = cell.take();
        let mut other = state.receiver.claim()?;
        *other.cell() = state.message.take();
        Some(other.serve())
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
