//! Waiting in several places for whichever can be had first: claim, then commit.
//!
//! The steps S1-S5, the race feared and why nothing is lost are in this folder's README.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomPinned;
use std::ptr::{self, NonNull};
use std::sync::{Arc, PoisonError};
use std::task::{Wake as WakeArc, Waker};
use std::time::Duration;

use super::arm::{Arm, Seat};
use super::attempt::{Ended, Found, Patience, insist_elsewhere, step};
use crate::current;
use crate::guarded::Latch;
use crate::id::TaskletId;
use crate::operation::{self, Operation, Step, Switch};
use crate::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard};
use crate::scheduler::{Observed, Scheduler};
use crate::swap::Relocation;
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
    /// Of the tasklet that waits. Written when it is filled, and read under the lock of a place whose list leads to it.
    record: Cell<*const Record>,
    parked: UnsafeCell<Option<Parked>>,
    /// Others point to it while it waits, also while its owner has a mutable reference to what it is part of.
    _pinned: PhantomPinned,
}

impl Ticket {
    fn new() -> Ticket {
        Ticket {
            claimed: AtomicUsize::new(OPEN),
            record: Cell::new(ptr::null()),
            parked: UnsafeCell::new(None),
            _pinned: PhantomPinned,
        }
    }

    /// Claims the waiter, for the arm of this number. `None` if somebody else has.
    pub(super) fn claim(&self, arm: usize) -> Option<Parked> {
        // Acquire and release: of those who claim, each knows the ticket from a place whose lock its owner had when it filled it, which
        // orders that; the winner's claim is seen by its owner when that is woken.
        self.claimed.compare_exchange(OPEN, arm, Ordering::AcqRel, Ordering::Acquire).ok()?;
        // SAFETY: T1: the ticket was filled before anybody could claim it, and one claim succeeds.
        unsafe { (*self.parked.get()).take() }
    }

    /// Of the tasklet that waits.
    ///
    /// # Safety
    ///
    /// The caller holds the lock of a place in whose list a node names it.
    pub(super) unsafe fn record(&self) -> *const Record {
        self.record.get()
    }

    /// Whether nobody has claimed it.
    pub(super) fn is_open(&self) -> bool {
        self.claimed.load(Ordering::Relaxed) == OPEN
    }

    fn claimed(&self) -> usize {
        // Acquire: pairs with the exchange in `claim`.
        self.claimed.load(Ordering::Acquire)
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
pub(super) enum Round {
    Chosen(usize),
    Again,
    Ended(Ended),
}

/// Up to this many arms a select needs no memory of its own. A guess: few are written with more.
const INLINE: usize = 8;

/// The locks of all places, taken once each, in the order of their addresses: so of several selects none waits for another in a circle.
/// Dropping it releases them.
struct Taken<'p> {
    /// Sorted.
    places: &'p [*const Latch],
    /// How many of them have been taken, or are the same as the one before.
    count: usize,
}

impl Taken<'_> {
    /// S2.
    fn take(&mut self) {
        for at in 0..self.places.len() {
            if let Some(latch) = self.place(at) {
                latch.lock_raw();
            }
            self.count = at + 1;
        }
    }

    /// A place, unless it is the same as the one before.
    fn place(&self, at: usize) -> Option<&Latch> {
        let latch = self.places[at];
        let is_new = at == 0 || self.places[at - 1] != latch;
        // SAFETY: A1: the places live as long as the arms, which the select that made this has.
        is_new.then(|| unsafe { &*latch })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for latch in (0..self.count).filter_map(|at| self.place(at)) {
            // SAFETY: taken above. Those who looked meanwhile have returned, so no reference to what it guards is left.
            unsafe { latch.unlock_raw() };
        }
    }
}

/// One wait of a select.
pub(super) struct Select<'a, 'b> {
    arms: &'a mut [&'b mut dyn Arm],
    order: Order,
    patience: Patience,
    ticket: Ticket,
    bell: Option<Arc<Bell>>,
    who: Option<TaskletId>,
    round: Option<Round>,
    enlisted: bool,
}

