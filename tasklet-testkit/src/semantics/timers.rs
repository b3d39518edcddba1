//! Sleeping and intervals: when the time of a tasklet is looked at, and when a scheduler waits for it. Time is virtual, so hours are over at
//! once, and what a test says of it is exact.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::clock::{Clock, VirtualClock};
use tasklet_core::driver::VirtualDriver;
use tasklet_core::park::{ParkError, ParkReason};
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, Budget, RunOptions, RunOutcome, State};

use super::scripted::scripted;
use super::setup::{Setup, caught, caught_text};
use super::timed::{Log, Timed, WAIT, ms};
use crate::kinds;

/// Whoever's time comes first wakes first, whatever the order of falling asleep.
pub fn sleepers_wake_in_the_order_of_their_times<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let _ = [("d", 3_600_000), ("b", 20), ("a", 10), ("c", 30)].map(|(name, time)| t.sleeps(name, time));
    t.run_all();
    t.s.log.assert("a@10 b@20 c@30 d@3600000");
    assert_eq!(t.s.scheduler.next_timer(), None);
}

/// Of those with the same time, whoever has fallen asleep first, however long it was to sleep then.
pub fn sleepers_with_one_time_wake_in_the_order_of_falling_asleep<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.spawn("late", |log| {
        local::sleep(ms(10));
        log.now();
        local::sleep(ms(10));
        log.now();
    });
    let _ = ["a", "b", "c"].map(|name| t.sleeps(name, 20));
    t.run_all();
    t.s.log.assert("late@10 a@20 b@20 c@20 late@20");
}

/// A sleeper is appended to the queue, as anybody who is woken.
pub fn a_sleeper_whose_time_is_up_goes_on_after_those_queued<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.sleeps("s", 10);
    t.s.run();
    t.s.yields("a", 2);
    t.s.yields("b", 2);
    t.clock.advance(ms(10));
    t.s.run();
    t.s.log.assert("a0 b0 s@10 a1 b1");
}

/// Where points follow each other closely the clock is not looked at each time, but often enough.
pub fn a_sleeper_is_seen_within_16_scheduling_points<B: Backend>(kind: StackKind) {
    for before in 0..40 {
        let t = Timed::<B>::new(kind);
        let woken = Rc::new(Cell::new(false));
        t.spawn("s", {
            let woken = woken.clone();
            move |_| {
                local::sleep(ms(10));
                woken.set(true);
            }
        });
        t.spawn("busy", move |log| {
            (0..before).for_each(|_| local::schedule());
            log.clock.advance(ms(10));
            let points = (1..100).find(|_| {
                local::schedule();
                woken.get()
            });
            assert!(points.is_some_and(|points| points <= 16), "{points:?} points");
        });
        t.s.run();
    }
}

/// Where a long time lies between two points, a sleeper is late by one of them at most.
pub fn a_sleeper_is_seen_at_once_where_points_are_far_apart<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.sleeps("s", 20);
    t.spawn("busy", move |log| {
        for _ in 0..30 {
            log.clock.advance(ms(1));
            local::schedule();
        }
    });
    t.s.run();
    t.s.log.assert("s@20");
}

/// Tasklets that end without having come to a scheduling point do not keep a sleeper waiting.
pub fn the_end_of_a_tasklet_is_a_point_where_sleepers_are_seen<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.sleeps("s", 20);
    t.s.run();
    fn next(log: Log, left: u32) {
        log.clock.advance(ms(1));
        if left == 0 {
            log.says("-last");
        } else {
            local::spawn(move || next(log, left - 1));
        }
    }
    t.spawn("chain", |log| next(log, 100));
    t.s.run();
    // Behind the next of the chain, which is queued already when it is seen.
    t.s.log.assert("s@21 chain-last@101");
}

/// A sleep takes as long as it was told to, also in the main tasklet, alone.
pub fn a_sleep_takes_its_time<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    for time in [ms(0), ms(1), ms(7), Duration::from_secs(86_400)] {
        let start = local::now();
        local::sleep(time);
        assert_eq!(t.clock.now() - start, time);
    }
}

/// The tasklets run while main sleeps, and main goes on behind them.
pub fn a_sleeping_main_lets_the_tasklets_run<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.sleeps("a", 5);
    t.sleeps("b", 10);
    t.sleeps("c", 15);
    t.s.says("x");
    local::sleep(ms(10));
    // `b` has fallen asleep after main.
    t.s.log.assert("x a@5");
    assert_eq!(t.s.queue(), "main b");
    local::sleep(ms(0));
    t.s.log.assert("b@10");
    local::sleep(ms(100));
    t.s.log.assert("c@15");
    assert_eq!(t.at(), 110);
}

