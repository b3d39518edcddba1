//! The end of a scheduler: everything that started is killed, everything else dropped, and nothing leaks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tasklet_channels::Channel;
use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::park::ParkError;
use tasklet_core::stack::Depot;
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::is_tasklet_exit;
use tasklet_scheduler::local::{self, Shutdown, TaskletStateError};

use super::setup::{Setup, caught, caught_text, leave, receive};
use crate::kinds;

/// The report tells what was found.
pub fn the_report_counts_killed_and_discarded<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = Channel::<i32>::new();
    s.spawn_with("blocked", &c, |_, c| receive(&c));
    s.spawn("left", |_| leave());
    s.spawn("running", |_| drop(local::run()));
    s.says("ended");
    s.scheduler.schedule();
    s.yields("yielding", 3);
    s.scheduler.schedule();
    s.says("queued");
    let _paused = s.paused("paused", |_| {});
    let _unbound = s.scheduler.tasklet().unbound();
    let report = s.scheduler.shut_down();
    assert_eq!(report, Shutdown { killed: 4, discarded: 2, refused: Vec::new() });
    s.log.assert("ended yielding0");
    assert_eq!(c.balance(), 0);
}

/// Nothing that tasklets own survives, whatever they were doing.
pub fn nothing_leaks_when_a_scheduler_ends<B: Backend>(kind: StackKind) {
    let witness = Rc::new(());
    let s = Setup::<B>::new(kind);
    let c = Channel::<Rc<()>>::new();
    let throwing = Channel::<i32>::new();
    let held = (witness.clone(), c.clone());
    s.spawn_with("receiving", &held, |_, (_witness, c)| receive(&c));
    s.run();
    let other = Channel::new();
    s.spawn_with("sending", &(witness.clone(), other.clone()), |_, (witness, c)| drop(c.send(witness)));
    s.spawn_with("throwing", &(witness.clone(), throwing), |_, (_witness, c)| drop(c.send_throw(Box::new("E"))));
    s.spawn_with("left", &witness, |_, _witness| leave());
    let unread = s.scheduler.spawn_joinable({
        let result = witness.clone();
        move || result
    });
    s.run();
    let waiting = s.scheduler.spawn_joinable({
        let result = witness.clone();
        move || result
    });
    s.spawn_with("queued", &witness, |_, _witness| {});
    let paused = s.paused("paused", {
        let held = witness.clone();
        move |_| drop(held)
    });
    let hooked = witness.clone();
    s.scheduler.set_channel_hook(Some(Box::new(move |_| drop(hooked.clone()))));
    drop(held);
    drop(s);
    drop((c, other, unread));
    assert!(waiting.join().unwrap_err().is_killed());
    assert!(!paused.is_alive());
    assert_eq!(Rc::strong_count(&witness), 1);
}

/// A tasklet that was taken out of the queue before it began is dropped with its last handle, or with the scheduler.
pub fn what_was_removed_before_it_began_is_dropped_once<B: Backend>(kind: StackKind) {
    struct Counts(Rc<Cell<usize>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    for kept in [false, true] {
        let drops = Rc::new(Cell::new(0));
        let s = Setup::<B>::new(kind);
        let owned = Counts(drops.clone());
        let mut handle = Some(s.spawn("t", move |_| drop(owned)));
        handle.as_ref().unwrap().remove().unwrap();
        assert_eq!((s.queue().as_str(), drops.get()), ("main", 0));
        if !kept {
            handle = None;
            assert_eq!(drops.get(), 1);
        }
        let report = s.scheduler.shut_down();
        assert_eq!((report.killed, report.discarded), (0, usize::from(kept)));
        assert_eq!(drops.get(), 1, "before the handle goes");
        assert!(handle.is_none_or(|t| !t.is_alive()));
        assert_eq!(drops.get(), 1);
    }
}

/// What a dying tasklet spawns or resumes is taken down as well.
pub fn what_is_spawned_while_dying_is_taken_down<B: Backend>(kind: StackKind) {
    struct Spawns(Rc<()>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let held = self.0.clone();
            local::spawn(move || drop(held));
        }
    }
    let witness = Rc::new(());
    let s = Setup::<B>::new(kind);
    s.spawn_with("t", &witness, |_, witness| {
        let _spawns = Spawns(witness);
        leave();
    });
    s.run();
    let report = s.scheduler.shut_down();
    assert_eq!((report.killed, report.discarded), (1, 1));
    assert_eq!(Rc::strong_count(&witness), 1);
}

