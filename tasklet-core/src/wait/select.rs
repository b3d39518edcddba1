//! Waiting in several places for whichever can be had first: claim, then commit.
//!
//! The steps S1-S5, the race feared and why nothing is lost are in this folder's README.

use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake as WakeArc, Waker};
use std::time::Duration;

use super::attempt::{Attempt, Ended, Found, Patience, abandon};
use super::list::{CLOSED, IDLE, LINKED, Node, SERVED, Waiter, Woken};
use crate::current;
use crate::guarded::Guarded;
use crate::id::TaskletId;
use crate::operation::{self, Operation, Step, Switch};
use crate::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::scheduler::Scheduler;
use crate::tasklet::Record;

/// Nobody has claimed the ticket.
const OPEN: usize = usize::MAX;
/// The waiter's own scheduler has: a kill, the end of its time, a deadlock.
const LEFT: usize = usize::MAX - 1;
/// The bell has: an arm that has no list is to be looked at.
const RUNG: usize = usize::MAX - 2;

/// The right to wake a tasklet that waits in several places: whoever changes it from open to something else has it.
pub(super) struct Ticket {
    claimed: AtomicUsize,
    parked: UnsafeCell<Option<Parked>>,
}

impl Ticket {
    fn new() -> Ticket {
        Ticket { claimed: AtomicUsize::new(OPEN), parked: UnsafeCell::new(None) }
    }

    /// Claims the waiter, for the arm of this number. `None` if somebody else has.
    pub(super) fn claim(&self, arm: usize) -> Option<Parked> {
        // Acquire and release: of those who claim, each knows the ticket from a place whose lock its owner had when it filled it, which
        // orders that; the winner's claim is seen by its owner when that is woken.
        self.claimed.compare_exchange(OPEN, arm, Ordering::AcqRel, Ordering::Acquire).ok()?;
        // SAFETY: T1: the ticket was filled before anybody could claim it, and one claim succeeds.
        unsafe { (*self.parked.get()).take() }
    }

    fn claimed(&self) -> usize {
        // Acquire: pairs with the exchange in `claim`.
        self.claimed.load(Ordering::Acquire)
    }
}

/// A place's lock, whatever it guards.
#[doc(hidden)]
pub trait Lock {
    /// Takes it.
    fn lock_raw(&self);

    /// Releases it.
    ///
    /// # Safety
    ///
    /// The caller has taken it.
    unsafe fn unlock_raw(&self);
}

impl<T> Lock for Guarded<T> {
    fn lock_raw(&self) {
        Guarded::lock_raw(self);
    }

    unsafe fn unlock_raw(&self) {
        // SAFETY: the caller's promise.
        unsafe { Guarded::unlock_raw(self) }
    }
}

/// Something that a select can wait for, among others. Sealed: implemented by what this project's channels, timers, join handles and
/// tokens make; their documentation says what each waits for.
///
/// # Safety
///
/// The hidden methods do what they say.
pub unsafe trait Arm {
    /// Looks with its own place locked, and does it if it can.
    #[doc(hidden)]
    fn look(&mut self, scheduler: &dyn Scheduler) -> Found;

    /// The lock of its place, if it has one.
    #[doc(hidden)]
    fn lock(&self) -> Option<&dyn Lock> {
        None
    }

    /// As `look`, with the lock taken.
    ///
    /// # Safety
    ///
    /// The caller has taken `lock`.
    #[doc(hidden)]
    unsafe fn look_locked(&mut self, scheduler: &dyn Scheduler) -> Found {
        self.look(scheduler)
    }

    /// Enters the list of its place.
    ///
    /// # Safety
    ///
    /// The caller has taken `lock`, and calls `delist` before the ticket, the arm or the tasklet of `record` goes.
    #[doc(hidden)]
    unsafe fn enlist(&mut self, ticket: Seat, record: *const Record) {
        let _ = (ticket, record);
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

    /// Whether somebody outside the caller's scheduler can end its wait.
    #[doc(hidden)]
    fn is_shared(&self) -> bool;

    /// When it is worth a look, if that is known.
    #[doc(hidden)]
    fn deadline(&self) -> Option<Duration> {
        None
    }
}

/// An arm, with what comes of it when it was chosen.
pub trait TypedArm: Arm {
    /// What comes of it.
    type Output;

    /// What came of it.
    ///
    /// # Panics
    ///
    /// It was not chosen.
    fn output(&mut self) -> Self::Output;
}

/// Which arm of which select a node waits for.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Seat {
    ticket: NonNull<Ticket>,
    arm: usize,
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
        if !matches!(found, Found::Wait) {
            self.ended = Some(Ended::Done);
        }
        found
    }

    /// What it would have given, if it was not chosen.
    pub fn into_message(self) -> Option<A::Message> {
        debug_assert_ne!(self.node.state(), LINKED, "a select takes its nodes out of the lists before it ends");
        // SAFETY: the node is not linked, so it is ours.
        unsafe { self.node.cell() }.take()
    }
}

