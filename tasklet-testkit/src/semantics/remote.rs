//! Handles for other threads: to tasklets, to schedulers, to results (R60, R63-R65, chapter K).
//!
//! Where a test depends on what another thread does while the scheduler's thread sleeps, the scheduler's driver is the test's own
//! and does it, so that nothing depends on timing.

use std::sync::{Arc, mpsc};
use std::thread;

use tasklet_channels::{Channel, SharedChannel};
use tasklet_core::backend::Backend;
use tasklet_core::park::{Direction, ParkError};
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::message;
use tasklet_scheduler::local::{self, RemoteTasklet, RunOptions, TaskletStateError};

use crate::Recorder;

use super::scripted::{elsewhere, scripted};
use super::setup::{Setup, caught, caught_text, fail, leave, receive, text, yields};

/// K3 testRunOrder, on an idle owner; R63.
pub fn a_remote_run_comes_first_on_an_idle_owner<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let remotes = ["1", "2", "3"].map(|name| {
        let t = s.paused(name, move |log| log.log(name));
        let remote = t.remote();
        (t, remote)
    });
    let [(_t1, r1), (_t2, r2), (_t3, r3)] = remotes;
    driver.then(move || {
        elsewhere(|| {
            r2.insert().unwrap();
            r3.insert().unwrap();
            r1.run().unwrap();
        });
        drop((r1, r2, r3));
    });
    s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    s.log.assert("1 2 3");
    assert_eq!(driver.waits.get(), 1);
}

/// K3 testInsert, testRun, on a busy owner; R63: after the one that runs, or last.
pub fn a_remote_run_comes_next_on_a_busy_owner<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let [t1, t2] = ["1", "2"].map(|name| s.paused(name, move |log| log.log(name)));
    let remotes = (t1.remote(), t2.remote());
    s.spawn("busy", move |log| {
        let owner = thread::current().id();
        elsewhere(|| {
            remotes.1.insert().unwrap();
            remotes.0.run().unwrap();
        });
        log.log("busy");
        assert_eq!(thread::current().id(), owner);
        local::schedule();
        log.log("again");
    });
    s.yields("x", 1);
    s.run();
    s.log.assert("busy 1 x0 2 again");
}

/// K4 test_insert_balance, test_remove_balance, testRuncount; R60.
pub fn run_counts_of_threads_are_independent<B: Backend>(kind: StackKind) {
    for request in [RemoteTasklet::insert, RemoteTasklet::run] {
        let s = Setup::<B>::new(kind);
        s.says("x");
        let p = s.paused("p", |log| log.log("p"));
        let remote = p.remote();
        elsewhere(|| {
            let other = Setup::<B>::new(kind);
            assert_eq!(other.scheduler.run_count(), 1);
            request(&remote).unwrap();
            local::checkpoint();
            assert_eq!(other.scheduler.run_count(), 1);
            other.says("y");
            other.says("z");
            assert_eq!(other.scheduler.run_count(), 3);
        });
        assert_eq!((s.scheduler.run_count(), p.is_paused()), (2, true), "asked for, not done yet");
        local::checkpoint();
        assert_eq!((s.scheduler.run_count(), p.is_paused()), (3, false));
        elsewhere(|| request(&remote).unwrap());
        local::checkpoint();
        assert_eq!(s.scheduler.run_count(), 3, "it is queued already");
        p.remove().unwrap();
        assert_eq!(s.scheduler.run_count(), 2);
        p.insert().unwrap();
        s.run();
        s.log.assert("x p");
        assert_eq!(s.scheduler.run_count(), 1);
    }
}

/// K5 test_switch, of SwitchTest; R63.
pub fn a_remote_switch_is_refused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.paused("t", |_| {});
    let remote = t.remote();
    assert_eq!(elsewhere(|| remote.switch()), Err(TaskletStateError::OtherScheduler));
    assert!(t.is_paused());
}

/// R63: a remote throw makes its target runnable, preempts nobody, and keeps a queued one's place.
pub fn a_remote_throw_arrives_when_the_turn_comes<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = Channel::<i32>::new();
    let blocked = s.spawn_with("blocked", &c, |log, c| {
        log.log(message(&caught(|| c.recv()).unwrap_err()));
    });
    let killed = s.spawn("killed", |_| leave());
    s.run();
    let queued = s.says("queued");
    s.says("x");
    let remotes = [blocked.remote(), killed.remote(), queued.remote()];
    elsewhere(|| {
        remotes[0].throw("E").unwrap();
        remotes[1].kill();
        remotes[2].kill();
    });
    s.log.assert("");
    assert!(blocked.is_alive() && killed.is_alive() && queued.is_alive());
    s.run();
    s.log.assert("x E");
    assert!(!blocked.is_alive() && !killed.is_alive() && !queued.is_alive());
    assert_eq!(c.balance(), 0);
}

/// K6; R65: what is left of a thread that has ended is dead.
pub fn remote_handles_outlive_their_scheduler<B: Backend>(kind: StackKind) {
    let (remote, home) = thread::spawn(move || {
        let s = Setup::<B>::new(kind);
        let t = s.spawn("t", |_| leave());
        s.run();
        let remotes = (t.remote(), s.scheduler.remote());
        assert_eq!(remotes.0.scheduler_id(), Some(s.scheduler.id()));
        remotes
    })
    .join()
    .unwrap();
    assert_eq!(remote.scheduler_id(), None);
    remote.kill();
    for refused in [remote.insert(), remote.run(), remote.throw("E")] {
        assert!(matches!(refused, Err(TaskletStateError::Dead | TaskletStateError::NoScheduler)), "{refused:?}");
    }
    let witness = Arc::new(());
    let held = witness.clone();
    assert_eq!(home.spawn(move || drop(held)), Err(TaskletStateError::NoScheduler));
    assert_eq!(Arc::strong_count(&witness), 1);
}

