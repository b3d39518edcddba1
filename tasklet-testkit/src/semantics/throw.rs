//! Throwing at tasklets and killing them: at once, later, never begun, dead (R25-R32).

use std::cell::Cell;
use std::rc::Rc;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::{TaskletExit, is_tasklet_exit, message};
use tasklet_scheduler::local::{self, Tasklet, TaskletStateError};

use super::setup::{Chan, Setup, caught, caught_text, channel, fail, leave};

/// A tasklet blocked in a receive that logs what is raised there and ends.
fn catcher<B: Backend>(s: &Setup<B>, name: &'static str, c: &Chan<B, i32>) -> Tasklet {
    let t = s.spawn_with(name, c, move |log, c| {
        let payload = caught(|| c.recv()).unwrap_err();
        let what = if is_tasklet_exit(&payload) { "exit" } else { message(&payload) };
        log.log(format!("{name}:{what}"));
    });
    t.run().unwrap();
    t
}

/// H5 test_throw_noargs, test_throw_args, test_throw_inst, at once; R4.
pub fn a_thrown_error_arrives_at_the_receive_at_once<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = catcher(&s, "t", &c);
    t.throw("E").unwrap();
    s.log.assert("t:E");
    assert!(!t.is_alive());
    assert_eq!(c.balance(), 0);
}

/// H5, pending.
pub fn an_error_thrown_later_arrives_when_the_turn_comes<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = catcher(&s, "t", &c);
    t.throw_later("E").unwrap();
    s.log.assert("");
    assert!(t.is_alive());
    assert_eq!((c.balance(), s.queue().as_str()), (0, "main t"));
    s.run();
    s.log.assert("t:E");
    assert!(!t.is_alive());
}

/// H6 test_new.
pub fn an_error_thrown_at_a_new_tasklet_replaces_its_run<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.says("t");
    assert_eq!(caught_text(|| t.throw("IndexError")), "IndexError");
    assert!(!t.is_alive());
    let t = s.paused("t", |log| log.log("t"));
    assert_eq!(caught_text(|| t.throw("IndexError")), "IndexError");
    let t = s.says("t");
    t.throw_later("IndexError").unwrap();
    assert!(t.is_alive());
    assert_eq!(s.run_to_error(), "IndexError");
    assert!(!t.is_alive());
    s.log.assert("");
}

/// H6 test_kill_new; R29. What the closure owns is dropped.
pub fn a_new_tasklet_that_is_killed_never_runs<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let witness = Rc::new(());
    for later in [false, true] {
        for queued in [false, true] {
            let held = witness.clone();
            let body = move |log: crate::Recorder| {
                log.log("ran");
                drop(held);
            };
            let t = if queued { s.spawn("t", body) } else { s.paused("t", body) };
            if later { t.kill_later() } else { t.kill() }.unwrap();
            s.run();
            assert!(!t.is_alive());
            assert_eq!(t.run(), Err(TaskletStateError::Dead));
            assert_eq!(Rc::strong_count(&witness), 1);
        }
    }
    s.log.assert("");
}

/// H7 test_dead, test_kill_dead; R30.
pub fn throwing_at_the_dead_is_refused_and_killing_them_does_nothing<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let ended = s.says("t");
    s.run();
    for t in [ended, s.scheduler.tasklet().unbound()] {
        assert_eq!(t.throw("E"), Err(TaskletStateError::Dead));
        assert_eq!(t.throw_later("E"), Err(TaskletStateError::Dead));
        assert_eq!(t.kill(), Ok(()));
        assert_eq!(t.kill_later(), Ok(()));
        assert_eq!(t.throw(TaskletExit), Ok(()));
    }
    s.run();
}

/// H8 test_kill_pending_true, test_kill_pending_false.
pub fn kill_unwinds_at_once_or_when_the_turn_comes<B: Backend>(kind: StackKind) {
    struct Flag(Rc<Cell<bool>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let s = Setup::<B>::new(kind);
    for later in [false, true] {
        let killed = Rc::new(Cell::new(false));
        let t = s.spawn_with("t", &killed, |_, killed| {
            let _flag = Flag(killed);
            local::schedule_remove().unwrap();
        });
        s.run();
        if later { t.kill_later() } else { t.kill() }.unwrap();
        assert_eq!(killed.get(), !later);
        s.run();
        assert!(killed.get() && !t.is_alive());
    }
}

/// H8 test_kill_current; R25.
pub fn throwing_at_oneself_raises_right_there<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    for later in [false, true] {
        s.spawn("t", move |log| {
            let me = local::current();
            let thrown = caught(|| if later { me.throw_later("E") } else { me.throw("E") });
            log.log(message(&thrown.unwrap_err()));
            let killed = caught(|| if later { me.kill_later() } else { me.kill() });
            log.log(is_tasklet_exit(&killed.unwrap_err()).to_string());
            me.kill().unwrap();
            log.log("unreachable");
        });
        s.run();
        s.log.assert("E true");
    }
}

