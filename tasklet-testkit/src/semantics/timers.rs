//! Waits with a time limit: sleeping, intervals, joins that give up; when the time of a tasklet is looked at, and when a scheduler waits
//! for it. Time is virtual, so hours are over at once, and what a test says of it is exact.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tasklet_channels::{Channel, rendezvous};
use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::clock::{Clock, VirtualClock};
use tasklet_core::driver::VirtualDriver;
use tasklet_core::park::{Direction, ParkError, ParkReason};
use tasklet_core::tasklet::spot::{self, Permit};
use tasklet_scheduler::local::{self, Budget, RunOptions, RunOutcome, Scheduler, State, Tasklet};
use tasklet_scheduler::stealing;

use super::scripted::scripted;
use super::setup::{Setup, caught, caught_text, channel, receive};
use crate::Recorder;

const WAIT: RunOptions = RunOptions::new().block_thread();

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A scheduler in virtual time: while it waits for a timer, its clock moves.
struct Timed<B: Backend> {
    s: Setup<B>,
    clock: Arc<VirtualClock>,
}

impl<B: Backend> Timed<B> {
    fn new() -> Timed<B> {
        let clock = Arc::new(VirtualClock::default());
        let builder = Scheduler::builder().clock(clock.clone()).driver(VirtualDriver::new(clock.clone()));
        Timed { s: Setup::on(builder.build()), clock }
    }

    /// A queued tasklet that knows the clock.
    fn spawn(&self, name: &'static str, f: impl FnOnce(Log) + 'static) -> Tasklet {
        let clock = self.clock.clone();
        self.s.spawn(name, move |log| f(Log { name, log, clock }))
    }

    /// A queued tasklet that sleeps once, and logs when it has.
    fn sleeps(&self, name: &'static str, milliseconds: u64) -> Tasklet {
        self.spawn(name, move |log| {
            local::sleep(ms(milliseconds));
            log.now();
        })
    }

    /// Runs until nobody is runnable and nobody sleeps.
    #[track_caller]
    fn run_all(&self) {
        let outcome = self.s.scheduler.run_with(WAIT);
        assert!(matches!(outcome, Ok(RunOutcome::Idle)), "{outcome:?}");
    }

    /// The time in milliseconds.
    fn at(&self) -> u128 {
        self.clock.now().as_millis()
    }
}

/// What a tasklet logs with.
#[derive(Clone)]
struct Log {
    name: &'static str,
    log: Recorder,
    clock: Arc<VirtualClock>,
}

impl Log {
    /// Logs the tasklet's name and the time.
    fn now(&self) {
        self.says("");
    }

    fn says(&self, what: &str) {
        self.log.log(format!("{}{what}@{}", self.name, self.clock.now().as_millis()));
    }
}

/// Logs when it is dropped.
struct OnDrop(Log);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.says("-dropped");
    }
}

/// Whoever's time comes first wakes first, whatever the order of falling asleep.
pub fn sleepers_wake_in_the_order_of_their_times<B: Backend>() {
    let t = Timed::<B>::new();
    let _ = [("d", 3_600_000), ("b", 20), ("a", 10), ("c", 30)].map(|(name, time)| t.sleeps(name, time));
    t.run_all();
    t.s.log.assert("a@10 b@20 c@30 d@3600000");
    assert_eq!(t.s.scheduler.next_timer(), None);
}

/// Of those with the same time, whoever has fallen asleep first, however long it was to sleep then.
pub fn sleepers_with_one_time_wake_in_the_order_of_falling_asleep<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_sleeper_whose_time_is_up_goes_on_after_those_queued<B: Backend>() {
    let t = Timed::<B>::new();
    t.sleeps("s", 10);
    t.s.run();
    t.s.yields("a", 2);
    t.s.yields("b", 2);
    t.clock.advance(ms(10));
    t.s.run();
    t.s.log.assert("a0 b0 s@10 a1 b1");
}

