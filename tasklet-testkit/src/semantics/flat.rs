//! Flat mode: `run`, `switch`, `kill` and `throw` move their target to the front, and the queue stays flat (section 2.9).

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self};

use super::setup::{Setup, caught, fail};
use crate::kinds;

/// Three queued tasklets, the second run in flat mode.
pub fn flat_run_moves_the_target_to_the_front<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.set_flat(true);
    let [_, t2, _] = ["t1", "t2", "t3"].map(|name| s.says(name));
    t2.run().unwrap();
    s.log.assert("t2 t1 t3");
}

/// D6 test_nested_tasklet_run_order, of the CCP suite.
pub fn nested_run_order_is_nested_or_flat<B: Backend>(kind: StackKind) {
    for (flat, expected) in [(false, "1 2 3 4 5"), (true, "1 2 5 3 4")] {
        let s = Setup::<B>::on(kinds::local(kind).flat(flat).build());
        s.says("1");
        s.spawn("N", |log| {
            let spawn = |name: &'static str| {
                let log = log.clone();
                local::spawn(move || log.log(name))
            };
            let t2 = spawn("2");
            spawn("3");
            spawn("4");
            t2.run().unwrap();
        });
        s.says("5");
        s.run();
        s.log.assert(expected);
    }
}

/// A killed tasklet dies at once, and nobody is jumped over.
pub fn flat_kill_keeps_the_others_queued_in_order<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.set_flat(true);
    let [_, b, _] = ["a", "b", "c"].map(|name| s.yields(name, 2));
    b.kill().unwrap();
    assert!(!b.is_alive());
    s.log.assert("a0 c0");
    s.run();
    s.log.assert("a1 c1");
}

/// A flat throw at a blocked tasklet runs it at once; the caller is last.
pub fn flat_throw_runs_the_target_at_once<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.set_flat(true);
    let t = s.spawn("t", |log| {
        let raised = caught(|| local::schedule_remove());
        log.log(*raised.unwrap_err().downcast::<&str>().unwrap());
    });
    s.run();
    s.says("x");
    t.throw("thrown").unwrap();
    s.log.log("main");
    s.log.assert("thrown x main");
}

/// The order of channels and yields does not depend on the mode.
pub fn flat_mode_leaves_errors_to_the_caller_of_run<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.set_flat(true);
    s.yields("a", 2);
    s.spawn("E", |_| fail("E"));
    s.yields("b", 1);
    assert_eq!(s.run_to_error(), "E");
    s.log.assert("a0");
    s.run();
    s.log.assert("b0 a1");
}
