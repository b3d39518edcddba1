//! The two attempts that exchange a message through a Stackless channel: to give it, to take it.

use tasklet_core::channel::{ChannelEvent, Direction, HandOver, hand_over};
use tasklet_core::guarded::Guarded;
use tasklet_core::handle::{Handle, Lent, Reach};
use tasklet_core::id::ChannelId;
use tasklet_core::park::{ParkError, ParkReason};
use tasklet_core::scheduler::Scheduler;
use tasklet_core::tasklet::Record;
use tasklet_core::wait::{Attempt, Ended, Found, Patience, Waiters, Woken};

use crate::channel::State;
use crate::error::{Cause, RecvError, SendError};
use crate::message::Message;

/// Moves a message to a cell that has none, without looking there for one to drop.
#[inline(always)]
pub(crate) fn put<M>(cell: &mut Option<M>, message: Option<M>) {
    let before = std::mem::replace(cell, message);
    debug_assert!(before.is_none(), "a message is not overwritten");
    std::mem::forget(before);
}

/// Who exchanges.
pub(crate) trait Caller {
    /// A message that nobody will ask for goes back to the channel. Else it goes with its receiver, as in Stackless.
    const GIVES_BACK: bool;

    /// Whether it would wait.
    fn patience(&self) -> Patience;
}

/// A call.
impl Caller for Patience {
    const GIVES_BACK: bool = false;

    #[inline(always)]
    fn patience(&self) -> Patience {
        *self
    }
}

/// An arm or a future, which wait without being asked.
pub(crate) struct Elsewhere;

impl Caller for Elsewhere {
    const GIVES_BACK: bool = true;

    fn patience(&self) -> Patience {
        Patience::Now
    }
}

/// What both have. The direction is no field but an argument, which is a constant wherever it is used.
struct Exchange<'c, T, R: Reach, C> {
    state: Lent<'c, State<T>, R>,
    caller: C,
}

impl<T, R: Reach, C: Caller> Exchange<'_, T, R, C> {
    #[inline(always)]
    fn attempt(
        &mut self,
        direction: Direction,
        state: &mut State<T>,
        cell: &mut Option<Message<T>>,
        scheduler: &dyn Scheduler,
    ) -> Found {
        if direction == Direction::Receive
            && let Some(message) = state.returned.pop_front()
        {
            put(cell, Some(message));
            return Found::Done;
        }
        let mut how = hand_over(direction, state.preference, state.schedule_all);
        let partners = state.partners(direction);
        if !partners.is_empty() {
            let mut asked = std::ptr::null();
            if how != HandOver::Caller
                && let Some(oldest) = partners.oldest()
            {
                if let Err(error) = scheduler.may_hand_over(oldest, how) {
                    return Found::Failed(Ended::Refused(error));
                }
                asked = std::ptr::from_ref(oldest);
            }
            if let Some(mut partner) = partners.claim() {
                match direction {
                    Direction::Send => put(partner.cell(), cell.take()),
                    Direction::Receive => put(cell, partner.cell().take()),
                }
                if !partner.record().is_some_and(|record| std::ptr::eq(record, asked)) {
                    // Another thread has just claimed the one that was asked for. The caller may go on, whoever it is.
                    how = HandOver::Caller;
                }
                return Found::Woke(partner.serve(), how);
            }
        }
        if state.closing {
            return Found::Failed(self.closed(scheduler));
        }
        Found::Wait
    }

    /// Why an operation on a channel that was closed fails, in the order of the Stackless checks: block trap, close, switch trap.
    #[cold]
    fn closed(&self, scheduler: &dyn Scheduler) -> Ended {
        match scheduler.may_park() {
            Err(error @ ParkError::BlockTrapped) if self.caller.patience() == Patience::Wait => Ended::Refused(error),
            _ => Ended::Closed,
        }
    }

    /// Tells the hook, which must not be called with the lock held: before the exchange, or after it if the partner is another
    /// scheduler's (R61). Says what came of it if the exchange has taken place.
    #[cold]
    fn observe(
        &mut self,
        direction: Direction,
        cell: &mut Option<Message<T>>,
        scheduler: &dyn Scheduler,
    ) -> Option<Found> {
        let mut state = self.state.place().lock();
        let id = state.id;
        let partners = state.partners(direction);
        // Async code, which has no home, is told of as one of this scheduler.
        let is_ours = |oldest: &Record| oldest.home().is_none_or(|home| home.id() == scheduler.home().id());
        let is_ours = partners.oldest().map(is_ours);
        let will_block = partners.is_empty() && (direction == Direction::Send || state.returned.is_empty());
        if will_block || is_ours.unwrap_or(true) {
            drop(state);
            tell(scheduler, id, direction, will_block);
            return None;
        }
        let found = self.attempt(direction, &mut state, cell, scheduler);
        drop(state);
        tell(scheduler, id, direction, false);
        Some(found)
    }
}

