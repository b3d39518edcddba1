//! Two and three callers at one or two places: a rendezvous, waits that are ended by their own side, selects that could serve each other,
//! that unwind when they were served, that are woken by a bell; whose stacks are copied meanwhile.
//!
//! Each caller is a plain thread as its own scheduler, driven by hand: the thread-local one would be the same for all threads of a model.

use std::sync::Arc;
use std::task::Waker;

use loom::sync::Mutex;
use loom::thread;

use super::attempt::Waiting;
use super::list::Node;
use super::select::{Round, Select};
use super::*;
use crate::channel::HandOver;
use crate::guarded::{Guarded, Locked};
use crate::operation::{AnyBackend, Operation, Step, Switch};
use crate::park::{ParkReason, Wake};
use crate::scheduler::{Observed, Scheduler};
use crate::thread::ThreadScheduler;

mod copied;

#[derive(Default)]
struct State {
    senders: Waiters<u32>,
    receivers: Waiters<u32>,
    closed: bool,
}

/// One of two places. They lie in one allocation, so that their addresses have the same order each time, which is that of the locks.
#[derive(Clone)]
struct Place(Arc<[Locked<State>; 2]>, usize);

impl std::ops::Deref for Place {
    type Target = Locked<State>;

    fn deref(&self) -> &Locked<State> {
        &self.0[self.1]
    }
}

fn places() -> (Place, Place) {
    let both = Arc::new([Locked::new(State::default()), Locked::new(State::default())]);
    (Place(both.clone(), 0), Place(both, 1))
}

fn place() -> Place {
    places().0
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Give,
    Take,
}

/// Half of a rendezvous.
struct Half {
    place: Place,
    side: Side,
    closed: bool,
}

impl Half {
    fn new(place: &Place, side: Side) -> Half {
        Half { place: place.clone(), side, closed: false }
    }
}

// SAFETY: A1, A2: the place is counted, and its lists are fields that nobody replaces.
unsafe impl Attempt for Half {
    type State = State;
    type Message = u32;
    /// What was taken, or is given back; `None` if it was given, or nothing was taken.
    type Output = Option<u32>;

    fn place(&self) -> &Guarded<State> {
        &self.place
    }

    fn waiters<'s>(&self, state: &'s mut State) -> &'s mut Waiters<u32> {
        if self.side == Side::Give { &mut state.senders } else { &mut state.receivers }
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Permit
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State, cell: &mut Option<u32>, _: &dyn Scheduler) -> Found {
        let partners = if self.side == Side::Give { &mut state.receivers } else { &mut state.senders };
        if let Some(mut partner) = partners.claim() {
            std::mem::swap(partner.cell(), cell);
            return Found::Woke(partner.serve(), HandOver::Caller);
        }
        self.closed = state.closed;
        if self.closed { Found::Done } else { Found::Wait }
    }

    fn finish(&mut self, cell: &mut Option<u32>, _: Ended) -> Option<u32> {
        cell.take()
    }
}

/// What [`operation::perform`](crate::operation::perform) does, under a scheduler of one's own. `before` comes between entering the list and
/// parking.
fn drive<'s, O: Operation<'s>>(
    mut operation: O,
    scheduler: &ThreadScheduler,
    before: impl FnOnce(&dyn crate::park::WaitSite),
) -> O::Output {
    let outcome = match operation.begin(scheduler, Observed::No) {
        Step::Done => Ok(Wake::Served),
        Step::Park { site, key } => {
            before(site);
            // SAFETY: a thread makes no tokens, and the operation stays here until `finish_park`.
            assert!(unsafe { scheduler.prepare_park(site, key, AnyBackend::BACKEND) }.is_none());
            scheduler.finish_park()
        }
        Step::HandOver { partner, how } => {
            // SAFETY: as above.
            assert!(unsafe { scheduler.prepare_hand_over(partner, how, AnyBackend::BACKEND) }.is_none());
            Ok(Wake::Served)
        }
    };
    operation.finish(outcome)
}

fn wait(attempt: Half, message: Option<u32>, patience: Patience) -> Waiting<Half> {
    Waiting::new(attempt, Node::new(message), patience)
}

fn give(place: &Place, message: u32, patience: Patience) -> Option<u32> {
    drive(wait(Half::new(place, Side::Give), Some(message), patience), &ThreadScheduler::new(), |_| {})
}

fn take(place: &Place) -> Option<u32> {
    drive(wait(Half::new(place, Side::Take), None, Patience::Wait), &ThreadScheduler::new(), |_| {})
}