/// R31, and the finalizer's ten attempts: who catches every kill is leaked, and reported.
pub fn a_tasklet_that_catches_ten_kills_is_leaked<B: Backend>(kind: StackKind) {
    let depot = Depot::default();
    let s = Setup::<B>::on(kinds::local(kind).stacks(depot.pool()).build());
    let kills = Rc::new(Cell::new(0));
    let refuses = s.spawn_with("refuses", &kills, |_, kills| {
        loop {
            if caught(local::schedule_remove).is_err_and(|payload| is_tasklet_exit(&payload)) {
                kills.set(kills.get() + 1);
            }
        }
    });
    let gives_up = s.spawn("gives up", |log| {
        for _ in 0..9 {
            assert!(caught(local::schedule_remove).is_err());
        }
        log.log("caught nine");
        leave();
        log.log("unreachable");
    });
    s.run();
    let report = s.scheduler.shut_down();
    assert_eq!(report.refused, [refuses.id()]);
    assert_eq!(report.killed, 1);
    assert_eq!(kills.get(), 10);
    // What was on a slot was copied away, and is leaked where it is.
    if B::STACKS == StackProvision::Ours && kind == StackKind::Private {
        assert_eq!(depot.stats().leaked, 1);
    }
    assert!(!refuses.is_alive() && !gives_up.is_alive());
    s.log.assert("caught nine");
}

/// R65, for handles on the same thread: the tasklets of a scheduler that is gone are dead.
pub fn handles_outlive_their_scheduler<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |_| leave());
    s.run();
    let main = s.scheduler.main();
    drop(s);
    for t in [t, main] {
        assert!(!t.is_alive() && !t.is_current());
        assert_eq!(t.scheduler_id(), None);
        assert_eq!(t.kill(), Ok(()));
        assert_eq!(t.throw("E"), Err(TaskletStateError::NoScheduler));
        for refused in [t.insert(), t.remove(), t.run(), t.switch(), t.bind(|| {})] {
            assert_eq!(refused, Err(TaskletStateError::NoScheduler));
        }
    }
}

/// A destructor that runs while its tasklet unwinds cannot switch; it is told, and keeps its value.
pub fn a_destructor_that_unwinds_cannot_switch<B: Backend>(kind: StackKind) {
    struct Sends(Channel<&'static str>, Channel<i32>, crate::Recorder);
    impl Drop for Sends {
        fn drop(&mut self) {
            let error = self.0.send("value").unwrap_err();
            self.2.log(format!("{:?} {}", error.park_error().unwrap(), error.into_inner()));
            self.2.log(format!("{:?}", self.1.recv().unwrap_err().park_error().unwrap()));
            assert_eq!(local::try_schedule(), Err(ParkError::Unwinding));
            local::schedule();
        }
    }
    let s = Setup::<B>::new(kind);
    let (nobody, waiting) = (Channel::new(), Channel::new());
    s.spawn_with("R", &waiting, |_, c| receive(&c));
    for target in [&nobody, &waiting] {
        let t = s.spawn_with("t", &(target.clone(), Channel::new()), |log, (c, other)| {
            let _sends = Sends(c, other, log);
            leave();
        });
        s.run();
        s.says("x");
        t.kill().unwrap();
        assert!(!t.is_alive());
        s.run();
        s.log.assert("Unwinding value Unwinding x");
    }
    assert_eq!((nobody.balance(), waiting.balance()), (0, -1));
}

/// A destructor that unwinds may still use what does not switch.
pub fn a_destructor_that_unwinds_may_do_what_does_not_switch<B: Backend>(kind: StackKind) {
    struct Works(Channel<i32>, crate::Recorder);
    impl Drop for Works {
        fn drop(&mut self) {
            self.0.send(1).unwrap();
            let log = self.1.clone();
            local::spawn(move || log.log("spawned"));
        }
    }
    let s = Setup::<B>::new(kind);
    let c = Channel::with_preference(tasklet_channels::Preference::Neither);
    s.spawn_with("R", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    let t = s.spawn_with("t", &c, |log, c| {
        let _works = Works(c, log);
        leave();
    });
    s.run();
    t.kill().unwrap();
    s.run();
    s.log.assert("got1 spawned");
}

/// Dropping a scheduler from its own tasklet panics, and leaks it: the tasklet, and its host, go on.
pub fn dropping_a_scheduler_from_its_own_tasklet_panics<B: Backend>(kind: StackKind) {
    // On a thread of its own: the leaked scheduler stays this thread's current one.
    std::thread::spawn(move || {
        let slot = Rc::new(RefCell::new(Some(kinds::local::<B>(kind).build())));
        let log = crate::Recorder::new();
        let (inner, events) = (slot.clone(), log.clone());
        slot.borrow().as_ref().unwrap().spawn(move || {
            let scheduler = inner.take();
            events.log(caught_text(|| drop(scheduler)));
        });
        let main = local::main();
        local::run().unwrap();
        log.assert("a local scheduler cannot be dropped by one of its own tasklets or hooks; it is leaked");
        assert!(main.is_alive());
    })
    .join()
    .unwrap();
}

/// The scheduler made last is the thread's current one; when it ends, the one before is again.
pub fn an_ended_scheduler_gives_the_thread_back<B: Backend>(kind: StackKind) {
    let first = kinds::local::<B>(kind).build();
    let second = kinds::local::<B>(kind).build();
    assert_eq!(local::main().scheduler_id(), Some(second.id()));
    drop(second);
    assert_eq!(local::main().scheduler_id(), Some(first.id()));
    let third = kinds::local::<B>(kind).build();
    drop(first);
    assert_eq!(local::main().scheduler_id(), Some(third.id()));
    drop(third);
    assert!(caught_text(local::main).contains("no local scheduler"));
}

/// Idle fibers are kept for reuse, and given back when asked.
pub fn idle_fibers_are_reused_and_trimmed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    for _ in 0..3 {
        (0..10).for_each(|_| drop(s.yields("t", 1)));
        s.run();
        s.log.take();
        assert_eq!(s.scheduler.fibers(), (10, 10));
    }
    s.spawn("busy", |_| leave());
    s.run();
    s.scheduler.trim();
    assert_eq!(s.scheduler.fibers(), (1, 0));
    if B::STACKS == StackProvision::Ours {
        assert_eq!(s.scheduler.stack_stats().live, 1);
    }
}

/// No more idle fibers are kept than the host wants.
pub fn idle_fibers_are_kept_up_to_a_limit<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::on(kinds::local(kind).max_idle_fibers(3).build());
    (0..10).for_each(|_| drop(s.yields("t", 1)));
    s.run();
    assert_eq!(s.scheduler.fibers(), (3, 3));
    assert_eq!(s.log.take().matches("t0").count(), 10);
}

