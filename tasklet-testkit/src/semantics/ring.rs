//! The queue: spawn, schedule, insert, remove, run, switch (R1-R14).

use std::cell::RefCell;
use std::rc::Rc;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, State, Tasklet, TaskletStateError};

use super::setup::{Setup, channel, names, receive, yields};

/// The queue as a tasklet sees it, from itself on.
pub(super) fn queue_of_current() -> Vec<Tasklet> {
    let first = local::current();
    let mut queue = vec![first.clone()];
    while let Some(next) = queue.last().and_then(Tasklet::next).filter(|next| *next != first) {
        queue.push(next);
    }
    queue
}

/// Three queued tasklets that each log and yield so many times.
fn three<B: Backend>(kind: StackKind, rounds: usize) -> (Setup<B>, [Tasklet; 3]) {
    let s = Setup::<B>::new(kind);
    let tasklets = ["a", "b", "c"].map(|name| s.yields(name, rounds));
    (s, tasklets)
}

/// D1 round robin (model), under run; R2, R5, R6.
pub fn tasklets_that_yield_run_in_turns<B: Backend>(kind: StackKind) {
    let (s, _) = three::<B>(kind, 3);
    s.run();
    s.log.assert("a0 b0 c0 a1 b1 c1 a2 b2 c2");
}

/// D1 round robin (model), driven by main's own yields.
pub fn main_takes_its_turn_when_it_yields<B: Backend>(kind: StackKind) {
    let (s, _) = three::<B>(kind, 3);
    while s.scheduler.run_count() > 1 {
        s.log.log("m");
        s.scheduler.schedule();
    }
    s.log.assert("m a0 b0 c0 m a1 b1 c1 m a2 b2 c2 m");
}

/// D2 spawn order (model), R5.
pub fn children_run_after_everybody_queued_already<B: Backend>(kind: StackKind) {
    fn grow(name: String, log: crate::Recorder) {
        log.log(name.clone());
        if name.len() < 3 {
            local::spawn(move || grow(format!("{name}x"), log));
        }
    }
    let s = Setup::<B>::new(kind);
    for name in ["a", "b", "c"] {
        s.spawn(name, move |log| grow(name.to_owned(), log));
    }
    s.run();
    s.log.assert("a b c ax bx cx axx bxx cxx");
}

/// R1, R13: spawning appends, and never switches.
pub fn spawn_only_queues<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.says("t");
    s.log.assert("");
    assert_eq!(t.state(), State::Runnable);
    assert_eq!(s.queue(), "main t");
}

/// D3 test_tasklet_run_order, of the CCP suite.
pub fn running_the_first_runs_all_before_the_caller<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let [t1, _, _] = ["1", "2", "3"].map(|name| s.says(name));
    t1.run().unwrap();
    s.log.assert("1 2 3");
    assert_eq!(s.scheduler.run_count(), 1);
}

/// D3 test_tasklet_run_order_2, of the CCP suite; R10.
pub fn running_the_second_leaves_the_first_queued<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let [t1, t2, _] = ["1", "2", "3"].map(|name| s.says(name));
    t2.run().unwrap();
    s.log.assert("2 3");
    assert_eq!(s.scheduler.run_count(), 2);
    t1.run().unwrap();
    s.log.assert("1");
}

/// D5 (model); R10: an unlinked target gives way to the caller.
pub fn running_a_removed_tasklet_runs_it_alone<B: Backend>(kind: StackKind) {
    let (s, [_, b, _]) = three::<B>(kind, 2);
    b.remove().unwrap();
    assert_eq!(b.state(), State::Paused);
    b.run().unwrap();
    s.log.assert("b0");
    assert_eq!(s.queue(), "main a c b");
    s.run();
    s.log.assert("a0 c0 b1 a1 c1");
}

/// D7 testAttr_prev_next.
pub fn neighbours_in_the_queue_are_known<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    let unlinked = s.paused("p", |_| {});
    assert_eq!((unlinked.prev(), unlinked.next()), (None, None));
    let t = s.says("t");
    assert_eq!((t.prev(), t.next()), (Some(main.clone()), Some(main.clone())));
    let t2 = s.says("t2");
    assert_eq!((t.prev(), t.next()), (Some(main.clone()), Some(t2.clone())));
    assert_eq!((t2.prev(), t2.next()), (Some(t.clone()), Some(main.clone())));
    assert_eq!((main.prev(), main.next()), (Some(t2), Some(t)));
}

/// D8 (model), R8.
pub fn inserting_a_queued_tasklet_does_nothing<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let [a, _, _] = ["a", "b", "c"].map(|name| s.says(name));
    a.insert().unwrap();
    s.run();
    s.log.assert("a b c");
}

/// D8 (model), R9.
pub fn removing_and_inserting_moves_to_the_end<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let [a, _, _] = ["a", "b", "c"].map(|name| s.says(name));
    a.remove().unwrap();
    a.remove().unwrap();
    a.insert().unwrap();
    s.run();
    s.log.assert("b c a");
}

/// D9 testSchedule.
pub fn a_yielding_main_stays_in_the_queue<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    s.spawn("foo", move |log| log.log(format!("{:?} {}", main.state(), main.is_scheduled())));
    s.scheduler.schedule();
    s.log.assert("Runnable true");
}