fn tell(scheduler: &dyn Scheduler, channel: ChannelId, direction: Direction, will_block: bool) {
    let tasklet = scheduler.current_id();
    scheduler.channel_event(&ChannelEvent { channel, tasklet, direction, will_block });
}

/// Gives a message to the oldest receiver, or waits for one.
pub(crate) struct Give<'c, T, R: Reach, C>(Exchange<'c, T, R, C>);

impl<'c, T, R: Reach, C> Give<'c, T, R, C> {
    #[inline(always)]
    pub(crate) fn new(state: &'c Handle<State<T>, R>, caller: C) -> Self {
        Give(Exchange { state: state.lend(), caller })
    }
}

// SAFETY: A1, A2: the place is the handle's, which is borrowed; the list is a field that nobody replaces. A3: the handle is lent as a value.
unsafe impl<T, R: Reach, C: Caller> Attempt for Give<'_, T, R, C> {
    type State = State<T>;
    type Message = Message<T>;
    type Output = Result<(), SendError<Message<T>>>;

    const GIVES: bool = true;

    #[inline(always)]
    fn place(&self) -> &Guarded<State<T>> {
        self.0.state.place()
    }

    #[inline(always)]
    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<Message<T>> {
        &mut state.senders
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Channel { id: self.0.state.lock().id, direction: Direction::Send }
    }

    fn name(&self) -> Option<String> {
        self.0.state.lock().name.as_deref().map(str::to_owned)
    }

    fn is_shared(&self) -> bool {
        self.0.state.is_awaited_elsewhere()
    }

    #[inline(always)]
    fn attempt(&mut self, state: &mut State<T>, cell: &mut Option<Message<T>>, scheduler: &dyn Scheduler) -> Found {
        self.0.attempt(Direction::Send, state, cell, scheduler)
    }

    fn observe(&mut self, cell: &mut Option<Message<T>>, scheduler: &dyn Scheduler) -> Option<Found> {
        self.0.observe(Direction::Send, cell, scheduler)
    }

    #[inline(always)]
    fn finish(&mut self, cell: &mut Option<Message<T>>, ended: Ended) -> Self::Output {
        match Cause::of(ended) {
            None => Ok(()),
            Some(cause) => Err(SendError::new(cell.take().expect("a message that was not sent is here"), cause)),
        }
    }
}

/// Takes the message of the oldest sender, or waits for one.
pub(crate) struct Take<'c, T, R: Reach, C>(Exchange<'c, T, R, C>);

impl<'c, T, R: Reach, C> Take<'c, T, R, C> {
    #[inline(always)]
    pub(crate) fn new(state: &'c Handle<State<T>, R>, caller: C) -> Self {
        Take(Exchange { state: state.lend(), caller })
    }
}

// SAFETY: A1, A2: as above.
unsafe impl<T, R: Reach, C: Caller> Attempt for Take<'_, T, R, C> {
    type State = State<T>;
    type Message = Message<T>;
    type Output = Result<Message<T>, RecvError>;

    #[inline(always)]
    fn place(&self) -> &Guarded<State<T>> {
        self.0.state.place()
    }

    #[inline(always)]
    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<Message<T>> {
        &mut state.receivers
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Channel { id: self.0.state.lock().id, direction: Direction::Receive }
    }

    fn name(&self) -> Option<String> {
        self.0.state.lock().name.as_deref().map(str::to_owned)
    }

    fn is_shared(&self) -> bool {
        self.0.state.is_awaited_elsewhere()
    }

    #[inline(always)]
    fn attempt(&mut self, state: &mut State<T>, cell: &mut Option<Message<T>>, scheduler: &dyn Scheduler) -> Found {
        self.0.attempt(Direction::Receive, state, cell, scheduler)
    }

    fn observe(&mut self, cell: &mut Option<Message<T>>, scheduler: &dyn Scheduler) -> Option<Found> {
        self.0.observe(Direction::Receive, cell, scheduler)
    }

    #[inline(always)]
    fn finish(&mut self, cell: &mut Option<Message<T>>, ended: Ended) -> Self::Output {
        match Cause::of(ended) {
            None => Ok(cell.take().expect("a receiver that was served has a message")),
            Some(cause) => Err(RecvError::new(cause)),
        }
    }

    fn abandon(&mut self, state: &mut State<T>, cell: &mut Option<Message<T>>) -> Option<Woken> {
        if !C::GIVES_BACK {
            return None;
        }
        let message = cell.take()?;
        match state.receivers.claim() {
            Some(mut receiver) => {
                put(receiver.cell(), Some(message));
                Some(receiver.serve())
            }
            None => {
                state.returned.push_front(message);
                None
            }
        }
    }
}
