//! Permits are left while somebody is about to wait, waits, and is killed.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;

/// Sleeps until it is woken, and counts how often it is.
#[derive(Default)]
struct Waiter {
    woken: Mutex<u32>,
    changed: Condvar,
}

impl Waiter {
    fn wake(&self) {
        *self.woken.lock().unwrap() += 1;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut woken = self.woken.lock().unwrap();
        while *woken == 0 {
            woken = self.changed.wait(woken).unwrap();
        }
    }

    fn woken(&self) -> u32 {
        *self.woken.lock().unwrap()
    }
}

type Place = Arc<Slot<Arc<Waiter>>>;

/// What `park` does. Nobody ends a wait that no permit ends, so loom reports one that is lost as a deadlock.
fn park(place: &Place) {
    if place.take() {
        return;
    }
    let waiter = Arc::new(Waiter::default());
    if !place.take_or_wait(|| waiter.clone()) {
        waiter.wait();
        assert_eq!(waiter.woken(), 1);
    }
}

fn unpark(place: &Place) {
    if let Some(waiter) = place.leave() {
        waiter.wake();
    }
}

#[test]
fn permit_is_never_lost() {
    loom::model(|| {
        let place = Place::new(Slot::new());
        let other = thread::spawn({
            let place = place.clone();
            move || unpark(&place)
        });
        park(&place);
        other.join().unwrap();
        assert!(!place.take(), "one permit ends one wait");
    });
}

#[test]
fn permits_of_several_wake_for_each_event() {
    loom::model(|| {
        let place = Place::new(Slot::new());
        let events = Arc::new(AtomicUsize::new(0));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (place, events) = (place.clone(), events.clone());
                thread::spawn(move || {
                    // Relaxed: the permit carries it.
                    events.fetch_add(1, Ordering::Relaxed);
                    unpark(&place);
                })
            })
            .collect();
        // Several permits are kept as one, so who waits looks again.
        while events.load(Ordering::Relaxed) != 2 {
            park(&place);
        }
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

/// Somebody waits; `unparks` permits come while a kill claims the waiter. Returns whether the kill has, and whether a permit is left.
fn unpark_against_kill(unparks: usize) -> (bool, bool) {
    let place = Place::new(Slot::new());
    let waiter = Arc::new(Waiter::default());
    assert!(!place.take_or_wait(|| waiter.clone()));
    let other = thread::spawn({
        let place = place.clone();
        move || (0..unparks).for_each(|_| unpark(&place))
    });
    let claimed = place.unlink(|other| Arc::ptr_eq(other, &waiter));
    let by_kill = claimed.is_some();
    if let Some(claimed) = claimed {
        claimed.wake();
    }
    waiter.wait();
    other.join().unwrap();
    assert_eq!(waiter.woken(), 1, "it is claimed once");
    (by_kill, place.take())
}

#[test]
fn permit_of_a_killed_waiter_is_kept_for_its_next_wait() {
    loom::model(|| {
        let (by_kill, left) = unpark_against_kill(1);
        assert_eq!(left, by_kill);
    });
}

#[test]
fn kill_that_comes_late_takes_no_permit() {
    loom::model(|| {
        let (_, left) = unpark_against_kill(2);
        assert!(left);
    });
}

/// What an end that must not be missed does, as `wait_until` and those whom it waits for: the event, then the permit.
#[test]
fn event_before_its_permit_is_seen_after_a_wait() {
    loom::model(|| {
        let place = Place::new(Slot::new());
        let done = Arc::new(AtomicBool::new(false));
        // A permit of earlier times, meant for something else.
        unpark(&place);
        let other = thread::spawn({
            let (place, done) = (place.clone(), done.clone());
            move || {
                done.store(true, Ordering::Release);
                unpark(&place);
            }
        });
        while !done.load(Ordering::Acquire) {
            park(&place);
        }
        other.join().unwrap();
    });
}
