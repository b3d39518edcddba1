//! The Stackless channel: a rendezvous with a balance and a preference.
//!
//! What an operation does to the queue of runnable tasklets is written in [`tasklet_core::channel`]; how waiters are claimed, in
//! [`tasklet_core::park`].

use std::fmt;
use std::sync::Arc;

use tasklet_core::channel::{ChannelEvent, Direction, HandOver, Preference, hand_over};
use tasklet_core::current;
use tasklet_core::handle::{Handle, Local, Reach, Shared, Waits};
use tasklet_core::home::{Home, Remote};
use tasklet_core::id::{ChannelId, TaskletId};
use tasklet_core::operation::{self, Operation, Step, Switch};
use tasklet_core::park::{ParkError, ParkReason, Parked, Wake};
use tasklet_core::scheduler::{Observed, Scheduler};
use tasklet_core::unwind::{self, Payload};

use crate::error::{Cause, RecvError, SendAllError, SendError};
use crate::queue::{Message, Queue};

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
pub struct ChannelBy<T, R: Reach> {
    id: ChannelId,
    state: Handle<State<T>, R>,
}

struct State<T> {
    id: ChannelId,
    queue: Queue<T>,
    preference: Preference,
    schedule_all: bool,
    closing: bool,
}

impl<T> Waits for State<T> {
    fn reason(&self, _: usize) -> ParkReason {
        let direction = if self.queue.balance() > 0 { Direction::Send } else { Direction::Receive };
        ParkReason::Channel { id: self.id, direction }
    }

    fn unlink(&mut self, who: TaskletId, key: usize) -> Option<Parked> {
        self.queue.take_waiter(who, key)
    }

    fn is_shared(&self, key: usize, shared: usize, local: usize) -> bool {
        // A waiter's own handle brings nobody. Local handles are elsewhere for who came through a shared one: at least, they may be.
        if self.queue.is_shared(key) { shared + local > 1 } else { shared > 0 }
    }

    fn on_fewer_handles(&self, shared: usize) {
        // One may be the waiter's own.
        if shared > 1 {
            return;
        }
        let mut last: Option<&Arc<Home>> = None;
        for waiter in self.queue.waiters() {
            let home = waiter.record().home();
            if !last.is_some_and(|last| Arc::ptr_eq(last, home)) {
                let _ = home.submit(Remote::Recheck);
            }
            last = Some(home);
        }
    }
}

/// A waiter's claim on its node: frees it if the wait unwinds.
struct Node<'a, T, R: Reach> {
    state: &'a Handle<State<T>, R>,
    who: TaskletId,
    key: usize,
}

impl<T, R: Reach> Node<'_, T, R> {
    #[inline]
    fn reclaim(self) -> Option<Option<Message<T>>> {
        let message = self.state.lock().queue.reclaim(self.who, self.key);
        std::mem::forget(self);
        message
    }
}

impl<T, R: Reach> Drop for Node<'_, T, R> {
    fn drop(&mut self) {
        let message = self.state.lock().queue.reclaim(self.who, self.key);
        // The lock is released before the message is dropped: its destructor may use the channel.
        drop(message);
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
        let state = State { id, queue: Queue::new(), preference, schedule_all: false, closing: false };
        ChannelBy { id, state: Handle::new(state) }
    }
}

impl<T, S: Switch> Default for ChannelBy<T, Local<S>> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R: Reach> ChannelBy<T, R> {
    fn handle<S: Reach>(&self) -> ChannelBy<T, S> {
        ChannelBy { id: self.id, state: self.state.to() }
    }

    /// A handle for other threads.
    pub fn share(&self) -> ChannelBy<T, Shared<R::Switch>>
    where
        T: std::marker::Send,
    {
        self.handle()
    }

    /// A handle for this thread. It does not count as somebody who may come from elsewhere.
    pub fn local(&self) -> ChannelBy<T, Local<R::Switch>> {
        self.handle()
    }

    /// Its identity, shown in dumps and hooks.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// Whether both handles refer to one channel.
    pub fn same_channel<S: Reach>(&self, other: &ChannelBy<T, S>) -> bool {
        self.state.is_same(&other.state)
    }

    /// Tasklets waiting to send, if positive; waiting to receive, if negative.
    pub fn balance(&self) -> isize {
        self.state.lock().queue.balance()
    }

