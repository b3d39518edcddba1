//! The Stackless channel: a rendezvous with a balance and a preference.
//!
//! What an operation does to the queue of runnable tasklets is written in [`tasklet_core::channel`]; how waiters are claimed, in
//! [`tasklet_core::wait`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::channel::{Direction, Preference};
use tasklet_core::handle::{Handle, Local, Reach, Shared, Waits};
use tasklet_core::home::Home;
use tasklet_core::id::{ChannelId, TaskletId};
use tasklet_core::operation::Switch;
use tasklet_core::tasklet::Record;
use tasklet_core::unwind::Payload;
use tasklet_core::wait::{self, ArmOf, Claimed, Mapped, Patience, TypedArm, WaitFuture, Waiters, Woken, deadline};

use crate::error::{RecvError, SendAllError, SendError};
use crate::exchange::{Elsewhere, Give, Take};
use crate::message::Message;
use crate::wake::wake_all;

/// A rendezvous channel of this thread; see [`ChannelBy`].
pub type Channel<T> = ChannelBy<T, Local>;

/// A channel handle that may go to other threads, if its values may. Made by [`share`](ChannelBy::share).
pub type SharedChannel<T> = ChannelBy<T, Shared>;

/// A rendezvous channel, as in Stackless: no buffer, a queue of waiting tasklets, a preference.
///
/// Clones refer to the same channel. A `Channel<T>` stays on its thread, so `T` can be anything; [`share`](Self::share) makes a
/// handle that other threads may hold, with the same operations. While such a handle exists elsewhere, waiting in the channel is
/// not a deadlock: the thread sleeps until somebody comes. Who waits through a shared handle counts every other handle as one that
/// may be elsewhere, so a thread that wants to be told of a deadlock waits through a local one.
///
/// The calling tasklet parks; on a thread without a scheduler, the thread does.
///
/// # Differences from `std::sync::mpsc` and crossbeam
///
/// - A handle both sends and receives, and the channel does not close by itself when handles are dropped: use
///   [`close`](Self::close). A tasklet that waits where nobody can come is told by the scheduler's deadlock rule.
/// - Only a [`SharedChannel`] is `Send`:
///
///   ```compile_fail,E0277
///   fn send<T: Send>(_: T) {}
///   send(tasklet_channels::Channel::<i32>::new());
///   ```
/// - On the local scheduler, an exchange says who runs next; see [`Preference`].
/// - [`send_throw`](Self::send_throw) raises something in the receiver.
/// - As in Stackless, a call of [`recv`](Self::recv) that was given a message, and is killed before it has run on, takes the message with it:
///   the sender has gone on. With the other channels, and in selects and futures, it is the next to be received.
/// - No `recv_many`, `drain` or `reserve`: there is no buffer.
pub struct ChannelBy<T, R: Reach> {
    state: Handle<State<T>, R>,
}

/// What its lock guards. At most one of the lists has waiters, but for selects that both send and receive.
pub(crate) struct State<T> {
    pub(crate) id: ChannelId,
    pub(crate) name: Option<Box<str>>,
    pub(crate) senders: Waiters<Message<T>>,
    pub(crate) receivers: Waiters<Message<T>>,
    /// Messages that came back from selects and futures which were given them, and were dropped without having looked. Receivers wait only
    /// while it is empty.
    pub(crate) returned: VecDeque<Message<T>>,
    pub(crate) preference: Preference,
    pub(crate) schedule_all: bool,
    pub(crate) closing: bool,
}

impl<T> State<T> {
    /// Those who wait for somebody who comes in `direction`.
    #[inline(always)]
    pub(crate) fn partners(&mut self, direction: Direction) -> &mut Waiters<Message<T>> {
        match direction {
            Direction::Send => &mut self.receivers,
            Direction::Receive => &mut self.senders,
        }
    }

    /// Ends the wait of the oldest waiter.
    fn close_one(&mut self) -> Option<Woken> {
        match self.senders.claim() {
            Some(sender) => Some(sender.close()),
            None => self.receivers.claim().map(Claimed::close),
        }
    }

