//! Join handles: result, panic, kill, and who may wait (the Rust answer to tasklets without results, R36).

use std::cell::RefCell;
use std::rc::Rc;

use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::JoinHandle;
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::message;
use tasklet_scheduler::local::{self, State};

use super::setup::{Setup, channel, fail, leave};

/// R36 does not hold for tasklets with a handle: the result is kept.
pub fn join_returns_the_result<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let large = s.scheduler.spawn_joinable(|| {
        local::schedule();
        [7u64; 100]
    });
    assert!(!large.is_finished());
    assert_eq!(large.join().unwrap(), [7; 100]);
    let finished = local::spawn_joinable(|| Rc::new(5));
    s.run();
    assert!(finished.is_finished());
    finished.wait().unwrap();
    assert_eq!(*finished.join().unwrap(), 5);
}

/// A panic goes to the handle, not to the caller of `run`.
pub fn join_returns_the_panic<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let handle = s.scheduler.spawn_joinable(|| -> i32 { fail("E") });
    s.run();
    let error = handle.join().unwrap_err();
    assert!(error.is_panic() && !error.is_killed());
    assert_eq!(error.to_string(), "the tasklet panicked: E");
    assert_eq!(message(&error.into_panic().unwrap()), "E");
}

/// A kill is told as such, whether the tasklet had started or not.
pub fn join_tells_a_kill<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let started = s.scheduler.spawn_joinable(leave);
    s.run();
    s.scheduler.started()[0].kill().unwrap();
    assert!(started.join().unwrap_err().is_killed());

    let new = s.scheduler.spawn_joinable(|| 1);
    s.scheduler.runnable()[1].kill().unwrap();
    assert!(new.join().unwrap_err().is_killed());
}

/// Waiting for oneself is an error.
pub fn a_tasklet_cannot_join_itself<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let own = Rc::new(RefCell::new(None::<JoinHandle<()>>));
    let (slot, log) = (own.clone(), s.log.clone());
    *own.borrow_mut() = Some(s.scheduler.spawn_joinable(move || {
        let handle = slot.take().unwrap();
        log.log(format!("{:?}", handle.wait()));
        log.log(format!("{:?}", handle.join().unwrap_err().park_error()));
    }));
    s.run();
    s.log.assert("Err(SelfJoin) Some(SelfJoin)");
}

/// Two tasklets that wait for each other: the second is told, as main waits too.
pub fn joining_in_a_circle_is_a_deadlock<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let first = Rc::new(RefCell::new(None::<JoinHandle<()>>));
    let (slot, log) = (first.clone(), s.log.clone());
    let second = s.scheduler.spawn_joinable(move || {
        let handle = slot.take().unwrap();
        log.log(format!("second:{:?}", handle.wait()));
    });
    let (log, done) = (s.log.clone(), channel::<B, _>());
    let finished = done.clone();
    *first.borrow_mut() = Some(s.scheduler.spawn_joinable(move || {
        log.log(format!("first:{:?}", second.wait()));
        finished.send(()).unwrap();
    }));
    done.recv().unwrap();
    s.log.assert("first:Err(Deadlock)");
    s.run();
    s.log.assert("second:Ok(())");
}

/// Joiners are appended to the queue when the tasklet ends, in the order of waiting.
pub fn joiners_go_on_after_those_queued<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let handle = Rc::new(s.scheduler.spawn_joinable(|| {
        local::schedule();
        local::schedule();
    }));
    for name in ["j1", "j2"] {
        let joiner = s.spawn_with(name, &handle, move |log, handle| {
            handle.wait().unwrap();
            log.log(name);
        });
        joiner.run().unwrap();
    }
    s.yields("x", 2);
    s.run();
    s.log.assert("x0 x1 j1 j2");
}

/// A dropped handle detaches: the tasklet goes on, its result and its panic are dropped.
pub fn dropping_the_handle_detaches<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let witness = Rc::new(());
    for finish_first in [false, true] {
        let (log, result) = (s.log.clone(), witness.clone());
        let handle = s.scheduler.spawn_joinable(move || {
            log.log("ran");
            result
        });
        if finish_first {
            s.run();
        }
        drop(handle);
        s.run();
        assert_eq!(Rc::strong_count(&witness), 1);
    }
    drop(s.scheduler.spawn_joinable(|| fail("dropped")));
    s.run();
    s.log.assert("ran ran");
}

/// A joining tasklet is blocked; killing it leaves the joined one alone.
pub fn a_joining_tasklet_is_blocked_and_can_be_killed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let log = s.log.clone();
    let joined = s.scheduler.spawn_joinable(move || {
        leave();
        log.log("joined");
    });
    let paused = s.scheduler.runnable()[1].clone();
    let joiner = s.spawn("joiner", move |_| drop(joined.join()));
    s.run();
    assert_eq!(joiner.state(), State::Blocked);
    assert!(joiner.is_blocked() && joiner.is_scheduled());
    joiner.kill().unwrap();
    assert!(!joiner.is_alive());
    paused.insert().unwrap();
    s.run();
    s.log.assert("joined");
}

/// The traps hold for joining as they do for receiving.
pub fn joining_respects_the_traps<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let handle = s.scheduler.spawn_joinable(|| 1);
    {
        let _trap = local::block_trap();
        assert_eq!(handle.wait(), Err(ParkError::BlockTrapped));
    }
    {
        let _trap = local::switch_trap();
        assert_eq!(handle.wait(), Err(ParkError::SwitchTrapped));
    }
    assert_eq!(s.scheduler.run_count(), 2);
    assert_eq!(handle.join().unwrap(), 1);
}