/// A select of two halves. Returns which was chosen and what came of it.
fn select_two(first: (Half, Option<u32>), second: (Half, Option<u32>)) -> (usize, Option<u32>) {
    let scheduler = ThreadScheduler::new();
    let (mut first, mut second) = (ArmOf::new(first.0, first.1), ArmOf::new(second.0, second.1));
    let chosen = loop {
        let mut arms: [&mut dyn Arm; 2] = [&mut first, &mut second];
        match drive(Select::new(&mut arms, Order::Biased, Patience::Wait), &scheduler, |_| {}) {
            Round::Chosen(arm) => break arm,
            Round::Again => {}
            Round::Ended(ended) => panic!("{ended:?}"),
        }
    };
    (chosen, if chosen == 0 { first.output() } else { second.output() })
}

/// All orders with up to so many switches of thread that are not asked for: more take hours.
fn model_with(switches: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.max_branches = 10_000;
    builder.check(f);
}

fn model(f: impl Fn() + Send + Sync + 'static) {
    model_with(3, f);
}

#[test]
fn message_of_a_rendezvous_arrives_once() {
    model(|| {
        let place = place();
        let other = place.clone();
        let sender = thread::spawn(move || give(&other, 7, Patience::Wait));
        assert_eq!(take(&place), Some(7));
        assert_eq!(sender.join().unwrap(), None);
    });
}

#[test]
fn wait_that_is_ended_by_its_own_side_has_taken_nothing() {
    model(|| {
        let place = place();
        let other = place.clone();
        let sender = thread::spawn(move || give(&other, 7, Patience::Now));
        let scheduler = ThreadScheduler::new();
        let who = scheduler.current_id();
        let waiting = wait(Half::new(&place, Side::Take), None, Patience::Wait);
        let taken = drive(waiting, &scheduler, |site| {
            // As a timer or a kill does.
            if let Some(parked) = site.unlink(who, 0) {
                scheduler.unpark(parked.with(Wake::TimedOut));
            }
        });
        let back = sender.join().unwrap();
        assert!((taken, back) == (Some(7), None) || (taken, back) == (None, Some(7)), "{taken:?} {back:?}");
    });
}

#[test]
fn select_takes_one_of_two_messages_and_leaves_the_other() {
    // Three threads.
    model_with(2, || {
        let (left, right) = places();
        let (first, second) = (left.clone(), right.clone());
        let senders = [
            thread::spawn(move || give(&first, 1, Patience::Now)),
            thread::spawn(move || give(&second, 2, Patience::Now)),
        ];
        let scheduler = ThreadScheduler::new();
        let who = scheduler.current_id();
        let (mut first, mut second) =
            (ArmOf::new(Half::new(&left, Side::Take), None), ArmOf::new(Half::new(&right, Side::Take), None));
        let mut arms: [&mut dyn Arm; 2] = [&mut first, &mut second];
        // Its time is up at once, in case both senders were early.
        let round = drive(Select::new(&mut arms, Order::Biased, Patience::Wait), &scheduler, |site| {
            if let Some(parked) = site.unlink(who, 0) {
                scheduler.unpark(parked.with(Wake::TimedOut));
            }
        });
        let taken = match round {
            Round::Chosen(0) => first.output(),
            Round::Chosen(_) => second.output(),
            Round::Again | Round::Ended(_) => None,
        };
        let back = senders.map(|sender| sender.join().unwrap());
        let expected = match taken {
            Some(1) => [None, Some(2)],
            Some(2) => [Some(1), None],
            _ => [Some(1), Some(2)],
        };
        assert_eq!(back, expected, "taken {taken:?}");
    });
}

#[test]
fn select_that_is_killed_leaves_what_it_was_given_with_its_arm() {
    model(|| {
        let (left, right) = places();
        let (first, second) = (left.clone(), right.clone());
        let sender = thread::spawn(move || [give(&first, 1, Patience::Now), give(&second, 2, Patience::Now)]);
        let scheduler = ThreadScheduler::new();
        let who = scheduler.current_id();
        let (mut first, mut second) =
            (ArmOf::new(Half::new(&left, Side::Take), None), ArmOf::new(Half::new(&right, Side::Take), None));
        let mut taken = Vec::new();
        // The first is killed while it waits, or before it runs again. Its arms are selected again: at most one of them has something.
        for is_killed in [true, false, false] {
            let mut arms: [&mut dyn Arm; 2] = [&mut first, &mut second];
            let patience = if is_killed { Patience::Wait } else { Patience::Now };
            let mut select = Select::new(&mut arms, Order::Biased, patience);
            let round = match select.begin(&scheduler, Observed::No) {
                Step::Park { site, key } => {
                    if let Some(parked) = site.unlink(who, key) {
                        scheduler.unpark(parked.with(Wake::Interrupted));
                    }
                    // SAFETY: as in `drive`.
                    assert!(unsafe { scheduler.prepare_park(site, key, AnyBackend::BACKEND) }.is_none());
                    let _ = scheduler.finish_park();
                    // It unwinds.
                    drop(select);
                    continue;
                }
                Step::Done => select.finish(Ok(Wake::Served)),
                Step::HandOver { partner, .. } => {
                    scheduler.unpark(partner);
                    select.finish(Ok(Wake::Served))
                }
            };
            drop(select);
            match round {
                Round::Chosen(0) => taken.extend(first.output()),
                Round::Chosen(_) => taken.extend(second.output()),
                Round::Again | Round::Ended(_) => {}
            }
        }
        let back = sender.join().unwrap();
        taken.extend(back.into_iter().flatten());
        taken.sort_unstable();
        assert_eq!(taken, [1, 2], "came back {back:?}");
    });
}