// SAFETY: the methods do what the trait says.
unsafe impl<A: Attempt> Arm for ArmOf<A> {
    fn look(&mut self, scheduler: &dyn Scheduler) -> Found {
        // SAFETY: A1, as in `Waiting::begin`.
        let place = unsafe { &*ptr::from_ref(self.attempt.place()) };
        let mut state = place.lock();
        // SAFETY: the node is not linked, so it is ours.
        let found = self.attempt.attempt(&mut state, unsafe { self.node.cell() }, scheduler);
        drop(state);
        self.note(found)
    }

    fn lock(&self) -> Option<&dyn Lock> {
        // SAFETY: A1. The state's type may borrow; the lock is used while the arm is.
        Some(unsafe { &*(ptr::from_ref(self.attempt.place())) })
    }

    unsafe fn look_locked(&mut self, scheduler: &dyn Scheduler) -> Found {
        // SAFETY: the caller has the lock, and no other reference to the state is alive: arms are looked at one after the other.
        let state = unsafe { &mut *self.attempt.place().value_raw() };
        // SAFETY: as in `look`.
        let found = self.attempt.attempt(state, unsafe { self.node.cell() }, scheduler);
        self.note(found)
    }

    unsafe fn enlist(&mut self, seat: Seat, record: *const Record) {
        // SAFETY: as in `look_locked`.
        let state = unsafe { &mut *self.attempt.place().value_raw() };
        let waiter = Waiter::Arm(seat.ticket, seat.arm);
        // SAFETY: the caller has the lock and promises N1 and N3; A2.
        unsafe { self.attempt.waiters(state).push(&self.node, waiter, record) };
    }

    fn delist(&mut self) {
        if self.node.state() == LINKED {
            // SAFETY: A1, as in `Waiting::begin`.
            let place = unsafe { &*ptr::from_ref(self.attempt.place()) };
            let mut state = place.lock();
            // SAFETY: A1, A2. What it gives back is a copy of the seat.
            drop(unsafe { self.attempt.waiters(&mut state).unlink(&self.node) });
        }
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
        if self.node.state() != IDLE {
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
    fn look(&mut self, scheduler: &dyn Scheduler) -> Found {
        self.arm.look(scheduler)
    }

    fn lock(&self) -> Option<&dyn Lock> {
        self.arm.lock()
    }

    unsafe fn look_locked(&mut self, scheduler: &dyn Scheduler) -> Found {
        // SAFETY: the caller's promise.
        unsafe { self.arm.look_locked(scheduler) }
    }

    unsafe fn enlist(&mut self, seat: Seat, record: *const Record) {
        // SAFETY: the caller's promise.
        unsafe { self.arm.enlist(seat, record) }
    }

    fn ring(&mut self, waker: &mut dyn FnMut() -> Waker) {
        self.arm.ring(waker);
    }

    fn delist(&mut self) {
        self.arm.delist();
    }

    fn is_over(&mut self) -> bool {
        self.arm.is_over()
    }

    fn is_shared(&self) -> bool {
        self.arm.is_shared()
    }

    fn deadline(&self) -> Option<Duration> {
        self.arm.deadline()
    }
}

impl<A: TypedArm, U, F: FnMut(A::Output) -> U> TypedArm for Mapped<A, F> {
    type Output = U;

    #[track_caller]
    fn output(&mut self) -> U {
        (self.map)(self.arm.output())
    }
}

/// Wakes a select for arms that have no list.
struct Bell(Mutex<Ringing>);

#[derive(Default)]
struct Ringing {
    rung: bool,
    ticket: Option<NonNull<Ticket>>,
}

// SAFETY: the ticket is claimed with the lock held, and its owner takes it out of here, under the lock, before it goes.
unsafe impl Send for Ringing {}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Ringing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WakeArc for Bell {
    fn wake(self: Arc<Bell>) {
        let mut ringing = self.lock();
        ringing.rung = true;
        // SAFETY: see `Ringing`.
        let parked = ringing.ticket.and_then(|ticket| unsafe { ticket.as_ref() }.claim(RUNG));
        drop(ringing);
        if let Some(parked) = parked {
            current::unpark(parked);
        }
    }
}

/// Which of several arms that are ready is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Any, each with the same probability.
    #[default]
    Fair,
    /// The first.
    Biased,
}

/// How one round of a select has ended.
enum Round {
    Chosen(usize),
    Again,
    Ended(Ended),
}

/// Up to this many arms a select needs no memory of its own. A guess: few are written with more.
const INLINE: usize = 8;

/// One wait of a select.
struct Select<'a, 'b> {
    arms: &'a mut [&'b mut dyn Arm],
    order: Order,
    patience: Patience,
    ticket: Ticket,
    bell: Option<Arc<Bell>>,
    who: Option<TaskletId>,
    round: Option<Round>,
    enlisted: bool,
}

