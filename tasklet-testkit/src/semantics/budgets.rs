//! Budgets of ticks, switches and time (R45-R50); interruptions come at `tick` and at operations that may switch.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::clock::VirtualClock;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, Budget, RunError, RunOptions, RunOutcome, State, Tasklet};

use super::setup::{Setup, channel, fail, text};
use crate::kinds;

const HARD_100: RunOptions = RunOptions::new().slice(Budget::Ticks(100)).hard();
pub(super) const SOFT_100: RunOptions = RunOptions::new().slice(Budget::Ticks(100));

/// A queued tasklet that computes without yielding, then logs.
fn computes<B: Backend>(s: &Setup<B>, name: &'static str, ticks: u64) -> Tasklet {
    s.spawn(name, move |log| {
        local::tick(ticks);
        log.log(format!("{name} done"));
    })
}

/// A queued tasklet that computes and yields, in turns.
pub(super) fn computes_and_yields<B: Backend>(s: &Setup<B>, name: &'static str, ticks: u64, rounds: usize) -> Tasklet {
    s.spawn(name, move |log| {
        for i in 0..rounds {
            local::tick(ticks);
            log.log(format!("{name}{i}"));
            local::schedule();
        }
    })
}

pub(super) fn run_with<B: Backend>(s: &Setup<B>, options: RunOptions) -> RunOutcome {
    s.scheduler.run_with(options).unwrap()
}

/// A scheduler and its clock, which stands still unless a test advances it.
fn timed<B: Backend>(kind: StackKind) -> (Setup<B>, Rc<VirtualClock>) {
    let clock = Rc::new(VirtualClock::default());
    (Setup::on(kinds::local(kind).clock(clock.clone()).build()), clock)
}

#[track_caller]
fn victim(outcome: RunOutcome) -> Tasklet {
    match outcome {
        RunOutcome::Interrupted(victim) => victim,
        other => panic!("a tasklet should have been interrupted, but the run ended with {other:?}"),
    }
}

/// F1 lifecycle, of TestWatchdog.
pub fn a_tasklet_interrupted_in_its_middle_is_handed_out_paused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = computes(&s, "t", 50);
    let interrupted = victim(run_with(&s, RunOptions::new().slice(Budget::Ticks(10)).hard()));
    assert!(interrupted == t);
    assert_eq!(t.state(), State::Paused);
    assert!(t.is_alive() && !t.is_scheduled());
    assert_eq!(s.queue(), "main");
    t.insert().unwrap();
    assert!(t.is_scheduled());
    s.run();
    s.log.assert("t done");
    assert!(!t.is_alive());
}

/// F2 (model), R46, R47.
pub fn slices_give_every_computing_tasklet_its_turn<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let _ = ["a", "b", "c"].map(|name| computes(&s, name, 250));
    loop {
        match run_with(&s, HARD_100) {
            RunOutcome::Interrupted(victim) => {
                s.log.log(victim.name().unwrap());
                victim.insert().unwrap();
            }
            outcome => break assert!(matches!(outcome, RunOutcome::Idle)),
        }
    }
    s.log.assert("a b c a b c a done b done c done");
}

/// F4 (model), R49.
pub fn tasklets_that_yield_in_time_are_never_interrupted<B: Backend>(kind: StackKind) {
    for options in [HARD_100, SOFT_100] {
        let s = Setup::<B>::new(kind);
        let _ = ["a", "b"].map(|name| computes_and_yields(&s, name, 50, 4));
        assert!(matches!(run_with(&s, options), RunOutcome::Idle));
        s.log.assert("a0 b0 a1 b1 a2 b2 a3 b3");
    }
}

/// F5 totaltimeout (model).
pub fn a_total_budget_is_not_renewed_by_switches<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let _ = ["a", "b"].map(|name| computes_and_yields(&s, name, 50, 4));
    let interrupted = victim(run_with(&s, RunOptions::new().total(Budget::Ticks(300)).hard()));
    assert_eq!(interrupted.name(), Some("a"));
    s.log.assert("a0 b0 a1 b1 a2 b2");
    interrupted.insert().unwrap();
    s.run();
    s.log.assert("b3 a3");
}

