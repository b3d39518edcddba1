//! Two and three threads at one lock: nobody is inside with another, and nobody is left waiting.

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::thread;

use super::*;
use crate::models::model;

/// A lock with a number that loom watches: two accesses that the lock does not order fail the model.
struct Guarded {
    lock: RawMutex,
    number: UnsafeCell<u32>,
}

impl Guarded {
    fn new(fair: bool) -> Arc<Guarded> {
        Arc::new(Guarded { lock: RawMutex::new(fair), number: UnsafeCell::new(0) })
    }

    /// For whoever holds the lock.
    fn add(&self) {
        // SAFETY: loom checks it.
        self.number.with_mut(|number| unsafe { *number += 1 });
    }

    fn lock_and_add(&self) {
        self.lock.lock();
        self.add();
        // A switch that is asked for, so that others come meanwhile.
        thread::yield_now();
        self.lock.unlock();
    }

    fn lock_and_add_twice(&self) {
        self.lock_and_add();
        self.lock_and_add();
    }

    /// Gives up as soon as it would have to wait for longer than no time. Whether it did not.
    fn add_at_once(&self) -> bool {
        let taken = self.lock.try_lock_until(|| Limit::At(Duration::ZERO)).is_ok();
        if taken {
            self.add();
            self.lock.unlock();
        }
        taken
    }

    /// All have gone.
    fn assert(&self, number: u32) {
        assert!(self.lock.try_lock(), "it is free");
        // SAFETY: loom checks it.
        self.number.with(|is| assert_eq!(unsafe { *is }, number));
        self.lock.unlock();
        assert_eq!(self.lock.waiting(), 0);
        assert_eq!(self.lock.word.load(Ordering::Relaxed), 0);
    }
}

/// Runs these and one more at the same time.
fn together(guarded: &Arc<Guarded>, others: &[fn(&Guarded)], own: fn(&Guarded)) {
    let others: Vec<_> = others
        .iter()
        .map(|&other| {
            let guarded = guarded.clone();
            thread::spawn(move || other(&guarded))
        })
        .collect();
    own(guarded);
    others.into_iter().for_each(|other| other.join().unwrap());
}

#[test]
fn two_lock_twice() {
    for fair in [false, true] {
        model(3, move || {
            let guarded = Guarded::new(fair);
            together(&guarded, &[Guarded::lock_and_add_twice], Guarded::lock_and_add_twice);
            guarded.assert(4);
        });
    }
}

#[test]
fn three_lock() {
    for fair in [false, true] {
        model(2, move || {
            let guarded = Guarded::new(fair);
            together(&guarded, &[Guarded::lock_and_add, Guarded::lock_and_add], Guarded::lock_and_add_twice);
            guarded.assert(4);
        });
    }
}

#[test]
fn one_hands_over_and_one_comes_twice() {
    for fair in [false, true] {
        model(2, move || {
            let guarded = Guarded::new(fair);
            together(&guarded, &[Guarded::lock_and_add_twice, Guarded::lock_and_add], |guarded| {
                guarded.lock.lock();
                guarded.add();
                thread::yield_now();
                guarded.lock.unlock_fair();
            });
            guarded.assert(4);
        });
    }
}

#[test]
fn one_that_gives_up_leaves_nobody_waiting() {
    for fair in [false, true] {
        model(2, move || {
            let guarded = Guarded::new(fair);
            let (its, theirs) = (guarded.clone(), guarded.clone());
            let gives_up = thread::spawn(move || its.add_at_once());
            let waits = thread::spawn(move || theirs.lock_and_add());
            guarded.lock_and_add();
            waits.join().unwrap();
            let came = gives_up.join().unwrap();
            guarded.assert(2 + u32::from(came));
        });
    }
}

#[test]
fn a_fair_one_that_is_waited_for_is_not_taken_by_others() {
    model(3, || {
        let guarded = Guarded::new(true);
        guarded.lock.lock();
        let its = guarded.clone();
        let waits = thread::spawn(move || its.lock_and_add());
        while guarded.lock.waiting() == 0 {
            thread::yield_now();
        }
        let its = guarded.clone();
        let tries = thread::spawn(move || {
            if its.lock.try_lock() {
                // SAFETY: loom checks it.
                its.number.with(|number| assert_eq!(unsafe { *number }, 1, "the waiter was before"));
                its.lock.unlock();
            }
        });
        guarded.lock.unlock();
        waits.join().unwrap();
        tries.join().unwrap();
        guarded.assert(1);
    });
}
