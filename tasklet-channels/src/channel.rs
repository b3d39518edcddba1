//! The Stackless channel: a rendezvous with a balance and a preference.
//!
//! What an operation does to the queue of runnable tasklets is written in [`tasklet_core::channel`]; how waiters are claimed, in
//! [`tasklet_core::park`].

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tasklet_core::channel::{ChannelEvent, Direction, Preference, hand_over};
use tasklet_core::current;
use tasklet_core::home::Remote;
use tasklet_core::id::{ChannelId, TaskletId};
use tasklet_core::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
use tasklet_core::scheduler::{Observed, Scheduler};
use tasklet_core::unwind::{self, Payload};

use crate::error::{Cause, RecvError, SendAllError, SendError};
use crate::queue::{Message, Queue};

/// Marks a channel handle that stays on its thread.
#[derive(Debug)]
pub struct Local(PhantomData<*mut ()>);

/// Marks a channel handle that may go to other threads.
#[derive(Debug)]
pub struct Shared(());

mod sealed {
    pub trait Sealed {
        const SHARED: bool;
        fn new() -> Self;
    }
}

use sealed::Sealed;

impl Sealed for Local {
    const SHARED: bool = false;
    fn new() -> Self {
        Local(PhantomData)
    }
}

impl Sealed for Shared {
    const SHARED: bool = true;
    fn new() -> Self {
        Shared(())
    }
}

/// Where a channel handle may go: [`Local`] or [`Shared`].
pub trait Reach: Sealed {}

impl Reach for Local {}
impl Reach for Shared {}

/// A channel handle that may go to other threads, if its values may. Made by [`Channel::share`].
pub type SharedChannel<T> = Channel<T, Shared>;

/// A rendezvous channel, as in Stackless: no buffer, a queue of waiting tasklets, a preference.
///
/// Clones refer to the same channel. A `Channel<T>` stays on its thread, so `T` can be anything; [`share`](Self::share) makes a
/// handle that other threads may hold, with the same operations. While such a handle exists elsewhere, waiting in the channel is
/// not a deadlock: the thread sleeps until somebody comes.
///
/// The calling tasklet parks; on a thread without a scheduler, the thread does.
///
/// # Differences from `std::sync::mpsc` and crossbeam
///
/// - A handle both sends and receives, and the channel does not close by itself when handles are dropped: use
///   [`close`](Self::close). A tasklet that waits where nobody can come is told by the scheduler's deadlock rule.
/// - On the local scheduler, an exchange says who runs next; see [`Preference`].
/// - [`send_throw`](Self::send_throw) raises something in the receiver.
pub struct Channel<T, R: Reach = Local> {
    core: Arc<Core<T>>,
    _reach: R,
}

struct Core<T> {
    id: ChannelId,
    /// Handles that may be on other threads.
    shared: AtomicUsize,
    state: Mutex<State<T>>,
}

struct State<T> {
    queue: Queue<T>,
    preference: Preference,
    schedule_all: bool,
    closing: bool,
}

impl<T> Core<T> {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while the lock is held but a full queue or memory, which leave the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> WaitSite for Core<T> {
    fn reason(&self, _: usize) -> ParkReason {
        let balance = self.lock().queue.balance();
        let direction = if balance > 0 { Direction::Send } else { Direction::Receive };
        ParkReason::Channel { id: self.id, direction }
    }

    fn unlink(&self, who: TaskletId, key: usize) -> Option<Parked> {
        self.lock().queue.take_waiter(who, key)
    }

    fn is_shared(&self, key: usize) -> bool {
        let own = usize::from(self.lock().queue.is_shared(key));
        // Acquire: pairs with the release in `Channel::drop`, so that the last message of a handle is seen before it is missed.
        self.shared.load(Ordering::Acquire) > own
    }
}

/// A waiter's claim on its node: frees it if the wait unwinds.
struct Node<'a, T> {
    core: &'a Core<T>,
    who: TaskletId,
    key: usize,
}

impl<T> Node<'_, T> {
    fn reclaim(self) -> Option<Option<Message<T>>> {
        let message = self.core.lock().queue.reclaim(self.who, self.key);
        std::mem::forget(self);
        message
    }
}

impl<T> Drop for Node<'_, T> {
    fn drop(&mut self) {
        let message = self.core.lock().queue.reclaim(self.who, self.key);
        // The lock is released before the message is dropped: its destructor may use the channel.
        drop(message);
    }
}

impl<T> Channel<T> {
    /// A channel with the default preference: the receiver runs on.
    pub fn new() -> Channel<T> {
        Channel::with_preference(Preference::Receiver)
    }

