//! Soft budgets: the run ends between two tasklets (R48).

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunOutcome};

use super::budgets::{SOFT_100, computes_and_yields, run_with};
use super::setup::{Setup, channel, receive};

/// R48.
pub fn a_soft_budget_returns_between_tasklets_and_keeps_the_queue<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let _ = ["a", "b"].map(|name| computes_and_yields(&s, name, 250, 2));
    for (event, queue) in [("a0", "main b a"), ("b0", "main a b"), ("a1", "main b a"), ("b1", "main a b")] {
        assert!(matches!(run_with(&s, SOFT_100), RunOutcome::Budget));
        s.log.assert(event);
        assert_eq!(s.queue(), queue);
    }
    assert!(matches!(run_with(&s, SOFT_100), RunOutcome::Idle));
    s.log.assert("");
}

/// R48: a rendezvous directed at a partner hands the interrupt on.
pub fn a_soft_interrupt_does_not_split_a_rendezvous<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    s.spawn_with("R", &c, |log, c| {
        c.recv().unwrap();
        log.log("R");
    });
    s.run();
    s.spawn_with("S", &c, |log, c| {
        local::tick(250);
        log.log("S0");
        c.send(()).unwrap();
        log.log("S1");
    });
    assert!(matches!(run_with(&s, SOFT_100), RunOutcome::Budget));
    s.log.assert("S0 R");
    assert_eq!(s.queue(), "main S");
    s.run();
    s.log.assert("S1");
}

/// R48: blocking, leaving the queue and ending are moments to return, too.
pub fn a_soft_interrupt_comes_when_the_tasklet_blocks_or_ends<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    s.spawn_with("blocks", &c, |log, c| {
        local::tick(250);
        log.log("blocks");
        receive(&c);
    });
    s.spawn("leaves", |log| {
        local::tick(250);
        log.log("leaves");
        local::schedule_remove().unwrap();
    });
    s.spawn("ends", |log| {
        local::tick(250);
        log.log("ends");
    });
    s.says("x");
    for (event, queue) in [("blocks", "main leaves ends x"), ("leaves", "main ends x"), ("ends", "main x")] {
        assert!(matches!(run_with(&s, SOFT_100), RunOutcome::Budget));
        s.log.assert(event);
        assert_eq!(s.queue(), queue);
    }
}

/// R48: a schedule_all exchange is a moment to return.
pub fn a_soft_interrupt_comes_at_a_schedule_all_exchange<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    c.set_schedule_all(true);
    s.spawn_with("R", &c, |log, c| {
        c.recv().unwrap();
        log.log("R");
    });
    s.run();
    s.spawn_with("S", &c, |log, c| {
        local::tick(250);
        c.send(()).unwrap();
        log.log("S");
    });
    s.says("x");
    assert!(matches!(run_with(&s, SOFT_100), RunOutcome::Budget));
    assert_eq!(s.queue(), "main x R S");
    s.run();
    s.log.assert("x R S");
}