/// D9 testScheduleRemoveFail.
pub fn a_main_that_left_the_queue_comes_back_when_inserted<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    s.spawn("foo", move |log| {
        log.log(format!("{:?} {}", main.state(), main.is_scheduled()));
        main.insert().unwrap();
        log.log(names(&queue_of_current()));
        local::schedule();
        log.log("foo");
    });
    local::schedule_remove().unwrap();
    s.log.log("main");
    s.run();
    s.log.assert("Paused false foo main main foo");
}

/// D10 test_switch, test_switch_paused.
pub fn switching_pauses_the_caller_until_it_is_inserted<B: Backend>(kind: StackKind) {
    for bound_only in [false, true] {
        let s = Setup::<B>::new(kind);
        let main = s.scheduler.main();
        let body = move |log: crate::Recorder| {
            log.log(format!("{:?}", main.state()));
            main.insert().unwrap();
        };
        let t = if bound_only { s.paused("t", body) } else { s.spawn("t", body) };
        t.switch().unwrap();
        s.log.log("main");
        s.log.assert("Paused main");
        assert!(!t.is_alive());
    }
}

/// D10 test_switch_blocked; R12, R14.
pub fn switching_to_a_blocked_tasklet_is_refused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let t = s.spawn_with("t", &c, |_, c| receive(&c));
    s.run();
    assert_eq!(t.switch(), Err(TaskletStateError::Blocked));
    assert_eq!(t.run(), Err(TaskletStateError::Blocked));
    assert_eq!(t.insert(), Err(TaskletStateError::Blocked));
    assert_eq!(t.remove(), Err(TaskletStateError::Blocked));
    assert!(t.is_blocked() && s.scheduler.main().is_current());
    assert_eq!(c.balance(), -1);
    assert_eq!(s.queue(), "main");
}

/// R12, R14.
pub fn a_dead_tasklet_cannot_be_queued_or_run<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let ended = s.says("t");
    s.run();
    for t in [ended, s.scheduler.tasklet().unbound()] {
        assert_eq!(t.insert(), Err(TaskletStateError::Dead));
        assert_eq!(t.run(), Err(TaskletStateError::Dead));
        assert_eq!(t.switch(), Err(TaskletStateError::Dead));
        assert_eq!(t.remove(), Ok(()));
        assert_eq!(s.queue(), "main");
    }
}

/// D12 test_switch_to_current; with others in the queue, too.
pub fn switching_to_oneself_does_nothing<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main = s.scheduler.main();
    main.switch().unwrap();
    main.switch().unwrap();
    s.says("x");
    main.switch().unwrap();
    main.run().unwrap();
    main.insert().unwrap();
    assert_eq!(s.queue(), "main x");
    s.log.assert("");
}

/// R9: the running tasklet cannot be removed.
pub fn the_running_tasklet_cannot_be_removed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    assert_eq!(s.scheduler.main().remove(), Err(TaskletStateError::Current));
    s.spawn("t", |log| log.log(format!("{:?}", local::current().remove())));
    s.run();
    s.log.assert("Err(Current)");
}

/// D14 test_remove_balance and the like.
pub fn the_run_count_counts_the_queue_with_main<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    assert_eq!(s.scheduler.run_count(), 1);
    let t = s.spawn_with("t", &c, |_, c| receive(&c));
    assert_eq!(s.scheduler.run_count(), 2);
    t.remove().unwrap();
    assert_eq!(s.scheduler.run_count(), 1);
    t.insert().unwrap();
    assert_eq!(s.scheduler.run_count(), 2);
    s.scheduler.schedule();
    assert!(t.is_blocked());
    assert_eq!(s.scheduler.run_count(), 1);
    s.spawn("n", |log| log.log(local::run_count().to_string()));
    s.run();
    s.log.assert("1");
}

/// R6: alone in the queue, a yield is no switch.
pub fn a_yield_alone_in_the_queue_does_not_switch<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.scheduler.schedule();
    local::try_schedule().unwrap();
    assert_eq!(s.scheduler.switches(), 0);
}

/// R7: a tasklet that left the queue goes on when it is inserted, at the end.
pub fn schedule_remove_leaves_until_inserted<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let t = s.spawn("t", |log| {
        log.log("t0");
        local::schedule_remove().unwrap();
        log.log("t1");
    });
    s.run();
    s.log.assert("t0");
    assert!(t.is_paused() && t.is_alive());
    s.says("x");
    t.insert().unwrap();
    assert_eq!(s.queue(), "main x t");
    s.run();
    s.log.assert("x t1");
}

/// R3, R11: the caller leaves, nothing is moved, everybody behind the target runs.
pub fn switching_jumps_to_a_queued_targets_place<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let w = Rc::new(RefCell::new(None));
    let target = w.clone();
    let caller = s.spawn("caller", move |log| {
        let target: Tasklet = target.take().unwrap();
        target.switch().unwrap();
        log.log("caller");
    });
    s.yields("a", 1);
    *w.borrow_mut() = Some(s.yields("b", 1));
    s.yields("c", 1);
    s.run();
    s.log.assert("b0 c0 a0");
    assert!(caller.is_paused());
    caller.run().unwrap();
    s.log.assert("caller");
}

/// Every resume of a tasklet happens on one thread, as far as the tasklet can tell.
pub fn a_tasklet_sees_one_thread<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    for name in ["a", "b"] {
        s.spawn(name, move |log| {
            let thread = std::thread::current().id();
            for _ in 0..10 {
                yields(&log, name, 1);
                assert_eq!(std::thread::current().id(), thread);
            }
        });
    }
    s.run();
}