/// Something that opens once, and has no list: whoever waits leaves a waker.
#[derive(Clone)]
struct Door(Arc<Mutex<(bool, Option<Waker>)>>);

impl Door {
    fn open(&self) {
        let waker = {
            let mut door = self.0.lock().unwrap();
            door.0 = true;
            door.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

// SAFETY: it has no place and enters no list.
unsafe impl Arm for Door {
    fn look(&mut self, _: &dyn Scheduler) -> Found {
        if self.0.lock().unwrap().0 { Found::Done } else { Found::Wait }
    }

    fn ring(&mut self, waker: &mut dyn FnMut() -> Waker) {
        let waker = waker();
        let mut door = self.0.lock().unwrap();
        if door.0 {
            drop(door);
            return waker.wake();
        }
        door.1 = Some(waker);
    }

    fn delist(&mut self) {
        let waker = self.0.lock().unwrap().1.take();
        drop(waker);
    }

    fn is_shared(&self) -> bool {
        true
    }
}

#[test]
fn select_hears_the_bell_of_an_arm_without_a_list() {
    model(|| {
        let place = place();
        let mut door = Door(Arc::new(Mutex::new((false, None))));
        let opener = thread::spawn({
            let door = door.clone();
            move || door.open()
        });
        let scheduler = ThreadScheduler::new();
        let mut half = ArmOf::new(Half::new(&place, Side::Take), None);
        let chosen = loop {
            let mut arms: [&mut dyn Arm; 2] = [&mut half, &mut door];
            match drive(Select::new(&mut arms, Order::Biased, Patience::Wait), &scheduler, |_| {}) {
                Round::Chosen(arm) => break arm,
                Round::Again => {}
                Round::Ended(ended) => panic!("{ended:?}"),
            }
        };
        assert_eq!(chosen, 1);
        opener.join().unwrap();
    });
}

#[test]
fn select_has_the_bell_or_a_message() {
    // Three threads.
    model_with(2, || {
        let place = place();
        let mut door = Door(Arc::new(Mutex::new((false, None))));
        let others = (door.clone(), place.clone());
        let opener = thread::spawn(move || others.0.open());
        let sender = thread::spawn(move || give(&others.1, 7, Patience::Now));
        let scheduler = ThreadScheduler::new();
        let mut half = ArmOf::new(Half::new(&place, Side::Take), None);
        let taken = loop {
            let mut arms: [&mut dyn Arm; 2] = [&mut half, &mut door];
            match drive(Select::new(&mut arms, Order::Biased, Patience::Wait), &scheduler, |_| {}) {
                Round::Chosen(0) => break half.output(),
                Round::Chosen(_) => break None,
                Round::Again => {}
                Round::Ended(ended) => panic!("{ended:?}"),
            }
        };
        opener.join().unwrap();
        let back = sender.join().unwrap();
        assert!(matches!((taken, back), (Some(7), None) | (None, Some(7))), "{taken:?} {back:?}");
    });
}

#[test]
fn close_ends_a_select_or_comes_before_it() {
    model(|| {
        let (left, right) = places();
        let other = right.clone();
        let closer = thread::spawn(move || {
            let scheduler = ThreadScheduler::new();
            let mut state = other.lock();
            state.closed = true;
            let woken = state.receivers.claim().map(Claimed::close);
            drop(state);
            if let Some(Woken::Parked(parked)) = woken {
                scheduler.unpark(parked);
            }
        });
        let taken = select_two((Half::new(&left, Side::Take), None), (Half::new(&right, Side::Take), None));
        assert_eq!(taken, (1, None));
        closer.join().unwrap();
    });
}

#[test]
fn two_selects_that_could_serve_each_other_exchange_one_message() {
    model(|| {
        let (left, right) = places();
        let (other_left, other_right) = (left.clone(), right.clone());
        let other = thread::spawn(move || {
            select_two((Half::new(&other_right, Side::Give), Some(2)), (Half::new(&other_left, Side::Take), None))
        });
        let ours = select_two((Half::new(&left, Side::Give), Some(1)), (Half::new(&right, Side::Take), None));
        let theirs = other.join().unwrap();
        let expected = if ours.0 == 0 { ((0, None), (1, Some(1))) } else { ((1, Some(2)), (0, None)) };
        assert_eq!((ours, theirs), expected);
    });
}
