//! Running from the host and from tasklets: nesting, who returns first (R37-R44).

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunOutcome, State, Tasklet};

use super::setup::{Setup, channel, fail, names, text, yields};

/// A queued tasklet that calls `run` and logs its name when that returns.
fn runner<B: Backend>(s: &Setup<B>, name: &'static str) -> Tasklet {
    s.spawn(name, move |log| {
        let outcome = local::run().unwrap();
        let queue = names(&super::ring::queue_of_current());
        log.log(format!("{name}:{}({queue})", if let RunOutcome::Idle = outcome { "idle" } else { "woken" }));
    })
}

/// E1 test_run_from_worker_main_running, test_inner_run_completes_first.
pub fn an_inner_run_returns_before_the_outer_one<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    let worker = s.yields("w", 1);
    s.spawn("R", move |log| {
        local::run().unwrap();
        log.log(format!("R w:{:?} main:{:?}", worker.state(), main.state()));
    });
    s.run();
    s.log.log("main");
    s.log.assert("w0 R w:Dead main:Paused main");
}

/// E2 test_run_from_worker; R43, R39.
pub fn an_inner_run_does_not_return_while_main_is_runnable<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let r = runner(&s, "R");
    for _ in 0..3 {
        s.scheduler.schedule();
    }
    s.log.assert("");
    assert_eq!(r.state(), State::Paused);
    r.run().unwrap();
    s.log.assert("R:woken(R main)");
    assert_eq!(s.scheduler.run_depth(), 0);
}

/// E3 test_run_from_worker_main_blocked.
pub fn an_inner_run_returns_when_main_is_blocked<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    s.spawn_with("R", &c, |log, c| {
        local::run().unwrap();
        log.log("R");
        c.send(()).unwrap();
    });
    s.yields("w", 2);
    c.recv().unwrap();
    s.log.log("main");
    s.log.assert("w0 w1 R main");
}

/// E5 test_main_exiting.
pub fn an_inner_run_outlives_mains_runs_until_it_is_killed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let r = runner(&s, "R");
    s.scheduler.schedule();
    s.run();
    s.run();
    s.scheduler.schedule();
    s.log.assert("");
    assert_eq!(s.scheduler.run_depth(), 1);
    r.kill().unwrap();
    assert!(!r.is_alive());
    assert_eq!(s.scheduler.run_depth(), 0);
    s.log.assert("");
}

/// E6 (model), R42.
pub fn nested_runs_return_innermost_first<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("I", |log| {
        log.log("I0");
        local::run().unwrap();
        log.log("I1");
    });
    s.yields("a", 3);
    s.yields("b", 3);
    s.run();
    s.log.log("main");
    s.log.assert("I0 a0 b0 a1 b1 a2 b2 I1 main");
}

/// E6 (model), the second half.
pub fn what_an_inner_caller_spawns_after_its_run_runs_before_main<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("I", |log| {
        log.log("I0");
        local::run().unwrap();
        log.log("I1");
        local::spawn(move || log.log("late"));
    });
    s.says("a");
    s.run();
    s.log.log("main");
    s.log.assert("I0 a I1 late main");
}

/// E7 (model), R38.
pub fn running_an_empty_queue_switches_nowhere<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.run();
    assert_eq!(s.scheduler.switches(), 0);
    assert_eq!(s.scheduler.run_count(), 1);
}

/// E8 test_calling_run_from_non_main_tasklet, of the CCP suite.
pub fn a_tasklet_may_run_what_it_spawned<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let bar = s.spawn_with("bar", &c, |log, c| {
        let spawn = |name: &'static str| {
            let log = log.clone();
            local::spawn(move || log.log(name));
        };
        ["a", "b", "c", "d"].into_iter().for_each(spawn);
        c.send(()).unwrap();
        ["e", "f", "g"].into_iter().for_each(spawn);
        local::run().unwrap();
    });
    bar.run().unwrap();
    c.recv().unwrap();
    s.run();
    s.log.assert("a b c d e f g");
}

/// R39: anybody may wake the caller of `run` although others are runnable.
pub fn a_run_ends_early_when_its_caller_is_woken<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    s.spawn("waker", move |log| {
        log.log("waker");
        main.insert().unwrap();
    });
    s.yields("a", 2);
    let outcome = s.scheduler.run().unwrap();
    assert!(matches!(outcome, RunOutcome::Woken), "{outcome:?}");
    s.log.assert("waker a0");
    assert_eq!(s.queue(), "main a");
    s.run();
    s.log.assert("a1");
}

/// R39: waking an outer caller ends the inner runs, which return in due course.
pub fn waking_an_outer_caller_ends_the_inner_runs<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    runner(&s, "R1");
    runner(&s, "R2");
    s.spawn("waker", move |_| main.run().unwrap());
    assert!(matches!(s.scheduler.run().unwrap(), RunOutcome::Woken));
    assert_eq!(s.scheduler.run_depth(), 0);
    s.log.assert("");
    assert_eq!(s.queue(), "main waker R2 R1");
    s.run();
    s.log.assert("R2:woken(R2 R1) R1:idle(R1)");
}

/// R42: an inner caller floats while another tasklet's run is deeper.
pub fn two_inner_runs_return_in_reverse_order<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    runner(&s, "R1");
    runner(&s, "R2");
    s.yields("a", 1);
    s.run();
    s.log.assert("a0 R2:idle(R2) R1:idle(R1)");
}

/// R44: after an error the inner run is over, and the caller may run again.
pub fn a_run_can_be_called_again_after_an_error<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("I", |log| {
        let spawn_failing = || local::spawn(|| fail("E"));
        spawn_failing();
        log.log(text(local::run()));
        spawn_failing();
        log.log(text(local::run()));
        yields(&log, "i", 1);
    });
    s.run();
    s.log.assert("E E i0");
    assert_eq!(s.scheduler.run_depth(), 0);
}

/// R37: outside of run, main is rotated like anybody.
pub fn main_is_an_ordinary_member_of_the_queue<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("t", |log| log.log(names(&super::ring::queue_of_current())));
    s.says("x");
    s.scheduler.schedule();
    s.log.assert("t x main x");
    assert!(s.scheduler.main().is_main() && s.scheduler.main().is_alive());
}

/// R38, R42: the caller of `run` is in no queue.
pub fn the_caller_of_run_is_paused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    s.spawn("t", move |log| {
        log.log(format!("{:?} {} {}", main.state(), main.is_scheduled(), local::run_count()));
    });
    s.run();
    s.log.assert("Paused false 1");
}

/// R39, R50: killing an outer caller ends the inner runs, which return in due course.
pub fn killing_an_outer_caller_ends_the_inner_runs<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let outer = runner(&s, "R1");
    runner(&s, "R2");
    s.scheduler.schedule();
    assert_eq!(s.scheduler.run_depth(), 2);
    outer.kill().unwrap();
    assert_eq!(s.scheduler.run_depth(), 0);
    s.run();
    s.log.assert("R2:idle(R2)");
}