impl Select<'_, '_> {
    /// S1: looks at each arm by itself.
    fn look(&mut self, scheduler: &dyn Scheduler) -> Option<Found> {
        match self.order {
            Order::Biased => (0..self.arms.len()).find_map(|arm| self.look_at(arm, scheduler)),
            Order::Fair if self.arms.len() <= INLINE => self.look_shuffled(&mut [0; INLINE], scheduler),
            Order::Fair => self.look_shuffled(&mut vec![0; self.arms.len()], scheduler),
        }
    }

    /// In an order of which each is equally probable, drawn as far as it is needed: so is the first arm in it that is ready.
    fn look_shuffled(&mut self, order: &mut [u32], scheduler: &dyn Scheduler) -> Option<Found> {
        let order = &mut order[..self.arms.len()];
        for (at, arm) in order.iter_mut().enumerate() {
            *arm = at as u32;
        }
        for at in 0..order.len() {
            let left = (order.len() - at) as u64;
            // Multiplied rather than divided; the bias is below one in 2^32 arms.
            let pick = ((scheduler.random() >> 32) * left) >> 32;
            order.swap(at, at + pick as usize);
            if let Some(found) = self.look_at(order[at] as usize, scheduler) {
                return Some(found);
            }
        }
        None
    }

    fn look_at(&mut self, arm: usize, scheduler: &dyn Scheduler) -> Option<Found> {
        match self.arms[arm].look(scheduler) {
            Found::Wait => None,
            found => {
                self.round = Some(Round::Chosen(arm));
                Some(found)
            }
        }
    }

    /// S2-S4: takes all locks, looks again, and enters all lists.
    fn enlist(&mut self, scheduler: &dyn Scheduler) -> Option<Found> {
        if self.arms.len() <= INLINE {
            self.enlist_sorted(&mut [(0, 0); INLINE], scheduler)
        } else {
            self.enlist_sorted(&mut vec![(0, 0); self.arms.len()], scheduler)
        }
    }

    fn enlist_sorted(&mut self, places: &mut [(usize, usize)], scheduler: &dyn Scheduler) -> Option<Found> {
        let mut count = 0;
        for (arm, which) in self.arms.iter().enumerate() {
            if let Some(lock) = which.lock() {
                places[count] = (ptr::from_ref(lock).addr(), arm);
                count += 1;
            }
        }
        let places = &mut places[..count];
        places.sort_unstable();
        let mut last = 0;
        for place in places.iter_mut() {
            // S2: once each, in the order of their addresses, so that of several selects none waits for another in a circle.
            if place.0 != last
                && let Some(lock) = self.arms[place.1].lock()
            {
                lock.lock_raw();
                last = place.0;
            } else {
                place.0 = 0;
            }
        }
        let found = self.look_and_enter(scheduler);
        for place in places.iter().filter(|place| place.0 != 0) {
            if let Some(lock) = self.arms[place.1].lock() {
                // SAFETY: taken above.
                unsafe { lock.unlock_raw() };
            }
        }
        found
    }

    /// S3, S4, with all locks taken.
    fn look_and_enter(&mut self, scheduler: &dyn Scheduler) -> Option<Found> {
        for arm in 0..self.arms.len() {
            if self.arms[arm].lock().is_none() {
                continue;
            }
            // SAFETY: the locks are taken.
            match unsafe { self.arms[arm].look_locked(scheduler) } {
                Found::Wait => {}
                found => {
                    self.round = Some(Round::Chosen(arm));
                    return Some(found);
                }
            }
        }
        let mut bell = self.bell.as_ref().map(|bell| bell.lock());
        if bell.as_ref().is_some_and(|bell| bell.rung) {
            self.round = Some(Round::Again);
            return Some(Found::Done);
        }
        let parked = scheduler.begin_park();
        self.who = Some(parked.record().id());
        let record = ptr::from_ref(parked.record());
        // SAFETY: T1: nobody knows the ticket yet.
        unsafe { *self.ticket.parked.get() = Some(parked) };
        let ticket = NonNull::from(&self.ticket);
        if let Some(bell) = &mut bell {
            bell.ticket = Some(ticket);
        }
        drop(bell);
        self.enlisted = true;
        for (arm, which) in self.arms.iter_mut().enumerate() {
            // SAFETY: the locks are taken. `leave` is called by `finish` or `drop`, before the operation or the arms go, on the tasklet's
            // own stack.
            unsafe { which.enlist(Seat { ticket, arm }, record) };
        }
        None
    }