/// Where points follow each other closely the clock is not looked at each time, but often enough.
pub fn a_sleeper_is_seen_within_16_scheduling_points<B: Backend>() {
    for before in 0..40 {
        let t = Timed::<B>::new();
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
pub fn a_sleeper_is_seen_at_once_where_points_are_far_apart<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn the_end_of_a_tasklet_is_a_point_where_sleepers_are_seen<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_sleep_takes_its_time<B: Backend>() {
    let t = Timed::<B>::new();
    for time in [ms(0), ms(1), ms(7), Duration::from_secs(86_400)] {
        let start = local::now();
        local::sleep(time);
        assert_eq!(t.clock.now() - start, time);
    }
}

/// The tasklets run while main sleeps, and main goes on behind them.
pub fn a_sleeping_main_lets_the_tasklets_run<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn sleeping_until_the_past_is_a_yield<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_run_does_not_wait_for_sleepers<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_frame_is_not_delayed_by_sleepers<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_budget_of_time_limits_the_waiting_for_sleepers<B: Backend>() {
    for hard in [false, true] {
        let t = Timed::<B>::new();
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
pub fn an_outer_budget_of_time_limits_an_inner_run_that_waits<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn an_inner_run_may_wait_for_sleepers<B: Backend>() {
    let t = Timed::<B>::new();
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

/// A join that gives up in time, one that gets the result, one that comes too late to wait, and one in the moment itself.
pub fn a_join_gives_up_when_its_time_is_up<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_join_that_gave_up_leaves_nothing_behind<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn whoever_was_served_in_time_is_not_late<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_time_that_comes_before_the_wait_is_not_lost<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn killing_a_sleeper_disturbs_no_other<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_kill_that_is_on_its_way_counts_more_than_a_timer<B: Backend>() {
    let t = Timed::<B>::new();
    let sleeper = t.sleeps("s", 10);
    t.s.run();
    sleeper.kill_later().unwrap();
    t.clock.advance(ms(10));
    t.s.run();
    t.s.log.assert("");
    assert!(!sleeper.is_alive());
}

/// What is thrown at a sleeper ends its sleep; the timer of that does not end the next one.
pub fn a_sleep_that_was_cut_short_does_not_shorten_the_next<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_deadlock_is_found_when_nobody_sleeps_any_more<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_wait_with_a_limit_is_no_deadlock<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn whoever_gives_up_leaves_the_queue_of_a_channel<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn parking_gives_up_when_its_time_is_up<B: Backend>() {
    let t = Timed::<B>::new();
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

/// A trap refuses a sleep as it does any wait. Under the switch trap whoever is alone may sleep, and runs alone although another's time
/// is up as well.
pub fn sleeping_respects_the_traps<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_hook_cannot_sleep<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn a_clock_may_come_to_a_scheduling_point<B: Backend>() {
    struct Checks(Arc<VirtualClock>);
    impl Clock for Checks {
        fn now(&self) -> Duration {
            local::checkpoint();
            self.0.now()
        }
    }
    let clock = Arc::new(VirtualClock::default());
    let builder = Scheduler::builder().clock(Checks(clock.clone())).driver(VirtualDriver::new(clock.clone()));
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
pub fn a_sleep_while_unwinding_returns_at_once<B: Backend>() {
    struct Naps(Log);
    impl Drop for Naps {
        fn drop(&mut self) {
            local::sleep(ms(10));
            self.0.says(&format!("-{:?}", local::try_sleep_until(ms(10))));
        }
    }
    let t = Timed::<B>::new();
    let sleeper = t.spawn("s", |log| {
        let _naps = Naps(log);
        local::sleep(ms(100));
    });
    t.s.run();
    sleeper.kill().unwrap();
    t.s.log.assert("s-Err(Unwinding)@0");
}

/// A tick that comes late does not shift the others; those that were missed altogether are left out.
pub fn an_interval_leaves_missed_ticks_out<B: Backend>() {
    let t = Timed::<B>::new();
    let mut interval = local::interval(ms(10));
    let mut tick = || (interval.tick().as_millis(), t.at());
    let first = tick();
    local::sleep(ms(35));
    assert_eq!([first, tick(), tick(), tick()], [(0, 0), (10, 35), (40, 40), (50, 50)]);
    assert_eq!(caught_text(|| local::interval(Duration::ZERO)), "an interval needs a period above zero");
}

/// The end of a scheduler kills those who sleep. Nobody goes on because its time comes while others are killed, and whoever catches its
/// kill and sleeps again is killed again.
pub fn the_end_of_a_scheduler_kills_sleepers_and_wakes_none<B: Backend>() {
    struct Delays(Arc<VirtualClock>);
    impl Drop for Delays {
        fn drop(&mut self) {
            self.0.advance(ms(1_000));
            (0..20).for_each(|_| local::checkpoint());
        }
    }
    for catches in [false, true] {
        let t = Timed::<B>::new();
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
pub fn a_sleeper_that_refuses_to_die_is_leaked_without_its_timers<B: Backend>() {
    let t = Timed::<B>::new();
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
pub fn thousands_of_sleepers_wake_in_order<B: Backend>() {
    // Where a tasklet is an OS thread, hundreds.
    let count = if B::STACKS == StackProvision::Ours { 5_000 } else { 300 };
    let t = Timed::<B>::new();
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
pub fn requests_are_taken_while_the_thread_waits_for_a_timer<B: Backend>() {
    let (s, driver) = scripted::<B>();
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