impl<'a, 'b> Select<'a, 'b> {
    pub(super) fn new(arms: &'a mut [&'b mut dyn Arm], order: Order, patience: Patience) -> Select<'a, 'b> {
        Select { arms, order, patience, ticket: Ticket::new(), bell: None, who: None, round: None, enlisted: false }
    }

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
        let mut random = 0;
        for at in 0..order.len() {
            // One random number is enough for eight arms: its digits, in the base of how many there are to pick from, take 16 of its bits.
            if at == 0 || order.len() > INLINE {
                random = scheduler.random();
            }
            let digit = u128::from(random) * (order.len() - at) as u128;
            random = digit as u64;
            order.swap(at, at + (digit >> 64) as usize);
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
            self.enlist_sorted(&mut [ptr::null(); INLINE], scheduler)
        } else {
            self.enlist_sorted(&mut vec![ptr::null(); self.arms.len()], scheduler)
        }
    }

    fn enlist_sorted(&mut self, places: &mut [*const Latch], scheduler: &dyn Scheduler) -> Option<Found> {
        let taken = self.take_all(places);
        let found = self.look_and_enter(scheduler);
        drop(taken);
        found
    }

    /// S2. Room for as many places as there are arms is given.
    fn take_all<'p>(&self, places: &'p mut [*const Latch]) -> Taken<'p> {
        let mut count = 0;
        for latch in self.arms.iter().filter_map(|arm| arm.lock()) {
            places[count] = ptr::from_ref(latch);
            count += 1;
        }
        let places = &mut places[..count];
        if !places.is_sorted() {
            places.sort_unstable();
        }
        let mut taken = Taken { places, count: 0 };
        taken.take();
        taken
    }

    /// Its tasklet's stack is copied, with the ticket, and with the arms unless they lie elsewhere. With all locks taken, since any of them may
    /// lead to the ticket.
    fn relocate_sorted(&self, relocation: &Relocation, places: &mut [*const Latch]) {
        self.arms.iter().filter_map(|arm| arm.lock()).for_each(|place| insist_elsewhere(relocation, place));
        let taken = self.take_all(places);
        let mut bell = self.bell.as_ref().map(|bell| bell.lock());
        relocation.copy();
        let copy = relocation.map(self);
        // SAFETY: the copy of a select. Nobody else looks at it: who comes by a list or the bell waits for the locks.
        let ticket = unsafe { NonNull::new_unchecked((&raw const (*copy).ticket).cast_mut()) };
        for arm in self.arms.iter() {
            // SAFETY: the locks are taken; the ticket is that of this select.
            unsafe { arm.relink(relocation, ticket.cast()) };
        }
        if let Some(bell) = &mut bell {
            bell.ticket = bell.ticket.map(|_| ticket);
        }
        self.relocate_arms(relocation);
        drop(bell);
        drop(taken);
    }

    /// In the copy, the arms are those that were copied.
    fn relocate_arms(&self, relocation: &Relocation) {
        let arms = ptr::from_ref::<[&'b mut dyn Arm]>(self.arms);
        let copied = relocation.map(arms).cast_mut();
        for at in 0..arms.len() {
            // SAFETY: as many as there are; a reference is read and written as the pointer that it is, with none made of it.
            unsafe {
                let arm = copied.cast::<*mut dyn Arm>().add(at);
                arm.write(relocation.map(arm.read()).cast_mut());
            }
        }
        let copy = relocation.map(self).cast_mut();
        // SAFETY: as above: a reference to a slice is a pointer to one.
        unsafe { (&raw mut (*copy).arms).cast::<*mut [&'b mut dyn Arm]>().write(copied) };
    }

    /// S3, S4, with all locks taken.
    fn look_and_enter(&mut self, scheduler: &dyn Scheduler) -> Option<Found> {
        for arm in 0..self.arms.len() {
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
        self.ticket.record.set(ptr::from_ref(parked.record()));
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
            unsafe { which.enlist(Seat { ticket, arm }) };
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

    fn name(&self, _: usize) -> Option<String> {
        let names: Vec<String> = self.arms.iter().filter_map(|arm| arm.name()).collect();
        if names.is_empty() { None } else { Some(names.join(", ")) }
    }

    fn unlink(&self, who: TaskletId, _: usize) -> Option<Parked> {
        if self.who == Some(who) { self.ticket.claim(LEFT) } else { None }
    }

    fn relocate(&self, relocation: &Relocation) {
        if self.arms.len() <= INLINE {
            self.relocate_sorted(relocation, &mut [ptr::null(); INLINE]);
        } else {
            self.relocate_sorted(relocation, &mut vec![ptr::null(); self.arms.len()]);
        }
    }

    fn alignment(&self) -> usize {
        self.arms.iter().map(|arm| arm.alignment()).fold(align_of::<Self>(), usize::max)
    }

    fn is_shared(&self, _: usize) -> bool {
        self.arms.iter().any(|arm| arm.is_shared())
    }
}

impl<'s> Operation<'s> for Select<'s, '_> {
    type Output = Round;

    const LOOKS: bool = true;

    fn begin(&mut self, scheduler: &dyn Scheduler, _: Observed) -> Step<'s> {
        if let Some(found) = self.look(scheduler) {
            return step(found);
        }
        if self.patience == Patience::Now {
            self.round = Some(Round::Ended(Ended::WouldBlock));
            return Step::Done;
        }
        if let Err(error) = scheduler.may_park() {
            // What has come meanwhile goes before: it may be why the caller may not park, such as a cancellation that there is an arm for.
            if let Some(found) = self.look(scheduler) {
                return step(found);
            }
            self.round = Some(Round::Ended(Ended::Refused(error)));
            return Step::Done;
        }
        let bell = &mut self.bell;
        let mut waker =
            || Waker::from(bell.get_or_insert_with(|| Arc::new(Bell(Mutex::new(Ringing::default())))).clone());
        self.arms.iter_mut().for_each(|arm| arm.ring(&mut waker));
        if let Some(found) = self.enlist(scheduler) {
            return step(found);
        }
        let site: &dyn WaitSite = &*self;
        // SAFETY: only the lifetime changes, as in `Waiting::begin`.
        Step::Park { site: unsafe { std::mem::transmute::<&dyn WaitSite, &'s dyn WaitSite>(site) }, key: 0 }
    }

    fn begin_at_once(&mut self, scheduler: &dyn Scheduler) -> Option<Step<'s>> {
        match self.look(scheduler) {
            None if self.patience == Patience::Wait => None,
            None => {
                self.round = Some(Round::Ended(Ended::WouldBlock));
                Some(Step::Done)
            }
            Some(found) => Some(step(found)),
        }
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
            // Woken for something else, that has not ended the caller: nothing has happened.
            (LEFT | OPEN | RUNG, _) => Round::Again,
            (arm, _) if self.arms[arm].is_over() => Round::Chosen(arm),
            _ => Round::Again,
        }
    }
}

impl Drop for Select<'_, '_> {
    fn drop(&mut self) {
        if self.enlisted || self.bell.is_some() {
            self.leave();
            // It unwinds. If an arm was served before, that has its output.
            if let Some(arm) = self.arms.get_mut(self.ticket.claimed()) {
                arm.is_over();
            }
        }
    }
}

/// Waits for one of several arms, and returns the number of the one that was chosen: its [output](super::TypedArm::output) is to be taken.
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
/// An arm has given its message already. Unwinds with what is thrown at the caller; an arm that was chosen before has its output all the
/// same.
pub fn select<S: Switch>(
    arms: &mut [&mut dyn Arm],
    order: Order,
    patience: Patience,
    limit: Option<Duration>,
) -> Result<usize, Ended> {
    loop {
        let due = arms.iter_mut().filter_map(|arm| arm.prepare()).min();
        let deadline = due.into_iter().chain(limit).min();
        let patience_now = if deadline.is_some() { Patience::Now } else { patience };
        let mut round = operation::perform::<S, _>(Select::new(arms, order, patience_now));
        if let (Round::Ended(Ended::WouldBlock), Patience::Wait, Some(at)) = (&round, patience, deadline) {
            round = operation::perform_until::<S, _>(Select::new(arms, order, Patience::Wait), at);
        }
        match round {
            Round::Chosen(arm) => return Ok(arm),
            Round::Again => {}
            // An arm's own time has come, perhaps together with the limit: it goes before.
            Round::Ended(Ended::TimedOut) if due.is_some_and(|due| limit.is_none_or(|limit| due <= limit)) => {}
            Round::Ended(ended) => return Err(ended),
        }
    }
}
