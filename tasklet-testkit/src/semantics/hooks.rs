//! Hooks: what they see, and that they disturb nothing (R24, chapter L).

use std::collections::HashMap;
use std::rc::Rc;
use std::{cell::Cell, cell::RefCell};

use tasklet_channels::Direction;
use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, ScheduleHook, TaskletStateError};

use super::setup::{Setup, channel, fail};
use crate::Recorder;

/// Records each switch as `from>to`, by the names of the tasklets that are in the queue now.
pub(super) fn record_switches<B: Backend>(s: &Setup<B>) -> Recorder {
    let recorder = Recorder::new();
    let events = recorder.clone();
    let queue = s.scheduler.runnable().into_iter();
    let names: HashMap<_, _> = queue.map(|t| (t.id(), t.name().unwrap_or("?").to_owned())).collect();
    let hook: ScheduleHook =
        Box::new(move |switch| events.log(format!("{}>{}", names[&switch.from], names[&switch.to])));
    s.scheduler.set_schedule_hook(Some(hook));
    recorder
}

/// L1: the schedule callback.
pub fn the_schedule_hook_sees_every_switch<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let list = seen.clone();
    let [a, b] = ["a", "b"].map(|name| s.says(name));
    let hook: ScheduleHook = Box::new(move |switch| list.borrow_mut().push((switch.from, switch.to)));
    assert!(s.scheduler.set_schedule_hook(Some(hook)).is_none());
    s.run();
    let main = s.scheduler.main().id();
    assert_eq!(seen.take(), [(main, a.id()), (a.id(), b.id()), (b.id(), main)]);
}

/// L1: replacing and removing a hook returns the previous one.
pub fn setting_a_hook_returns_the_previous_one<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let log = s.log.clone();
    let hook = |name: &'static str| -> ScheduleHook {
        let log = log.clone();
        Box::new(move |_| log.log(name))
    };
    assert!(s.scheduler.set_schedule_hook(Some(hook("first"))).is_none());
    let first = s.scheduler.set_schedule_hook(Some(hook("second")));
    s.spawn("x", |_| {});
    s.run();
    s.log.assert("second second");
    assert!(s.scheduler.set_schedule_hook(first).is_some());
    s.spawn("x", |_| {});
    s.run();
    s.log.assert("first first");
    assert!(s.scheduler.set_schedule_hook(None).is_some());
    s.spawn("x", |_| {});
    s.run();
    s.log.assert("");
}

/// L1: an error in a hook does not disturb the order.
pub fn an_error_in_a_hook_disturbs_nothing<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    s.scheduler.set_schedule_hook(Some(Box::new(|_| fail("in a hook"))));
    s.scheduler.set_channel_hook(Some(Box::new(|_| fail("in a hook"))));
    s.yields("a", 2);
    s.yields("b", 2);
    s.spawn_with("S", &c, |_, c| c.send(1).unwrap());
    s.spawn_with("R", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    s.run();
    s.log.assert("a0 b0 got1 a1 b1");
}

/// L2; R24: the channel callback comes before the operation.
pub fn the_channel_hook_sees_operations_before_they_happen<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let (log, seen) = (s.log.clone(), c.clone());
    let r = s.spawn_with("R", &c, |log, c| {
        c.recv().unwrap();
        log.log("received");
    });
    let sender = s.spawn_with("S", &c, |_, c| c.send(()).unwrap());
    let names = HashMap::from([(r.id(), "R"), (sender.id(), "S")]);
    let hook = s.scheduler.set_channel_hook(Some(Box::new(move |event| {
        assert_eq!(event.channel, seen.id());
        let way = if event.direction == Direction::Send { "send" } else { "recv" };
        let next = if event.will_block { "blocks" } else { "goes" };
        log.log(format!("{}-{way}-{next}({})", names[&event.tasklet], seen.balance()));
    })));
    assert!(hook.is_none());
    s.run();
    s.log.assert("R-recv-blocks(0) S-send-goes(-1) received");
}

