//! Waits that end in time, or are cut short: joins, permits and channels that are given up, kills of sleepers, deadlocks that are none
//! because somebody sleeps. Time is virtual.

use std::cell::Cell;
use std::rc::Rc;

use tasklet_channels::{Channel, rendezvous};
use tasklet_core::backend::Backend;
use tasklet_core::clock::Clock;
use tasklet_core::park::{Direction, ParkError};
use tasklet_core::tasklet::StackKind;
use tasklet_core::tasklet::spot::{self, Permit};
use tasklet_scheduler::local::{self, Budget, RunOptions, RunOutcome, State};
use tasklet_scheduler::stealing;

use super::setup::{caught, channel, receive};
use super::timed::{OnDrop, Timed, ms};

/// A join that gives up in time, one that gets the result, one that comes too late to wait, and one in the moment itself.
pub fn a_join_gives_up_when_its_time_is_up<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let sleeper = |time| {
        t.s.scheduler.spawn_joinable(move || {
            local::sleep(ms(time));
            time
        })
    };
    let handle = sleeper(20);
    assert_eq!(handle.wait_timeout(ms(5)), Ok(false));
    assert_eq!(t.at(), 5);
    let handle = handle.join_timeout(ms(5)).unwrap_err();
    assert_eq!(t.at(), 10);
    assert_eq!(handle.wait_timeout(ms(1_000)), Ok(true));
    assert_eq!(t.at(), 20);
    assert_eq!(handle.wait_timeout(ms(0)), Ok(true));
    assert_eq!(handle.join_timeout(ms(0)).unwrap().unwrap(), 20);
    assert_eq!(t.s.scheduler.next_timer(), None);

    // It wakes in the same moment, before: its time was taken first.
    let handle = sleeper(7);
    local::schedule();
    assert_eq!(handle.wait_timeout(ms(7)), Ok(true));
    // And behind.
    let late = Rc::new(Cell::new(None));
    t.spawn("joins", {
        let (late, handle) = (late.clone(), sleeper(7));
        handle.wait_timeout(ms(0)).unwrap();
        let start = local::now();
        move |_| {
            let waits = handle.wait_timeout(ms(7) - (local::now() - start));
            late.set(Some(waits));
        }
    });
    t.run_all();
    assert_eq!(late.get(), Some(Ok(true)));
}

/// Somebody who has given up is woken by nothing that comes of it later.
pub fn a_join_that_gave_up_leaves_nothing_behind<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let slow = t.s.scheduler.spawn_joinable(|| local::sleep(ms(20)));
    t.spawn("joins", move |log| {
        assert_eq!(slow.wait_timeout(ms(5)), Ok(false));
        log.now();
        // The other one ends meanwhile.
        local::sleep(ms(100));
        log.now();
        assert_eq!(slow.wait_timeout(ms(5)), Ok(true));
    });
    t.run_all();
    t.s.log.assert("joins@5 joins@105");
}

/// The time of somebody who was served already, and has not run since, does not count: neither in this wait nor in the next one.
pub fn whoever_was_served_in_time_is_not_late<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let c = channel::<B, i32>();
    let quick = t.s.scheduler.spawn_joinable(|| local::sleep(ms(5)));
    t.s.spawn_with("joins", &(t.clock.clone(), c.clone()), move |log, (clock, c)| {
        log.log(format!("{:?}", quick.wait_timeout(ms(10))));
        log.log(clock.now().as_millis().to_string());
        log.log(c.recv().unwrap().to_string());
        log.log(clock.now().as_millis().to_string());
    });
    t.s.run();
    t.clock.advance(ms(5));
    // Queued behind it when it ends, `joins` finds the time gone, which was looked at.
    t.spawn("delays", |log| {
        local::schedule();
        log.clock.advance(ms(20));
        (0..20).for_each(|_| local::checkpoint());
    });
    t.s.run();
    t.s.log.assert("Ok(true) 25");
    t.clock.advance(ms(5));
    c.send(7).unwrap();
    t.s.run();
    t.s.log.assert("7 30");
}

/// A tasklet that was interrupted on the way to its wait, and whose time came meanwhile, waits no more when it goes on.
pub fn a_time_that_comes_before_the_wait_is_not_lost<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let c = channel::<B, i32>();
    let sleeper = t.spawn("s", |log| {
        log.clock.advance(ms(10));
        local::sleep(ms(100));
        log.now();
        local::sleep(ms(100));
        log.now();
    });
    let hard = RunOptions::new().total(Budget::Time(ms(5))).hard();
    let outcome = t.s.scheduler.run_with(hard).unwrap();
    let RunOutcome::Interrupted(victim) = outcome else { panic!("{outcome:?}") };
    assert!(victim == sleeper && victim.state() == State::Paused);
    assert_eq!(t.s.scheduler.next_timer(), Some(ms(110)));
    // Its timer will wake nobody: there is nothing to wait for.
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    t.run_all();
    assert_eq!(t.at(), 10);
    t.clock.advance(ms(300));
    t.s.run();
    t.s.log.assert("");
    victim.insert().unwrap();
    t.s.run();
    t.s.log.assert("s@310");
    t.run_all();
    t.s.log.assert("s@410");
}