/// F7 test_watchdog_priority_soft, test_watchdog_priority_hard; R45, R50.
pub fn a_spent_budget_wakes_the_outermost_caller_first<B: Backend>(kind: StackKind) {
    for hard in [false, true] {
        let s = Setup::<B>::new(kind);
        let over = Rc::new(Cell::new(false));
        for name in ["1", "2", "3", "4"] {
            s.spawn_with(name, &over, move |log, over| {
                let options = RunOptions::new().total(Budget::Ticks(100));
                let outcome = local::run_with(if hard { options.hard() } else { options }).unwrap();
                log.log(name);
                over.set(true);
                if let RunOutcome::Interrupted(victim) = outcome {
                    victim.insert().unwrap();
                }
            });
        }
        s.spawn_with("buzz", &over, |_, over| {
            while !over.get() {
                local::tick(7);
                local::schedule();
            }
        });
        s.run();
        s.log.assert("1 4 3 2");
        assert_eq!(s.scheduler.run_depth(), 0);
    }
}

/// F8 test_watchdog_on_tasklet.
pub fn a_spent_budget_wakes_the_tasklet_that_set_it_not_main<B: Backend>(kind: StackKind) {
    for hard in [false, true] {
        let s = Setup::<B>::new(kind);
        let main = s.scheduler.main();
        s.spawn("owner", move |log| {
            let options = RunOptions::new().total(Budget::Ticks(100));
            let outcome = local::run_with(if hard { options.hard() } else { options }).unwrap();
            log.log(format!("owner main:{:?}", main.state()));
            if let RunOutcome::Interrupted(victim) = outcome {
                victim.insert().unwrap();
            }
        });
        computes_and_yields(&s, "t", 150, 1);
        s.run();
        let events = s.log.take();
        assert!(events.contains("owner main:Paused"), "{events}");
        assert!(events.contains("t0"), "{events}");
    }
}

/// F9 test_send_recv.
pub fn a_server_and_three_clients_survive_any_interruption<B: Backend>(kind: StackKind) {
    for (budget, hard) in [(3, true), (7, true), (3, false), (7, false)] {
        let s = Setup::<B>::new(kind);
        let c = channel::<B, _>();
        let handled = Rc::new(Cell::new(0));
        let server = s.spawn_with("server", &(c.clone(), handled.clone()), |_, (c, handled)| {
            loop {
                local::tick(2);
                let n: u32 = c.recv().unwrap();
                local::tick(3);
                handled.set(handled.get() + n);
            }
        });
        for _ in 0..3 {
            s.spawn_with("client", &c, |_, c| {
                for _ in 0..20 {
                    local::tick(5);
                    c.send(1).unwrap();
                }
            });
        }
        let options = RunOptions::new().slice(Budget::Ticks(budget));
        let options = if hard { options.hard() } else { options };
        loop {
            match run_with(&s, options) {
                RunOutcome::Idle => break,
                RunOutcome::Interrupted(victim) => victim.insert().unwrap(),
                _ => {}
            }
        }
        assert_eq!(handled.get(), 60);
        assert_eq!(server.state(), State::BlockedReceiving);
    }
}

/// R45: an inner budget is ignored while an outer one is in force.
pub fn an_inner_budget_is_ignored<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("I", |log| {
        let inner = RunOptions::new().slice(Budget::Ticks(10)).hard();
        assert!(matches!(local::run_with(inner).unwrap(), RunOutcome::Idle));
        log.log("I");
    });
    computes(&s, "t", 90);
    assert!(matches!(run_with(&s, HARD_100), RunOutcome::Idle));
    s.log.assert("t done I");
}

/// R45: a budget ends with the run that set it.
pub fn a_budget_does_not_outlive_its_run<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.says("x");
    assert!(matches!(run_with(&s, HARD_100), RunOutcome::Idle));
    computes(&s, "t", 1000);
    s.run();
    s.log.assert("x t done");
}

/// R47, R59: an interruption waits for the end of an atomic block; explicit switches happen in it.
pub fn an_atomic_block_puts_an_interruption_off<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |log| {
        let guard = local::atomic();
        local::tick(500);
        log.log("computed");
        local::schedule();
        log.log("yielded");
        local::tick(500);
        drop(guard);
        // As in the original, the interruption comes a little later than the guard's end.
        local::tick(3);
        log.log("done");
    });
    s.says("x");
    let interrupted = victim(run_with(&s, HARD_100));
    assert!(interrupted == t);
    s.log.assert("computed x yielded");
    t.insert().unwrap();
    s.run();
    s.log.assert("done");
}

