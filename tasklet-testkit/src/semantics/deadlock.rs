//! When nobody can ever go on, the last to block is told (R40, R41, R51-R56).

use tasklet_core::backend::Backend;
use tasklet_core::park::{Direction, ParkError};
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::raise;
use tasklet_scheduler::local::{self, State};

use super::setup::{Setup, caught, channel, leave, receive};

/// G1 testReceiveOnMain; R56.
pub fn main_alone_cannot_receive<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    assert_eq!(c.balance(), 0);
    assert!(s.scheduler.main().is_current());
    assert_eq!(s.queue(), "main");
}

/// G1, for a send.
pub fn main_alone_cannot_send<B: Backend>(kind: StackKind) {
    let _s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    assert_eq!(c.send(1).unwrap_err().park_error(), Some(ParkError::Deadlock));
    assert_eq!(c.balance(), 0);
}

/// G2 test_main_receiving_endttasklet; R55.
pub fn a_receiving_main_is_told_when_the_last_tasklet_ends<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.says("t");
    let error = channel::<B, i32>().recv().unwrap_err();
    assert_eq!(error.park_error(), Some(ParkError::MainDeserted(Direction::Receive)));
    s.log.assert("t");
    assert!(s.scheduler.main().is_current());
}

/// G2 test_main_sending_endttasklet.
pub fn a_sending_main_is_told_when_the_last_tasklet_ends<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.says("t");
    let error = channel::<B, _>().send(1).unwrap_err();
    assert_eq!(error.park_error(), Some(ParkError::MainDeserted(Direction::Send)));
    s.log.assert("t");
}

/// G3 test_tasklet_deadlock.
pub fn the_last_tasklet_to_block_is_told_and_may_go_on<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let main_waits = channel::<B, _>();
    s.spawn_with("t", &main_waits, |log, main_waits| {
        let error = channel::<B, i32>().recv().unwrap_err();
        log.log(format!("{:?}", error.park_error().unwrap()));
        main_waits.send(1).unwrap();
    });
    assert_eq!(main_waits.recv(), Ok(1));
    s.log.assert("Deadlock");
}

/// G4 test_tasklet_and_main_receive; R54.
pub fn an_uncaught_deadlock_surfaces_in_the_waiting_main<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("t", |_| {
        let error = channel::<B, i32>().recv().unwrap_err();
        raise(Box::new(error.park_error().unwrap()));
    });
    let c = channel::<B, i32>();
    let payload = caught(|| c.recv()).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&ParkError::Deadlock));
    assert_eq!(c.balance(), 0);
}

/// R53, R54.
pub fn those_that_blocked_earlier_stay_blocked<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let a = s.spawn_with("A", &c, |_, c| receive(&c));
    s.spawn("B", |log| {
        let error = channel::<B, i32>().recv().unwrap_err();
        log.log("B");
        raise(Box::new(error.park_error().unwrap()));
    });
    let payload = caught(|| channel::<B, i32>().recv()).unwrap_err();
    s.log.log(format!("main:{:?}", payload.downcast_ref::<ParkError>().unwrap()));
    s.log.assert("B main:Deadlock");
    assert!(a.is_blocked());
    assert_eq!(c.balance(), -1);
}

/// G6 test_lone_receive, testScheduleRemove; R40, R51.
pub fn a_run_ends_when_the_last_tasklet_blocks_or_leaves<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let blocks = s.spawn_with("blocks", &c, |_, c| receive(&c));
    s.run();
    assert_eq!(blocks.state(), State::BlockedReceiving);
    let leaves = s.spawn("leaves", |_| leave());
    s.run();
    assert_eq!(leaves.state(), State::Paused);
}

/// G8 test_main_tasklet_receive_deadlock_after_running_child_tasklets, of the CCP suite.
pub fn a_receiving_main_is_told_after_everybody_ran_in_order<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    for i in 0..10 {
        s.spawn("t", move |log| log.log(i.to_string()));
    }
    assert!(channel::<B, i32>().recv().unwrap_err().park_error().is_some());
    s.log.assert("0 1 2 3 4 5 6 7 8 9");
}

/// R53, for `schedule_remove`: a tasklet that would be the last to leave while main waits is told, and stays.
pub fn the_last_tasklet_cannot_leave_the_queue_of_a_waiting_main<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    s.spawn_with("t", &c, |log, c| {
        log.log(format!("{:?}", local::schedule_remove()));
        log.log(format!("{:?}", local::current().state()));
        c.send(1).unwrap();
    });
    assert_eq!(c.recv(), Ok(1));
    s.log.assert("Err(Deadlock) Running");
}

/// R51: main floats when it leaves the queue by itself, so the last tasklet to block hands over to it.
pub fn a_main_that_left_the_queue_goes_on_when_nobody_else_can<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let t = s.spawn_with("t", &c, |_, c| receive(&c));
    assert_eq!(local::schedule_remove(), Ok(()));
    assert!(t.is_blocked());
    s.says("x");
    assert_eq!(local::schedule_remove(), Ok(()));
    s.log.assert("x");
    assert_eq!(s.queue(), "main");
}

/// R41: a main that waits for another tasklet's end is told, too.
pub fn joining_a_tasklet_that_never_runs_is_a_deadlock<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let waiting = s.scheduler.spawn_joinable({
        let c = c.clone();
        move || c.recv().unwrap()
    });
    s.run();
    assert_eq!(waiting.wait(), Err(ParkError::Deadlock));
    s.says("x");
    assert_eq!(waiting.wait(), Err(ParkError::Deadlock));
    s.log.assert("x");
    c.send(3).unwrap();
    assert_eq!(waiting.join().unwrap(), 3);
}