    /// The waiting tasklets, oldest first.
    pub fn waiters(&self) -> Vec<TaskletId> {
        self.state.lock().queue.waiters().map(|waiter| waiter.record().id()).collect()
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
        state.closing && state.queue.balance() == 0
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
        let mut state = self.state.lock();
        state.closing = true;
        while let Some(waiter) = state.queue.take_first() {
            current::unpark(waiter.with(Wake::Closed));
        }
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
        self.send_message(Message::Value(value), Wait::Yes).map_err(|error| {
            error.map(|message| match message {
                Message::Value(value) => value,
                Message::Throw(_) => unreachable!("the message comes back as it went in"),
            })
        })
    }

    /// As [`send`](Self::send), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::is_would_block`].
    #[inline(always)]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_message(Message::Value(value), Wait::No).map_err(|error| {
            error.map(|message| match message {
                Message::Value(value) => value,
                Message::Throw(_) => unreachable!("the message comes back as it went in"),
            })
        })
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
    pub fn send_throw(&self, payload: Payload) -> Result<(), SendError<Payload>> {
        self.send_message(Message::Throw(Box::new(payload)), Wait::Yes).map_err(|error| {
            error.map(|message| match message {
                Message::Throw(payload) => *payload,
                Message::Value(_) => unreachable!("the message comes back as it went in"),
            })
        })
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
        self.receive(Wait::Yes)
    }

    /// As [`recv`](Self::recv), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::is_would_block`].
    #[inline(always)]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.receive(Wait::No)
    }

    /// Receives until the channel is closed and no sender waits.
    ///
    /// # Panics
    ///
    /// Each step panics if it cannot wait or nobody will ever come, and where [`recv`](Self::recv) does.
    pub fn iter(&self) -> Iter<'_, T, R> {
        Iter { channel: self }
    }

    /// Looks whether a partner waits, and tells the hook, which must not be called with the lock held.
    #[cold]
    fn tell(&self, scheduler: &dyn Scheduler, direction: Direction) {
        let will_block = !self.state.lock().queue.serves(direction);
        let tasklet = scheduler.current_id();
        scheduler.channel_event(&ChannelEvent { channel: self.id, tasklet, direction, will_block });
    }

    #[inline(always)]
    fn send_message(&self, message: Message<T>, wait: Wait) -> Result<(), SendError<Message<T>>> {
        operation::perform::<R::Switch, _>(Send {
            channel: self,
            wait,
            message: Some(message),
            node: None,
            refused: None,
        })
    }

    #[inline(always)]
    fn receive(&self, wait: Wait) -> Result<T, RecvError> {
        match operation::perform::<R::Switch, _>(Receive {
            channel: self,
            wait,
            message: None,
            node: None,
            refused: None,
        })? {
            Message::Value(value) => Ok(value),
            Message::Throw(payload) => unwind::raise(*payload),
        }
    }
}

/// Gives a message to the oldest receiver, or waits for one.
struct Send<'c, T, R: Reach> {
    channel: &'c ChannelBy<T, R>,
    wait: Wait,
    /// Until a receiver or the queue has it.
    message: Option<Message<T>>,
    /// The caller's place in the queue.
    node: Option<Node<'c, T, R>>,
    refused: Option<Cause>,
}

impl<'c, T, R: Reach> Operation<'c> for Send<'c, T, R> {
    type Output = Result<(), SendError<Message<T>>>;

    #[inline]
    fn begin(&mut self, scheduler: &dyn Scheduler) -> Step<'c> {
        let channel = self.channel;
        if scheduler.begin_operation() == Observed::Yes {
            channel.tell(scheduler, Direction::Send);
        }
        let mut state = channel.state.lock();
        if state.queue.serves(Direction::Send) {
            let how = hand_over(Direction::Send, state.preference, state.schedule_all);
            self.refused = may_hand_over(scheduler, &state, how);
            if self.refused.is_some() {
                return Step::Done;
            }
            let partner = state.queue.take_receiver(&mut self.message).expect("a receiver waits");
            return Step::HandOver { partner, how };
        }
        self.refused = may_wait(scheduler, &state, self.wait);
        if self.refused.is_some() {
            return Step::Done;
        }
        let waiter = scheduler.begin_park();
        let who = waiter.record().id();
        let key = state.queue.push(Direction::Send, waiter, &mut self.message, R::IS_SHARED);
        self.node = Some(Node { state: &channel.state, who, key });
        Step::Park { site: channel.state.site(), key }
    }

    #[inline(always)]
    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output {
        if outcome == Ok(Wake::Served) && self.refused.is_none() {
            // If it has waited, the receiver has taken the message and freed the node.
            std::mem::forget(self.node.take());
            return Ok(());
        }
        Err(self.not_sent(outcome))
    }
}