/// R47: a switch trap puts an interruption off, too.
pub fn a_switch_trap_puts_an_interruption_off<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |log| {
        let trap = local::switch_trap();
        local::tick(500);
        drop(trap);
        log.log("untrapped");
        local::tick(500);
        log.log("done");
    });
    let interrupted = victim(run_with(&s, HARD_100));
    assert!(interrupted == t);
    s.log.assert("untrapped");
    t.kill().unwrap();
    s.log.assert("");
}

/// A budget of switches counts switches to tasklets.
pub fn a_budget_of_switches_ends_between_tasklets<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let _ = ["a", "b", "c"].map(|name| s.yields(name, 2));
    let options = RunOptions::new().total(Budget::Switches(2));
    for expected in ["a0 b0", "c0 a1", "b1 c1"] {
        assert!(matches!(run_with(&s, options), RunOutcome::Budget));
        s.log.assert(expected);
    }
    while !matches!(run_with(&s, options), RunOutcome::Idle) {}
    s.log.assert("");
}

/// A tasklet that is alone and yields uses a budget of turns up all the same.
pub fn a_lone_tasklet_that_yields_uses_its_turns_up<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.yields("a", 9);
    let options = RunOptions::new().total(Budget::Switches(3));
    assert!(matches!(run_with(&s, options), RunOutcome::Budget));
    s.log.assert("a0 a1 a2");
    assert!(matches!(run_with(&s, options), RunOutcome::Budget));
    s.log.assert("a3 a4 a5");
}

/// A budget of time is measured by the scheduler's clock and ends between tasklets.
pub fn a_frame_ends_when_its_time_is_up<B: Backend>(kind: StackKind) {
    let (s, clock) = timed::<B>(kind);
    for name in ["a", "b", "c"] {
        s.spawn_with(name, &clock, move |log, clock| {
            for i in 0..2 {
                clock.advance(Duration::from_millis(3));
                log.log(format!("{name}{i}"));
                local::schedule();
            }
        });
    }
    let frame = Duration::from_millis(5);
    for expected in ["a0 b0", "c0 a1", "b1 c1"] {
        assert!(matches!(s.scheduler.run_for(frame).unwrap(), RunOutcome::Budget));
        s.log.assert(expected);
    }
    assert!(matches!(s.scheduler.run_for(frame).unwrap(), RunOutcome::Idle));
}

/// A hard budget of time interrupts at the next checkpoint.
pub fn a_hard_budget_of_time_interrupts_at_a_checkpoint<B: Backend>(kind: StackKind) {
    let (s, clock) = timed::<B>(kind);
    let t = s.spawn_with("t", &clock, |log, clock| {
        clock.advance(Duration::from_millis(50));
        log.log("computed");
        local::checkpoint();
        log.log("done");
    });
    let options = RunOptions::new().slice(Budget::Time(Duration::from_millis(5))).hard();
    assert!(victim(run_with(&s, options)) == t);
    s.log.assert("computed");
}

/// R49, for time: a slice of it begins anew at every switch.
pub fn a_switch_renews_a_slice_of_time<B: Backend>(kind: StackKind) {
    let slice = RunOptions::new().slice(Budget::Time(Duration::from_millis(5)));
    for options in [slice, slice.hard()] {
        let (s, clock) = timed::<B>(kind);
        for name in ["a", "b"] {
            s.spawn_with(name, &clock, move |log, clock| {
                for i in 0..3 {
                    clock.advance(Duration::from_millis(3));
                    log.log(format!("{name}{i}"));
                    local::schedule();
                }
            });
        }
        assert!(matches!(run_with(&s, options), RunOutcome::Idle));
        s.log.assert("a0 b0 a1 b1 a2 b2");
    }
}

/// A hard total of time or switches interrupts the one that finds it spent.
pub fn a_hard_total_of_time_or_switches_interrupts_the_one_that_yields<B: Backend>(kind: StackKind) {
    for budget in [Budget::Time(Duration::from_millis(5)), Budget::Switches(2)] {
        let (s, clock) = timed::<B>(kind);
        for name in ["a", "b", "c"] {
            s.spawn_with(name, &clock, move |log, clock| {
                clock.advance(Duration::from_millis(3));
                log.log(format!("{name}0"));
                local::schedule();
                log.log(format!("{name}1"));
            });
        }
        let interrupted = victim(run_with(&s, RunOptions::new().total(budget).hard()));
        assert_eq!((interrupted.name(), interrupted.state()), (Some("b"), State::Paused));
        assert_eq!(s.queue(), "main c a");
        s.log.assert("a0 b0");
        interrupted.insert().unwrap();
        s.run();
        s.log.assert("c0 a1 c1 b1");
    }
}

