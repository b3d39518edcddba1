//! Guards: the switch trap, the block trap, atomic blocks (R14, R57-R59).

use std::cell::RefCell;
use std::rc::Rc;

use tasklet_channels::Preference;
use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunError, RunOptions, State, SwitchTrap, TaskletStateError};

use super::scripted::{elsewhere, scripted};
use super::setup::{Chan, Setup, caught, channel, leave, receive};

const TRAPPED: Result<(), TaskletStateError> = Err(TaskletStateError::Park(ParkError::SwitchTrapped));

/// I1 TestSwitchTrap; R14.
pub fn everything_that_switches_is_refused_under_the_switch_trap<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let queued = s.says("queued");
    let paused = s.paused("paused", |log| log.log("paused"));
    let snapshot = || (s.queue(), s.scheduler.run_depth(), paused.state(), c.balance());
    let before = snapshot();

    let trap = local::switch_trap();
    assert_eq!(local::try_schedule(), Err(ParkError::SwitchTrapped));
    assert!(caught(|| s.scheduler.schedule()).is_err());
    assert_eq!(local::schedule_remove(), Err(ParkError::SwitchTrapped));
    for options in [RunOptions::new(), RunOptions::new().block_thread()] {
        let refused = s.scheduler.run_with(options);
        assert!(matches!(refused, Err(RunError::Park(ParkError::SwitchTrapped))), "{refused:?}");
    }
    for t in [&queued, &paused] {
        assert_eq!(t.run(), TRAPPED);
        assert_eq!(t.switch(), TRAPPED);
        assert_eq!(t.kill(), TRAPPED);
        assert_eq!(t.throw("E"), TRAPPED);
    }
    assert_eq!(c.send(1).unwrap_err().park_error(), Some(ParkError::SwitchTrapped));
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::SwitchTrapped));
    assert_eq!(snapshot(), before);
    s.log.assert("");

    drop(trap);
    paused.run().unwrap();
    queued.run().unwrap();
    s.log.assert("paused queued");
}

/// R57: what does not switch works under the trap.
pub fn what_needs_no_switch_works_under_the_switch_trap<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |_| leave());
    s.run();
    let _trap = local::switch_trap();
    local::try_schedule().unwrap();
    s.run();
    t.insert().unwrap();
    t.remove().unwrap();
    t.throw_later("E").unwrap();
    assert_eq!(s.queue(), "main t");
    s.spawn("new", |_| {});
    assert_eq!(s.queue(), "main t new");
}

/// R57, for sends.
pub fn under_the_switch_trap_only_sends_that_go_on_succeed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let receivers = ["a", "b"].map(|name| {
        s.spawn_with(name, &c, move |log, c| {
            let value: i32 = c.recv().unwrap();
            log.log(format!("{name}{value}"));
        })
    });
    s.run();
    let trap = local::switch_trap();
    for (preference, all) in [(Preference::Receiver, false), (Preference::Neither, true)] {
        c.set_preference(preference);
        c.set_schedule_all(all);
        assert_eq!(c.send(0).unwrap_err().park_error(), Some(ParkError::SwitchTrapped));
        assert_eq!(c.waiters(), [receivers[0].id(), receivers[1].id()]);
        assert_eq!((c.balance(), s.queue().as_str()), (-2, "main"));
    }
    c.set_schedule_all(false);
    c.set_preference(Preference::Neither);
    c.send(1).unwrap();
    c.set_preference(Preference::Sender);
    c.send(2).unwrap();
    assert_eq!(s.queue(), "main a b");
    drop(trap);
    s.run();
    s.log.assert("a1 b2");
}

/// R57, for receives.
pub fn under_the_switch_trap_only_receives_that_go_on_succeed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let senders = [1, 2].map(|i| s.spawn_with("sender", &c, move |_, c| c.send(i).unwrap()));
    s.run();
    let _trap = local::switch_trap();
    c.set_preference(Preference::Sender);
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::SwitchTrapped));
    assert_eq!(c.waiters(), [senders[0].id(), senders[1].id()]);
    c.set_preference(Preference::Receiver);
    assert_eq!(c.recv(), Ok(1));
    c.set_preference(Preference::Neither);
    assert_eq!(c.recv(), Ok(2));
    assert_eq!(c.balance(), 0);
}

/// The trap counts: it is set until the last guard is gone.
pub fn switch_traps_nest<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.says("x");
    let outer = local::switch_trap();
    drop(local::switch_trap());
    assert_eq!(local::try_schedule(), Err(ParkError::SwitchTrapped));
    drop(outer);
    local::try_schedule().unwrap();
    s.log.assert("x");
}

/// R57, last sentence, as defined here: a tasklet may end under the trap, and the trap stays set.
pub fn ending_under_the_switch_trap_leaves_it_set<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let kept = Rc::new(RefCell::new(None::<SwitchTrap>));
    s.spawn_with("t", &kept, |_, kept| *kept.borrow_mut() = Some(local::switch_trap()));
    s.run();
    s.says("x");
    assert_eq!(local::try_schedule(), Err(ParkError::SwitchTrapped));
    kept.take();
    s.run();
    s.log.assert("x");
}

