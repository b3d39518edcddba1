//! What is done at a place where one may have to wait: written once, performed as a call that parks, as a look that does not, as an
//! [arm](super::select) of a select or as a [future](super::future).

use std::time::Duration;

use super::list::{CLAIMED, CLOSED, IDLE, Node, SERVED, Waiter, Waiters, Woken};
use crate::channel::HandOver;
use crate::current;
use crate::guarded::{Guarded, Latch};
use crate::id::TaskletId;
use crate::operation::{self, Operation, Step, Switch};
use crate::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
use crate::scheduler::{Observed, Scheduler};
use crate::swap::Relocation;

/// What an attempt has come to, with the place locked.
#[must_use = "somebody may have to be woken"]
pub enum Found {
    /// It is done.
    Done,
    /// It is over, and not done: the place is closed, or the caller refused.
    Failed(Ended),
    /// It is done, and somebody's wait with it.
    Woke(Woken, HandOver),
    /// The caller has to wait.
    Wait,
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Done, by the attempt itself or by whoever served the waiter.
    Done,
    /// It would have had to wait.
    WouldBlock,
    /// The place was closed.
    Closed,
    /// The time was up.
    TimedOut,
    /// The caller could not wait.
    Refused(ParkError),
}

/// Whether a caller that has to wait does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It parks.
    Wait,
    /// It gives up.
    Now,
}

/// Something to do at a place where one may have to wait.
///
/// # Safety
///
/// - **A1** [`place`](Self::place) is always the same place, which lives as long as the attempt.
/// - **A2** [`waiters`](Self::waiters) is always the same list of that place's state. Lists stay where they are: code with the lock held
///   neither moves nor replaces one that has waiters.
/// - **A3** What `place`, `waiters`, `reason`, `name` and `is_shared` look at is in the attempt itself, or not on the caller's stack; the place of
///   a caller whose stack is [copied](crate::swap) while it waits is not.
pub unsafe trait Attempt {
    /// What the place's lock guards.
    type State;
    /// What is left or found in the cell of a waiter.
    type Message;
    /// What comes of it.
    type Output;

    /// Whoever serves a waiter here only tells it to look again.
    const LOOKS_AGAIN: bool = false;

    /// It gives what is in its cell, so it cannot be attempted without.
    const GIVES: bool = false;

    /// The place.
    fn place(&self) -> &Guarded<Self::State>;

    /// Those who wait for the same.
    fn waiters<'s>(&self, state: &'s mut Self::State) -> &'s mut Waiters<Self::Message>;

    /// Why the caller waits; shown in dumps.
    fn reason(&self) -> ParkReason;

    /// The name of the place, if it was given one; shown in dumps.
    fn name(&self) -> Option<String> {
        None
    }

    /// Whether somebody outside the caller's scheduler can serve it: see [`WaitSite::is_shared`].
    fn is_shared(&self) -> bool;

    /// Tries, with the place locked. `cell` is the caller's own: what it gives lies in there, and what it takes may be put there.
    fn attempt(
        &mut self,
        state: &mut Self::State,
        cell: &mut Option<Self::Message>,
        scheduler: &dyn Scheduler,
    ) -> Found;

    /// Called before the place is locked if the scheduler's hook listens. Says what came of it if it has done everything.
    fn observe(&mut self, cell: &mut Option<Self::Message>, scheduler: &dyn Scheduler) -> Option<Found> {
        let _ = (cell, scheduler);
        None
    }

    /// It has ended. Called once, with nothing locked.
    fn finish(&mut self, cell: &mut Option<Self::Message>, ended: Ended) -> Self::Output;

    /// It is done, or was served, and nobody will ask what came of it: the caller unwinds, or its arm or future is dropped. What it was given
    /// may go back.
    fn abandon(&mut self, state: &mut Self::State, cell: &mut Option<Self::Message>) -> Option<Woken> {
        let _ = (state, cell);
        None
    }

    /// Called after [`abandon`](Self::abandon), with nothing locked.
    fn abandoned(&mut self) {}
}

/// An attempt whose caller parks if it has to wait.
pub(super) struct Waiting<A: Attempt> {
    attempt: A,
    node: Node<A::Message>,
    patience: Patience,
    who: Option<TaskletId>,
    ended: Option<Ended>,
}

