//! Callers whose stack is copied away and back while they wait, against others that claim them meanwhile.
//!
//! The stack is a box. Where it was copied from, nothing is left that can be used. (An atomic of the model that is copied stays the same one,
//! so what is seen here is what the copies hold beside it: links, the right to wake, the message.)

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::*;
use crate::park::WaitSite;
use crate::swap::Relocation;

/// What a byte is where something was.
const POISON: u8 = 0xd1;

/// A stack with a frame on it.
struct Stack<F>(*mut F);

impl<F> Stack<F> {
    fn new(frame: F) -> Stack<F> {
        Stack(Box::into_raw(Box::new(frame)))
    }

    /// Copies the frame away, calls `away` with the site, which has moved with it, and copies it back.
    ///
    /// # Safety
    ///
    /// The site is in the frame, and knows all that others refer to there.
    unsafe fn swap(&self, site: *const dyn WaitSite, away: impl FnOnce(&dyn WaitSite)) {
        let copy = Box::into_raw(Box::new(MaybeUninit::<F>::uninit()));
        let (here, there) = (NonNull::new(self.0).unwrap().cast::<u8>(), NonNull::new(copy).unwrap().cast::<u8>());
        // SAFETY: both have room for a frame, and nobody uses them: the caller's promise, and the copy is new.
        let out = unsafe { Relocation::new(here, there, size_of::<F>()) };
        // SAFETY: the frame is there, and the site in it.
        unsafe { (*site).relocate(&out) };
        // SAFETY: it was copied.
        unsafe { here.write_bytes(POISON, size_of::<F>()) };
        let moved = out.map(site);
        // SAFETY: the site is in the copy now.
        away(unsafe { &*moved });
        // SAFETY: as above, the other way.
        unsafe { (*moved).relocate(&Relocation::new(there, here, size_of::<F>())) };
        // SAFETY: it was copied; the box that it was in has nothing to drop.
        unsafe { there.write_bytes(POISON, size_of::<F>()) };
        // SAFETY: made above; nobody knows it any more.
        drop(unsafe { Box::from_raw(copy) });
    }
}

