//! The handle that receives, and its iterators.

use std::collections::vec_deque;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::operation::Switch;
use tasklet_core::wait::{self, ArmOf, Patience, TypedArm, WaitFuture, deadline};

use super::attempt::{Closed, Own, Recv, RecvMany};
use super::{Chan, count_if_any};
use crate::error::RecvError;
use crate::primitive::atomic::Ordering;

/// Receives from a channel; any number of clones may, each message goes to one of them. `S` says how its operations
/// [switch](tasklet_core::operation), and nothing else.
///
/// After the channel was closed, what was sent before can be received; then there is an error.
///
/// # Differences from `crossbeam_channel::Receiver`
///
/// As those of [`SenderBy`](super::SenderBy); and [`recv_many`](Self::recv_many), [`drain`](Self::drain).
pub struct ReceiverBy<T, S> {
    chan: Arc<Chan<T>>,
    _switch: PhantomData<fn() -> S>,
}

impl<T, S> ReceiverBy<T, S> {
    pub(super) fn new(chan: Arc<Chan<T>>) -> ReceiverBy<T, S> {
        ReceiverBy { chan, _switch: PhantomData }
    }

    pub(super) fn chan(&self) -> &Arc<Chan<T>> {
        &self.chan
    }

    /// The same handle, with another way of switching.
    pub fn by<R>(self) -> ReceiverBy<T, R> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used or dropped after this: its count goes over.
        ReceiverBy::new(unsafe { std::ptr::read(&raw const this.chan) })
    }

    /// A handle that does not keep the channel open.
    pub fn downgrade(&self) -> WeakReceiverBy<T, S> {
        WeakReceiverBy { chan: self.chan.clone(), _switch: PhantomData }
    }

    /// Whether both are of one channel.
    pub fn same_channel<R>(&self, other: &ReceiverBy<T, R>) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }

    /// Takes all that is in the buffer, now, and lets senders that wait fill it again.
    ///
    /// # Scheduling
    ///
    /// Never parks.
    pub fn drain(&self) -> Drain<T> {
        let mut state = self.chan.place.lock();
        let messages = std::mem::take(&mut state.buffer);
        let mut woken = Vec::new();
        while let Some(admitted) = state.admit() {
            woken.push(admitted);
        }
        drop(state);
        woken.into_iter().for_each(wait::Woken::wake);
        self.chan.wake_if_closed();
        Drain { messages: messages.into_iter() }
    }

    /// Receives in async code. The future counts as a receiver. Dropped before it was ready, it has received nothing: a message that was
    /// given to it meanwhile is the next to be received.
    pub fn recv_async(&self) -> impl Future<Output = Result<T, RecvError>> + use<T, S> {
        WaitFuture::new(Recv::new(Own(self.clone())), None)
    }

    /// Receiving, as an arm of a select.
    pub fn recv_arm(&self) -> impl TypedArm<Output = Result<T, RecvError>> + use<'_, T, S> {
        ArmOf::new(Recv::new(&*self.chan), None)
    }

    /// The end of the channel, as an arm of a select.
    pub fn closed_arm(&self) -> impl TypedArm<Output = Result<(), RecvError>> + use<'_, T, S> {
        ArmOf::new(Closed::new(&*self.chan), None)
    }
}