/// A point in time that has passed is not waited for; but others run first, as at a yield.
pub fn sleeping_until_the_past_is_a_yield<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.clock.advance(ms(50));
    t.sleeps("long", 3_600_000);
    for (until, points) in [0, 20, 50].into_iter().flat_map(|until| (0..20).map(move |points| (ms(until), points))) {
        t.spawn("s", move |log| {
            (0..points).for_each(|_| local::checkpoint());
            assert_eq!(local::try_sleep_until(until), Ok(()));
            log.now();
        });
        t.s.yields("a", 2);
        t.s.run();
        t.s.log.assert("a0 s@50 a1");
    }
    local::sleep_until(ms(10));
    assert_eq!(t.at(), 50);
}

/// A run ends when nobody is runnable, as if the sleepers were blocked; but not while one of them is due.
pub fn a_run_does_not_wait_for_sleepers<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let sleeper = t.spawn("s", |log| {
        for _ in 0..2 {
            local::sleep(ms(10));
            log.now();
        }
        // Nobody else is runnable; it is not asleep for the run to end.
        local::sleep(ms(0));
        log.says("-end");
    });
    t.s.run();
    assert_eq!((sleeper.state(), sleeper.park_reason()), (State::Blocked, Some(ParkReason::Sleep)));
    assert_eq!((t.at(), t.s.scheduler.next_timer()), (0, Some(ms(10))));
    t.clock.advance(ms(9));
    t.s.run();
    t.s.log.assert("");
    t.clock.advance(ms(1));
    t.s.run();
    t.s.log.assert("s@10");
    assert_eq!(t.s.scheduler.next_timer(), Some(ms(20)));
    t.clock.advance(ms(30));
    t.s.run();
    t.s.log.assert("s@40 s-end@40");
    assert!(!sleeper.is_alive());
}

/// What a game loop does: whoever is due runs, and nobody is waited for.
pub fn a_frame_is_not_delayed_by_sleepers<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    for (name, period) in [("a", 16), ("b", 32)] {
        t.spawn(name, move |log| {
            let mut interval = local::interval(ms(period));
            loop {
                interval.tick();
                log.now();
            }
        });
    }
    t.sleeps("hour", 3_600_000);
    for frame in 0..4 {
        let outcome = t.s.scheduler.run_for(ms(4)).unwrap();
        assert!(matches!(outcome, RunOutcome::Idle), "{outcome:?}");
        assert_eq!(t.at(), frame * 16);
        t.clock.advance(ms(16));
    }
    t.s.log.assert("a@0 b@0 a@16 b@32 a@32 a@48");
}

/// A run that waits for sleepers stops when its time is used up, and the next one goes on waiting.
pub fn a_budget_of_time_limits_the_waiting_for_sleepers<B: Backend>(kind: StackKind) {
    for hard in [false, true] {
        let t = Timed::<B>::new(kind);
        t.sleeps("s", 12);
        let frame = WAIT.total(Budget::Time(ms(5)));
        let run = || t.s.scheduler.run_with(if hard { frame.hard() } else { frame }).unwrap();
        for end in [5, 10] {
            let outcome = run();
            assert!(matches!(outcome, RunOutcome::Budget), "{outcome:?}");
            assert_eq!(t.at(), end);
            assert_eq!(t.s.queue(), "main");
            t.s.log.assert("");
        }
        assert!(matches!(run(), RunOutcome::Idle));
        t.s.log.assert("s@12");
        // A slice is used up by tasklets only.
        t.sleeps("s", 12);
        t.s.scheduler.run_with(WAIT.slice(Budget::Time(ms(5)))).unwrap();
        t.s.log.assert("s@24");
    }
}

/// The time of an outer run limits an inner one that waits: the outer one ends, and then the inner one.
pub fn an_outer_budget_of_time_limits_an_inner_run_that_waits<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.sleeps("s", 12);
    t.spawn("inner", |log| {
        let outcome = local::run_with(WAIT);
        log.says(&format!("-{outcome:?}"));
    });
    let outcome = t.s.scheduler.run_with(RunOptions::new().total(Budget::Time(ms(5)))).unwrap();
    assert!(matches!(outcome, RunOutcome::Budget), "{outcome:?}");
    t.s.log.assert("");
    assert_eq!(t.s.queue(), "main inner");
    t.s.run();
    t.s.log.assert("inner-Ok(Idle)@5");
    t.run_all();
    t.s.log.assert("s@12");
}