impl<F> Drop for Stack<F> {
    fn drop(&mut self) {
        // SAFETY: made in `new`; the frame is there.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// As [`drive`], with the operation in a frame that is copied away and back before the caller goes on. `away` comes in between.
fn drive_swapped(
    stack: &Stack<Waiting<Half>>,
    scheduler: &ThreadScheduler,
    away: impl FnOnce(&dyn WaitSite),
) -> Option<u32> {
    // SAFETY: the frame is there, and used by this thread alone, but for what the place's lock guards.
    let operation = unsafe { &mut *stack.0 };
    let outcome = match operation.begin(scheduler, Observed::No) {
        Step::Done => Ok(Wake::Served),
        Step::Park { site, key } => {
            let site = ptr::from_ref(site);
            // SAFETY: the site is the operation, which knows its node.
            unsafe { stack.swap(site, away) };
            // SAFETY: as in `drive`; the site is back.
            assert!(unsafe { scheduler.prepare_park(&*site, key, AnyBackend::BACKEND) }.is_none());
            scheduler.finish_park()
        }
        Step::HandOver { partner, .. } => {
            scheduler.unpark(partner);
            Ok(Wake::Served)
        }
    };
    // SAFETY: as above.
    unsafe { &mut *stack.0 }.finish(outcome)
}

/// A timer or a kill, of one that is away.
fn time_is_up(scheduler: &ThreadScheduler, site: &dyn WaitSite) {
    if let Some(parked) = site.unlink(scheduler.current_id(), 0) {
        scheduler.unpark(parked.with(Wake::TimedOut));
    }
}

#[test]
fn message_comes_to_a_receiver_that_is_copied() {
    model(|| {
        let place = place();
        let other = place.clone();
        let sender = thread::spawn(move || give(&other, 7, Patience::Wait));
        let stack = Stack::new(wait(Half::new(&place, Side::Take), None, Patience::Wait));
        assert_eq!(drive_swapped(&stack, &ThreadScheduler::new(), |_| {}), Some(7));
        assert_eq!(sender.join().unwrap(), None);
    });
}

#[test]
fn message_of_a_sender_that_is_copied_is_taken_or_comes_back() {
    model(|| {
        let place = place();
        let other = place.clone();
        let receiver = thread::spawn(move || {
            let attempt = wait(Half::new(&other, Side::Take), None, Patience::Now);
            drive(attempt, &ThreadScheduler::new(), |_| {})
        });
        let scheduler = ThreadScheduler::new();
        let stack = Stack::new(wait(Half::new(&place, Side::Give), Some(7), Patience::Wait));
        let back = drive_swapped(&stack, &scheduler, |site| time_is_up(&scheduler, site));
        let taken = receiver.join().unwrap();
        assert!(matches!((taken, back), (Some(7), None) | (None, Some(7))), "{taken:?} {back:?}");
    });
}

/// A select's own frame: the arms lie beside it.
struct Selecting {
    select: MaybeUninit<Select<'static, 'static>>,
    list: MaybeUninit<[&'static mut dyn Arm; 2]>,
    arms: [ArmOf<Half>; 2],
}

/// A select of two halves in a frame that is copied away and back. What came of it, if anything did before its time was up.
fn select_swapped(halves: [Half; 2]) -> Option<u32> {
    let scheduler = ThreadScheduler::new();
    let arms = halves.map(|half| ArmOf::new(half, None));
    let stack = Stack::new(Selecting { select: MaybeUninit::uninit(), list: MaybeUninit::uninit(), arms });
    let frame = stack.0;
    // SAFETY: the parts of one frame, each of which is used through one reference, and no longer than the frame lives.
    let select = unsafe {
        let [first, second] = &mut (*frame).arms;
        let list = (*frame).list.write([first, second]);
        (*frame).select.write(Select::new(list, Order::Biased, Patience::Wait))
    };
    let outcome = match select.begin(&scheduler, Observed::No) {
        Step::Done => Ok(Wake::Served),
        Step::Park { site, key } => {
            let site = ptr::from_ref(site);
            // SAFETY: the site is the select, which knows its arms.
            unsafe { stack.swap(site, |site| time_is_up(&scheduler, site)) };
            // SAFETY: as in `drive`; the site is back.
            assert!(unsafe { scheduler.prepare_park(&*site, key, AnyBackend::BACKEND) }.is_none());
            scheduler.finish_park()
        }
        Step::HandOver { partner, .. } => {
            scheduler.unpark(partner);
            Ok(Wake::Served)
        }
    };
    // SAFETY: the frame is back, and the select in it, which is dropped before its arms are used.
    let round = unsafe {
        let round = (*frame).select.assume_init_mut().finish(outcome);
        (*frame).select.assume_init_drop();
        round
    };
    match round {
        Round::Chosen(arm) => {
            // SAFETY: as above.
            let arms = unsafe { &mut (*frame).arms };
            arms[arm].output()
        }
        Round::Again | Round::Ended(_) => None,
    }
}

#[test]
fn select_that_is_copied_takes_one_of_two_messages() {
    // Three threads.
    model_with(2, || {
        let (left, right) = places();
        let (first, second) = (left.clone(), right.clone());
        let senders = [
            thread::spawn(move || give(&first, 1, Patience::Now)),
            thread::spawn(move || give(&second, 2, Patience::Now)),
        ];
        let taken = select_swapped([Half::new(&left, Side::Take), Half::new(&right, Side::Take)]);
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
fn two_arms_at_one_place_are_copied_together() {
    model(|| {
        let place = place();
        let other = place.clone();
        let sender = thread::spawn(move || [give(&other, 1, Patience::Now), give(&other, 2, Patience::Now)]);
        let taken = select_swapped([Half::new(&place, Side::Take), Half::new(&place, Side::Take)]);
        let back = sender.join().unwrap();
        let mut all: Vec<u32> = back.into_iter().chain([taken]).flatten().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2], "taken {taken:?}");
        assert!(place.lock().receivers.is_empty());
    });
}
