//! Several OS threads: shared channels, remote handles, waiting and giving up (R52, R60-R66, chapter K).
//!
//! Where a test depends on what another thread does while the scheduler's thread sleeps, the scheduler's driver is the test's own
//! and does it, so that nothing depends on timing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tasklet_channels::{Channel, Preference};
use tasklet_core::backend::Backend;
use tasklet_core::driver::{Driver, Notify, ThreadDriver};
use tasklet_core::park::{Direction, ParkError};
use tasklet_core::unwind::message;
use tasklet_scheduler::local::{self, RunOptions, Scheduler, TaskletStateError};

use super::setup::{Setup, caught, leave, receive, yields};

type Actions = Rc<RefCell<Vec<Box<dyn FnOnce()>>>>;

/// Does what is listed, one action for each wait, and counts the waits.
#[derive(Clone, Default)]
struct Scripted {
    actions: Actions,
    waits: Rc<Cell<usize>>,
    driver: Rc<ThreadDriver>,
}

impl Scripted {
    fn then(&self, action: impl FnOnce() + 'static) {
        self.actions.borrow_mut().insert(0, Box::new(action));
    }
}

impl Driver for Scripted {
    fn wait(&self, timeout: Option<Duration>) {
        self.waits.set(self.waits.get() + 1);
        let action = self.actions.borrow_mut().pop();
        match action {
            Some(action) => action(),
            None => self.driver.wait(timeout),
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.driver.notifier()
    }
}

fn scripted<B: Backend>() -> (Setup<B>, Scripted) {
    let driver = Scripted::default();
    (Setup::on(Scheduler::builder().driver(driver.clone()).build()), driver)
}

/// On a thread of its own, to its end.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

/// K1 testInterthreadCommunication.
pub fn a_master_and_a_slave_on_two_threads_alternate<B: Backend>() {
    let s = Setup::<B>::new();
    let (commands, replies) = (Channel::<&'static str>::new(), Channel::<String>::new());
    let (orders, answers) = (commands.share(), replies.share());
    let slave = thread::spawn(move || {
        let s = Setup::<B>::new();
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
pub fn plain_threads_are_partners_in_channels<B: Backend>() {
    let s = Setup::<B>::new();
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
pub fn two_plain_threads_meet_in_a_channel<B: Backend>() {
    let c = Channel::<i32>::new();
    let shared = c.share();
    let sender = thread::spawn(move || shared.send_all(0..50).unwrap());
    assert_eq!((0..50).map(|_| c.recv().unwrap()).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    assert_eq!(sender.join().unwrap(), 50);
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
}

/// K3 testRunOrder, on an idle owner; R63.
pub fn a_remote_run_comes_first_on_an_idle_owner<B: Backend>() {
    let (s, driver) = scripted::<B>();
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
pub fn a_remote_run_comes_next_on_a_busy_owner<B: Backend>() {
    let s = Setup::<B>::new();
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
pub fn run_counts_of_threads_are_independent<B: Backend>() {
    let s = Setup::<B>::new();
    s.says("x");
    let remote = s.paused("p", |_| {}).remote();
    elsewhere(|| {
        let other = Setup::<B>::new();
        assert_eq!(other.scheduler.run_count(), 1);
        let _ = remote.insert();
        other.says("y");
        other.says("z");
        assert_eq!(other.scheduler.run_count(), 3);
    });
    assert_eq!(s.scheduler.run_count(), 2);
}

/// K5 test_switch, of SwitchTest; R63.
pub fn a_remote_switch_is_refused<B: Backend>() {
    let s = Setup::<B>::new();
    let t = s.paused("t", |_| {});
    let remote = t.remote();
    assert_eq!(elsewhere(|| remote.switch()), Err(TaskletStateError::OtherScheduler));
    assert!(t.is_paused());
}

/// R63: a remote throw makes its target runnable, preempts nobody, and keeps a queued one's place.
pub fn a_remote_throw_arrives_when_the_turn_comes<B: Backend>() {
    let s = Setup::<B>::new();
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
pub fn remote_handles_outlive_their_scheduler<B: Backend>() {
    let (remote, home) = thread::spawn(|| {
        let s = Setup::<B>::new();
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

/// K7; R45, R62: the thread sleeps until a partner comes, once for each.
pub fn block_thread_waits_for_another_thread<B: Backend>() {
    let (s, driver) = scripted::<B>();
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
pub fn a_plain_run_does_not_wait_for_other_threads<B: Backend>() {
    let (s, driver) = scripted::<B>();
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
pub fn block_thread_returns_when_nobody_can_come<B: Backend>() {
    let (s, driver) = scripted::<B>();
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
pub fn a_receiving_main_waits_for_another_thread<B: Backend>() {
    let (s, driver) = scripted::<B>();
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.says("x");
    driver.then(move || elsewhere(move || shared.send(1).unwrap()));
    assert_eq!(c.recv(), Ok(1));
    s.log.assert("x");
    assert_eq!(driver.waits.get(), 1);
}

/// R52, R53: when the last handle elsewhere is dropped, it is a deadlock after all.
pub fn a_deadlock_is_found_when_the_last_shared_handle_goes<B: Backend>() {
    let (s, driver) = scripted::<B>();
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

/// As above, with a real thread and its timing; the waiter's own shared handle does not count.
pub fn a_deadlock_is_found_when_the_last_thread_leaves<B: Backend>() {
    let _s = Setup::<B>::new();
    let mine = Channel::<i32>::new().share();
    let theirs = mine.clone();
    let partner = thread::spawn(move || theirs.send(1).unwrap());
    assert_eq!(mine.recv(), Ok(1));
    assert_eq!(mine.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    partner.join().unwrap();
}

/// A plain thread that waits where nobody is left is told as well.
pub fn a_plain_thread_is_told_of_a_deadlock<B: Backend>() {
    let c = Channel::<i32>::new();
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::Deadlock));
    let error = c.send(5).unwrap_err();
    assert_eq!((error.park_error(), error.into_inner()), (Some(ParkError::Deadlock), 5));
}

/// While somebody elsewhere can reach a tasklet or its scheduler, waiting is no deadlock.
pub fn remote_handles_keep_waiting_from_being_a_deadlock<B: Backend>() {
    let (s, driver) = scripted::<B>();
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
pub fn other_threads_may_spawn<B: Backend>() {
    let (s, driver) = scripted::<B>();
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

/// R61: preference and schedule_all do not matter between threads: the caller goes on, the partner is appended.
pub fn between_threads_the_caller_always_goes_on<B: Backend>() {
    for preference in [Preference::Receiver, Preference::Neither, Preference::Sender] {
        for schedule_all in [false, true] {
            let s = Setup::<B>::new();
            let c = Channel::<i32>::with_preference(preference);
            c.set_schedule_all(schedule_all);
            let shared = c.share();
            s.spawn_with("R", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
            s.run();
            s.says("x");
            elsewhere(|| {
                let s = Setup::<B>::new();
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

/// R57: a partner elsewhere is no switch, so the trap does not matter.
pub fn serving_another_thread_is_allowed_under_the_switch_trap<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.spawn_with("R", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    s.run();
    elsewhere(|| {
        let _s = Setup::<B>::new();
        let _trap = local::switch_trap();
        shared.send(1).unwrap();
    });
    s.run();
    s.log.assert("got1");
}

/// A close on another thread wakes those who wait.
pub fn a_close_elsewhere_wakes_the_waiting<B: Backend>() {
    let (s, driver) = scripted::<B>();
    let c = Channel::<i32>::new();
    let shared = c.share();
    s.spawn_with("R", &c, |log, c| log.log(c.recv().unwrap_err().is_closed().to_string()));
    driver.then(move || elsewhere(move || shared.close()));
    assert!(c.recv().unwrap_err().is_closed());
    s.run();
    s.log.assert("true");
}

/// A tasklet of another thread's scheduler can be joined; the result moves over.
pub fn a_tasklet_elsewhere_can_be_joined<B: Backend>() {
    let (give, take) = mpsc::channel();
    let owner = thread::spawn(move || {
        let s = Setup::<B>::new();
        let c = Channel::<i32>::new();
        let shared = c.share();
        give.send((s.scheduler.spawn_joinable(move || c.recv().unwrap() + 1), shared)).unwrap();
        s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    });
    let (handle, shared) = take.recv().unwrap();
    let s = Setup::<B>::new();
    s.spawn("feeder", move |_| shared.send(4).unwrap());
    assert_eq!(handle.join().unwrap(), 5);
    owner.join().unwrap();
}

/// R66: what other threads send arrives in their order.
pub fn values_of_one_thread_arrive_in_order<B: Backend>() {
    let s = Setup::<B>::new();
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
pub fn a_kill_that_races_with_a_remote_send_loses_no_value<B: Backend>() {
    for _ in 0..50 {
        let s = Setup::<B>::new();
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

/// Tasklets go on by turns while their scheduler listens to other threads.
pub fn requests_are_taken_at_scheduling_points<B: Backend>() {
    let s = Setup::<B>::new();
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