    /// S5: leaves all lists.
    fn leave(&mut self) {
        if let Some(bell) = &self.bell {
            bell.lock().ticket = None;
        }
        if self.enlisted || self.bell.is_some() {
            self.arms.iter_mut().for_each(|arm| arm.delist());
        }
        self.enlisted = false;
        self.bell = None;
    }
}

// SAFETY: P1, `unlink` compares, and the ticket has the caller's own.
unsafe impl WaitSite for Select<'_, '_> {
    fn reason(&self, _: usize) -> ParkReason {
        ParkReason::Select(self.arms.len())
    }

    fn unlink(&self, who: TaskletId, _: usize) -> Option<Parked> {
        if self.who == Some(who) { self.ticket.claim(LEFT) } else { None }
    }

    fn is_shared(&self, _: usize) -> bool {
        self.arms.iter().any(|arm| arm.is_shared())
    }
}

impl<'s> Operation<'s> for Select<'s, '_> {
    type Output = Round;

    fn begin(&mut self, scheduler: &dyn Scheduler) -> Step<'s> {
        scheduler.begin_operation();
        if let Some(found) = self.look(scheduler) {
            return step(found);
        }
        if self.patience == Patience::Now {
            self.round = Some(Round::Ended(Ended::WouldBlock));
            return Step::Done;
        }
        if let Err(error) = scheduler.may_park() {
            self.round = Some(Round::Ended(Ended::Refused(error)));
            return Step::Done;
        }
        let bell = &mut self.bell;
        let mut waker = || Waker::from(bell.get_or_insert_with(|| Arc::new(Bell(Mutex::default()))).clone());
        self.arms.iter_mut().for_each(|arm| arm.ring(&mut waker));
        if let Some(found) = self.enlist(scheduler) {
            return step(found);
        }
        let site: &dyn WaitSite = &*self;
        // SAFETY: only the lifetime changes, as in `Waiting::begin`.
        Step::Park { site: unsafe { std::mem::transmute::<&dyn WaitSite, &'s dyn WaitSite>(site) }, key: 0 }
    }

    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Round {
        self.leave();
        if let Some(round) = self.round.take() {
            return round;
        }
        match (self.ticket.claimed(), outcome) {
            // The timer could not be started.
            (OPEN, Err(error)) | (LEFT, Err(error)) => Round::Ended(Ended::Refused(error)),
            (LEFT, Ok(Wake::TimedOut)) => Round::Ended(Ended::TimedOut),
            (LEFT | OPEN, Ok(_)) => Round::Ended(Ended::Closed),
            (RUNG, _) => Round::Again,
            (arm, _) if self.arms[arm].is_over() => Round::Chosen(arm),
            _ => Round::Again,
        }
    }
}

impl Drop for Select<'_, '_> {
    fn drop(&mut self) {
        if self.enlisted || self.bell.is_some() {
            self.leave();
        }
    }
}

fn step<'s>(found: Found) -> Step<'s> {
    match found {
        Found::Woke(Woken::Parked(partner), how) => Step::HandOver { partner, how },
        Found::Woke(woken, _) => {
            woken.wake();
            Step::Done
        }
        Found::Done | Found::Wait => Step::Done,
    }
}

/// Waits for one of several arms, and returns the number of the one that was chosen: its [output](TypedArm::output) is to be taken.
///
/// `limit` is a point in time on the clock of the caller's scheduler.
///
/// # Scheduling
///
/// If an arm is ready, as that arm's own operation. Else the caller parks, if its patience says so.
///
/// # Errors
///
/// [`Ended::WouldBlock`], [`Ended::TimedOut`], or [`Ended::Refused`]: the caller could not wait.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller; nothing was taken or given then.
pub fn select<S: Switch>(
    arms: &mut [&mut dyn Arm],
    order: Order,
    patience: Patience,
    limit: Option<Duration>,
) -> Result<usize, Ended> {
    loop {
        let deadline = arms.iter().filter_map(|arm| arm.deadline()).chain(limit).min();
        let patience_now = if deadline.is_some() { Patience::Now } else { patience };
        let mut round = operation::perform::<S, _>(wait(arms, order, patience_now));
        if let (Round::Ended(Ended::WouldBlock), Patience::Wait, Some(at)) = (&round, patience, deadline) {
            round = operation::perform_until::<S, _>(wait(arms, order, Patience::Wait), at);
        }
        match round {
            Round::Chosen(arm) => return Ok(arm),
            Round::Again => {}
            Round::Ended(Ended::TimedOut) if limit.is_none_or(|limit| deadline.is_some_and(|at| at < limit)) => {}
            Round::Ended(ended) => return Err(ended),
        }
    }
}

fn wait<'a, 'b>(arms: &'a mut [&'b mut dyn Arm], order: Order, patience: Patience) -> Select<'a, 'b> {
    Select { arms, order, patience, ticket: Ticket::new(), bell: None, who: None, round: None, enlisted: false }
}
