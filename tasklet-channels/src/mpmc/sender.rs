//! The handle that sends.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::operation::Switch;
use tasklet_core::wait::{self, ArmOf, Patience, TypedArm, WaitFuture, deadline};

use super::attempt::{Closed, Own, Reserve, Send};
use super::permit::PermitBy;
use super::receiver::ReceiverBy;
use super::{Chan, count_if_any};
use crate::error::{RecvError, SendError};
use crate::primitive::atomic::Ordering;

/// Sends into a channel; any number of clones may, from any thread, tasklet or async code. `S` says how its operations
/// [switch](tasklet_core::operation), and nothing else.
///
/// The channel is closed when its last sender is dropped, or its last receiver, or by [`close`](Self::close) of either.
///
/// # Differences from `crossbeam_channel::Sender`
///
/// - The caller is recognised: a tasklet parks, a plain thread is parked, [`send_async`](Self::send_async) is for async code.
/// - One [error](SendError) for all forms of sending; it says why, and has the message.
/// - [`reserve`](Self::reserve), [`close`](Self::close), weak handles, [`closed_arm`](Self::closed_arm), counts.
/// - Points in time are on the [clock](tasklet_core::current::now) of the caller's scheduler.
pub struct SenderBy<T, S> {
    chan: Arc<Chan<T>>,
    _switch: PhantomData<fn() -> S>,
}

impl<T, S> SenderBy<T, S> {
    pub(super) fn new(chan: Arc<Chan<T>>) -> SenderBy<T, S> {
        SenderBy { chan, _switch: PhantomData }
    }

    pub(super) fn chan(&self) -> &Arc<Chan<T>> {
        &self.chan
    }

    /// Where its lock is, which gives locks their order in a select.
    #[cfg(all(test, loom))]
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.chan).addr()
    }

    /// Lets go of the channel without closing it.
    pub(super) fn forget(self) {
        let sender = ManuallyDrop::new(self);
        // SAFETY: `sender` is not used or dropped after this.
        drop(unsafe { std::ptr::read(&raw const sender.chan) });
    }

    /// The same handle, with another way of switching.
    pub fn by<R>(self) -> SenderBy<T, R> {
        let other = SenderBy::new(self.chan.clone());
        self.forget();
        other
    }

    /// A handle that does not keep the channel open.
    pub fn downgrade(&self) -> WeakSenderBy<T, S> {
        WeakSenderBy { chan: self.chan.clone(), _switch: PhantomData }
    }

    /// Whether both are of one channel.
    pub fn same_channel<R>(&self, other: &SenderBy<T, R>) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }

    /// Whether the receiver is of this channel.
    pub fn is_to<R>(&self, receiver: &ReceiverBy<T, R>) -> bool {
        Arc::ptr_eq(&self.chan, receiver.chan())
    }

    /// Sends from async code. The future counts as a sender. Dropped before it is ready, it has not sent, and the message is dropped with it.
    pub fn send_async(&self, message: T) -> impl Future<Output = Result<(), SendError<T>>> + use<T, S> {
        WaitFuture::new(Send::new(Own(self.clone())), Some(message))
    }

    /// Sending, as an arm of a select.
    pub fn send_arm(&self, message: T) -> impl TypedArm<Output = Result<(), SendError<T>>> + use<'_, T, S> {
        ArmOf::new(Send::new(&*self.chan), Some(message))
    }

    /// The end of the channel, as an arm of a select.
    pub fn closed_arm(&self) -> impl TypedArm<Output = Result<(), RecvError>> + use<'_, T, S> {
        ArmOf::new(Closed::new(&*self.chan), None)
    }
}