    fn balance(&self) -> isize {
        self.senders.len() as isize - self.receivers.len() as isize
    }

    fn waiting(&self) -> impl Iterator<Item = &Record> {
        self.senders.records().chain(self.receivers.records())
    }
}

impl<T> Waits for State<T> {
    fn deserted(&self, shared: usize) -> Vec<Arc<Home>> {
        // One may be the waiter's own.
        if shared > 1 {
            return Vec::new();
        }
        let mut homes: Vec<Arc<Home>> = self.waiting().filter_map(Record::home).collect();
        homes.dedup_by_key(|home| home.id());
        homes
    }
}

impl<T, S: Switch> ChannelBy<T, Local<S>> {
    /// A channel with the default preference: the receiver runs on.
    pub fn new() -> Self {
        Self::with_preference(Preference::Receiver)
    }

    /// A channel with a preference.
    pub fn with_preference(preference: Preference) -> Self {
        let id = ChannelId::next();
        let (senders, receivers) = (Waiters::new(), Waiters::new());
        let state = State {
            id,
            name: None,
            senders,
            receivers,
            returned: VecDeque::new(),
            preference,
            schedule_all: false,
            closing: false,
        };
        ChannelBy { state: Handle::new(state) }
    }
}

impl<T, S: Switch> Default for ChannelBy<T, Local<S>> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R: Reach> ChannelBy<T, R> {
    fn handle<S: Reach>(&self) -> ChannelBy<T, S> {
        ChannelBy { state: self.state.to() }
    }

    /// A handle for other threads.
    pub fn share(&self) -> ChannelBy<T, Shared<R::Switch>>
    where
        T: Send,
    {
        self.handle()
    }

    /// A handle for this thread. It does not count as somebody who may come from elsewhere.
    pub fn local(&self) -> ChannelBy<T, Local<R::Switch>> {
        self.handle()
    }

    /// Its identity, shown in dumps and hooks.
    pub fn id(&self) -> ChannelId {
        self.state.lock().id
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<String> {
        self.state.lock().name.as_deref().map(str::to_owned)
    }

    /// Gives it a name, for dumps and `Debug`.
    pub fn set_name(&self, name: impl Into<String>) {
        let name = name.into().into_boxed_str();
        let replaced = self.state.lock().name.replace(name);
        drop(replaced);
    }

    /// Whether both handles refer to one channel.
    pub fn same_channel<S: Reach>(&self, other: &ChannelBy<T, S>) -> bool {
        self.state.is_same(&other.state)
    }

    /// Tasklets waiting to send, if positive; waiting to receive, if negative. A select counts in each of its channels until it has gone on.
    pub fn balance(&self) -> isize {
        self.state.lock().balance()
    }

    /// Callers that wait to send.
    pub fn blocked_senders(&self) -> usize {
        self.state.lock().senders.len()
    }

    /// Callers that wait to receive.
    pub fn blocked_receivers(&self) -> usize {
        self.state.lock().receivers.len()
    }

    /// The waiting tasklets, oldest first.
    pub fn waiters(&self) -> Vec<TaskletId> {
        self.state.lock().waiting().map(Record::id).collect()
    }

    /// Whom an exchange lets go on.
    pub fn preference(&self) -> Preference {
        self.state.lock().preference
    }

    /// Sets whom an exchange lets go on. A hint under other schedulers than the local one.
    pub fn set_preference(&self, preference: Preference) {
        self.state.lock().preference = preference;
    }

    /// Whether an exchange lets everybody run before the caller.
    pub fn schedule_all(&self) -> bool {
        self.state.lock().schedule_all
    }

    /// Sets whether an exchange lets everybody run before the caller; overrides the preference.
    pub fn set_schedule_all(&self, schedule_all: bool) {
        self.state.lock().schedule_all = schedule_all;
    }

    /// Whether it was closed.
    pub fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Whether it was closed and nobody waits in it.
    pub fn is_closed(&self) -> bool {
        let state = self.state.lock();
        state.closing && state.balance() == 0 && state.returned.is_empty()
    }

    /// Closes it for those who would have to wait, from now on. Who waits already may still be served, and is not woken.
    /// Stackless's `close`.
    pub fn close_soft(&self) {
        self.state.lock().closing = true;
    }

    /// Closes it and wakes whoever waits in it: receivers get an error, senders their value back in one.
    ///
    /// # Scheduling
    ///
    /// Those woken are appended to the queue, oldest first. The caller goes on.
    pub fn close(&self) {
        self.state.lock().closing = true;
        wake_all(self.state.place(), State::close_one);
    }

    /// Undoes a close.
    pub fn reopen(&self) {
        self.state.lock().closing = false;
    }

    /// Sends a value: to the oldest waiting receiver, else waits for one.
    ///
    /// # Scheduling
    ///
    /// If a receiver waits, the [preference](Preference) says who goes on: by default the receiver, at once. Else the caller parks.
    ///
    /// # Errors
    ///
    /// Nobody waits to receive, and the channel is closed or the caller may not park; or nobody will ever come: see
    /// [`SendError::park_error`]. The value is in the error.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller, or with an error of a tasklet if the caller is the main tasklet.
    #[inline(always)]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_value(value, Patience::Wait)
    }