/// A kill ends a sleep at once. Others are not disturbed, those with the same time neither.
pub fn killing_a_sleeper_disturbs_no_other<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        t.spawn(name, |log| {
            let _dropped = OnDrop(log.clone());
            local::sleep(ms(10));
            log.now();
        })
    });
    t.s.run();
    t.clock.advance(ms(3));
    b.kill().unwrap();
    t.s.log.assert("b-dropped@3");
    assert!(!b.is_alive() && a.is_blocked() && c.is_blocked());
    t.run_all();
    t.s.log.assert("a@10 a-dropped@10 c@10 c-dropped@10");
    // One that is due, and one that was woken already.
    let [d, e] = ["d", "e"].map(|name| t.sleeps(name, 10));
    t.s.run();
    t.clock.advance(ms(10));
    d.kill().unwrap();
    assert!(e.is_alive());
    e.kill_later().unwrap();
    t.s.run();
    t.s.log.assert("");
    assert_eq!(t.s.scheduler.next_timer(), None);
}

/// Of several who will be killed when their turn comes, none goes on because its time comes first.
pub fn a_kill_that_is_on_its_way_counts_more_than_a_timer<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let sleeper = t.sleeps("s", 10);
    t.s.run();
    sleeper.kill_later().unwrap();
    t.clock.advance(ms(10));
    t.s.run();
    t.s.log.assert("");
    assert!(!sleeper.is_alive());
}

/// What is thrown at a sleeper ends its sleep; the timer of that does not end the next one.
pub fn a_sleep_that_was_cut_short_does_not_shorten_the_next<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let sleeper = t.spawn("s", |log| {
        assert!(caught(|| local::sleep(ms(10))).is_err());
        log.says("-caught");
        local::sleep(ms(100));
        log.now();
    });
    t.s.run();
    t.clock.advance(ms(5));
    sleeper.throw("E").unwrap();
    t.run_all();
    t.s.log.assert("s-caught@5 s@105");
}

/// Whoever could wake main is asleep: that is no deadlock. When nobody sleeps any more, it is.
pub fn a_deadlock_is_found_when_nobody_sleeps_any_more<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let c = channel::<B, i32>();
    let served = c.clone();
    t.spawn("serves", move |_| {
        local::sleep(ms(10));
        served.send(1).unwrap();
    });
    assert_eq!((c.recv(), t.at()), (Ok(1), 10));
    t.sleeps("s", 10);
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::MainDeserted(Direction::Receive)));
    t.s.log.assert("s@20");
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    // The last to block is told when the sleeper has ended, and that is the sleeper itself.
    let waiting = c.clone();
    t.spawn("last", move |log| {
        local::sleep(ms(10));
        log.says(&format!("-{:?}", waiting.recv().unwrap_err().park_error().unwrap()));
    });
    let blocked = t.s.spawn_with("blocked", &c, |_, c| receive(&c));
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::MainDeserted(Direction::Receive)));
    t.s.log.assert("last-Deadlock@30");
    assert!(blocked.is_blocked());
}

/// A wait for a tasklet that will never end is no deadlock if it has a limit.
pub fn a_wait_with_a_limit_is_no_deadlock<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let c = Channel::<i32>::new();
    let handle = t.s.scheduler.spawn_joinable({
        let c = c.clone();
        move || receive(&c)
    });
    assert_eq!((handle.wait_timeout(ms(10)), t.at()), (Ok(false), 10));
    assert_eq!(handle.wait(), Err(ParkError::Deadlock));
    t.spawn("joins", move |log| {
        log.says(&format!("-{:?}", handle.wait_timeout(ms(10))));
    });
    t.run_all();
    t.s.log.assert("joins-Ok(false)@20");
    assert_eq!(c.balance(), -1);
}

/// Whoever gives up leaves the channel's queue, with its value; those behind are served in order, and in time.
pub fn whoever_gives_up_leaves_the_queue_of_a_channel<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let (sender, receiver) = rendezvous::<&'static str>();
    for (name, limit) in [("a", 30), ("b", 10), ("c", 40)] {
        let receiver = receiver.clone();
        t.spawn(name, move |log| match receiver.recv_timeout(ms(limit)) {
            Ok(value) => log.says(&format!("-{value}")),
            Err(error) => log.says(if error.is_timeout() { "-late" } else { "-refused" }),
        });
    }
    local::sleep(ms(20));
    t.s.log.assert("b-late@10");
    assert_eq!(receiver.blocked_receivers(), 2);
    sender.send("x").unwrap();
    t.run_all();
    t.s.log.assert("a-x@20 c-late@40");
    let late = sender.send_timeout("y", ms(10)).unwrap_err();
    assert_eq!((late.is_timeout(), t.at(), sender.blocked_senders()), (true, 50, 0));
    assert_eq!(late.into_inner(), "y");
    assert!(receiver.try_recv().unwrap_err().is_would_block());
}

/// A permit that comes in time, and one that does not.
pub fn parking_gives_up_when_its_time_is_up<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let unparker = Rc::new(Cell::new(None));
    let parked = t.s.scheduler.spawn_joinable({
        let (clock, own) = (t.clock.clone(), unparker.clone());
        move || {
            own.set(Some(stealing::unparker()));
            let first = spot::park_until(ms(5)).unwrap();
            let second = spot::park_until(ms(50)).unwrap();
            (first == Permit::Taken, second == Permit::Taken, clock.now())
        }
    });
    local::sleep(ms(10));
    unparker.take().unwrap().unpark();
    assert_eq!(parked.join().unwrap(), (false, true, ms(10)));
}
