//! What a select can wait for: the arms, and an attempt as one.

use std::ptr::{self, NonNull};
use std::task::Waker;
use std::time::Duration;

use super::attempt::{Attempt, Ended, Found, abandon, give_back};
use super::list::{CLOSED, IDLE, Node, SERVED, Waiter};
use super::select::Ticket;
use crate::guarded::Latch;
use crate::scheduler::Scheduler;
use crate::swap::Relocation;

/// Something that a select can wait for, among others. Sealed: implemented by what this project's channels, timers, join handles and
/// tokens make; their documentation says what each waits for.
///
/// # Safety
///
/// The hidden methods do what they say.
pub unsafe trait Arm {
    /// A select with it begins. Says when it is worth a look, if that is known.
    ///
    /// # Panics
    ///
    /// It cannot be selected any more.
    #[doc(hidden)]
    fn prepare(&mut self) -> Option<Duration> {
        None
    }

    /// Looks with its own place locked, and does it if it can. One that was chosen, and whose output was not taken, is ready.
    #[doc(hidden)]
    fn look(&mut self, scheduler: &dyn Scheduler) -> Found;

    /// The lock of its place, if it has one.
    #[doc(hidden)]
    fn lock(&self) -> Option<&Latch> {
        None
    }

    /// As `look`, with the lock taken. Those without a place were looked at.
    ///
    /// # Safety
    ///
    /// The caller has taken `lock`.
    #[doc(hidden)]
    unsafe fn look_locked(&mut self, scheduler: &dyn Scheduler) -> Found {
        let _ = scheduler;
        Found::Wait
    }

    /// Enters the list of its place.
    ///
    /// # Safety
    ///
    /// The caller has taken `lock`, and calls `delist` before the ticket or the arm goes.
    #[doc(hidden)]
    unsafe fn enlist(&mut self, seat: Seat) {
        let _ = seat;
    }

    /// Asks for `waker` to be woken when it is worth a look, at once if it is now: for arms without a list.
    #[doc(hidden)]
    fn ring(&mut self, waker: &mut dyn FnMut() -> Waker) {
        let _ = waker;
    }

    /// Leaves the list of its place, and wants no waker to be woken any more.
    #[doc(hidden)]
    fn delist(&mut self);

    /// Its wait was ended by somebody: whether it is over, or to be looked at again.
    #[doc(hidden)]
    fn is_over(&mut self) -> bool {
        false
    }

    /// The stack of the tasklet that waits was [copied](crate::swap), with the ticket and, if it lies there, with this; what the list of its place
    /// leads to is to be the copy. It has not changed since.
    ///
    /// # Safety
    ///
    /// The caller has taken `lock`. The ticket of its node, if that is linked, is the one that is given.
    #[doc(hidden)]
    unsafe fn relink(&self, relocation: &Relocation, ticket: NonNull<()>) {
        let _ = (relocation, ticket);
    }

    /// How a copy of it is to be aligned.
    #[doc(hidden)]
    fn alignment(&self) -> usize {
        align_of_val(self)
    }

    /// Whether somebody outside the caller's scheduler can end its wait.
    #[doc(hidden)]
    fn is_shared(&self) -> bool;

    /// The name of its place, if it was given one.
    #[doc(hidden)]
    fn name(&self) -> Option<String> {
        None
    }
}

/// An arm, with what comes of it when it was chosen.
pub trait TypedArm: Arm {
    /// What comes of it.
    type Output;

    /// What came of it. It may be selected again then, unless it has given a message.
    ///
    /// # Panics
    ///
    /// It was not chosen, or its output was taken. (Those of timers, joins and cancellations, which give nothing away, do not panic.)
    fn output(&mut self) -> Self::Output;
}

/// Which arm of which select a node waits for.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Seat {
    pub(super) ticket: NonNull<Ticket>,
    pub(super) arm: usize,
}

/// An attempt as an arm of a select.
#[must_use = "an arm does nothing unless selected"]
pub struct ArmOf<A: Attempt> {
    attempt: A,
    node: Node<A::Message>,
    ended: Option<Ended>,
}

impl<A: Attempt> ArmOf<A> {
    /// An arm; what it gives is `message`.
    pub fn new(attempt: A, message: Option<A::Message>) -> ArmOf<A> {
        ArmOf { attempt, node: Node::new(message), ended: None }
    }

    fn note(&mut self, found: Found) -> Found {
        match found {
            Found::Wait => {}
            Found::Failed(ended) => self.ended = Some(ended),
            Found::Done | Found::Woke(..) => self.ended = Some(Ended::Done),
        }
        found
    }

    /// What it would have given, if it was not chosen.
    pub fn into_message(self) -> Option<A::Message> {
        debug_assert!(!self.node.is_linked(), "a select takes its nodes out of the lists before it ends");
        // SAFETY: the node is not linked, so it is ours.
        unsafe { self.node.cell() }.take()
    }
}

// SAFETY: the methods do what the trait says.
unsafe impl<A: Attempt> Arm for ArmOf<A> {
    fn prepare(&mut self) -> Option<Duration> {
        // SAFETY: the node is not linked, so it is ours.
        if A::GIVES && self.ended.is_none() && unsafe { self.node.cell() }.is_none() {
            panic!("an arm that has sent its message is selected again: make another one");
        }
        None
    }