    /// As [`send`](Self::send), but an error instead of waiting.
    ///
    /// # Scheduling
    ///
    /// Never parks. If a receiver waits, as [`send`](Self::send): by default the receiver goes on, at once.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::is_would_block`].
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    #[inline(always)]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_value(value, Patience::Now)
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
    pub fn send_timeout(&self, value: T, limit: Duration) -> Result<(), SendError<T>> {
        self.send_deadline(value, deadline(limit))
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
    pub fn send_deadline(&self, value: T, at: Duration) -> Result<(), SendError<T>> {
        let give = Give::new(&self.state, Patience::Wait);
        let sent = wait::perform_until::<R::Switch, _>(give, Some(Message::Value(value)), at);
        sent.map_err(|error| error.map(Message::into_value))
    }

    /// Sends from async code. Dropped before it is ready, the future has not sent, and the value is dropped with it.
    pub fn send_async(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> + use<'_, T, R> {
        let give = WaitFuture::new(Give::new(&self.state, Elsewhere), Some(Message::Value(value)));
        give.map(|sent| sent.map_err(|error| error.map(Message::into_value)))
    }

    /// Sends something that is raised in the receiver, out of its `recv`.
    ///
    /// # Scheduling
    ///
    /// As [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_throw(&self, payload: Payload) -> Result<(), SendError<Payload>> {
        let message = Message::Throw(Box::new(payload));
        self.send_message(message, Patience::Wait).map_err(|error| error.map(Message::into_payload))
    }

    /// Sends each value; returns how many there were.
    ///
    /// # Scheduling
    ///
    /// As [`send`](Self::send), for each.
    ///
    /// # Errors
    ///
    /// At the first value that could not be sent.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send), and where the iterator does.
    pub fn send_all(&self, values: impl IntoIterator<Item = T>) -> Result<usize, SendAllError<T>> {
        let mut sent = 0;
        for value in values {
            self.send(value).map_err(|error| SendAllError { sent, error })?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Receives a value: from the oldest waiting sender, else waits for one.
    ///
    /// # Scheduling
    ///
    /// If a sender waits, the [preference](Preference) says who goes on: by default the caller. Else the caller parks.
    ///
    /// # Errors
    ///
    /// Nobody waits to send, and the channel is closed or the caller may not park; or nobody will ever come: see
    /// [`RecvError::park_error`].
    ///
    /// # Panics
    ///
    /// Unwinds with what was sent by [`send_throw`](Self::send_throw) or thrown at the caller, or with an error of a tasklet if the
    /// caller is the main tasklet.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(Patience::Wait)
    }

    /// As [`recv`](Self::recv), but an error instead of waiting.
    ///
    /// # Scheduling
    ///
    /// Never parks. If a sender waits, as [`recv`](Self::recv): by default the caller goes on.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::is_would_block`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[inline(always)]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.receive(Patience::Now)
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
        let take = Take::new(&self.state, Patience::Wait);
        wait::perform_until::<R::Switch, _>(take, None, at).map(Message::receive)
    }