impl<T, R: Reach> Send<'_, T, R> {
    #[cold]
    fn not_sent(&mut self, outcome: Result<Wake, ParkError>) -> SendError<Message<T>> {
        let cause = self.refused.unwrap_or(match outcome {
            Ok(_) => Cause::Closed,
            Err(error) => Cause::Park(error),
        });
        let message = self.message.take().or_else(|| self.node.take().and_then(Node::reclaim).flatten());
        SendError::new(message.expect("a message that was not sent is here or in the queue"), cause)
    }
}

/// Takes the message of the oldest sender, or waits for one.
struct Receive<'c, T, R: Reach> {
    channel: &'c ChannelBy<T, R>,
    wait: Wait,
    message: Option<Message<T>>,
    /// The caller's place in the queue.
    node: Option<Node<'c, T, R>>,
    refused: Option<Cause>,
}

impl<'c, T, R: Reach> Operation<'c> for Receive<'c, T, R> {
    type Output = Result<Message<T>, RecvError>;

    #[inline]
    fn begin(&mut self, scheduler: &dyn Scheduler) -> Step<'c> {
        let channel = self.channel;
        if scheduler.begin_operation() == Observed::Yes {
            channel.tell(scheduler, Direction::Receive);
        }
        let mut state = channel.state.lock();
        if state.queue.serves(Direction::Receive) {
            let how = hand_over(Direction::Receive, state.preference, state.schedule_all);
            self.refused = may_hand_over(scheduler, &state, how);
            if self.refused.is_some() {
                return Step::Done;
            }
            let partner = state.queue.take_sender(&mut self.message).expect("a sender waits");
            return Step::HandOver { partner, how };
        }
        self.refused = may_wait(scheduler, &state, self.wait);
        if self.refused.is_some() {
            return Step::Done;
        }
        let waiter = scheduler.begin_park();
        let who = waiter.record().id();
        let key = state.queue.push(Direction::Receive, waiter, &mut None, R::IS_SHARED);
        self.node = Some(Node { state: &channel.state, who, key });
        Step::Park { site: channel.state.site(), key }
    }

    #[inline(always)]
    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output {
        if self.node.is_some() {
            self.reclaim();
        }
        match self.message.take() {
            Some(message) => Ok(message),
            None => Err(self.not_received(outcome)),
        }
    }
}

impl<T, R: Reach> Receive<'_, T, R> {
    /// Takes what a sender has left in the caller's node, and frees it.
    #[inline(never)]
    fn reclaim(&mut self) {
        if let Some(node) = self.node.take() {
            self.message = node.reclaim().flatten();
        }
    }

    #[cold]
    fn not_received(&self, outcome: Result<Wake, ParkError>) -> RecvError {
        RecvError::new(self.refused.unwrap_or(match outcome {
            Ok(_) => Cause::Closed,
            Err(error) => Cause::Park(error),
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// Why the caller may not wait, in the order of the Stackless checks: block trap, close, switch trap.
#[inline]
fn may_wait<T>(scheduler: &dyn Scheduler, state: &State<T>, wait: Wait) -> Option<Cause> {
    if wait == Wait::No {
        return Some(if state.closing { Cause::Closed } else { Cause::WouldBlock });
    }
    match scheduler.may_park() {
        Err(error @ ParkError::BlockTrapped) => Some(Cause::Park(error)),
        _ if state.closing => Some(Cause::Closed),
        result => result.err().map(Cause::Park),
    }
}

/// Why the exchange with the oldest waiter may not take place.
#[inline]
fn may_hand_over<T>(scheduler: &dyn Scheduler, state: &State<T>, how: HandOver) -> Option<Cause> {
    if how == HandOver::Caller {
        return None;
    }
    state.queue.first().and_then(|first| scheduler.may_hand_over(first, how).err()).map(Cause::Park)
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
            .field("id", &self.id.get())
            .field("balance", &state.queue.balance())
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
            state.closing && state.queue.balance() <= 0
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
