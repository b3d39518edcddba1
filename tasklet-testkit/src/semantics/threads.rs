//! Channels between OS threads: partners, waiting, giving up (R52, R61, R62, R66, chapter K).
//!
//! Where a test depends on what another thread does while the scheduler's thread sleeps, the scheduler's driver is the test's own
//! and does it, so that nothing depends on timing.

use std::sync::Arc;
use std::thread;

use tasklet_channels::{Channel, Preference};
use tasklet_core::backend::Backend;
use tasklet_core::park::{Direction, ParkError};
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunOptions};

use super::scripted::{elsewhere, scripted};
use super::setup::{Setup, receive};

/// K1 testInterthreadCommunication.
pub fn a_master_and_a_slave_on_two_threads_alternate<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let (commands, replies) = (Channel::<&'static str>::new(), Channel::<String>::new());
    let (orders, answers) = (commands.share(), replies.share());
    let slave = thread::spawn(move || {
        let s = Setup::<B>::new(kind);
        s.spawn("slave", move |_| {
            let mut count = 0;
            while orders.recv().unwrap() == "ECHO" {
                count += 1;
                answers.send(format!("ECHO{count}")).unwrap();
            }
            answers.send("QUIT".to_owned()).unwrap();
        });
        s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
        assert!(s.scheduler.started().is_empty());
    });
    s.spawn("master", move |log| {
        for command in ["ECHO", "ECHO", "ECHO", "QUIT"] {
            commands.send(command).unwrap();
            log.log(replies.recv().unwrap());
        }
    });
    s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    slave.join().unwrap();
    s.log.assert("ECHO1 ECHO2 ECHO3 QUIT");
}

/// Channels between a scheduler and plain threads, both ways, many values, in order.
pub fn plain_threads_are_partners_in_channels<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let (there, back) = (Channel::<u32>::new(), Channel::<u32>::new());
    let (input, output) = (there.share(), back.share());
    let doubler = thread::spawn(move || {
        for value in &input {
            output.send(value * 2).unwrap();
        }
    });
    let got = s.scheduler.spawn_joinable(move || (0..100).map(|_| back.recv().unwrap()).collect::<Vec<_>>());
    assert_eq!(there.send_all(0..100).unwrap(), 100);
    assert_eq!(got.join().unwrap(), (0..200).step_by(2).collect::<Vec<_>>());
    there.close();
    doubler.join().unwrap();
}

/// Two plain threads without schedulers meet in a channel.
pub fn two_plain_threads_meet_in_a_channel<B: Backend>(_: StackKind) {
    let c = Channel::<i32>::new();
    let shared = c.share();
    let sender = thread::spawn(move || shared.send_all(0..50).unwrap());
    assert_eq!((0..50).map(|_| c.recv().unwrap()).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    assert_eq!(sender.join().unwrap(), 50);
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
}

/// K7; R45, R62: the thread sleeps until a partner comes, once for each.
pub fn block_thread_waits_for_another_thread<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.spawn_with("t", &c, |log, c| {
        for _ in 0..2 {
            log.log(format!("got{}", c.recv().unwrap()));
        }
    });
    let again = shared.clone();
    driver.then(move || elsewhere(move || shared.send(1).unwrap()));
    driver.then(move || elsewhere(move || again.send(2).unwrap()));
    s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    s.log.assert("got1 got2");
    assert_eq!(driver.waits.get(), 2);
}

/// R62: a plain run does not wait for other threads.
pub fn a_plain_run_does_not_wait_for_other_threads<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    let t = s.spawn_with("t", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    s.run();
    assert!(t.is_blocked());
    assert_eq!(driver.waits.get(), 0);
    elsewhere(|| shared.send(1).unwrap());
    s.run();
    s.log.assert("got1");
}

/// Nobody can come: `block_thread` returns.
pub fn block_thread_returns_when_nobody_can_come<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let t = s.spawn_with("t", &c, |_, c| receive(&c));
    s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    assert!(t.is_blocked());
    assert_eq!(driver.waits.get(), 0);
    let shared = c.share();
    driver.then(move || elsewhere(move || drop(shared)));
    s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    assert!(t.is_blocked());
    assert_eq!(driver.waits.get(), 1);
}