    /// Receives in async code. Dropped before it was ready, the future has received nothing: a value that was given to it meanwhile is the
    /// next to be received.
    pub fn recv_async(&self) -> impl Future<Output = Result<T, RecvError>> + use<'_, T, R> {
        WaitFuture::new(Take::new(&self.state, Elsewhere), None).map(|received| received.map(Message::receive))
    }

    /// Receives from senders that wait, without waiting.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// Receives until the channel is closed and no sender waits.
    ///
    /// # Scheduling
    ///
    /// Each step is a [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// Each step panics if it cannot wait or nobody will ever come, and where [`recv`](Self::recv) does.
    pub fn iter(&self) -> Iter<'_, T, R> {
        Iter { channel: self }
    }

    /// Sending, as an arm of a select.
    pub fn send_arm(&self, value: T) -> impl TypedArm<Output = Result<(), SendError<T>>> + use<'_, T, R> {
        let give = Give::new(&self.state, Elsewhere);
        Mapped::new(ArmOf::new(give, Some(Message::Value(value))), |sent: Result<(), SendError<Message<T>>>| {
            sent.map_err(|error| error.map(Message::into_value))
        })
    }

    /// Receiving, as an arm of a select. What was sent by [`send_throw`](Self::send_throw) is raised when its output is taken.
    pub fn recv_arm(&self) -> impl TypedArm<Output = Result<T, RecvError>> + use<'_, T, R> {
        let take = Take::new(&self.state, Elsewhere);
        Mapped::new(ArmOf::new(take, None), |received: Result<Message<T>, RecvError>| received.map(Message::receive))
    }

    #[inline(always)]
    fn send_value(&self, value: T, patience: Patience) -> Result<(), SendError<T>> {
        self.send_message(Message::Value(value), patience).map_err(|error| error.map(Message::into_value))
    }

    #[inline(always)]
    fn send_message(&self, message: Message<T>, patience: Patience) -> Result<(), SendError<Message<T>>> {
        wait::perform::<R::Switch, _>(Give::new(&self.state, patience), Some(message), patience)
    }

    #[inline(always)]
    fn receive(&self, patience: Patience) -> Result<T, RecvError> {
        wait::perform::<R::Switch, _>(Take::new(&self.state, patience), None, patience).map(Message::receive)
    }
}

impl<T, R: Reach> Clone for ChannelBy<T, R> {
    fn clone(&self) -> Self {
        self.handle()
    }
}

impl<T, R: Reach> fmt::Debug for ChannelBy<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Channel")
            .field("id", &state.id.get())
            .field("name", &state.name)
            .field("balance", &state.balance())
            .field("closing", &state.closing)
            .finish_non_exhaustive()
    }
}

/// Receives until the channel is closed; see [`ChannelBy::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, R: Reach> {
    channel: &'a ChannelBy<T, R>,
}

impl<T, R: Reach> Iterator for Iter<'_, T, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let ended = {
            let state = self.channel.state.lock();
            state.closing && state.senders.is_empty() && state.returned.is_empty()
        };
        if ended {
            return None;
        }
        match self.channel.recv() {
            Ok(value) => Some(value),
            Err(error) if error.is_closed() => None,
            Err(error) => panic!("could not iterate over channel {}: {error}", self.channel.id()),
        }
    }
}

impl<'a, T, R: Reach> IntoIterator for &'a ChannelBy<T, R> {
    type Item = T;
    type IntoIter = Iter<'a, T, R>;

    fn into_iter(self) -> Iter<'a, T, R> {
        self.iter()
    }
}
