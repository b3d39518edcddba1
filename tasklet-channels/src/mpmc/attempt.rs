//! What is attempted at a channel: to send, to receive, to reserve, to see it closed.

use std::ops::Deref;

use tasklet_core::channel::{Direction, HandOver};
use tasklet_core::guarded::Guarded;
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters, Woken};

use super::Chan;
use super::receiver::ReceiverBy;
use super::sender::SenderBy;
use super::state::State;
use crate::error::{Cause, RecvError, SendError};

/// Sends what is in its cell. `C` leads to the channel: a borrow, or the handle of a future.
pub(crate) struct Send<C> {
    chan: C,
}

impl<C> Send<C> {
    #[inline(always)]
    pub(super) fn new(chan: C) -> Send<C> {
        Send { chan }
    }
}

/// What a future has: a handle, which counts.
pub(super) struct Own<H>(pub(super) H);

impl<T, S> Deref for Own<SenderBy<T, S>> {
    type Target = Chan<T>;

    fn deref(&self) -> &Chan<T> {
        self.0.chan()
    }
}

impl<T, S> Deref for Own<ReceiverBy<T, S>> {
    type Target = Chan<T>;

    fn deref(&self) -> &Chan<T> {
        self.0.chan()
    }
}

fn reason<T>(chan: &Chan<T>, direction: Direction) -> ParkReason {
    ParkReason::Channel { id: chan.place.lock().id, direction }
}

fn name<T>(chan: &Chan<T>) -> Option<String> {
    chan.place.lock().name.as_deref().map(str::to_owned)
}

// SAFETY: A1, A2: `chan` leads to one channel, which lives as long; the list is a field that nobody replaces.
unsafe impl<T, C: Deref<Target = Chan<T>>> Attempt for Send<C> {
    type State = State<T>;
    type Message = T;
    type Output = Result<(), SendError<T>>;

    const GIVES: bool = true;

    #[inline(always)]
    fn place(&self) -> &Guarded<State<T>> {
        &self.chan.place
    }

    #[inline(always)]
    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<T> {
        &mut state.senders
    }

    fn reason(&self) -> ParkReason {
        reason(&self.chan, Direction::Send)
    }

    fn name(&self) -> Option<String> {
        name(&self.chan)
    }

    fn is_shared(&self) -> bool {
        true
    }

    #[inline(always)]
    fn attempt(&mut self, state: &mut State<T>, cell: &mut Option<T>, _: &dyn Scheduler) -> Found {
        if state.closed { Found::Failed(Ended::Closed) } else { state.send(cell) }
    }

    #[inline(always)]
    fn finish(&mut self, cell: &mut Option<T>, ended: Ended) -> Self::Output {
        match Cause::of(ended) {
            None => Ok(()),
            Some(cause) => Err(SendError::new(cell.take().expect("a message that was not sent is here"), cause)),
        }
    }
}

/// Receives into its cell.
pub(crate) struct Recv<C> {
    chan: C,
}

impl<C> Recv<C> {
    #[inline(always)]
    pub(super) fn new(chan: C) -> Recv<C> {
        Recv { chan }
    }
}

// SAFETY: A1, A2: as above.
unsafe impl<T, C: Deref<Target = Chan<T>>> Attempt for Recv<C> {
    type State = State<T>;
    type Message = T;
    type Output = Result<T, RecvError>;

    #[inline(always)]
    fn place(&self) -> &Guarded<State<T>> {
        &self.chan.place
    }

    #[inline(always)]
    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<T> {
        &mut state.receivers
    }

    fn reason(&self) -> ParkReason {
        reason(&self.chan, Direction::Receive)
    }

    fn name(&self) -> Option<String> {
        name(&self.chan)
    }

    fn is_shared(&self) -> bool {
        true
    }

    #[inline(always)]
    fn attempt(&mut self, state: &mut State<T>, cell: &mut Option<T>, _: &dyn Scheduler) -> Found {
        match state.receive(cell) {
            Found::Wait if state.has_ended() => Found::Failed(Ended::Closed),
            found => found,
        }
    }

    #[inline(always)]
    fn finish(&mut self, cell: &mut Option<T>, ended: Ended) -> Self::Output {
        match Cause::of(ended) {
            None => Ok(cell.take().expect("a receiver that was served has a message")),
            Some(cause) => Err(RecvError::new(cause)),
        }
    }

    fn abandon(&mut self, state: &mut State<T>, cell: &mut Option<T>) -> Option<Woken> {
        state.take_back(cell)
    }
}

/// Reserves a place in the buffer.
pub(crate) struct Reserve<C> {
    chan: C,
    is_rendezvous: bool,
}