/// An inner run waits for sleepers if it is told to; the tasklets that it waits for run in it.
pub fn an_inner_run_may_wait_for_sleepers<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    t.spawn("outer", |log| {
        let inner = log.clone();
        local::spawn(move || {
            local::sleep(ms(5));
            inner.says("-inner");
        });
        local::run_with(WAIT).unwrap();
        log.says("-after");
    });
    t.s.run();
    t.s.log.assert("outer-inner@5 outer-after@5");
}

/// A trap refuses a sleep as it does any wait. Under the switch trap whoever is alone may sleep, and runs alone although another's time
/// is up as well.
pub fn sleeping_respects_the_traps<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let try_sleep = || local::try_sleep_until(ms(10));
    {
        let _trap = local::block_trap();
        assert_eq!(try_sleep(), Err(ParkError::BlockTrapped));
        assert!(caught_text(|| local::sleep(ms(1))).contains("block trap"));
    }
    t.sleeps("s", 5);
    {
        let _trap = local::switch_trap();
        assert_eq!(try_sleep(), Err(ParkError::SwitchTrapped));
    }
    t.s.run();
    {
        let _trap = local::switch_trap();
        assert_eq!((try_sleep(), t.at()), (Ok(()), 10));
        t.s.log.assert("");
        assert_eq!(t.s.queue(), "main s");
    }
    t.s.run();
    t.s.log.assert("s@10");

    // The same with a limit of a join, which nobody outside can end.
    let never = t.s.scheduler.tasklet().spawn_joinable(local::schedule_remove);
    t.sleeps("s", 5);
    t.s.run();
    let _trap = local::switch_trap();
    assert_eq!((never.wait_timeout(ms(10)), t.at()), (Ok(false), 20));
    t.s.log.assert("");
}

/// Hooks do not sleep.
pub fn a_hook_cannot_sleep<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let seen = Rc::new(RefCell::new(Vec::new()));
    t.s.scheduler.set_schedule_hook(Some(Box::new({
        let seen = seen.clone();
        move |_| seen.borrow_mut().push(local::try_sleep_until(ms(100)))
    })));
    t.s.says("x");
    t.s.run();
    t.s.scheduler.set_schedule_hook(None);
    assert_eq!(*seen.borrow(), [Err(ParkError::InHook); 2]);
    assert_eq!((t.at(), t.s.scheduler.next_timer()), (0, None));
}

/// A clock that comes to a scheduling point itself is not asked again there.
pub fn a_clock_may_come_to_a_scheduling_point<B: Backend>(kind: StackKind) {
    struct Checks(Arc<VirtualClock>);
    impl Clock for Checks {
        fn now(&self) -> Duration {
            local::checkpoint();
            self.0.now()
        }
    }
    let clock = Arc::new(VirtualClock::default());
    let builder = kinds::local(kind).clock(Checks(clock.clone())).driver(VirtualDriver::new(clock.clone()));
    let s = Setup::<B>::on(builder.build());
    s.spawn("s", |log| {
        local::sleep(ms(10));
        log.log("s");
    });
    s.yields("a", 2);
    s.scheduler.run_with(WAIT).unwrap();
    s.log.assert("a0 a1 s");
    assert_eq!(clock.now(), ms(10));
}

/// A destructor that runs because of a kill cannot sleep, and need not know.
pub fn a_sleep_while_unwinding_returns_at_once<B: Backend>(kind: StackKind) {
    struct Naps(Log);
    impl Drop for Naps {
        fn drop(&mut self) {
            local::sleep(ms(10));
            self.0.says(&format!("-{:?}", local::try_sleep_until(ms(10))));
        }
    }
    let t = Timed::<B>::new(kind);
    let sleeper = t.spawn("s", |log| {
        let _naps = Naps(log);
        local::sleep(ms(100));
    });
    t.s.run();
    sleeper.kill().unwrap();
    t.s.log.assert("s-Err(Unwinding)@0");
}