impl<A: Attempt> Waiting<A> {
    #[inline(always)]
    pub(super) fn new(attempt: A, node: Node<A::Message>, patience: Patience) -> Waiting<A> {
        Waiting { attempt, node, patience, who: None, ended: None }
    }

    /// Takes the node out of the list, if it is in there.
    fn unlink(&self) -> Option<Waiter> {
        if !self.node.is_linked() {
            return None;
        }
        let mut state = self.attempt.place().lock();
        // SAFETY: A1, A2: the place and the list are those of `begin`.
        unsafe { self.attempt.waiters(&mut state).unlink(&self.node) }
    }

    /// What is left to do when it need not wait.
    #[inline(always)]
    fn over<'s>(&mut self, found: Found) -> Step<'s> {
        if let Found::Failed(ended) = found {
            self.ended = Some(ended);
        }
        step(found)
    }

    #[cold]
    #[inline(never)]
    fn ended(&self, outcome: Result<Wake, ParkError>) -> Ended {
        // Who runs is not to be woken.
        drop(self.unlink());
        match (self.node.state(), outcome) {
            (SERVED, _) => Ended::Done,
            (CLOSED, _) => Ended::Closed,
            (_, Err(error)) => Ended::Refused(error),
            (_, Ok(Wake::TimedOut)) => Ended::TimedOut,
            (_, Ok(_)) => Ended::Closed,
        }
    }
}

// SAFETY: P1, `unlink` compares.
unsafe impl<A: Attempt> WaitSite for Waiting<A> {
    fn reason(&self, _: usize) -> ParkReason {
        self.attempt.reason()
    }

    fn name(&self, _: usize) -> Option<String> {
        self.attempt.name()
    }

    fn unlink(&self, who: TaskletId, _: usize) -> Option<Parked> {
        if self.who != Some(who) {
            return None;
        }
        match self.unlink()? {
            Waiter::Direct(parked) => Some(parked),
            _ => unreachable!("a caller that parks waits here alone"),
        }
    }

    fn relocate(&self, relocation: &Relocation) {
        if !self.node.is_linked() && self.node.state() != CLAIMED {
            // It is its owner's.
            return relocation.copy();
        }
        let place = self.attempt.place();
        insist_elsewhere(relocation, place.latch());
        let mut state = place.lock();
        relocation.copy();
        // SAFETY: A2, the lock is held. N1: the copy is what counts from now on, and is removed from the list as the node would have been.
        unsafe { self.attempt.waiters(&mut state).relink(&self.node, relocation, None) };
    }

    fn is_shared(&self, _: usize) -> bool {
        self.attempt.is_shared()
    }
}

/// A place on the stack that is copied would be used by others where it is not.
pub(super) fn insist_elsewhere(relocation: &Relocation, place: &Latch) {
    assert!(
        !relocation.contains(std::ptr::from_ref(place)),
        "a swapped tasklet waits at a lock or channel that lies on its own stack: move it to the heap"
    );
}

impl<'s, A: Attempt + 's> Operation<'s> for Waiting<A> {
    type Output = A::Output;

    const LOOKS: bool = true;

    #[inline(always)]
    fn begin(&mut self, scheduler: &dyn Scheduler, observed: Observed) -> Step<'s> {
        // SAFETY: the node is not linked, so it is ours.
        let cell = unsafe { self.node.cell() };
        let found = if observed == Observed::Yes { self.attempt.observe(cell, scheduler) } else { None };
        if let Some(found) = found {
            return self.over(found);
        }
        // SAFETY: A1: nothing moves or drops the place before the attempt is gone. `attempt` is borrowed for its own part of the call.
        let place = unsafe { &*std::ptr::from_ref(self.attempt.place()) };
        let mut state = place.lock();
        match self.attempt.attempt(&mut state, cell, scheduler) {
            Found::Wait => {}
            found => {
                drop(state);
                return self.over(found);
            }
        }
        if self.patience == Patience::Now {
            self.ended = Some(Ended::WouldBlock);
            return Step::Done;
        }
        let parked = match scheduler.try_park() {
            Ok(parked) => parked,
            Err(error) => {
                self.ended = Some(Ended::Refused(error));
                return Step::Done;
            }
        };
        self.who = Some(parked.record().id());
        let waiters = self.attempt.waiters(&mut state);
        // SAFETY: the lock is held, A2. N1: an operation is not moved after `begin`, and `finish` or `drop` removes the node.
        unsafe { waiters.push(&self.node, Waiter::Direct(parked)) };
        drop(state);
        let site: &dyn WaitSite = &*self;
        // SAFETY: only the lifetime changes: `perform` uses the site until the wait is over, and the operation stays where it is until then.
        Step::Park { site: unsafe { std::mem::transmute::<&dyn WaitSite, &'s dyn WaitSite>(site) }, key: 0 }
    }

    fn begin_at_once(&mut self, scheduler: &dyn Scheduler) -> Option<Step<'s>> {
        // SAFETY: A1, as in `begin`.
        let place = unsafe { &*std::ptr::from_ref(self.attempt.place()) };
        let mut state = place.lock();
        // SAFETY: the node is not linked, so it is ours.
        let found = self.attempt.attempt(&mut state, unsafe { self.node.cell() }, scheduler);
        drop(state);
        match found {
            Found::Wait if self.patience == Patience::Wait => None,
            Found::Wait => {
                self.ended = Some(Ended::WouldBlock);
                Some(Step::Done)
            }
            found => Some(self.over(found)),
        }
    }

    #[inline(always)]
    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> A::Output {
        let ended = match self.ended {
            Some(ended) => ended,
            None if self.who.is_none() => outcome.map_or_else(Ended::Refused, |_| Ended::Done),
            None if self.node.state() == SERVED => Ended::Done,
            None => self.ended(outcome),
        };
        self.node.reset();
        // SAFETY: the node is not linked any more, so it is ours.
        self.attempt.finish(unsafe { self.node.cell() }, ended)
    }
}

