//! Barriers, groups and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_sync::{Barrier, Event, WaitGroup};

use super::Case;
use super::setup::{fail, give_way, run, until, waiting};

/// Nobody goes into a round before all have come to it, a thread among them; one leads each.
pub fn a_barrier_lets_all_pass_together<B: Backend>(case: Case) {
    const PARTIES: usize = 4;
    const ROUNDS: usize = 50;
    let barrier = Arc::new(Barrier::new(PARTIES));
    let (came, led) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let party = {
        let (came, led) = (came, led.clone());
        move || {
            for round in 1..=ROUNDS {
                came.fetch_add(1, Ordering::SeqCst);
                if barrier.wait().is_leader() {
                    led.fetch_add(1, Ordering::SeqCst);
                }
                let seen = came.load(Ordering::SeqCst);
                assert!(seen >= round * PARTIES, "{seen} have come in round {round}");
            }
        }
    };
    let thread = std::thread::spawn(party.clone());
    run::<B>(case, move || {
        let parties: Vec<_> = (1..PARTIES).map(|_| case.spawn(party.clone())).collect();
        parties.into_iter().for_each(|party| party.join().unwrap());
    });
    thread.join().unwrap();
    assert_eq!(led.load(Ordering::SeqCst), ROUNDS);
    assert!(Barrier::new(0).wait().is_leader() && Barrier::new(1).wait().is_leader());
}

/// A killed party does not count.
pub fn a_party_that_goes_away_has_not_come<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let barrier = Arc::new(Barrier::new(3));
        let came = |count: usize| format!("{barrier:?}").contains(&format!("came: {count}"));
        let come = || {
            let barrier = barrier.clone();
            case.spawn(move || barrier.wait().is_leader())
        };
        let killed = come();
        until(|| came(1));
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        assert!(came(0));
        let first = come();
        until(|| came(1));
        let second = come();
        until(|| came(2));
        (0..5).for_each(|_| give_way());
        assert!(!first.is_finished() && !second.is_finished());
        assert!(barrier.wait().is_leader());
        assert!(!first.join().unwrap() && !second.join().unwrap());
    });
}

/// A group has ended when its last member has left, also by a panic or a kill.
pub fn a_group_waits_for_all_members<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (group, done) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
        let member = |end: fn()| {
            let (member, done) = (group.clone(), done.clone());
            case.spawn(move || {
                let _member = member;
                give_way();
                done.fetch_add(1, Ordering::SeqCst);
                end();
            })
        };
        let members =
            [member(|| ()), member(|| fail("on purpose")), member(|| until(|| false)), member(|| ()), member(|| ())];
        until(|| done.load(Ordering::SeqCst) == 5);
        assert!(group.members() >= 2);
        members[2].kill();
        group.wait();
        let ended = members.map(JoinHandle::join);
        assert!(ended[1].is_err() && ended[2].is_err());
        assert_eq!(ended.iter().filter(|result| result.is_ok()).count(), 3);
        WaitGroup::new().wait();
    });
}

/// Set, it keeps nobody; reset, it keeps everybody.
pub fn an_event_stays_until_it_is_reset<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let event = Arc::new(Event::new());
        assert!(!event.is_set());
        event.set();
        event.set();
        event.wait();
        event.wait();
        event.reset();
        let waiter = case.spawn_waiting(|| waiting(&*event), {
            let event = event.clone();
            move || event.wait()
        });
        // Who has waited when it was set goes on, although it is reset at once.
        event.set();
        event.reset();
        waiter.join().unwrap();
        assert!(!event.is_set());
    });
}

/// All of them, and threads.
pub fn an_event_wakes_those_who_wait<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let event = Arc::new(Event::new());
        let wait = || {
            let event = event.clone();
            move || event.wait()
        };
        let waiters: Vec<_> = (0..5).map(|_| case.spawn_waiting(|| waiting(&*event), wait())).collect();
        let thread = std::thread::spawn(wait());
        until(|| waiting(&*event) == 6);
        event.set();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        thread.join().unwrap();
    });
}
