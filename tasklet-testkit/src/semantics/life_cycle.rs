//! From unbound to dead: flags, binding, identity (the state table of section 1.3, chapter J).

use std::rc::Rc;

use tasklet_channels::Direction;
use tasklet_core::backend::Backend;
use tasklet_core::park::ParkReason;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, State, Tasklet, TaskletStateError};

use super::setup::{Setup, channel, leave, receive};
use crate::Recorder;

/// Stackless's flags: alive, paused, blocked, scheduled, current; a letter for each that is set.
fn flags(t: &Tasklet) -> String {
    let flags = [
        ('a', t.is_alive()),
        ('p', t.is_paused()),
        ('b', t.is_blocked()),
        ('s', t.is_scheduled()),
        ('c', t.is_current()),
    ];
    flags.into_iter().filter_map(|(letter, set)| set.then_some(letter)).collect()
}

/// J1 testLC, every row of the table.
pub fn flags_follow_the_life_cycle<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let t = s.scheduler.tasklet().unbound();
    assert_eq!((flags(&t).as_str(), t.state()), ("", State::Dead), "new");

    let (log, channel, me) = (s.log.clone(), c.clone(), t.clone());
    t.bind(move || {
        log.log(format!("running:{}", flags(&me)));
        local::schedule();
        leave();
        receive(&channel);
        channel.send(1).unwrap();
        local::run().unwrap();
    })
    .unwrap();
    assert_eq!((flags(&t).as_str(), t.state()), ("ap", State::Paused), "bound");

    t.insert().unwrap();
    assert_eq!((flags(&t).as_str(), t.state()), ("as", State::Runnable), "inserted");
    t.remove().unwrap();
    assert_eq!((flags(&t).as_str(), t.state()), ("ap", State::Paused), "removed");
    t.run().unwrap();
    s.log.assert("running:asc");
    assert_eq!((flags(&t).as_str(), t.state()), ("as", State::Runnable), "yielded");
    t.run().unwrap();
    assert_eq!((flags(&t).as_str(), t.state()), ("ap", State::Paused), "left the queue");
    t.run().unwrap();
    assert_eq!((flags(&t).as_str(), t.state()), ("abs", State::BlockedReceiving), "receiving");
    assert_eq!(t.park_reason(), Some(ParkReason::Channel { id: c.id(), direction: Direction::Receive }));
    c.send(1).unwrap();
    assert_eq!((flags(&t).as_str(), t.state()), ("abs", State::BlockedSending), "sending");
    assert_eq!(t.park_reason(), Some(ParkReason::Channel { id: c.id(), direction: Direction::Send }));
    c.recv().unwrap();
    s.scheduler.schedule();
    assert_eq!((flags(&t).as_str(), t.state()), ("ap", State::Paused), "in run");
    assert_eq!(t.park_reason(), None);
    t.run().unwrap();
    assert_eq!((flags(&t).as_str(), t.state()), ("", State::Dead), "ended");
    assert_eq!((t.next(), t.prev()), (None, None));
}

/// J1, the row of the killed, from every state.
pub fn the_killed_are_dead_from_every_state<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let new = s.paused("new", |_| {});
    let queued = s.spawn("queued", |_| {});
    let blocked = s.spawn_with("blocked", &c, |_, c| receive(&c));
    let left = s.spawn("left", |_| leave());
    let running = s.spawn("running", |_| drop(local::run()));
    for t in [&blocked, &left, &running] {
        t.run().unwrap();
    }
    for t in [new, queued, blocked, left, running] {
        t.kill().unwrap();
        assert_eq!((flags(&t).as_str(), t.state()), ("", State::Dead), "{:?}", t.name());
    }
    assert_eq!(c.balance(), 0);
}

/// J1: main's flags.
pub fn main_is_alive_and_current<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    assert_eq!((flags(&main).as_str(), main.state()), ("asc", State::Running));
    assert!(main == s.scheduler.current() && main == local::current() && main == local::main());
    assert!(main.is_main());
    assert_eq!(main.name(), Some("main"));
    assert_eq!(main.scheduler_id(), Some(s.scheduler.id()));
}

/// J2 test_setup_fail_alive, test_unbind_fail_scheduled, test_unbind_fail_current.
pub fn what_is_queued_started_or_running_cannot_be_bound<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let queued = s.says("queued");
    assert_eq!(queued.bind(|| {}), Err(TaskletStateError::Alive));
    let blocked = s.spawn_with("blocked", &c, |_, c| receive(&c));
    let left = s.spawn("left", |_| leave());
    s.spawn("current", |log| log.log(format!("{:?}", local::current().bind(|| {}))));
    s.run();
    s.log.assert("queued Err(Current)");
    assert_eq!(blocked.bind(|| {}), Err(TaskletStateError::Alive));
    assert_eq!(left.bind(|| {}), Err(TaskletStateError::Alive));
    assert_eq!(s.scheduler.main().bind(|| {}), Err(TaskletStateError::Current));
    assert!(blocked.is_blocked() && left.is_paused());
}