/// A hook must not switch: it is told, and nothing changes.
pub fn a_hook_cannot_switch<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let target = s.paused("target", |_| {});
    let calls = Rc::new(Cell::new(0));
    let (count, t, channel) = (calls.clone(), target.clone(), c.clone());
    let in_hook = Err(TaskletStateError::Park(ParkError::InHook));
    let try_all = move || {
        count.set(count.get() + 1);
        assert_eq!(local::current().remove(), in_hook);
        assert_eq!(local::try_schedule(), Err(ParkError::InHook));
        assert!(local::schedule_remove().is_err());
        assert_eq!(t.run(), in_hook);
        assert_eq!(t.switch(), in_hook);
        assert_eq!(t.kill(), in_hook);
        assert_eq!(channel.recv().unwrap_err().park_error(), Some(ParkError::InHook));
        assert_eq!(channel.send(1).unwrap_err().into_inner(), 1);
        assert!(local::run().is_err());
    };
    let failed = Rc::new(Cell::new(false));
    let flag = failed.clone();
    s.scheduler.set_schedule_hook(Some(Box::new(move |_| {
        flag.set(flag.get() || super::setup::caught(&try_all).is_err());
    })));
    s.says("a");
    s.says("b");
    s.run();
    s.log.assert("a b");
    assert!(!failed.get());
    assert_eq!(calls.get(), 3);
    assert!(target.is_paused());
    assert_eq!(c.balance(), 0);
}

/// Hooks are not called for what a hook does.
pub fn a_hook_is_not_called_for_its_own_operations<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let calls = Rc::new(Cell::new(0));
    let (count, channel) = (calls.clone(), c.clone());
    s.scheduler.set_channel_hook(Some(Box::new(move |_| {
        count.set(count.get() + 1);
        let _ = channel.try_recv();
    })));
    assert!(c.try_send(1).is_err());
    assert_eq!(calls.get(), 1);
}

/// Nor is one hook called for what the other does; and whatever a hook has done, it still must not switch.
pub fn a_hook_is_not_called_for_the_operations_of_another<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let target = s.paused("target", |_| {});
    let hook = |name: &'static str| {
        let (log, c, target) = (s.log.clone(), c.clone(), target.clone());
        move || {
            log.log(name);
            for _ in 0..2 {
                assert!(c.try_recv().unwrap_err().is_would_block());
                assert_eq!(target.run(), Err(TaskletStateError::Park(ParkError::InHook)));
                assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::InHook));
                assert!(local::run().is_err());
            }
            log.log("refused");
        }
    };
    let (on_switch, on_operation) = (hook("switch:"), hook("operation:"));
    s.scheduler.set_schedule_hook(Some(Box::new(move |_| on_switch())));
    s.scheduler.set_channel_hook(Some(Box::new(move |_| on_operation())));
    s.says("a");
    s.says("b");
    assert!(c.try_send(1).is_err());
    s.log.assert("operation: refused");
    s.run();
    s.log.assert("switch: refused a switch: refused b switch: refused");
    assert!(target.is_paused());
    assert_eq!(c.balance(), 0);
}

/// A hook may replace itself.
pub fn a_hook_may_replace_itself<B: Backend>(kind: StackKind) {
    let s = Rc::new(Setup::<B>::new(kind));
    let (weak, log) = (Rc::downgrade(&s), s.log.clone());
    s.scheduler.set_schedule_hook(Some(Box::new(move |_| {
        log.log("once");
        weak.upgrade().unwrap().scheduler.set_schedule_hook(None);
    })));
    s.says("a");
    s.says("b");
    s.run();
    s.log.assert("once a b");
    assert!(s.scheduler.set_schedule_hook(None).is_none(), "it has removed itself");

    let (weak, log, witness) = (Rc::downgrade(&s), s.log.clone(), Rc::new(()));
    let held = witness.clone();
    s.scheduler.set_schedule_hook(Some(Box::new(move |_| {
        let _held = &held;
        log.log("first");
        let events = log.clone();
        weak.upgrade().unwrap().scheduler.set_schedule_hook(Some(Box::new(move |_| events.log("second"))));
    })));
    s.says("a");
    s.says("b");
    s.run();
    s.log.assert("first a second b second");
    assert_eq!(Rc::strong_count(&witness), 1, "the first is gone");
    s.scheduler.set_schedule_hook(None).unwrap()(&local::Switch {
        from: s.scheduler.main().id(),
        to: s.scheduler.main().id(),
    });
    s.log.assert("second");
}