    fn look(&mut self, scheduler: &dyn Scheduler) -> Found {
        if self.ended.is_some() {
            return Found::Done;
        }
        // SAFETY: A1, as in `Waiting::begin`.
        let place = unsafe { &*ptr::from_ref(self.attempt.place()) };
        let mut state = place.lock();
        // SAFETY: the node is not linked, so it is ours.
        let found = self.attempt.attempt(&mut state, unsafe { self.node.cell() }, scheduler);
        drop(state);
        self.note(found)
    }

    fn lock(&self) -> Option<&Latch> {
        Some(self.attempt.place().latch())
    }

    unsafe fn look_locked(&mut self, scheduler: &dyn Scheduler) -> Found {
        // SAFETY: the caller has the lock, and no other reference to the state is alive: arms are looked at one after the other.
        let state = unsafe { &mut *self.attempt.place().value_raw() };
        // SAFETY: as in `look`.
        let found = self.attempt.attempt(state, unsafe { self.node.cell() }, scheduler);
        self.note(found)
    }

    unsafe fn enlist(&mut self, seat: Seat) {
        // SAFETY: as in `look_locked`.
        let state = unsafe { &mut *self.attempt.place().value_raw() };
        let waiter = Waiter::Arm(seat.ticket, seat.arm);
        // SAFETY: the caller has the lock and promises N1 and N3; A2.
        unsafe { self.attempt.waiters(state).push(&self.node, waiter) };
    }

    fn delist(&mut self) {
        if self.node.is_linked() {
            // SAFETY: A1, as in `Waiting::begin`.
            let place = unsafe { &*ptr::from_ref(self.attempt.place()) };
            let mut state = place.lock();
            // SAFETY: A1, A2. What it gives back is a copy of the seat.
            drop(unsafe { self.attempt.waiters(&mut state).unlink(&self.node) });
        }
    }

    unsafe fn relink(&self, relocation: &Relocation, ticket: NonNull<()>) {
        // SAFETY: as in `look_locked`.
        let state = unsafe { &mut *self.attempt.place().value_raw() };
        // SAFETY: the caller has the lock, and relinks the other arms before it releases that; A2. The copy is removed from the list as the node
        // would have been.
        unsafe { self.attempt.waiters(state).relink(&self.node, relocation, Some(ticket.cast())) };
    }

    fn is_over(&mut self) -> bool {
        match self.node.state() {
            SERVED if A::LOOKS_AGAIN => {
                self.node.reset();
                return false;
            }
            SERVED => self.ended = Some(Ended::Done),
            CLOSED => self.ended = Some(Ended::Closed),
            _ => return false,
        }
        self.node.reset();
        true
    }

    fn is_shared(&self) -> bool {
        self.attempt.is_shared()
    }

    fn name(&self) -> Option<String> {
        self.attempt.name()
    }
}

impl<A: Attempt> TypedArm for ArmOf<A> {
    type Output = A::Output;

    #[track_caller]
    fn output(&mut self) -> A::Output {
        let Some(ended) = self.ended.take() else { panic!("an arm that was not chosen has no output") };
        // SAFETY: the node is not linked, so it is ours.
        self.attempt.finish(unsafe { self.node.cell() }, ended)
    }
}

impl<A: Attempt> Drop for ArmOf<A> {
    fn drop(&mut self) {
        if self.ended == Some(Ended::Done) {
            // It was chosen, and nobody has taken what came of it.
            give_back(&mut self.attempt, &self.node);
        } else if self.node.state() != IDLE {
            abandon(&mut self.attempt, &self.node);
        }
    }
}

/// An arm whose output is made into another.
#[must_use = "an arm does nothing unless selected"]
pub struct Mapped<A, F> {
    arm: A,
    map: F,
}

impl<A: TypedArm, U, F: FnMut(A::Output) -> U> Mapped<A, F> {
    /// `map` is called with the output of `arm`.
    pub fn new(arm: A, map: F) -> Mapped<A, F> {
        Mapped { arm, map }
    }
}

// SAFETY: the methods are those of `arm`.
unsafe impl<A: Arm, F> Arm for Mapped<A, F> {
    fn prepare(&mut self) -> Option<Duration> {
        self.arm.prepare()
    }

    fn look(&mut self, scheduler: &dyn Scheduler) -> Found {
        self.arm.look(scheduler)
    }

    fn lock(&self) -> Option<&Latch> {
        self.arm.lock()
    }

    unsafe fn look_locked(&mut self, scheduler: &dyn Scheduler) -> Found {
        // SAFETY: the caller's promise.
        unsafe { self.arm.look_locked(scheduler) }
    }

    unsafe fn enlist(&mut self, seat: Seat) {
        // SAFETY: the caller's promise.
        unsafe { self.arm.enlist(seat) }
    }

    fn ring(&mut self, waker: &mut dyn FnMut() -> Waker) {
        self.arm.ring(waker);
    }

    fn delist(&mut self) {
        self.arm.delist();
    }

    unsafe fn relink(&self, relocation: &Relocation, ticket: NonNull<()>) {
        // SAFETY: the caller's promise.
        unsafe { self.arm.relink(relocation, ticket) };
    }

    fn is_over(&mut self) -> bool {
        self.arm.is_over()
    }

    fn is_shared(&self) -> bool {
        self.arm.is_shared()
    }

    fn name(&self) -> Option<String> {
        self.arm.name()
    }
}

impl<A: TypedArm, U, F: FnMut(A::Output) -> U> TypedArm for Mapped<A, F> {
    type Output = U;

    #[track_caller]
    fn output(&mut self) -> U {
        (self.map)(self.arm.output())
    }
}