impl<T, S: Switch> SenderBy<T, S> {
    /// Sends a message: to a waiting receiver, into the buffer, or waits for one of these.
    ///
    /// # Scheduling
    ///
    /// A receiver that gets it is made runnable, and the caller goes on. If there is none and no room, the caller parks.
    ///
    /// # Errors
    ///
    /// The channel is closed, or the caller may not park. The message is in the error.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        wait::perform::<S, _>(Send::new(&*self.chan), Some(message), Patience::Wait)
    }

    /// As [`send`](Self::send), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::is_would_block`].
    #[inline(always)]
    pub fn try_send(&self, message: T) -> Result<(), SendError<T>> {
        wait::perform::<S, _>(Send::new(&*self.chan), Some(message), Patience::Now)
    }

    /// As [`send`](Self::send), but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::is_timeout`].
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_timeout(&self, message: T, limit: Duration) -> Result<(), SendError<T>> {
        self.send_deadline(message, deadline(limit))
    }

    /// As [`send`](Self::send), but waits until the clock of the caller's scheduler shows `at`, at most.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_deadline(&self, message: T, at: Duration) -> Result<(), SendError<T>> {
        match self.try_send(message) {
            Err(error) if error.is_would_block() => {
                wait::perform_until::<S, _>(Send::new(&*self.chan), Some(error.into_inner()), at)
            }
            sent => sent,
        }
    }

    /// Waits for room for one message and keeps it: the permit's send does not wait.
    ///
    /// # Scheduling
    ///
    /// If there is no room, the caller parks.
    ///
    /// # Errors
    ///
    /// The channel is closed, or a rendezvous ([`SendError::is_no_buffer`]), or the caller may not park.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn reserve(&self) -> Result<PermitBy<'_, T, S>, SendError<()>> {
        wait::perform::<S, _>(Reserve::new(&*self.chan), None, Patience::Wait)?;
        Ok(PermitBy::new(self, &self.chan))
    }

    /// As [`reserve`](Self::reserve), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`SendError::is_would_block`].
    pub fn try_reserve(&self) -> Result<PermitBy<'_, T, S>, SendError<()>> {
        wait::perform::<S, _>(Reserve::new(&*self.chan), None, Patience::Now)?;
        Ok(PermitBy::new(self, &self.chan))
    }

    /// As [`reserve`](Self::reserve), but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`SendError::is_timeout`].
    ///
    /// # Panics
    ///
    /// As [`reserve`](Self::reserve).
    pub fn reserve_timeout(&self, limit: Duration) -> Result<PermitBy<'_, T, S>, SendError<()>> {
        self.reserve_deadline(deadline(limit))
    }

    /// As [`reserve`](Self::reserve), but waits until the clock of the caller's scheduler shows `at`, at most.
    ///
    /// # Errors
    ///
    /// As [`reserve_timeout`](Self::reserve_timeout).
    ///
    /// # Panics
    ///
    /// As [`reserve`](Self::reserve).
    pub fn reserve_deadline(&self, at: Duration) -> Result<PermitBy<'_, T, S>, SendError<()>> {
        wait::perform_until::<S, _>(Reserve::new(&*self.chan), None, at)?;
        Ok(PermitBy::new(self, &self.chan))
    }

    /// Waits until the channel is closed.
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
}

impl<T, S> Clone for SenderBy<T, S> {
    fn clone(&self) -> Self {
        self.chan.senders.fetch_add(1, Ordering::Relaxed);
        SenderBy::new(self.chan.clone())
    }
}

impl<T, S> Drop for SenderBy<T, S> {
    fn drop(&mut self) {
        // Relaxed: what the others have sent, they have sent under the lock, which `close` takes.
        if self.chan.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.chan.close();
        }
    }
}

impl<T, S> fmt::Debug for SenderBy<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug("Sender", &self.chan, f)
    }
}

/// A sender that does not keep its channel open. Made by [`SenderBy::downgrade`].
pub struct WeakSenderBy<T, S> {
    chan: Arc<Chan<T>>,
    _switch: PhantomData<fn() -> S>,
}

impl<T, S> WeakSenderBy<T, S> {
    /// A sender, if there is one still.
    pub fn upgrade(&self) -> Option<SenderBy<T, S>> {
        count_if_any(&self.chan.senders).then(|| SenderBy::new(self.chan.clone()))
    }
}

impl<T, S> Clone for WeakSenderBy<T, S> {
    fn clone(&self) -> Self {
        WeakSenderBy { chan: self.chan.clone(), _switch: PhantomData }
    }
}

impl<T, S> fmt::Debug for WeakSenderBy<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug("WeakSender", &self.chan, f)
    }
}