/// R52, R62: a bare receive of main waits while another thread may send.
pub fn a_receiving_main_waits_for_another_thread<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.says("x");
    driver.then(move || elsewhere(move || shared.send(1).unwrap()));
    assert_eq!(c.recv(), Ok(1));
    s.log.assert("x");
    assert_eq!(driver.waits.get(), 1);
}

/// R52, R53: when the last handle elsewhere is dropped, it is a deadlock after all.
pub fn a_deadlock_is_found_when_the_last_shared_handle_goes<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    driver.then(move || elsewhere(move || drop(shared)));
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    assert_eq!((c.balance(), driver.waits.get()), (0, 1));

    let shared = c.share();
    driver.then(move || elsewhere(move || drop(shared)));
    s.says("x");
    let error = c.send(1).unwrap_err();
    assert_eq!(error.park_error(), Some(ParkError::MainDeserted(Direction::Send)));
    assert_eq!(error.into_inner(), 1);
}

/// The waiter's own shared handle does not count: it hears of the end of the last other one.
pub fn a_deadlock_is_found_when_the_last_other_shared_handle_goes<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let mine = Channel::<i32>::new().share();
    let theirs = mine.clone();
    driver.then(move || elsewhere(move || drop(theirs)));
    assert_eq!(mine.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    assert_eq!((mine.balance(), driver.waits.get()), (0, 1));

    let theirs = mine.clone();
    driver.then(move || elsewhere(move || drop(theirs)));
    let error = mine.send(1).unwrap_err();
    assert_eq!((error.park_error(), error.into_inner()), (Some(ParkError::Deadlock), 1));
    assert_eq!((mine.balance(), driver.waits.get()), (0, 2));
    s.run();
}

/// As above, with a real thread and its timing; the waiter's own shared handle does not count.
pub fn a_deadlock_is_found_when_the_last_thread_leaves<B: Backend>(kind: StackKind) {
    let _s = Setup::<B>::new(kind);
    let mine = Channel::<i32>::new().share();
    let theirs = mine.clone();
    let partner = thread::spawn(move || theirs.send(1).unwrap());
    assert_eq!(mine.recv(), Ok(1));
    assert_eq!(mine.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    partner.join().unwrap();
}

/// A plain thread that waits where nobody is left is told as well.
pub fn a_plain_thread_is_told_of_a_deadlock<B: Backend>(_: StackKind) {
    let c = Channel::<i32>::new();
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    let error = c.send(5).unwrap_err();
    assert_eq!((error.park_error(), error.into_inner()), (Some(ParkError::Deadlock), 5));
}

/// R61: preference and schedule_all do not matter between threads: the caller goes on, the partner is appended.
pub fn between_threads_the_caller_always_goes_on<B: Backend>(kind: StackKind) {
    for preference in [Preference::Receiver, Preference::Neither, Preference::Sender] {
        for schedule_all in [false, true] {
            let s = Setup::<B>::new(kind);
            let c = Channel::<i32>::with_preference(preference);
            c.set_schedule_all(schedule_all);
            let shared = c.share();
            s.spawn_with("R", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
            s.run();
            s.says("x");
            elsewhere(|| {
                let s = Setup::<B>::new(kind);
                s.says("y");
                shared.send(1).unwrap();
                s.log.log("caller");
                s.run();
                s.log.assert("caller y");
            });
            s.run();
            s.log.assert("x got1");
            assert_eq!(c.balance(), 0);
        }
    }
}

/// R61: between threads the channel hook comes after the exchange, whichever way; while nobody waits, before the caller does.
pub fn between_threads_the_channel_hook_comes_after_the_exchange<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let (there, back) = (Channel::<i32>::new(), Channel::<i32>::new());
    let (input, output) = (there.share(), back.share());
    s.spawn_with("R", &there, |log, there| log.log(format!("got{}", there.recv().unwrap())));
    s.spawn_with("S", &back, |_, back| back.send(2).unwrap());
    s.run();
    elsewhere(|| {
        let s = Setup::<B>::new(kind);
        let (log, seen) = (s.log.clone(), [input.clone(), output.clone()]);
        s.scheduler.set_channel_hook(Some(Box::new(move |event| {
            let channel = seen.iter().find(|channel| channel.id() == event.channel).unwrap();
            let way = if event.direction == Direction::Send { "send" } else { "recv" };
            let next = if event.will_block { "blocks" } else { "goes" };
            log.log(format!("{way}-{next}({})", channel.balance()));
        })));
        input.send(1).unwrap();
        assert_eq!(output.recv(), Ok(2));
        assert!(input.try_send(3).is_err());
        s.log.assert("send-goes(0) recv-goes(0) send-blocks(0)");
    });
    s.run();
    s.log.assert("got1");
}

/// R57: a partner elsewhere is no switch, so the trap does not matter.
pub fn serving_another_thread_is_allowed_under_the_switch_trap<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.spawn_with("R", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    s.run();
    elsewhere(|| {
        let _s = Setup::<B>::new(kind);
        let _trap = local::switch_trap();
        shared.send(1).unwrap();
    });
    s.run();
    s.log.assert("got1");
}

/// A close on another thread wakes those who wait.
pub fn a_close_elsewhere_wakes_the_waiting<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.spawn_with("R", &c, |log, c| log.log(c.recv().unwrap_err().is_closed().to_string()));
    driver.then(move || elsewhere(move || shared.close()));
    assert!(c.recv().unwrap_err().is_closed());
    s.run();
    s.log.assert("true");
}

