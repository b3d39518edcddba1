//! Loops that always find what they ask for: others run all the same, and kills reach them.

use std::future::poll_fn;
use std::task::Poll;

use tasklet_bridge::futures::block_on;
use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing;

use super::Case;
use super::setup::{Flag, channel, end, spawn_parked, yield_until};

/// What others may have to wait for: turns of the looping tasklet, each as long as its budget of 128 operations, until a new tasklet is
/// the one that starts.
const ENOUGH: u32 = 20 * 128;

/// Loops over an operation that never waits until another tasklet of the worker has run.
#[track_caller]
fn lets_others_run<B: Backend>(case: Case, make: fn() -> Box<dyn FnMut()>) {
    let operations = case.run::<B, _>(|| {
        let other = Flag::default();
        let runs = other.clone();
        let handle = stealing::spawn_local(move || runs.set());
        let (mut operation, mut count) = (make(), 0);
        while !other.is_set() {
            operation();
            count += 1;
            assert!(count <= ENOUGH, "others do not run");
        }
        handle.join().unwrap();
        count
    });
    assert!(operations > 1);
}

/// A loop that dies when it is killed, from its own worker, another or a plain thread.
#[track_caller]
fn is_killed<B: Backend>(case: Case, make: fn() -> Box<dyn FnMut()>) {
    let runtime = case.runtime::<B>();
    let looping = move |started: Flag| {
        move || -> () {
            let mut operation = make();
            started.set();
            loop {
                operation();
            }
        }
    };
    let is_killed = |handle: JoinHandle<()>| assert!(handle.join().unwrap_err().is_killed());
    let started = Flag::default();
    let outside = runtime.spawn(looping(started.clone()));
    started.spin();
    outside.kill();
    is_killed(outside);
    runtime.run(|| {
        let started = Flag::default();
        let handle = stealing::spawn(looping(started.clone()));
        started.wait();
        handle.kill();
        is_killed(handle);
    });
    end(runtime);
}

fn permits() -> Box<dyn FnMut()> {
    let unparker = stealing::unparker();
    Box::new(move || {
        unparker.unpark();
        stealing::park().unwrap();
    })
}

fn tries() -> Box<dyn FnMut()> {
    let channel = channel::<()>();
    Box::new(move || assert!(channel.try_recv().unwrap_err().is_would_block()))
}

fn checkpoints() -> Box<dyn FnMut()> {
    Box::new(stealing::checkpoint)
}

/// Waits for a future that wakes itself so often, before it is ready.
fn restless(times: usize) -> Box<dyn FnMut()> {
    Box::new(move || {
        let mut left = times;
        block_on(poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }));
    })
}

/// Permits that are there.
pub fn a_loop_of_permits_gives_way<B: Backend>(case: Case) {
    lets_others_run::<B>(case, permits);
    is_killed::<B>(case, permits);
}

/// A future that is never found to wait.
pub fn a_restless_future_gives_way<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let other = Flag::default();
        let runs = other.clone();
        let handle = stealing::spawn_local(move || runs.set());
        restless(2)();
        assert!(other.is_set(), "others do not run");
        handle.join().unwrap();
    });
    is_killed::<B>(case, || restless(usize::MAX));
}

/// Operations of channels that do not wait.
pub fn a_loop_of_tries_gives_way<B: Backend>(case: Case) {
    lets_others_run::<B>(case, tries);
    is_killed::<B>(case, tries);
}

/// Code that computes and calls `checkpoint`.
pub fn a_loop_of_checkpoints_gives_way<B: Backend>(case: Case) {
    lets_others_run::<B>(case, checkpoints);
    is_killed::<B>(case, checkpoints);
}

/// A receiver with more senders waiting than it can serve at a stretch.
pub fn a_receiver_that_never_waits_gives_way<B: Backend>(case: Case) {
    let who = case.who;
    case.run::<B, _>(|| {
        let numbers = channel::<u32>();
        let senders: Vec<_> = (0..300)
            .map(|number| {
                let numbers = numbers.clone();
                who.spawn(async move { who.send(&numbers, number).await.unwrap() })
            })
            .collect();
        yield_until(|| numbers.balance() == 300);
        let other = spawn_parked(|waits| {
            waits.set();
            stealing::yield_now();
        });
        let mut received = 0;
        while !other.is_finished() {
            numbers.recv().unwrap();
            received += 1;
            assert!(received < 300, "others do not run");
        }
        while received < 300 {
            numbers.recv().unwrap();
            received += 1;
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// A tasklet that computes without a scheduling point is killed at the next one.
pub fn a_kill_waits_for_a_scheduling_point<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let (started, killed, computed) = (Flag::default(), Flag::default(), Flag::default());
    let victim = runtime.spawn({
        let (started, killed, computed) = (started.clone(), killed.clone(), computed.clone());
        move || -> () {
            started.set();
            killed.spin();
            computed.set();
            stealing::checkpoint();
            unreachable!("it was killed");
        }
    });
    started.spin();
    victim.kill();
    killed.set();
    assert!(victim.join().unwrap_err().is_killed());
    assert!(computed.is_set());
    end(runtime);
}
