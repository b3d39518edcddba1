//! The two operations that exchange a value: to give it, to take it.

use tasklet_core::channel::{ChannelEvent, Direction, HandOver, hand_over};
use tasklet_core::handle::{Handle, Reach};
use tasklet_core::id::{ChannelId, TaskletId};
use tasklet_core::operation::{Operation, Step};
use tasklet_core::park::{ParkError, Wake};
use tasklet_core::scheduler::{Observed, Scheduler};

use crate::channel::State;
use crate::error::{Cause, RecvError, SendError};
use crate::queue::Message;

/// Whether an operation that finds no partner waits for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Yes,
    No,
}

/// A waiter's claim on its node: frees it if the wait unwinds.
struct Node<'c, T, R: Reach> {
    state: &'c Handle<State<T>, R>,
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

/// What both operations have. The direction is no field but an argument, which is a constant wherever it is used.
struct Exchange<'c, T, R: Reach> {
    state: &'c Handle<State<T>, R>,
    wait: Wait,
    /// A sender's until a receiver or the queue has it, then a receiver's.
    message: Option<Message<T>>,
    /// The caller's place in the queue.
    node: Option<Node<'c, T, R>>,
    refused: Option<Cause>,
}

impl<'c, T, R: Reach> Exchange<'c, T, R> {
    /// Serves the oldest partner, or puts the caller into the queue.
    #[inline(always)]
    fn begin(&mut self, direction: Direction, scheduler: &dyn Scheduler) -> Step<'c> {
        if scheduler.begin_operation() == Observed::Yes && self.observed(direction, scheduler) {
            return Step::Done;
        }
        let mut state = self.state.lock();
        if state.queue.serves(direction) {
            let how = hand_over(direction, state.preference, state.schedule_all);
            self.refused = may_hand_over(scheduler, &state, how);
            if self.refused.is_some() {
                return Step::Done;
            }
            let partner = state.queue.take_partner(direction, &mut self.message).expect("a partner waits");
            return Step::HandOver { partner, how };
        }
        self.refused = may_wait(scheduler, &state, self.wait);
        if self.refused.is_some() {
            return Step::Done;
        }
        let waiter = scheduler.begin_park();
        let who = waiter.record().id();
        let message = match direction {
            Direction::Send => &mut self.message,
            Direction::Receive => &mut None,
        };
        let key = state.queue.push(direction, waiter, message, R::IS_SHARED);
        self.node = Some(Node { state: self.state, who, key });
        Step::Park { site: self.state.site(), key }
    }

    /// Tells the hook, which must not be called with the lock held: before the exchange, or after it if the partner is another
    /// scheduler's (R61). Returns whether the exchange has taken place.
    #[cold]
    fn observed(&mut self, direction: Direction, scheduler: &dyn Scheduler) -> bool {
        let mut state = self.state.lock();
        let id = state.id;
        if !state.queue.serves(direction) {
            drop(state);
            tell(scheduler, id, direction, true);
            return false;
        }
        if state.queue.first().is_none_or(|first| first.home().id() == scheduler.home().id()) {
            drop(state);
            tell(scheduler, id, direction, false);
            return false;
        }
        let how = hand_over(direction, state.preference, state.schedule_all);
        let partner = state.queue.take_partner(direction, &mut self.message).expect("a partner waits");
        drop(state);
        // What a hand-over to another scheduler's tasklet comes to: the caller goes on.
        scheduler.unpark(partner);
        tell(scheduler, id, direction, false);
        if how != HandOver::Caller {
            scheduler.finish_switch();
        }
        true
    }

    /// Why it failed.
    fn cause(&self, outcome: Result<Wake, ParkError>) -> Cause {
        self.refused.unwrap_or(match outcome {
            Ok(_) => Cause::Closed,
            Err(error) => Cause::Park(error),
        })
    }
}

fn tell(scheduler: &dyn Scheduler, channel: ChannelId, direction: Direction, will_block: bool) {
    let tasklet = scheduler.current_id();
    scheduler.channel_event(&ChannelEvent { channel, tasklet, direction, will_block });
}

/// Gives a message to the oldest receiver, or waits for one.
pub(crate) struct Send<'c, T, R: Reach>(Exchange<'c, T, R>);

impl<'c, T, R: Reach> Send<'c, T, R> {
    #[inline(always)]
    pub(crate) fn new(state: &'c Handle<State<T>, R>, message: Message<T>, wait: Wait) -> Self {
        Send(Exchange { state, wait, message: Some(message), node: None, refused: None })
    }

    #[cold]
    fn not_sent(&mut self, outcome: Result<Wake, ParkError>) -> SendError<Message<T>> {
        let cause = self.0.cause(outcome);
        let message = self.0.message.take().or_else(|| self.0.node.take().and_then(Node::reclaim).flatten());
        SendError::new(message.expect("a message that was not sent is here or in the queue"), cause)
    }
}

impl<'c, T, R: Reach> Operation<'c> for Send<'c, T, R> {
    type Output = Result<(), SendError<Message<T>>>;

    #[inline]
    fn begin(&mut self, scheduler: &dyn Scheduler) -> Step<'c> {
        self.0.begin(Direction::Send, scheduler)
    }

    #[inline(always)]
    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output {
        if outcome == Ok(Wake::Served) && self.0.refused.is_none() {
            // If it has waited, the receiver has taken the message and freed the node.
            std::mem::forget(self.0.node.take());
            return Ok(());
        }
        Err(self.not_sent(outcome))
    }
}

/// Takes the message of the oldest sender, or waits for one.
pub(crate) struct Receive<'c, T, R: Reach>(Exchange<'c, T, R>);

impl<'c, T, R: Reach> Receive<'c, T, R> {
    #[inline(always)]
    pub(crate) fn new(state: &'c Handle<State<T>, R>, wait: Wait) -> Self {
        Receive(Exchange { state, wait, message: None, node: None, refused: None })
    }

    /// Takes what a sender has left in the caller's node, and frees it.
    #[inline(never)]
    fn reclaim(&mut self) {
        if let Some(node) = self.0.node.take() {
            self.0.message = node.reclaim().flatten();
        }
    }

    #[cold]
    fn not_received(&self, outcome: Result<Wake, ParkError>) -> RecvError {
        RecvError::new(self.0.cause(outcome))
    }
}

impl<'c, T, R: Reach> Operation<'c> for Receive<'c, T, R> {
    type Output = Result<Message<T>, RecvError>;

    #[inline]
    fn begin(&mut self, scheduler: &dyn Scheduler) -> Step<'c> {
        self.0.begin(Direction::Receive, scheduler)
    }

    #[inline(always)]
    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output {
        if self.0.node.is_some() {
            self.reclaim();
        }
        match self.0.message.take() {
            Some(message) => Ok(message),
            None => Err(self.not_received(outcome)),
        }
    }
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
