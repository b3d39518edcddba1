//! Errors nobody in the tasklet catches: where they go, who handles them (R20, R33-R35, the error policy).

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::{Payload, TaskletExit, is_tasklet_exit, message};
use tasklet_scheduler::local::{self, ErrorHandler, ErrorPolicy, RunError};

use super::ring::queue_of_current;
use super::setup::{Setup, caught, caught_text, channel, fail, leave, names, receive, text};
use crate::kinds;

/// A queued tasklet that logs its name and fails with it.
fn fails<B: Backend>(s: &Setup<B>, name: &'static str) -> local::Tasklet {
    s.spawn(name, move |log| {
        log.log(name);
        fail(name)
    })
}

/// H1 test_error_propagation_when_not_deadlock, and (model).
pub fn an_error_ends_the_run_at_once_and_leaves_the_others_queued<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.yields("a", 3);
    let e = fails(&s, "E");
    s.yields("b", 3);
    let Err(RunError::Tasklet(error)) = s.scheduler.run() else { panic!("E failed") };
    assert_eq!((error.id(), error.name(), error.message()), (e.id(), Some("E"), "E"));
    assert_eq!(error.to_string(), format!("tasklet 'E' (id {}) failed: E", e.id()));
    assert_eq!(message(&error.into_payload()), "E");
    s.log.assert("a0 E");
    assert_eq!(s.queue(), "main b a");
    assert!(!e.is_alive());
    s.run();
    s.log.assert("b0 a1 b1 a2 b2");
}

/// H3 test_main_gets_exception; R33 for a blocked main.
pub fn an_error_surfaces_in_mains_receive_and_send<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    fails(&s, "E");
    assert_eq!(caught_text(|| c.recv()), "E");
    assert_eq!(c.balance(), 0);
    fails(&s, "F");
    assert_eq!(caught_text(|| c.send(1)), "F");
    assert_eq!(c.balance(), 0);
    s.log.assert("E F");
}

/// R33 for a main in the queue: control jumps to it.
pub fn an_error_surfaces_in_mains_yield_before_others_run<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    fails(&s, "E");
    s.says("x");
    assert_eq!(caught_text(|| s.scheduler.schedule()), "E");
    s.log.assert("E");
    assert_eq!(s.queue(), "main x");
    let t = fails(&s, "F");
    assert_eq!(caught_text(|| t.run()), "F");
    s.log.assert("F");
    assert_eq!(s.queue(), "main x");
}

/// H4 test_inner_run_gets_error, and (model); R34.
pub fn an_error_goes_to_the_innermost_run<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("inner", |log| {
        local::spawn_named("bad", || fail("bad"));
        let tail = log.clone();
        local::spawn_named("tail", move || tail.log("tail"));
        log.log(text(local::run()));
        log.log(format!("[{}]", names(&queue_of_current())));
        log.log("end");
    });
    s.run();
    s.log.log("main");
    s.log.assert("bad [inner tail] end tail main");
}

/// R34: an error that the inner caller does not handle goes on outwards.
pub fn an_error_passed_on_by_an_inner_run_reaches_the_outer_one<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("inner", |_| {
        local::spawn_named("bad", || fail("bad"));
        if let Err(RunError::Tasklet(error)) = local::run() {
            tasklet_core::unwind::raise(error.into_payload());
        }
    });
    assert_eq!(s.run_to_error(), "bad");
    assert_eq!(s.scheduler.run_depth(), 0);
}

/// H13 test_handler, test_getcurrent.
pub fn a_handler_that_returns_consumes_the_error<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let log = s.log.clone();
    let handler: ErrorHandler = Box::new(move |id, payload| {
        assert_eq!(local::current().id(), id);
        log.log(format!("H{}", message(&payload)));
        Ok(())
    });
    assert!(s.scheduler.set_error_handler(Some(handler)).is_none());
    fails(&s, "a");
    fails(&s, "b");
    s.says("c");
    s.run();
    s.log.assert("a Ha b Hb c");
    assert!(s.scheduler.set_error_handler(None).is_some());
    fails(&s, "d");
    assert_eq!(s.run_to_error(), "d");
}

/// H13 test_borken_handler.
pub fn the_handlers_own_error_goes_to_main_instead<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.set_error_handler(Some(Box::new(|_, _| fail("broken"))));
    fails(&s, "a");
    assert_eq!(s.run_to_error(), "broken");
    s.scheduler.set_error_handler(Some(Box::new(|_, _| Err::<(), Payload>(Box::new("instead")))));
    fails(&s, "b");
    assert_eq!(s.run_to_error(), "instead");
    s.log.assert("a b");
}

/// R33: kill is no error, for handler and policy alike.
pub fn the_handler_does_not_see_kills<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let log = s.log.clone();
    s.scheduler.set_error_handler(Some(Box::new(move |_, _| {
        log.log("handled");
        Ok(())
    })));
    let t = s.spawn("t", |_| leave());
    s.run();
    t.kill().unwrap();
    s.log.assert("");
}

