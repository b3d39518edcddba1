//! Panics and unwinding inside a coroutine (B6): what a scheduler builds panic capture and kill from.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;

use tasklet_core::backend::{Backend, Resumed};

use super::Instance;
use super::routine::{Events, OnDrop, Pause, Routine};

/// What a killed routine unwinds with.
struct Kill;

/// Suspends, and unwinds when `killed` was set meanwhile: the kill of a scheduler.
fn suspend_or_die<B: Backend>(pause: Pause<B>, killed: &Cell<bool>) {
    pause.suspend();
    if killed.replace(false) {
        panic::resume_unwind(Box::new(Kill));
    }
}

/// The payload of a panic three frames down arrives at the root, and every frame is unwound.
pub fn a_panic_is_caught_at_the_root_with_its_payload<B: Backend>(_: Instance) {
    let events = Events::default();
    let log = events.clone();
    let mut routine = Routine::<B>::new(move |pause| {
        let _outer = OnDrop(log.clone(), "outer");
        pause.suspend();
        let inner = OnDrop(log, "inner");
        panic::panic_any(("payload", inner.1));
    });

    let payload = routine.finish().expect_err("a panic");

    assert_eq!(payload.downcast_ref::<(&str, &str)>(), Some(&("payload", "inner")));
    assert_eq!(events.take(), ["inner", "outer"]);
    assert!(!thread::panicking());
}

/// Unwinding from a suspension point runs the drops of all frames, innermost first.
pub fn kill_by_unwinding_runs_drops_in_order<B: Backend>(_: Instance) {
    let events = Events::default();
    let killed = Rc::new(Cell::new(false));
    let (log, flag) = (events.clone(), Rc::clone(&killed));
    let mut routine = Routine::<B>::new(move |pause| {
        let _first = OnDrop(log.clone(), "first");
        let _second = OnDrop(log.clone(), "second");
        let deeper = || {
            let _third = OnDrop(log.clone(), "third");
            suspend_or_die(pause, &flag);
            log.push("not reached");
        };
        deeper();
    });
    assert_eq!(routine.resume(), Resumed::Suspended);
    assert!(events.take().is_empty());

    killed.set(true);
    let payload = routine.finish().expect_err("killed");

    assert!(payload.is::<Kill>());
    assert_eq!(events.take(), ["third", "second", "first"]);
}

/// A routine may catch a kill and go on, and suspend, and end as it likes.
pub fn a_kill_can_be_caught_and_ignored<B: Backend>(_: Instance) {
    let events = Events::default();
    let killed = Rc::new(Cell::new(false));
    let (log, flag) = (events.clone(), Rc::clone(&killed));
    let mut routine = Routine::<B>::new(move |pause| {
        let caught = panic::catch_unwind(AssertUnwindSafe(|| suspend_or_die(pause, &flag)));
        assert!(caught.expect_err("killed").is::<Kill>());
        log.push("ignored");
        pause.suspend();
        log.push("went on");
    });
    assert_eq!(routine.resume(), Resumed::Suspended);

    killed.set(true);
    assert_eq!(routine.resume(), Resumed::Suspended);
    assert_eq!(events.take(), ["ignored"]);

    routine.finish().expect("no panic");
    assert_eq!(events.take(), ["went on"]);
}

/// A catch that was entered before a suspend still catches after it, also when another one was entered and left meanwhile.
pub fn suspending_inside_catch_unwind_keeps_the_catch<B: Backend>(_: Instance) {
    let mut routine = Routine::<B>::new(|pause| {
        let caught = panic::catch_unwind(AssertUnwindSafe(|| {
            pause.suspend();
            panic::resume_unwind(Box::new("inside"));
        }));
        assert_eq!(caught.expect_err("a panic").downcast_ref::<&str>(), Some(&"inside"));
        pause.suspend();
    });
    assert_eq!(routine.resume(), Resumed::Suspended);

    let outside = panic::catch_unwind(AssertUnwindSafe(|| panic::resume_unwind(Box::new("outside"))));
    assert_eq!(outside.expect_err("a panic").downcast_ref::<&str>(), Some(&"outside"));

    // The resumer's own catch does not see what the coroutine catches.
    let resumed = panic::catch_unwind(AssertUnwindSafe(|| routine.resume()));
    assert_eq!(resumed.expect("no panic"), Resumed::Suspended);
    routine.finish().expect("no panic");
}

/// Two routines panic, catch and suspend in turns; each sees its own panics, and the thread's panic count comes out even.
pub fn panics_of_two_coroutines_interleave<B: Backend>(_: Instance) {
    let routine = |name: &'static str| {
        Routine::<B>::new(move |pause| {
            for round in 0..50_u32 {
                let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                    pause.suspend();
                    panic::resume_unwind(Box::new((name, round)));
                }));
                let payload = caught.expect_err("a panic");
                assert!(!thread::panicking());
                pause.suspend();
                assert_eq!(payload.downcast_ref::<(&str, u32)>(), Some(&(name, round)));
            }
            panic::resume_unwind(Box::new(name));
        })
    };
    let mut pair = [routine("left"), routine("right")];
    for _ in 0..100 {
        for routine in &mut pair {
            assert_eq!(routine.resume(), Resumed::Suspended);
            assert!(!thread::panicking());
        }
    }
    for (routine, name) in pair.iter_mut().zip(["left", "right"]) {
        assert_eq!(routine.finish().expect_err("a panic").downcast_ref::<&str>(), Some(&name));
    }
    assert!(!thread::panicking());
}