/// H9 test_kill_tasklet, of the CCP suite; R27.
pub fn killing_the_first_queued_runs_those_behind_it<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let [t1, _, _] = ["1", "2", "3"].map(|name| s.says(name));
    t1.kill().unwrap();
    s.log.assert("2 3");
    assert_eq!(s.scheduler.run_count(), 1);
}

/// R27: those before the target stay queued.
pub fn killing_a_queued_tasklet_jumps_to_its_place<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let [_, b, _] = ["a", "b", "c"].map(|name| s.says(name));
    b.kill().unwrap();
    s.log.log("main");
    s.log.assert("c main");
    assert_eq!(s.queue(), "main a");
}

/// R26: after an immediate kill of a blocked or paused tasklet the caller goes on before everybody queued.
pub fn after_killing_an_unqueued_tasklet_the_caller_goes_on<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let blocked = catcher(&s, "blocked", &c);
    let paused = s.spawn("paused", |log| {
        let exit = caught(local::schedule_remove).unwrap_err();
        log.log("paused:exit");
        tasklet_core::unwind::raise(exit);
    });
    paused.run().unwrap();
    s.says("x");
    for t in [blocked, paused] {
        t.kill().unwrap();
        s.log.log("main");
        assert!(!t.is_alive());
    }
    s.log.assert("blocked:exit main paused:exit main");
    assert_eq!(s.queue(), "main x");
}

/// H11 (model), R28.
pub fn a_pending_throw_keeps_a_queued_tasklets_place<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let b = catcher(&s, "B", &c);
    let x = s.says("x");
    b.throw_later("E").unwrap();
    s.says("y");
    assert_eq!(s.queue(), "main x B y");
    x.throw_later(TaskletExit).unwrap();
    assert_eq!(s.queue(), "main x B y");
    s.run();
    s.log.assert("B:E y");
}

/// R28: a paused target is appended; a later throw replaces an earlier one.
pub fn a_later_pending_throw_replaces_the_earlier<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |log| {
        let raised = caught(local::schedule_remove).unwrap_err();
        log.log(message(&raised));
        log.log(format!("{:?}", local::try_schedule()));
    });
    s.run();
    s.says("x");
    t.throw_later("first").unwrap();
    t.throw_later("second").unwrap();
    assert_eq!(s.queue(), "main x t");
    s.run();
    s.log.assert("x second Ok(())");
}

/// H12 (model), R31.
pub fn a_tasklet_that_catches_its_kill_goes_on_living<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |log| {
        let exit = caught(local::schedule_remove).unwrap_err();
        assert!(is_tasklet_exit(&exit));
        log.log("caught");
        local::schedule();
        log.log("end");
    });
    s.run();
    t.kill().unwrap();
    s.log.assert("caught");
    assert!(t.is_alive());
    assert_eq!(s.queue(), "main t");
    s.run();
    s.log.assert("end");
    assert!(!t.is_alive());
}

/// R26 with R33: an error nobody catches comes back to the thrower, as main.
pub fn an_uncaught_throw_comes_back_to_main<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |_| leave());
    s.run();
    assert_eq!(caught_text(|| t.throw("E")), "E");
    assert!(!t.is_alive());
}

/// Kill runs destructors from the inside out.
pub fn kill_drops_locals_in_order<B: Backend>(kind: StackKind) {
    struct Says(&'static str, crate::Recorder);
    impl Drop for Says {
        fn drop(&mut self) {
            self.1.log(self.0);
        }
    }
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |log| {
        let _outer = Says("outer", log.clone());
        let inner = |log: crate::Recorder| {
            let _first = Says("first", log.clone());
            let _second = Says("second", log);
            leave();
        };
        inner(log);
    });
    s.run();
    t.kill().unwrap();
    s.log.assert("second first outer");
}

/// A tasklet that is killed while it yields does not get its turn any more.
pub fn a_queued_started_tasklet_that_is_killed_dies_in_its_yield<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.yields("t", 3);
    s.scheduler.schedule();
    t.kill().unwrap();
    assert!(!t.is_alive());
    s.run();
    s.log.assert("t0");
}

/// An error thrown at the caller of an inner run ends that run.
pub fn an_error_thrown_at_a_running_caller_ends_its_run<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let r = s.spawn("R", |log| {
        let raised = caught(local::run).unwrap_err();
        log.log(message(&raised));
    });
    s.scheduler.schedule();
    assert_eq!(s.scheduler.run_depth(), 1);
    r.throw("E").unwrap();
    s.log.assert("E");
    assert_eq!(s.scheduler.run_depth(), 0);
}

/// What a tasklet throws while it dies by another throw replaces it.
pub fn an_error_raised_while_catching_replaces_the_thrown_one<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |_| {
        drop(caught(local::schedule_remove));
        fail("other")
    });
    s.run();
    t.throw_later("E").unwrap();
    assert_eq!(s.run_to_error(), "other");
}