/// R33: a handler may make an exit of an error, and that is none.
pub fn a_handler_may_answer_with_an_exit<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let answers: [fn() -> Result<(), Payload>; 2] =
        [|| Err(Box::new(TaskletExit)), || tasklet_core::unwind::raise(Box::new(TaskletExit))];
    for answer in answers {
        s.scheduler.set_error_handler(Some(Box::new(move |_, _| answer())));
        let t = fails(&s, "E");
        s.says("x");
        s.run();
        s.log.assert("E x");
        assert!(!t.is_alive());
    }
}

/// A handler may switch: it is part of the dying tasklet.
pub fn a_handler_may_yield<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let log = s.log.clone();
    s.scheduler.set_error_handler(Some(Box::new(move |_, _| {
        log.log("H0");
        local::schedule();
        log.log("H1");
        Ok(())
    })));
    fails(&s, "a");
    s.says("x");
    s.run();
    s.log.assert("a H0 x H1");
}

/// H15; R20.
pub fn an_uncaught_sent_error_bounces_back_to_the_sending_main<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let receiver = s.spawn_with("R", &c, |_, c| receive(&c));
    s.run();
    s.says("x");
    assert_eq!(caught_text(|| c.send_throw(Box::new("sent"))), "sent");
    assert!(!receiver.is_alive());
    assert_eq!(s.queue(), "main x");
}

/// R35: an exit thrown at main surfaces in the host's code.
pub fn an_exit_thrown_at_main_surfaces_in_the_host<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    s.spawn("t", {
        let main = main.clone();
        move |log| {
            main.kill().unwrap();
            log.log("t");
        }
    });
    let payload = caught(|| s.scheduler.run()).unwrap_err();
    assert!(is_tasklet_exit(&payload));
    assert_eq!(s.scheduler.run_depth(), 0);
    s.run();
    s.log.assert("t");
    assert!(is_tasklet_exit(&caught(|| main.kill()).unwrap_err()));
}

/// The policy of the scheduler: raise, or discard.
pub fn a_discarded_error_stops_nobody<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::on(kinds::local(kind).error_policy(ErrorPolicy::Discard).build());
    fails(&s, "a");
    s.says("b");
    s.run();
    s.log.assert("a b");
    assert_eq!(s.scheduler.set_error_policy(ErrorPolicy::Raise), ErrorPolicy::Discard);
    fails(&s, "c");
    assert_eq!(s.run_to_error(), "c");
}

/// The policy of one tasklet counts more than the scheduler's.
pub fn a_tasklets_own_policy_counts_more<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.tasklet().error_policy(ErrorPolicy::Discard).spawn(|| fail("discarded"));
    s.run();
    s.scheduler.set_error_policy(ErrorPolicy::Discard);
    s.scheduler.tasklet().error_policy(ErrorPolicy::Raise).spawn(|| fail("raised"));
    assert_eq!(s.run_to_error(), "raised");
}

/// The handler comes before the policy.
pub fn a_discarding_policy_still_asks_the_handler<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.set_error_policy(ErrorPolicy::Discard);
    let log = s.log.clone();
    s.scheduler.set_error_handler(Some(Box::new(move |_, payload| {
        log.log("H");
        Err(payload)
    })));
    fails(&s, "a");
    s.run();
    s.log.assert("a H");
}

/// R32: an exit raised by the tasklet itself ends it silently.
pub fn a_tasklet_may_exit_by_raising_the_exit<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |_| tasklet_core::unwind::raise(Box::new(TaskletExit)));
    s.says("x");
    s.run();
    s.log.assert("x");
    assert!(!t.is_alive());
}

/// Destructors of the failing tasklet have run before anybody hears of the error.
pub fn an_error_unwinds_before_it_is_reported<B: Backend>(kind: StackKind) {
    struct Says(crate::Recorder);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.log("dropped");
        }
    }
    let s = Setup::<B>::new(kind);
    let log = s.log.clone();
    s.scheduler.set_error_handler(Some(Box::new(move |_, _| {
        log.log("handled");
        Ok(())
    })));
    s.spawn("t", |log| {
        let _says = Says(log);
        fail("E")
    });
    s.run();
    s.log.assert("dropped handled");
}

/// A handler may remove itself.
pub fn a_handler_that_removes_itself_stays_removed<B: Backend>(kind: StackKind) {
    let s = std::rc::Rc::new(Setup::<B>::new(kind));
    let weak = std::rc::Rc::downgrade(&s);
    s.scheduler.set_error_handler(Some(Box::new(move |_, _| {
        weak.upgrade().unwrap().scheduler.set_error_handler(None);
        Ok(())
    })));
    fails(&s, "a");
    fails(&s, "b");
    assert_eq!(s.run_to_error(), "b");
}

/// While the handler has given way, it handles nobody else's error.
pub fn a_handler_that_has_given_way_is_not_asked_again<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let log = s.log.clone();
    s.scheduler.set_error_handler(Some(Box::new(move |_, payload| {
        log.log(format!("H{}", message(&payload)));
        local::schedule();
        Ok(())
    })));
    fails(&s, "a");
    fails(&s, "b");
    assert_eq!(s.run_to_error(), "b");
    s.run();
    fails(&s, "c");
    s.run();
    s.log.assert("a Ha b c Hc");
}