/// What other threads have asked for and nobody has looked at is dropped.
pub fn requests_of_other_threads_are_dropped_with_the_scheduler<B: Backend>(kind: StackKind) {
    let witness = std::sync::Arc::new(());
    let s = Setup::<B>::new(kind);
    let remote = s.scheduler.remote();
    let held = witness.clone();
    remote.spawn(move || drop(held)).unwrap();
    let report = s.scheduler.shut_down();
    assert_eq!(report.discarded, 1);
    let held = witness.clone();
    assert!(remote.spawn(move || drop(held)).is_err());
    assert_eq!(std::sync::Arc::strong_count(&witness), 1);
}

/// Dropping a scheduler from one of its hooks panics in the hook, and leaks it.
pub fn dropping_a_scheduler_from_its_own_hook_panics<B: Backend>(kind: StackKind) {
    std::thread::spawn(move || {
        let slot = Rc::new(RefCell::new(Some(kinds::local::<B>(kind).build())));
        let log = crate::Recorder::new();
        let (inner, events) = (slot.clone(), log.clone());
        slot.borrow().as_ref().unwrap().set_schedule_hook(Some(Box::new(move |_| {
            if let Some(scheduler) = inner.take() {
                assert!(caught(|| drop(scheduler)).is_err());
                events.log("refused");
            }
        })));
        let events = log.clone();
        local::spawn(move || events.log("t"));
        local::run().unwrap();
        log.assert("refused t");
    })
    .join()
    .unwrap();
}

/// Guards and resumers may outlive their scheduler.
pub fn guards_and_resumers_may_outlive_their_scheduler<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let guards = (local::switch_trap(), local::block_trap(), local::atomic());
    let kept = Rc::new(RefCell::new(None));
    drop(guards.0);
    s.spawn_with("t", &kept, |_, kept| {
        let _ = local::suspend(|resumer: local::Resumer<Rc<()>>| *kept.borrow_mut() = Some(resumer));
    });
    s.run();
    let trap = local::switch_trap();
    drop(s);
    drop((guards.1, guards.2, trap));
    let value = Rc::new(());
    let resumer = kept.take().unwrap();
    resumer.resume(value.clone());
    assert_eq!(Rc::strong_count(&value), 1);
}