/// I3 test_switch_self_trapped.
pub fn switching_to_oneself_is_allowed_under_the_switch_trap<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let _trap = local::switch_trap();
    s.scheduler.main().switch().unwrap();
    s.scheduler.main().run().unwrap();
}

/// I3 test_switch_blocked_trapped.
pub fn a_blocked_target_is_reported_before_the_switch_trap<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let t = s.spawn_with("t", &c, |_, c| receive(&c));
    s.run();
    let _trap = local::switch_trap();
    assert_eq!(t.switch(), Err(TaskletStateError::Blocked));
    assert_eq!(t.run(), Err(TaskletStateError::Blocked));
}

/// I4 testBlockTrapSend, testBlockTrapRecv.
pub fn a_block_trapped_tasklet_may_not_block<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let try_both = |c: &Chan<B, i32>| {
        assert_eq!(c.send(1).unwrap_err().park_error(), Some(ParkError::BlockTrapped));
        assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::BlockTrapped));
        assert_eq!(c.balance(), 0);
    };
    let main = s.scheduler.main();
    assert!(!main.set_block_trap(true));
    try_both(&c);
    assert!(main.set_block_trap(false));
    s.spawn_with("t", &c, move |log, c| {
        let trap = local::block_trap();
        try_both(&c);
        drop(trap);
        assert!(!local::current().block_trap());
        log.log("t");
    });
    s.run();
    s.log.assert("t");
}

/// R17: the block trap is looked at before the close.
pub fn the_block_trap_is_reported_before_the_close<B: Backend>(kind: StackKind) {
    let _s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    c.close();
    let _trap = local::block_trap();
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::BlockTrapped));
}

/// R58: a rendezvous that succeeds may switch.
pub fn a_block_trapped_tasklet_may_give_way_in_a_rendezvous<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    s.spawn_with("t", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    s.run();
    let _trap = local::block_trap();
    c.send(1).unwrap();
    s.log.assert("got1");
    s.says("x");
    s.scheduler.schedule();
    s.log.assert("x");
}

/// The guard of the block trap restores what was set before, and belongs to its tasklet.
pub fn block_traps_nest_and_belong_to_one_tasklet<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    let outer = local::block_trap();
    drop(local::block_trap());
    assert!(main.block_trap());
    s.spawn("t", |log| log.log(local::current().block_trap().to_string()));
    s.run();
    s.log.assert("false");
    drop(outer);
    assert!(!main.block_trap());
}

/// I5 testAtomic, testAtomicCtxt, testAtomicNopCtxt.
pub fn atomic_guards_nest_and_belong_to_one_tasklet<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    assert!(!main.is_atomic());
    let outer = local::atomic();
    let inner = local::atomic();
    assert!(main.is_atomic());
    drop(inner);
    assert!(main.is_atomic());
    s.spawn("t", |log| log.log(local::current().is_atomic().to_string()));
    s.run();
    s.log.assert("false");
    drop(outer);
    assert!(!main.is_atomic());
}

/// R59: explicit switches happen in an atomic block.
pub fn an_atomic_tasklet_may_yield_and_block<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = s.spawn_with("t", &c, |log, c| {
        let _atomic = local::atomic();
        log.log("t0");
        local::schedule();
        log.log(format!("t{}", c.recv().unwrap()));
    });
    s.says("x");
    s.run();
    s.log.assert("t0 x");
    assert_eq!(t.state(), State::BlockedReceiving);
    c.send(1).unwrap();
    s.log.assert("t1");
}

/// R14 and R53: under the switch trap nobody here can run and come, although somebody is queued.
pub fn waiting_under_the_switch_trap_is_a_deadlock_although_others_are_queued<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let sender = s.paused("sender", |log| log.log("sender"));
    let remote = sender.remote();
    driver.then(move || elsewhere(move || remote.insert().unwrap()));
    let trap = local::switch_trap();
    let error = channel::<B, i32>().recv().unwrap_err();
    assert_eq!(error.park_error(), Some(ParkError::Deadlock));
    assert_eq!(s.scheduler.current(), s.scheduler.main());
    drop(trap);
    s.run();
    s.log.assert("sender");
}

/// R14: what other threads queue between the look at the trap and the leaving of the queue does not run either.
pub fn nobody_who_is_queued_meanwhile_runs_under_the_switch_trap<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let sender = s.paused("sender", |log| log.log("sender"));
    let mut remote = Some(sender.remote());
    s.scheduler.set_channel_hook(Some(Box::new(move |_| {
        if let Some(remote) = remote.take() {
            elsewhere(move || remote.insert().unwrap());
        }
    })));
    let trap = local::switch_trap();
    let error = channel::<B, i32>().recv().unwrap_err();
    assert_eq!(error.park_error(), Some(ParkError::Deadlock));
    s.log.assert("");
    drop(trap);
    s.run();
    s.log.assert("sender");
}