    /// A channel with a preference.
    pub fn with_preference(preference: Preference) -> Channel<T> {
        let state = State { queue: Queue::new(), preference, schedule_all: false, closing: false };
        let core = Core { id: ChannelId::next(), shared: AtomicUsize::new(0), state: Mutex::new(state) };
        Channel { core: Arc::new(core), _reach: Local::new() }
    }
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        Channel::new()
    }
}

impl<T, R: Reach> Channel<T, R> {
    fn handle<S: Reach>(&self) -> Channel<T, S> {
        if S::SHARED {
            self.core.shared.fetch_add(1, Ordering::Relaxed);
        }
        Channel { core: self.core.clone(), _reach: S::new() }
    }

    /// A handle for other threads.
    pub fn share(&self) -> SharedChannel<T>
    where
        T: Send,
    {
        self.handle()
    }

    /// A handle for this thread. It does not count as somebody who may come from elsewhere.
    pub fn local(&self) -> Channel<T> {
        self.handle()
    }

    /// Its identity, shown in dumps and hooks.
    pub fn id(&self) -> ChannelId {
        self.core.id
    }

    /// Whether both handles refer to one channel.
    pub fn same_channel<S: Reach>(&self, other: &Channel<T, S>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    /// Tasklets waiting to send, if positive; waiting to receive, if negative.
    pub fn balance(&self) -> isize {
        self.core.lock().queue.balance()
    }

    /// The waiting tasklets, oldest first.
    pub fn waiters(&self) -> Vec<TaskletId> {
        self.core.lock().queue.waiters().map(|waiter| waiter.record().id()).collect()
    }

    /// Whom an exchange lets go on.
    pub fn preference(&self) -> Preference {
        self.core.lock().preference
    }

    /// Sets whom an exchange lets go on. A hint under other schedulers than the local one.
    pub fn set_preference(&self, preference: Preference) {
        self.core.lock().preference = preference;
    }

    /// Whether an exchange lets everybody run before the caller.
    pub fn schedule_all(&self) -> bool {
        self.core.lock().schedule_all
    }

    /// Sets whether an exchange lets everybody run before the caller; overrides the preference.
    pub fn set_schedule_all(&self, schedule_all: bool) {
        self.core.lock().schedule_all = schedule_all;
    }

    /// Whether it was closed.
    pub fn is_closing(&self) -> bool {
        self.core.lock().closing
    }

    /// Whether it was closed and nobody waits in it.
    pub fn is_closed(&self) -> bool {
        let state = self.core.lock();
        state.closing && state.queue.balance() == 0
    }

    /// Closes it for those who would have to wait, from now on. Who waits already may still be served, and is not woken.
    /// Stackless's `close`.
    pub fn close_soft(&self) {
        self.core.lock().closing = true;
    }

    /// Closes it and wakes whoever waits in it: receivers get an error, senders their value back in one.
    ///
    /// # Scheduling
    ///
    /// Those woken are appended to the queue, oldest first. The caller goes on.
    pub fn close(&self) {
        current::with(|scheduler| {
            let mut state = self.core.lock();
            state.closing = true;
            while let Some(waiter) = state.queue.take_first() {
                scheduler.unpark(waiter.with(Wake::Closed));
            }
        });
    }

    /// Undoes a close.
    pub fn reopen(&self) {
        self.core.lock().closing = false;
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
        self.send_message(Message::Throw(payload), Wait::Yes).map_err(|error| {
            error.map(|message| match message {
                Message::Throw(payload) => payload,
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
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(Wait::Yes)
    }

    /// As [`recv`](Self::recv), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::is_would_block`].
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
        let will_block = !self.core.lock().queue.serves(direction);
        let tasklet = scheduler.current_id();
        scheduler.channel_event(&ChannelEvent { channel: self.core.id, tasklet, direction, will_block });
    }

    #[inline]
    fn send_message(&self, message: Message<T>, wait: Wait) -> Result<(), SendError<Message<T>>> {
        current::with(|scheduler| {
            if scheduler.begin_operation() == Observed::Yes {
                self.tell(scheduler, Direction::Send);
            }
            let mut state = self.core.lock();
            if state.queue.serves(Direction::Send) {
                let how = hand_over(Direction::Send, state.preference, state.schedule_all);
                let refused = state.queue.first().and_then(|first| scheduler.may_hand_over(first, how).err());
                if let Some(error) = refused {
                    return Err(SendError::new(message, Cause::Park(error)));
                }
                let receiver = state.queue.take_receiver(message).expect("a receiver waits");
                drop(state);
                scheduler.hand_over(receiver, how);
                return Ok(());
            }
            if let Err(cause) = may_wait(scheduler, &state, wait) {
                return Err(SendError::new(message, cause));
            }
            let (node, site) = self.enqueue(scheduler, state, Direction::Send, Some(message));
            let outcome = scheduler.park(site, node.key);
            let cause = match outcome {
                Ok(Wake::Served) => {
                    // The receiver has taken the message and freed the node.
                    std::mem::forget(node);
                    return Ok(());
                }
                Ok(Wake::Closed) => Cause::Closed,
                Err(error) => Cause::Park(error),
            };
            let message = node.reclaim().flatten().expect("a sender that was not served has its message");
            Err(SendError::new(message, cause))
        })
    }

    #[inline]
    fn receive(&self, wait: Wait) -> Result<T, RecvError> {
        let message = current::with(|scheduler| {
            if scheduler.begin_operation() == Observed::Yes {
                self.tell(scheduler, Direction::Receive);
            }
            let mut state = self.core.lock();
            if state.queue.serves(Direction::Receive) {
                let how = hand_over(Direction::Receive, state.preference, state.schedule_all);
                let refused = state.queue.first().and_then(|first| scheduler.may_hand_over(first, how).err());
                if let Some(error) = refused {
                    return Err(RecvError::new(Cause::Park(error)));
                }
                let (sender, message) = state.queue.take_sender().expect("a sender waits");
                drop(state);
                scheduler.hand_over(sender, how);
                return Ok(message);
            }
            may_wait(scheduler, &state, wait).map_err(RecvError::new)?;
            let (node, site) = self.enqueue(scheduler, state, Direction::Receive, None);
            let outcome = scheduler.park(site, node.key);
            let message = node.reclaim().flatten();
            match (outcome, message) {
                (_, Some(message)) => Ok(message),
                (Ok(_), None) => Err(RecvError::new(Cause::Closed)),
                (Err(error), None) => Err(RecvError::new(Cause::Park(error))),
            }
        })?;
        match message {
            Message::Value(value) => Ok(value),
            Message::Throw(payload) => unwind::raise(payload),
        }
    }

    /// Puts the caller into the queue; it must park next.
    #[inline]
    fn enqueue<'a>(
        &'a self,
        scheduler: &dyn Scheduler,
        mut state: MutexGuard<'a, State<T>>,
        direction: Direction,
        message: Option<Message<T>>,
    ) -> (Node<'a, T>, &'a dyn WaitSite) {
        let waiter = scheduler.begin_park();
        let who = waiter.record().id();
        let key = state.queue.push(direction, waiter, message, R::SHARED);
        (Node { core: &self.core, who, key }, &*self.core)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// Whether the caller may wait, in the order of the Stackless checks: block trap, close, switch trap.
#[inline]
fn may_wait<T>(scheduler: &dyn Scheduler, state: &State<T>, wait: Wait) -> Result<(), Cause> {
    if wait == Wait::No {
        return Err(if state.closing { Cause::Closed } else { Cause::WouldBlock });
    }
    match scheduler.may_park() {
        Err(error @ ParkError::BlockTrapped) => Err(Cause::Park(error)),
        _ if state.closing => Err(Cause::Closed),
        result => result.map_err(Cause::Park),
    }
}

impl<T, R: Reach> Clone for Channel<T, R> {
    fn clone(&self) -> Self {
        self.handle()
    }
}

impl<T, R: Reach> Drop for Channel<T, R> {
    fn drop(&mut self) {
        if !R::SHARED {
            return;
        }
        // Release: pairs with the acquire in `Core::is_shared`.
        if self.core.shared.fetch_sub(1, Ordering::Release) > 2 {
            return;
        }
        // Whoever waits may be waiting for nobody now: let their schedulers look.
        let mut homes: Vec<Arc<tasklet_core::home::Home>> = Vec::new();
        for waiter in self.core.lock().queue.waiters() {
            let home = waiter.record().home();
            if !homes.iter().any(|known| Arc::ptr_eq(known, home)) {
                homes.push(home.clone());
            }
        }
        for home in homes {
            let _ = home.submit(Remote::Recheck);
        }
    }
}

impl<T, R: Reach> fmt::Debug for Channel<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.core.lock();
        f.debug_struct("Channel")
            .field("id", &self.core.id.get())
            .field("balance", &state.queue.balance())
            .field("closing", &state.closing)
            .finish_non_exhaustive()
    }
}

/// Receives until the channel is closed; see [`Channel::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, R: Reach = Local> {
    channel: &'a Channel<T, R>,
}

impl<T, R: Reach> Iterator for Iter<'_, T, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let ended = {
            let state = self.channel.core.lock();
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

impl<'a, T, R: Reach> IntoIterator for &'a Channel<T, R> {
    type Item = T;
    type IntoIter = Iter<'a, T, R>;

    fn into_iter(self) -> Iter<'a, T, R> {
        self.iter()
    }
}