/// While somebody elsewhere can reach a tasklet or its scheduler, waiting is no deadlock.
pub fn remote_handles_keep_waiting_from_being_a_deadlock<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let t = s.spawn_with("t", &c, |_, c| {
        drop(caught(local::schedule_remove));
        c.send(1).unwrap();
    });
    s.run();
    let remote = t.remote();
    driver.then(move || elsewhere(move || remote.insert().unwrap()));
    assert_eq!(c.recv(), Ok(1));

    let remote = s.scheduler.remote();
    driver.then(move || elsewhere(move || drop(remote)));
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::MainDeserted(Direction::Receive)));
}

/// R64, its Rust form: a closure that has not started may be sent to another thread's scheduler.
pub fn other_threads_may_spawn<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let remote = s.scheduler.remote();
    let (tell, told) = mpsc::channel();
    s.says("x");
    driver.then(move || {
        elsewhere(move || {
            let tell = tell.clone();
            remote.spawn(move || tell.send(local::current().scheduler_id()).unwrap()).unwrap();
        });
    });
    s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    assert_eq!(told.recv().unwrap(), Some(s.scheduler.id()));
    s.log.assert("x");
}

/// A tasklet of another thread's scheduler can be joined; the result moves over.
pub fn a_tasklet_elsewhere_can_be_joined<B: Backend>(kind: StackKind) {
    let (give, take) = mpsc::channel();
    let owner = thread::spawn(move || {
        let s = Setup::<B>::new(kind);
        let c = Channel::<i32>::new();
        let shared = c.share();
        give.send((s.scheduler.spawn_joinable(move || c.recv().unwrap() + 1), shared)).unwrap();
        s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    });
    let (handle, shared) = take.recv().unwrap();
    let s = Setup::<B>::new(kind);
    s.spawn("feeder", move |_| shared.send(4).unwrap());
    assert_eq!(handle.join().unwrap(), 5);
    owner.join().unwrap();
}

/// Tasklets go on by turns while their scheduler listens to other threads.
pub fn requests_are_taken_at_scheduling_points<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let remote = s.scheduler.remote();
    let (tell, told) = mpsc::channel();
    s.spawn("t", move |log| {
        yields(&log, "t", 1);
        elsewhere(|| remote.spawn(move || tell.send(()).unwrap()).unwrap());
        assert!(told.try_recv().is_err());
        local::schedule();
        assert!(told.try_recv().is_ok());
        log.log("end");
    });
    s.run();
    s.log.assert("t0 end");
}

/// R63: a request that its target finds itself, on the way to blocking, does not wait for what it blocks on.
pub fn a_remote_kill_of_the_one_that_runs_ends_it_where_it_blocks<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let killed_before = |log: &Recorder, name: &str, block: &dyn Fn()| {
        let remote = local::current().remote();
        elsewhere(|| remote.kill());
        drop(remote);
        let result = caught(block);
        log.log(if result.is_err() { name } else { "it went on" });
    };
    s.spawn("receiver", move |log| killed_before(&log, "receiver", &|| receive(&Channel::<i32>::new())));
    s.spawn("leaver", move |log| killed_before(&log, "leaver", &leave));
    let sleeper = s.paused("sleeper", |_| ());
    s.spawn("runner", move |log| {
        killed_before(&log, "runner", &|| drop(local::run()));
        drop(sleeper);
    });
    s.run();
    s.log.assert("receiver leaver runner");
}

/// A destructor yields while its tasklet unwinds, and finds a request to kill it: raising that would end the process.
pub fn a_remote_kill_of_one_that_unwinds_is_not_raised<B: Backend>(kind: StackKind) {
    struct Yields(Recorder);
    impl Drop for Yields {
        fn drop(&mut self) {
            let remote = local::current().remote();
            elsewhere(|| remote.kill());
            local::schedule();
            assert_eq!(local::try_schedule(), Err(ParkError::Unwinding));
            self.0.log("yielded");
        }
    }
    let s = Setup::<B>::new(kind);
    s.spawn("unwinding", |log| {
        let _yields = Yields(log);
        fail("E");
    });
    assert_eq!(text(s.scheduler.run()), "E");
    s.log.assert("yielded");
}

/// A destructor of a tasklet that unwinds would wait, with nobody here to go on: a kill could end that and not be raised.
pub fn the_last_one_does_not_wait_while_it_unwinds<B: Backend>(kind: StackKind) {
    struct Receives(Recorder, SharedChannel<i32>);
    impl Drop for Receives {
        fn drop(&mut self) {
            let error = self.1.recv().unwrap_err();
            assert_eq!(error.park_error(), Some(ParkError::Unwinding));
            self.0.log("refused");
        }
    }
    let (s, driver) = scripted::<B>(kind);
    let shared = Channel::new().share();
    let handle = shared.clone();
    let unwinding = s.spawn("unwinding", |log| {
        let _receives = Receives(log, handle);
        fail("E");
    });
    let remote = unwinding.remote();
    driver.then(move || elsewhere(move || remote.kill()));
    // While the main tasklet waits, it does not go on when nobody is left.
    assert_eq!(caught_text(|| receive(&shared)), "E");
    s.log.assert("refused");
}