/// Soft or hard, a total that a tasklet has used up when it ends ends the run there: nobody is in his middle.
fn tasklets_that_end_use_a_total_up<B: Backend>(kind: StackKind, budget: Budget, hard: bool) {
    let (s, clock) = timed::<B>(kind);
    for name in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        s.spawn_with(name, &clock, move |log, clock| {
            clock.advance(Duration::from_millis(3));
            log.log(name);
        });
    }
    let options = RunOptions::new().total(budget);
    let options = if hard { options.hard() } else { options };
    for (expected, queue) in
        [("0 1", "main 2 3 4 5 6 7 8 9"), ("2 3", "main 4 5 6 7 8 9"), ("4 5", "main 6 7 8 9"), ("6 7", "main 8 9")]
    {
        let outcome = run_with(&s, options);
        assert!(matches!(outcome, RunOutcome::Budget), "{budget:?}: {outcome:?}");
        s.log.assert(expected);
        assert_eq!(s.queue(), queue);
    }
    assert!(matches!(run_with(&s, options), RunOutcome::Idle));
    s.log.assert("8 9");
}

/// R48, for time and switches: a soft total is looked at when a tasklet ends.
pub fn tasklets_that_end_use_a_soft_total_up<B: Backend>(kind: StackKind) {
    for budget in [Budget::Time(Duration::from_millis(5)), Budget::Switches(2)] {
        tasklets_that_end_use_a_total_up::<B>(kind, budget, false);
    }
}

/// A hard total is looked at when a tasklet ends, too; no other is interrupted for it.
pub fn tasklets_that_end_use_a_hard_total_up<B: Backend>(kind: StackKind) {
    for budget in [Budget::Time(Duration::from_millis(5)), Budget::Switches(2)] {
        tasklets_that_end_use_a_total_up::<B>(kind, budget, true);
    }
}

/// R47, R59, for time and switches: an interruption that an atomic block has put off is due at its end, not one budget later.
pub fn the_end_of_an_atomic_block_is_the_end_of_time_put_off<B: Backend>(kind: StackKind) {
    let time = Budget::Time(Duration::from_millis(5));
    let options = RunOptions::new();
    for options in [options.slice(time), options.total(time), options.total(Budget::Switches(1))] {
        let (s, clock) = timed::<B>(kind);
        let t = s.spawn_with("t", &clock, |log, clock| {
            let guard = local::atomic();
            clock.advance(Duration::from_millis(50));
            local::checkpoint();
            log.log("computed");
            drop(guard);
            local::checkpoint();
            log.log("done");
        });
        assert!(victim(run_with(&s, options.hard())) == t);
        s.log.assert("computed");
        t.insert().unwrap();
        s.run();
        s.log.assert("done");
    }
}

/// A budget that makes no sense is refused, and nothing runs.
pub fn a_budget_of_nothing_is_refused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.says("x");
    for options in [
        RunOptions::new().total(Budget::Ticks(0)),
        RunOptions::new().total(Budget::Switches(0)),
        RunOptions::new().slice(Budget::Time(Duration::ZERO)),
        RunOptions::new().slice(Budget::Switches(5)),
    ] {
        assert!(matches!(s.scheduler.run_with(options), Err(RunError::Budget(_))));
    }
    s.log.assert("");
    assert_eq!(s.queue(), "main x");
}

/// A budget ends with the tasklet that set it, if that is killed.
pub fn a_budget_ends_when_its_owner_is_killed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let owner = s.spawn("owner", |_| drop(local::run_with(HARD_100)));
    s.scheduler.schedule();
    owner.kill().unwrap();
    computes(&s, "t", 1000);
    s.run();
    s.log.assert("t done");
}

/// An error ends a budgeted run as any other, and the budget with it.
pub fn an_error_ends_a_budgeted_run<B: Backend>(kind: StackKind) {
    for options in [HARD_100, SOFT_100] {
        let s = Setup::<B>::new(kind);
        s.spawn("E", |_| {
            local::tick(90);
            fail("E")
        });
        computes(&s, "t", 1000);
        assert_eq!(text(s.scheduler.run_with(options)), "E");
        s.run();
        s.log.assert("t done");
    }
}