/// R66: what other threads send arrives in their order.
pub fn values_of_one_thread_arrive_in_order<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = Channel::<(usize, u32)>::new();
    let senders: Vec<_> = (0..3)
        .map(|who| {
            let shared = c.share();
            thread::spawn(move || shared.send_all((0..100).map(|i| (who, i))).unwrap())
        })
        .collect();
    let mut next = [0; 3];
    for _ in 0..300 {
        let (who, i) = c.recv().unwrap();
        assert_eq!(i, next[who]);
        next[who] += 1;
    }
    senders.into_iter().for_each(|sender| assert_eq!(sender.join().unwrap(), 100));
    s.run();
}

/// A kill that races with a wake from another thread: one of them comes first, and the value is not lost.
pub fn a_kill_that_races_with_a_remote_send_loses_no_value<B: Backend>(kind: StackKind) {
    for _ in 0..50 {
        let s = Setup::<B>::new(kind);
        let c = Channel::<Arc<()>>::new();
        let value = Arc::new(());
        let (shared, sent) = (c.share(), value.clone());
        let t = s.spawn_with("t", &c, |_, c| receive(&c));
        s.run();
        let sender = thread::spawn(move || shared.try_send(sent).is_ok());
        t.kill().unwrap();
        sender.join().unwrap();
        s.run();
        drop((s, c));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

/// R42, R45: an inner run that waits for other threads keeps the outer one waiting.
pub fn an_inner_run_may_wait_for_other_threads<B: Backend>(kind: StackKind) {
    let (s, driver) = scripted::<B>(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.spawn_with("t", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    s.spawn("R", |log| {
        local::run_with(RunOptions::new().block_thread()).unwrap();
        log.log("R");
    });
    driver.then(move || elsewhere(move || shared.send(1).unwrap()));
    s.run();
    s.log.assert("got1 R");
}

/// R51: a partner that waits elsewhere is killed there when its scheduler ends; the channel forgets it.
pub fn the_end_of_a_scheduler_takes_its_waiters_out_of_shared_channels<B: Backend>(kind: StackKind) {
    let _s = Setup::<B>::new(kind);
    let c = Channel::<i32>::new();
    let shared = c.share();
    elsewhere(|| {
        let s = Setup::<B>::new(kind);
        s.spawn_with("t", &shared, |_, shared| receive(&shared));
        s.run();
        assert_eq!(shared.balance(), -1);
    });
    assert_eq!(c.balance(), 0);
    assert!(c.try_send(1).unwrap_err().is_would_block());
}

/// A value served to a thread that ends before it looks is dropped, not leaked.
pub fn a_value_served_to_an_ending_scheduler_is_dropped<B: Backend>(kind: StackKind) {
    let c = Channel::<Arc<()>>::new();
    let value = Arc::new(());
    let s = Setup::<B>::new(kind);
    s.spawn_with("t", &c, |_, c| receive(&c));
    s.run();
    let shared = c.share();
    elsewhere(|| shared.send(value.clone()).unwrap());
    assert_eq!(Arc::strong_count(&value), 2);
    drop(s);
    assert_eq!(Arc::strong_count(&value), 1);
}