impl<A: Attempt> Drop for Waiting<A> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.node.state() != IDLE {
            abandon(&mut self.attempt, &self.node);
        }
    }
}

/// The owner of a node goes away without having looked how its wait has ended.
#[cold]
#[inline(never)]
pub(super) fn abandon<A: Attempt>(attempt: &mut A, node: &Node<A::Message>) {
    // SAFETY: A1, as in `begin`.
    let place = unsafe { &*std::ptr::from_ref(attempt.place()) };
    let mut state = place.lock();
    // SAFETY: A1, A2.
    let waiter = unsafe { attempt.waiters(&mut state).unlink(node) };
    drop(state);
    // A waker is the user's code: not under the lock. A `Parked` is that of the caller, who runs.
    drop(waiter);
    if node.state() == SERVED {
        node.reset();
        give_back(attempt, node);
    }
}

/// What was given to its owner goes back, if the attempt says so.
#[cold]
#[inline(never)]
pub(super) fn give_back<A: Attempt>(attempt: &mut A, node: &Node<A::Message>) {
    // SAFETY: A1, as in `begin`.
    let place = unsafe { &*std::ptr::from_ref(attempt.place()) };
    let mut state = place.lock();
    // SAFETY: the node is not linked, so it is the caller's.
    let woken = attempt.abandon(&mut state, unsafe { node.cell() });
    drop(state);
    if let Some(woken) = woken {
        woken.wake();
    }
    attempt.abandoned();
}

/// What is left to do.
#[inline(always)]
pub(super) fn step<'s>(found: Found) -> Step<'s> {
    match found {
        Found::Woke(Woken::Parked(partner), how) => Step::HandOver { partner, how },
        Found::Woke(woken, _) => {
            woken.wake();
            Step::Done
        }
        Found::Done | Found::Failed(_) | Found::Wait => Step::Done,
    }
}

/// Performs an attempt under the current scheduler, with the switch inlined into the caller.
///
/// # Scheduling
///
/// If it has to wait, and its patience says so, the caller parks.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller while it has given way.
#[inline(always)]
pub fn perform<S: Switch, A: Attempt>(attempt: A, message: Option<A::Message>, patience: Patience) -> A::Output {
    operation::perform::<S, _>(Waiting::new(attempt, Node::new(message), patience))
}

/// As [`perform`], but the wait ends when the scheduler's clock shows `at`.
///
/// # Panics
///
/// As [`perform`].
pub fn perform_until<S: Switch, A: Attempt>(attempt: A, message: Option<A::Message>, at: Duration) -> A::Output {
    operation::perform_until::<S, _>(Waiting::new(attempt, Node::new(message), Patience::Wait), at)
}

/// When a wait of `limit` that begins now ends, on the clock of the caller's scheduler.
pub fn deadline(limit: Duration) -> Duration {
    current::now().saturating_add(limit)
}
