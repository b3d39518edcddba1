//! Channels of senders and receivers, any number of each: with a rendezvous, a buffer of a certain size, or one that grows.
//!
//! | file | what |
//! |---|---|
//! | `state` | what the lock guards, and the rules of sending, receiving, making room, closing |
//! | `attempt` | those as attempts, which park, look, are arms of a select, or futures |
//! | `sender`, `receiver`, `permit` | the handles |
//! | `both` | what senders and receivers have in common |
//! | `stream` | streams and sinks of async code |

mod attempt;
mod both;
mod permit;
mod receiver;
mod sender;
mod state;
#[cfg(feature = "futures")]
mod stream;

use std::fmt;
use std::sync::Arc;

use tasklet_core::guarded::Locked;
use tasklet_core::operation::{AnyBackend, Switch};

use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::wake::{wake, wake_all};
pub use permit::PermitBy;
pub use receiver::{Drain, IntoIter, Iter, ReceiverBy, TryIter, WeakReceiverBy};
pub use sender::{SenderBy, WeakSenderBy};
use state::{State, UNBOUNDED};
#[cfg(feature = "futures")]
pub use stream::{RecvStream, SendSink};

/// A sender whose operations look up how to switch; see [`SenderBy`].
pub type Sender<T> = SenderBy<T, AnyBackend>;

/// A receiver whose operations look up how to switch; see [`ReceiverBy`].
pub type Receiver<T> = ReceiverBy<T, AnyBackend>;

/// What both handles lead to.
pub(crate) struct Chan<T> {
    pub(crate) place: Locked<State<T>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Chan<T> {
    fn new(capacity: usize) -> Arc<Chan<T>> {
        Arc::new(Chan {
            place: Locked::new(State::new(capacity)),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        })
    }

    /// Nothing can be sent from now on; what was sent can be received. Returns whether it was open.
    fn close(&self) -> bool {
        let was_open = !std::mem::replace(&mut self.place.lock().closed, true);
        self.wake_closed();
        was_open
    }

    /// Ends the waits that have become hopeless.
    fn wake_closed(&self) {
        wake_all(&self.place, State::close_one);
    }

    /// Ends the waits that have become hopeless with what was done, if the channel is closed.
    fn wake_if_closed(&self) {
        let closed = self.place.lock().closed;
        if closed {
            self.wake_closed();
        }
    }

    /// A permit was given up.
    fn give_up(&self) {
        let woken = self.place.lock().give_up();
        wake(woken);
        self.wake_if_closed();
    }

    /// The last receiver has gone: nobody will have what is in the buffer.
    fn discard(&self) {
        let buffer = std::mem::take(&mut self.place.lock().buffer);
        drop(buffer);
    }
}

/// Counts another handle, unless the last one has gone: then its channel is closed for good.
fn count_if_any(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count != 0).then_some(count + 1)).is_ok()
}

fn debug<T>(name: &str, chan: &Chan<T>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let state = chan.place.lock();
    let mut fields = f.debug_struct(name);
    fields.field("id", &state.id.get());
    if let Some(name) = &state.name {
        fields.field("name", name);
    }
    fields.field("len", &state.buffer.len()).field("closed", &state.closed).finish_non_exhaustive()
}

/// Both ends of a channel, with one way of switching.
pub type EndsBy<T, S> = (SenderBy<T, S>, ReceiverBy<T, S>);

/// A channel of this capacity cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityError {
    capacity: usize,
    size: usize,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CapacityError { capacity, size } = self;
        write!(f, "could not make a channel for {capacity} messages of {size} bytes: no memory is that large")
    }
}

impl std::error::Error for CapacityError {}

/// As [`bounded`], for handles whose switch is compiled in.
///
/// # Panics
///
/// As [`bounded`].
#[track_caller]
pub fn bounded_by<T, S: Switch>(capacity: usize) -> EndsBy<T, S> {
    match try_bounded_by(capacity) {
        Ok(handles) => handles,
        Err(error) => panic!("{error}"),
    }
}

/// As [`try_bounded`], for handles whose switch is compiled in.
///
/// # Errors
///
/// As [`try_bounded`].
pub fn try_bounded_by<T, S: Switch>(capacity: usize) -> Result<EndsBy<T, S>, CapacityError> {
    let size = size_of::<T>();
    match capacity.checked_mul(size.max(1)) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(handles(capacity)),
        _ => Err(CapacityError { capacity, size }),
    }
}

/// As [`unbounded`], for handles whose switch is compiled in.
pub fn unbounded_by<T, S: Switch>() -> EndsBy<T, S> {
    handles(UNBOUNDED)
}

/// As [`never`](fn@never), for a handle whose switch is compiled in.
pub fn never_by<T, S: Switch>() -> ReceiverBy<T, S> {
    let (sender, receiver) = handles(0);
    // Its count stays, so the channel is never closed from that side. What it leads to goes with the receiver all the same.
    sender.forget();
    receiver
}

fn handles<T, S: Switch>(capacity: usize) -> EndsBy<T, S> {
    let chan = Chan::new(capacity);
    (SenderBy::new(chan.clone()), ReceiverBy::new(chan))
}

/// A channel with room for `capacity` messages. With 0 it is a rendezvous: a send and a receive happen together.
///
/// Memory is taken for what the channel holds, not for what it may hold.
///
/// # Panics
///
/// No memory could hold so many messages; see [`try_bounded`].
///
/// # Examples
///
/// ```
/// let (tx, rx) = tasklet_channels::bounded(1);
/// tx.send("here").unwrap();
/// assert!(tx.try_send("there").unwrap_err().is_would_block());
/// assert_eq!(rx.recv().unwrap(), "here");
/// ```
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    bounded_by(capacity)
}

/// As [`bounded`], with an error instead of a panic.
///
/// # Errors
///
/// `capacity` messages are more than half of the address space holds.
pub fn try_bounded<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
    try_bounded_by(capacity)
}

/// A channel without a buffer: a send and a receive happen together. The same as `bounded(0)`.
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    bounded_by(0)
}

/// A channel with room for any number of messages: a send never waits.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    unbounded_by()
}

/// A receiver that nothing ever comes to and that is never closed: an arm of a select that is switched off.
pub fn never<T>() -> Receiver<T> {
    never_by()
}