impl<T, S: Switch> ReceiverBy<T, S> {
    /// Receives a message: from the buffer, from a waiting sender, or waits for one.
    ///
    /// # Scheduling
    ///
    /// A sender that can go on is made runnable, and the caller goes on. If there is no message, the caller parks.
    ///
    /// # Errors
    ///
    /// The channel is closed and nothing is left in it, or the caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        wait::perform::<S, _>(Recv::new(&*self.chan), None, Patience::Wait)
    }

    /// As [`recv`](Self::recv), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::is_would_block`].
    #[inline(always)]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        wait::perform::<S, _>(Recv::new(&*self.chan), None, Patience::Now)
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
            Err(error) if error.is_would_block() => wait::perform_until::<S, _>(Recv::new(&*self.chan), None, at),
            received => received,
        }
    }

    /// Waits for one message, takes those that are there too, `limit` in all at most, and appends them to `into`. Returns how many; 0 only
    /// if `limit` is.
    ///
    /// # Scheduling
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). Nothing was appended.
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv). Messages that it has received by then are in `into`.
    pub fn recv_many(&self, into: &mut Vec<T>, limit: usize) -> Result<usize, RecvError> {
        let count = self.take_many(into, limit, Patience::Wait)?;
        // One that was waited for has come alone; others may have come behind it.
        if count != 1 || limit == 1 {
            return Ok(count);
        }
        Ok(count + self.take_many(into, limit - 1, Patience::Now).unwrap_or(0))
    }

    fn take_many(&self, into: &mut Vec<T>, limit: usize, patience: Patience) -> Result<usize, RecvError> {
        let many = RecvMany { chan: &*self.chan, into, limit, woken: Vec::new(), count: 0 };
        wait::perform::<S, _>(many, None, patience)
    }

    /// Waits until the channel is closed, which is before the last message was received.
    ///
    /// # Scheduling
    ///
    /// Unless it is, the caller parks.
    ///
    /// # Errors
    ///
    /// The caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn wait_closed(&self) -> Result<(), RecvError> {
        wait::perform::<S, _>(Closed::new(&*self.chan), None, Patience::Wait)
    }

    /// Receives until the channel is closed and nothing is left in it.
    ///
    /// # Scheduling
    ///
    /// Each step is a [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// Each step where [`recv`](Self::recv) does. A step of a caller that may not park ends the iteration.
    pub fn iter(&self) -> Iter<'_, T, S> {
        Iter { receiver: self }
    }

    /// Receives what is there, without waiting.
    pub fn try_iter(&self) -> TryIter<'_, T, S> {
        TryIter { receiver: self }
    }
}

impl<T, S> Clone for ReceiverBy<T, S> {
    fn clone(&self) -> Self {
        self.chan.receivers.fetch_add(1, Ordering::Relaxed);
        ReceiverBy::new(self.chan.clone())
    }
}

impl<T, S> Drop for ReceiverBy<T, S> {
    fn drop(&mut self) {
        // Relaxed: as for senders.
        if self.chan.receivers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.chan.close();
            self.chan.discard();
        }
    }
}

impl<T, S> fmt::Debug for ReceiverBy<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug("Receiver", &self.chan, f)
    }
}

/// A receiver that does not keep its channel open. Made by [`ReceiverBy::downgrade`].
pub struct WeakReceiverBy<T, S> {
    chan: Arc<Chan<T>>,
    _switch: PhantomData<fn() -> S>,
}

impl<T, S> WeakReceiverBy<T, S> {
    /// A receiver, if there is one still.
    pub fn upgrade(&self) -> Option<ReceiverBy<T, S>> {
        count_if_any(&self.chan.receivers).then(|| ReceiverBy::new(self.chan.clone()))
    }
}

impl<T, S> Clone for WeakReceiverBy<T, S> {
    fn clone(&self) -> Self {
        WeakReceiverBy { chan: self.chan.clone(), _switch: PhantomData }
    }
}

impl<T, S> fmt::Debug for WeakReceiverBy<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug("WeakReceiver", &self.chan, f)
    }
}

/// Receives until the channel has ended; see [`ReceiverBy::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, S> {
    receiver: &'a ReceiverBy<T, S>,
}

impl<T, S: Switch> Iterator for Iter<'_, T, S> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

/// Receives what is there; see [`ReceiverBy::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T, S> {
    receiver: &'a ReceiverBy<T, S>,
}

impl<T, S: Switch> Iterator for TryIter<'_, T, S> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

/// Receives until the channel has ended, and owns the receiver.
#[derive(Debug)]
pub struct IntoIter<T, S> {
    receiver: ReceiverBy<T, S>,
}

impl<T, S: Switch> Iterator for IntoIter<T, S> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T, S: Switch> IntoIterator for ReceiverBy<T, S> {
    type Item = T;
    type IntoIter = IntoIter<T, S>;

    fn into_iter(self) -> IntoIter<T, S> {
        IntoIter { receiver: self }
    }
}

impl<'a, T, S: Switch> IntoIterator for &'a ReceiverBy<T, S> {
    type Item = T;
    type IntoIter = Iter<'a, T, S>;

    fn into_iter(self) -> Iter<'a, T, S> {
        self.iter()
    }
}

/// What was in the buffer; see [`ReceiverBy::drain`].
#[derive(Debug)]
pub struct Drain<T> {
    messages: vec_deque::IntoIter<T>,
}

impl<T> Iterator for Drain<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.messages.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.messages.size_hint()
    }
}

impl<T> ExactSizeIterator for Drain<T> {}