/// A tick that comes late does not shift the others; those that were missed altogether are left out.
pub fn an_interval_leaves_missed_ticks_out<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let mut interval = local::interval(ms(10));
    let mut tick = || (interval.tick().as_millis(), t.at());
    let first = tick();
    local::sleep(ms(35));
    assert_eq!([first, tick(), tick(), tick()], [(0, 0), (10, 35), (40, 40), (50, 50)]);
    assert_eq!(caught_text(|| local::interval(Duration::ZERO)), "an interval needs a period above zero");
}

/// The end of a scheduler kills those who sleep. Nobody goes on because its time comes while others are killed, and whoever catches its
/// kill and sleeps again is killed again.
pub fn the_end_of_a_scheduler_kills_sleepers_and_wakes_none<B: Backend>(kind: StackKind) {
    struct Delays(Arc<VirtualClock>);
    impl Drop for Delays {
        fn drop(&mut self) {
            self.0.advance(ms(1_000));
            (0..20).for_each(|_| local::checkpoint());
        }
    }
    for catches in [false, true] {
        let t = Timed::<B>::new(kind);
        let witness = Rc::new(());
        let tasklets = ["a", "b", "c"].map(|name| {
            let witness = witness.clone();
            t.spawn(name, move |log| {
                let _delays = (Delays(log.clock.clone()), witness);
                if catches {
                    assert!(caught(|| local::sleep(ms(10))).is_err());
                    log.says("-caught");
                }
                local::sleep(ms(10));
                log.now();
            })
        });
        let handle = t.s.scheduler.spawn_joinable({
            let witness = witness.clone();
            move || {
                local::sleep(ms(10));
                witness
            }
        });
        t.s.run();
        let Timed { s, clock } = t;
        let report = s.scheduler.shut_down();
        assert_eq!((report.killed, report.discarded, report.refused), (4, 0, Vec::new()));
        s.log.assert(if catches { "a-caught@0 b-caught@0 c-caught@0" } else { "" });
        assert_eq!(clock.now(), ms(3_000));
        assert!(tasklets.iter().all(|tasklet| !tasklet.is_alive()));
        assert!(handle.join().unwrap_err().is_killed());
        assert_eq!(Rc::strong_count(&witness), 1);
    }
}

/// One that catches every kill and sleeps again keeps nobody, and its timers go with the scheduler.
pub fn a_sleeper_that_refuses_to_die_is_leaked_without_its_timers<B: Backend>(kind: StackKind) {
    let t = Timed::<B>::new(kind);
    let refuses = t.spawn("refuses", |_| {
        loop {
            let _ = caught(|| local::sleep(ms(0)));
            let _ = caught(|| local::sleep(ms(1)));
        }
    });
    t.s.run();
    let Timed { s, clock } = t;
    assert_eq!(s.scheduler.shut_down().refused, [refuses.id()]);
    assert_eq!(clock.now(), ms(0));
}

/// Thousands of sleepers wake in order.
pub fn thousands_of_sleepers_wake_in_order<B: Backend>(kind: StackKind) {
    // Where a tasklet is an OS thread, hundreds.
    let count = if B::STACKS == StackProvision::Ours { 5_000 } else { 300 };
    let t = Timed::<B>::new(kind);
    let woken = Rc::new(RefCell::new(Vec::new()));
    let mut random = 1u64;
    for number in 0..count {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (time, woken) = ((random >> 33) % 1_000, woken.clone());
        t.s.scheduler.spawn(move || {
            local::sleep(ms(time));
            assert_eq!(local::now(), ms(time));
            woken.borrow_mut().push((time, number));
        });
    }
    t.run_all();
    let woken = woken.borrow();
    assert_eq!(woken.len(), count);
    assert!(woken.is_sorted());
}

/// On the system's clock a sleep takes at least its time, and a request of another thread ends the thread's wait, not the sleep.
pub fn requests_are_taken_while_the_thread_waits_for_a_timer<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let remote = s.scheduler.remote();
    let ran = Arc::new(std::sync::Mutex::new(Vec::new()));
    driver.then({
        let ran = ran.clone();
        move || {
            let request = move || remote.spawn(move || ran.lock().unwrap().push(Instant::now())).unwrap();
            thread::spawn(request).join().unwrap();
        }
    });
    let (start, slept) = (Instant::now(), ms(20));
    local::sleep(slept);
    let end = Instant::now();
    assert!(end - start >= slept);
    let ran = ran.lock().unwrap();
    assert!(ran.len() == 1 && ran[0] < end);
    assert!(driver.waits.get() >= 2, "{} waits", driver.waits.get());
}