/// J2: main cannot be bound by others either.
pub fn main_cannot_be_bound_by_a_tasklet<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("t", |log| log.log(format!("{:?}", local::main().bind(|| {}))));
    s.run();
    s.log.assert("Err(Alive)");
}

/// J3 (model): rebinding keeps handle and identity.
pub fn a_finished_tasklet_can_be_bound_again<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.says("first");
    let id = t.id();
    s.run();
    let log = s.log.clone();
    t.bind(move || log.log("second")).unwrap();
    assert!(t.is_paused());
    t.insert().unwrap();
    s.run();
    s.log.assert("first second");
    assert_eq!(t.id(), id);
    assert!(!t.is_alive());
}

/// J3: after a kill, too; what was left behind does not show.
pub fn a_killed_tasklet_can_be_bound_again<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let t = s.spawn("t", |_| {
        local::current().set_block_trap(true);
        leave();
    });
    s.run();
    t.kill().unwrap();
    assert!(!t.block_trap());
    let (log, channel) = (s.log.clone(), c.clone());
    t.bind(move || {
        local::schedule();
        log.log(format!("got{}", channel.recv().unwrap()));
    })
    .unwrap();
    t.run().unwrap();
    s.run();
    c.send(1).unwrap();
    s.log.assert("got1");
}

/// J2: binding what has not started replaces its closure, which is dropped.
pub fn binding_a_paused_tasklet_replaces_its_closure<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let witness = Rc::new(());
    let held = witness.clone();
    let t = s.paused("t", move |log| {
        log.log("first");
        drop(held);
    });
    let log = s.log.clone();
    t.bind(move || log.log("second")).unwrap();
    assert_eq!(Rc::strong_count(&witness), 1);
    t.run().unwrap();
    s.log.assert("second");
}

/// J4 test_bind_noargs, test_bind_args_not_runnable.
pub fn an_unbound_tasklet_cannot_run_and_a_bound_one_is_paused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.scheduler.tasklet().unbound();
    assert_eq!(t.run(), Err(TaskletStateError::Dead));
    t.bind(|| {}).unwrap();
    assert!(t.is_paused() && !t.is_scheduled());
    assert_eq!(s.scheduler.run_count(), 1);
}

/// A tasklet with a join handle is bound for life.
pub fn a_joinable_tasklet_cannot_be_bound_again<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let handle = s.scheduler.spawn_joinable(local::current);
    let t = handle.join().unwrap();
    assert_eq!(t.bind(|| {}), Err(TaskletStateError::Joinable));
    assert!(!t.is_alive());
}

/// Identities differ and are never used again.
pub fn identities_are_unique<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let mut ids: Vec<_> = (0..100).map(|_| s.spawn("t", |_| {}).id()).collect();
    s.run();
    ids.extend((0..100).map(|_| s.spawn("t", |_| {}).id()));
    ids.push(s.scheduler.main().id());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 201);
}

/// A tasklet knows its name, its spawn site and its stack.
pub fn a_tasklet_knows_its_origin<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let (t, line) = (s.scheduler.spawn(|| {}), line!());
    assert_eq!((t.spawn_site().file(), t.spawn_site().line()), (file!(), line));
    assert_eq!(t.name(), None);
    let named = local::spawn_named("n", || {});
    assert_eq!(named.name(), Some("n"));
    assert_eq!(named.spawn_site().file(), file!());
    assert!(format!("{named:?}").contains("Runnable"));
}

/// A tasklet without handles runs all the same.
pub fn a_tasklet_goes_on_without_handles<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    drop(s.yields("t", 2));
    s.run();
    s.log.assert("t0 t1");
}

/// The last handle of a tasklet that is neither queued nor started drops its closure.
pub fn dropping_the_handle_of_a_paused_tasklet_drops_its_closure<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let witness = Rc::new(());
    let held = witness.clone();
    let t = s.paused("t", move |_| drop(held));
    let second = t.clone();
    drop(t);
    assert_eq!(Rc::strong_count(&witness), 2);
    drop(second);
    assert_eq!(Rc::strong_count(&witness), 1);
}

/// A started tasklet that left the queue is alive without handles; the scheduler still lists it.
pub fn a_started_tasklet_is_listed_without_handles<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    drop(s.spawn("t", |log| {
        leave();
        log.log("t");
    }));
    s.run();
    let started = s.scheduler.started();
    assert_eq!(super::setup::names(&started), "t");
    started[0].insert().unwrap();
    s.run();
    s.log.assert("t");
    assert!(s.scheduler.started().is_empty());
}

/// What the tasklet owned is gone when it has ended, before the next one runs.
pub fn a_tasklets_closure_is_gone_when_the_next_one_runs<B: Backend>(kind: StackKind) {
    struct Says(Recorder);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.log("dropped");
        }
    }
    let s = Setup::<B>::new(kind);
    let says = Says(s.log.clone());
    s.spawn("t", move |log| {
        let _says = says;
        log.log("t");
    });
    s.says("x");
    s.run();
    s.log.assert("t dropped x");
}
