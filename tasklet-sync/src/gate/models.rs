//! Two and three threads at a gate, and at what rests on it: nobody is left waiting for what has happened.

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::thread;

use super::*;
use crate::models::model;
use crate::{Condvar, Event, Mutex, Once, WaitGroup};

/// A number that loom watches: what somebody has done before a wait ends is seen after it.
#[derive(Default)]
struct Done(UnsafeCell<u32>);

// SAFETY: loom checks it.
unsafe impl Sync for Done {}
// SAFETY: as above.
unsafe impl Send for Done {}

impl Done {
    fn add(&self) {
        // SAFETY: loom checks it.
        self.0.with_mut(|number| unsafe { *number += 1 });
    }

    fn assert(&self, number: u32) {
        // SAFETY: loom checks it.
        self.0.with(|is| assert_eq!(unsafe { *is }, number));
    }
}

fn spawn<S: Send + Sync + 'static>(shared: &Arc<S>, f: impl FnOnce(&S) + Send + 'static) -> thread::JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || f(&shared))
}

#[test]
fn a_notification_for_one_reaches_one_who_stays() {
    model(2, || {
        let gate = Arc::new(Gate::new(()));
        let seen = gate.epoch();
        let its = gate.clone();
        let gives_up = thread::spawn(move || its.wait(seen, Limit::At(Duration::ZERO)).is_ok());
        let stays = spawn(&gate, move |gate| gate.wait_long(seen));
        gate.open_one();
        if gives_up.join().unwrap() {
            gate.open_one();
        }
        stays.join().unwrap();
        assert_eq!(gate.waiting(), 0);
    });
}

#[test]
fn opening_for_all_and_for_one_wakes_one_of_a_later_epoch() {
    model(2, || {
        let gate = Arc::new(Gate::new(()));
        let (first, second) = (gate.epoch(), gate.epoch() + 1);
        let before = spawn(&gate, move |gate| gate.wait_long(first));
        // The two halves of opening for all; between them comes one of the epoch that begins.
        assert_eq!(gate.with(Inside::end_epoch), second);
        let after = spawn(&gate, move |gate| gate.wait_long(second));
        gate.open_one();
        gate.release(second);
        before.join().unwrap();
        after.join().unwrap();
        assert_eq!(gate.waiting(), 0);
    });
}

#[test]
fn a_condition_that_is_made_true_is_seen() {
    model(3, || {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let tells = spawn(&shared, |(is_true, changed)| {
            *is_true.lock().unwrap() = true;
            changed.notify_one();
        });
        drop(shared.1.wait_while(shared.0.lock().unwrap(), |is_true| !*is_true).unwrap());
        tells.join().unwrap();
    });
}

#[test]
fn two_that_wait_for_a_condition_are_both_told() {
    model(2, || {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let waits = spawn(&shared, |(count, changed)| {
            *changed.wait_while(count.lock().unwrap(), |count| *count == 0).unwrap() -= 1;
        });
        let tells = spawn(&shared, |(count, changed)| {
            *count.lock().unwrap() += 2;
            changed.notify_all();
        });
        *shared.1.wait_while(shared.0.lock().unwrap(), |count| *count == 0).unwrap() -= 1;
        waits.join().unwrap();
        tells.join().unwrap();
        assert_eq!(*shared.0.lock().unwrap(), 0);
    });
}

#[test]
fn an_event_that_has_happened_is_waited_for_by_nobody() {
    model(3, || {
        let shared = Arc::new((Event::new(), Done::default()));
        let tells = spawn(&shared, |(event, done)| {
            done.add();
            event.set();
        });
        shared.0.wait();
        shared.1.assert(1);
        tells.join().unwrap();
    });
}

#[test]
fn an_event_that_is_reset_has_let_those_before_go_on() {
    model(2, || {
        let shared = Arc::new((Event::new(), Gate::new(())));
        let waits = spawn(&shared, |(event, _)| event.wait());
        let waits_too = spawn(&shared, |(event, _)| event.wait());
        shared.0.set();
        shared.0.reset();
        shared.0.set();
        waits.join().unwrap();
        waits_too.join().unwrap();
        assert!(shared.0.is_set());
    });
}

#[test]
fn what_is_done_once_is_done_when_anybody_goes_on() {
    model(3, || {
        let shared = Arc::new((Once::new(), Done::default()));
        let call = |(once, done): &(Once, Done)| {
            once.call_once(|| {
                done.add();
                // A switch that is asked for, so that others come meanwhile.
                thread::yield_now();
            });
            done.assert(1);
        };
        let other = spawn(&shared, call);
        call(&shared);
        other.join().unwrap();
    });
}

#[test]
fn who_waits_for_what_another_does_once_goes_on() {
    model(3, || {
        let shared = Arc::new((Once::new(), Done::default()));
        let calls = spawn(&shared, |(once, done)| once.call_once(|| done.add()));
        shared.0.wait();
        shared.1.assert(1);
        calls.join().unwrap();
    });
}

#[test]
fn the_last_of_a_group_wakes_who_waits() {
    model(3, || {
        let (group, done) = (WaitGroup::new(), Arc::new(Done::default()));
        let member = group.clone();
        let leaves = spawn(&done, |done| {
            done.add();
            drop(member);
        });
        group.wait();
        done.assert(1);
        leaves.join().unwrap();
    });
}