impl<C> Reserve<C> {
    pub(super) fn new(chan: C) -> Reserve<C> {
        Reserve { chan, is_rendezvous: false }
    }
}

// SAFETY: A1, A2: as above.
unsafe impl<T, C: Deref<Target = Chan<T>>> Attempt for Reserve<C> {
    type State = State<T>;
    type Message = ();
    type Output = Result<(), SendError<()>>;

    fn place(&self) -> &Guarded<State<T>> {
        &self.chan.place
    }

    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<()> {
        &mut state.reservers
    }

    fn reason(&self) -> ParkReason {
        reason(&self.chan, Direction::Send)
    }

    fn name(&self) -> Option<String> {
        name(&self.chan)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State<T>, _: &mut Option<()>, _: &dyn Scheduler) -> Found {
        self.is_rendezvous = !state.closed && state.capacity == 0;
        if state.closed || self.is_rendezvous {
            Found::Failed(Ended::Closed)
        } else if state.has_room() {
            state.reserved += 1;
            Found::Done
        } else {
            Found::Wait
        }
    }

    fn finish(&mut self, _: &mut Option<()>, ended: Ended) -> Self::Output {
        match Cause::of(ended) {
            None => Ok(()),
            Some(Cause::Closed) if self.is_rendezvous => Err(SendError::new((), Cause::NoBuffer)),
            Some(cause) => Err(SendError::new((), cause)),
        }
    }

    fn abandon(&mut self, state: &mut State<T>, _: &mut Option<()>) -> Option<Woken> {
        state.give_up()
    }

    fn abandoned(&mut self) {
        self.chan.wake_if_closed();
    }
}

/// Waits until the channel is closed.
pub(crate) struct Closed<C> {
    chan: C,
}

impl<C> Closed<C> {
    pub(super) fn new(chan: C) -> Closed<C> {
        Closed { chan }
    }
}

// SAFETY: A1, A2: as above.
unsafe impl<T, C: Deref<Target = Chan<T>>> Attempt for Closed<C> {
    type State = State<T>;
    type Message = ();
    type Output = Result<(), RecvError>;

    fn place(&self) -> &Guarded<State<T>> {
        &self.chan.place
    }

    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<()> {
        &mut state.watchers
    }

    fn reason(&self) -> ParkReason {
        reason(&self.chan, Direction::Send)
    }

    fn name(&self) -> Option<String> {
        name(&self.chan)
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

/// Receives several messages: what is there, and one at least.
pub(crate) struct RecvMany<'v, C, T> {
    pub(super) chan: C,
    pub(super) into: &'v mut Vec<T>,
    pub(super) limit: usize,
    pub(super) woken: Vec<Woken>,
    pub(super) count: usize,
}

// SAFETY: A1, A2: as above.
unsafe impl<T, C: Deref<Target = Chan<T>>> Attempt for RecvMany<'_, C, T> {
    type State = State<T>;
    type Message = T;
    type Output = Result<usize, RecvError>;

    fn place(&self) -> &Guarded<State<T>> {
        &self.chan.place
    }

    fn waiters<'s>(&self, state: &'s mut State<T>) -> &'s mut Waiters<T> {
        &mut state.receivers
    }

    fn reason(&self) -> ParkReason {
        reason(&self.chan, Direction::Receive)
    }

    fn name(&self) -> Option<String> {
        name(&self.chan)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State<T>, cell: &mut Option<T>, _: &dyn Scheduler) -> Found {
        while self.count < self.limit {
            match state.receive(cell) {
                Found::Wait | Found::Failed(_) => break,
                Found::Done => {}
                Found::Woke(woken, _) => self.woken.push(woken),
            }
            self.into.extend(cell.take());
            self.count += 1;
        }
        if self.count == 0 && self.limit > 0 {
            return if state.has_ended() { Found::Failed(Ended::Closed) } else { Found::Wait };
        }
        // The oldest first; the others when it has ended.
        if self.woken.is_empty() { Found::Done } else { Found::Woke(self.woken.remove(0), HandOver::Caller) }
    }

    fn finish(&mut self, cell: &mut Option<T>, ended: Ended) -> Self::Output {
        self.woken.drain(..).for_each(Woken::wake);
        if let Some(message) = cell.take() {
            self.into.push(message);
            self.count += 1;
        }
        match Cause::of(ended) {
            None => Ok(self.count),
            Some(cause) => Err(RecvError::new(cause)),
        }
    }

    fn abandon(&mut self, state: &mut State<T>, cell: &mut Option<T>) -> Option<Woken> {
        state.take_back(cell)
    }
}
