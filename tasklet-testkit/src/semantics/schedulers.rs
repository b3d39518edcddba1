//! Several schedulers on one thread: one inside a tasklet of another, and handles used across (R60).

use std::cell::RefCell;
use std::rc::Rc;

use tasklet_channels::Channel;
use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunError, Tasklet, TaskletStateError};

use super::setup::{Setup, caught_text, channel, fail, leave, text};
use crate::kinds;

/// A scheduler made and run inside a tasklet of another has its own queue, and ends with the tasklet.
pub fn a_scheduler_runs_inside_a_tasklet_of_another<B: Backend>(kind: StackKind) {
    let a = Setup::<B>::new(kind);
    let outer = a.scheduler.id();
    a.spawn("host", move |log| {
        let b = Setup::<B>::on(kinds::local(kind).build());
        let events = log.clone();
        for name in ["b1", "b2"] {
            let events = events.clone();
            b.spawn(name, move |_| super::setup::yields(&events, name, 2));
        }
        let inner = b.scheduler.id();
        b.spawn("check", move |_| assert_eq!(local::main().scheduler_id(), Some(inner)));
        assert_eq!(local::current().scheduler_id(), Some(outer));
        b.run();
        log.log("host");
        assert_eq!(local::current().scheduler_id(), Some(outer));
        local::schedule();
        b.spawn("b3", move |_| events.log("b3"));
        b.run();
    });
    a.yields("a", 2);
    a.run();
    a.log.assert("b10 b20 b11 b21 host a0 b3 a1");
    assert_eq!(local::main().scheduler_id(), Some(outer));
}

/// Nested schedulers may block their hosts: what a tasklet of the inner one does acts on the inner one.
pub fn errors_of_an_inner_scheduler_go_to_its_own_run<B: Backend>(kind: StackKind) {
    let a = Setup::<B>::new(kind);
    a.spawn("host", move |log| {
        let b = Setup::<B>::new(kind);
        b.spawn("E", |_| fail("E"));
        log.log(text(b.scheduler.run()));
    });
    a.run();
    a.log.assert("E");
}

/// An outer scheduler in the middle of a tasklet cannot be driven by an inner one's tasklets.
pub fn an_outer_scheduler_cannot_be_driven_from_an_inner_one<B: Backend>(kind: StackKind) {
    let a = Rc::new(Setup::<B>::new(kind));
    let weak = Rc::downgrade(&a);
    a.spawn("host", move |_| {
        let b = Setup::<B>::new(kind);
        b.spawn("t", move |_| {
            let a = weak.upgrade().unwrap();
            assert!(matches!(a.scheduler.run(), Err(RunError::Park(ParkError::Elsewhere))));
            a.log.log("refused");
        });
        b.run();
    });
    a.run();
    a.log.assert("refused");
}

/// A handle to another scheduler's tasklet acts as from another thread: it queues, and the caller goes on.
pub fn a_handle_used_by_another_schedulers_tasklet_queues<B: Backend>(kind: StackKind) {
    let a = Setup::<B>::new(kind);
    let paused = a.paused("paused", |log| log.log("paused"));
    let victim = a.spawn("victim", |_| leave());
    a.run();
    a.spawn_with("host", &(paused.clone(), victim.clone()), move |log, (paused, victim)| {
        let b = Setup::<B>::new(kind);
        let events = log.clone();
        b.spawn("t", move |_| {
            assert_eq!(paused.switch(), Err(TaskletStateError::OtherScheduler));
            assert_eq!(paused.remove(), Err(TaskletStateError::OtherScheduler));
            assert_eq!(paused.bind(|| {}), Err(TaskletStateError::OtherScheduler));
            paused.run().unwrap();
            victim.kill().unwrap();
            assert!(victim.is_alive());
            events.log("t");
        });
        b.run();
        log.log("host");
    });
    a.run();
    a.log.assert("t host paused");
    assert!(!victim.is_alive());
}

/// Two schedulers of one thread meet in a channel: the partner is queued at home, the caller goes on.
pub fn a_channel_joins_two_schedulers_of_one_thread<B: Backend>(kind: StackKind) {
    let a = Setup::<B>::new(kind);
    let b = Setup::<B>::new(kind);
    let c = Channel::new();
    let receiver = a.spawn_with("R", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    a.run();
    assert!(receiver.is_blocked());
    let sender = b.spawn_with("S", &c, |log, c| {
        c.send(1).unwrap();
        log.log("sent");
    });
    b.run();
    assert!(!sender.is_alive());
    b.log.assert("sent");
    a.log.assert("");
    assert_eq!(c.balance(), 0);
    a.run();
    a.log.assert("got1");
}

/// Main waits under the scheduler that it began to wait under, though one of its tasklets makes another meanwhile: it hears of errors,
/// and that nobody will come.
pub fn a_scheduler_made_meanwhile_leaves_a_waiting_main_alone<B: Backend>(kind: StackKind) {
    for fails in [false, true] {
        let s = Setup::<B>::new(kind);
        let (c, made) = (channel::<B, i32>(), Rc::new(RefCell::new(None)));
        s.spawn_with("host", &made, move |_, made| {
            *made.borrow_mut() = Some(kinds::local::<B>(kind).build());
            if fails {
                fail("E");
            }
        });
        if fails {
            assert_eq!(caught_text(|| c.recv()), "E");
        } else {
            let error = c.recv().unwrap_err();
            assert!(matches!(error.park_error(), Some(ParkError::MainDeserted(_))), "{error:?}");
        }
        assert!(made.borrow().is_some());
    }
}

/// Two hosts' schedulers are independent: counts, hooks, traps.
pub fn schedulers_of_one_thread_are_independent<B: Backend>(kind: StackKind) {
    let a = Setup::<B>::new(kind);
    let b = Setup::<B>::new(kind);
    a.says("x");
    assert_eq!((a.scheduler.run_count(), b.scheduler.run_count()), (2, 1));
    let trap = local::switch_trap();
    a.run();
    a.log.assert("x");
    b.says("y");
    assert!(b.scheduler.run().is_err());
    drop(trap);
    b.run();
    b.log.assert("y");
}

/// A join across schedulers of one thread: the joiner is woken when the other scheduler has run.
pub fn a_tasklet_of_another_scheduler_can_be_joined<B: Backend>(kind: StackKind) {
    let a = Setup::<B>::new(kind);
    let b = Setup::<B>::new(kind);
    let handle = a.scheduler.spawn_joinable(|| 5);
    a.run();
    let log = b.log.clone();
    b.spawn("t", move |_| log.log(handle.join().unwrap().to_string()));
    b.run();
    b.log.assert("5");
}

/// A handle kept by a tasklet of its own scheduler does not keep the scheduler from ending.
pub fn handles_held_by_tasklets_do_not_keep_a_scheduler<B: Backend>(kind: StackKind) {
    let witness = Rc::new(());
    let s = Setup::<B>::new(kind);
    let slot = Rc::new(RefCell::new(None::<Tasklet>));
    let t = s.spawn_with("t", &(slot.clone(), witness.clone()), |_, (slot, _witness)| {
        let _me = slot.take().unwrap();
        leave();
    });
    *slot.borrow_mut() = Some(t);
    s.run();
    drop(s);
    assert_eq!(Rc::strong_count(&witness), 1);
    assert_eq!(Rc::strong_count(&slot), 1);
}
