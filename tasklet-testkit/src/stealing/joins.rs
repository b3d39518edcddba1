//! Join handles: results, panics, who may wait and how, and what becomes of results that nobody takes.

use std::sync::Arc;
use std::time::Duration;

use tasklet_bridge::futures::block_on;
use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::JoinHandle;
use tasklet_core::unwind::message;
use tasklet_scheduler::stealing;

use super::Case;
use super::setup::{Census, Flag, Log, channel, end, fail, yield_until};
use crate::who::Who;

/// Small results and large ones, of tasklets that wait and that do not.
pub fn join_returns_the_result<B: Backend>(case: Case) {
    let who = case.who;
    let (small, large, nested) = case.run::<B, _>(|| {
        let small = who.spawn(async { 7 });
        let large = who.spawn(async move {
            who.give_way().await;
            [7u64; 100]
        });
        let nested = who.spawn(async move {
            let inner = who.spawn(async { String::from("inner") });
            who.join(inner).await.unwrap() + " and outer"
        });
        (small.join().unwrap(), large.join().unwrap(), nested.join().unwrap())
    });
    assert_eq!((small, large, &*nested), (7, [7; 100], "inner and outer"));
}

/// A panic goes to the handle and disturbs nobody else.
pub fn join_returns_the_panic<B: Backend>(case: Case) {
    let who = case.who;
    case.run::<B, _>(|| {
        let early = who.spawn(async { fail("early") });
        let late = who.spawn(async move {
            who.give_way().await;
            fail("late")
        });
        for (handle, text) in [(early, "early"), (late, "late")] {
            let error = handle.join().unwrap_err();
            assert!(error.is_panic() && !error.is_killed() && error.park_error().is_none());
            assert_eq!(error.to_string(), format!("the tasklet panicked: {text}"));
            assert_eq!(message(&error.into_panic().unwrap()), text);
        }
    });
}

/// A tasklet whose handle was dropped goes on, and its panic is dropped.
pub fn a_detached_tasklet_goes_on<B: Backend>(case: Case) {
    let who = case.who;
    case.run::<B, _>(|| {
        let (go, done) = (channel::<()>(), channel());
        let (its_go, its_done) = (go.clone(), done.clone());
        who.spawn(async move {
            who.recv(&its_go).await.unwrap();
            who.send(&its_done, 5).await.unwrap();
        })
        .detach();
        drop(who.spawn::<()>(async { fail("nobody hears it") }));
        go.send(()).unwrap();
        assert_eq!(done.recv(), Ok(5));
    });
}

/// Several tasklets and threads wait on one handle; then one takes the result.
pub fn several_wait_on_one_handle<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let (gate, waiting) = (channel::<u32>(), Census::default());
    let opened = gate.clone();
    let who = case.who;
    let handle = Arc::new(who.spawn_in(&runtime, async move { who.recv(&opened).await.unwrap() }));
    let wait = |handle: Arc<JoinHandle<u32>>, waiting: Census| {
        move || {
            let _one = waiting.one();
            handle.wait().unwrap();
            assert!(handle.is_finished());
        }
    };
    let tasklets: Vec<_> = (0..3).map(|_| runtime.spawn(wait(handle.clone(), waiting.clone()))).collect();
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(wait(handle.clone(), waiting.clone()))).collect();
    super::setup::spin_until(|| waiting.made() == 5);
    assert_eq!(waiting.dropped(), 0);
    gate.send(9).unwrap();
    tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(Arc::into_inner(handle).unwrap().join().unwrap(), 9);
    end(runtime);
}

/// A plain thread waits as a thread does; one that comes late does not wait.
pub fn a_plain_thread_joins<B: Backend>(case: Case) {
    let who = case.who;
    let runtime = case.runtime::<B>();
    let (go, early) = (channel::<()>(), who.spawn_in(&runtime, async { 1 }));
    let waits = go.clone();
    let late = who.spawn_in(&runtime, async move {
        who.recv(&waits).await.unwrap();
        2
    });
    let joiner = std::thread::spawn(move || late.join().unwrap());
    go.send(()).unwrap();
    assert_eq!(joiner.join().unwrap(), 2);
    early.wait().unwrap();
    assert!(early.is_finished());
    assert_eq!(early.join().unwrap(), 1);
    end(runtime);
}

/// A tasklet parks while it waits for one of another runtime; its worker goes on.
pub fn a_tasklet_of_another_runtime_joins<B: Backend>(case: Case) {
    let who = case.who;
    let (one, other) = (case.runtime::<B>(), case.runtime::<B>());
    let go = channel::<u32>();
    let waits = go.clone();
    let handle = who.spawn_in(&one, async move { who.recv(&waits).await.unwrap() });
    let (joiner, sender) = other.run(|| {
        let joiner = who.spawn(async move { who.join(handle).await.unwrap() });
        // Also with one worker, whose tasklet waits.
        (joiner, who.spawn(async move { who.send(&go, 3).await.unwrap() }))
    });
    sender.join().unwrap();
    assert_eq!(joiner.join().unwrap(), 3);
    end(one);
    end(other);
}

/// A handle is a future, in tasklets, soft ones, and on plain threads.
pub fn a_handle_is_a_future<B: Backend>(case: Case) {
    let who = case.who;
    let runtime = case.runtime::<B>();
    assert_eq!(block_on(who.spawn_in(&runtime, async { 1 })).unwrap(), 1);
    let sum = runtime.run(|| {
        let first = who.spawn(async move {
            who.give_way().await;
            1
        });
        let panicked = who.spawn::<u32>(async { fail("E") });
        let soft = Who::Soft.spawn(async move {
            assert!(panicked.await.unwrap_err().is_panic());
            first.await.unwrap() + 2
        });
        block_on(async { soft.await.unwrap() + 3 })
    });
    assert_eq!(sum, 6);
    end(runtime);
}

/// The handle comes back when the time is up, to tasklets and threads alike.
pub fn join_timeout_gives_the_handle_back<B: Backend>(case: Case) {
    let who = case.who;
    let runtime = case.runtime::<B>();
    let go = channel::<u32>();
    let waits = go.clone();
    let handle = who.spawn_in(&runtime, async move { who.recv(&waits).await.unwrap() });
    let handle = handle.join_timeout(Duration::from_millis(1)).unwrap_err();
    let value = runtime.run(|| {
        let handle = handle.join_timeout(Duration::from_millis(1)).unwrap_err();
        assert_eq!(handle.wait_timeout(Duration::ZERO), Ok(false));
        go.send(4).unwrap();
        let value = handle.join_timeout(super::setup::LIMIT).unwrap().unwrap();
        let finished = who.spawn(async { 1 });
        finished.wait().unwrap();
        assert_eq!(finished.join_timeout(Duration::ZERO).unwrap().unwrap(), 1);
        value
    });
    assert_eq!(value, 4);
    end(runtime);
}

/// Waiting for oneself is an error and not a hang.
pub fn a_tasklet_cannot_join_itself<B: Backend>(case: Case) {
    let seen = case.run::<B, _>(|| {
        let (own, seen) = (channel::<JoinHandle<()>>(), channel());
        let (mine, tell) = (own.clone(), seen.clone());
        let handle = stealing::spawn(move || {
            let handle = mine.recv().unwrap();
            let waited = handle.wait();
            let joined = handle.join().unwrap_err().park_error();
            tell.send((waited, joined)).unwrap();
        });
        own.send(handle).unwrap();
        seen.recv().unwrap()
    });
    assert_eq!(seen, (Err(ParkError::SelfJoin), Some(ParkError::SelfJoin)));
}

/// `is_finished` follows the tasklet, and never waits.
pub fn is_finished_tells_the_end<B: Backend>(case: Case) {
    let who = case.who;
    case.run::<B, _>(|| {
        let go = Flag::default();
        let waits = go.clone();
        let handle = who.spawn(async move { who.until(|| waits.is_set()).await });
        assert!(!handle.is_finished());
        go.set();
        yield_until(|| handle.is_finished());
        handle.join().unwrap();
    });
}

/// A result is dropped once: by who joins, by a handle that goes after the end, by the end that comes after the handle has gone.
pub fn results_are_dropped_once<B: Backend>(case: Case) {
    let who = case.who;
    let census = Census::default();
    case.run::<B, _>(|| {
        for large in [false, true] {
            let gate = channel::<()>();
            let spawn = || {
                let (opened, result) = (gate.clone(), census.one());
                let padding =
                    if large { [Some(census.one()), Some(census.one()), None, None] } else { [const { None }; 4] };
                who.spawn(async move {
                    who.recv(&opened).await.unwrap();
                    (result, padding)
                })
            };
            let (joined, before, after) = (spawn(), spawn(), spawn());
            let dropped = census.dropped();
            drop(before);
            assert_eq!(census.dropped(), dropped);
            (0..3).for_each(|_| gate.send(()).unwrap());
            yield_until(|| after.is_finished());
            drop(after);
            drop(joined.join().unwrap());
            yield_until(|| census.dropped() == census.made());
        }
    });
    census.assert_all_dropped();
}

/// Waiters are told in the order in which they began to wait, on one worker.
pub fn waiters_go_on_in_the_order_of_waiting<B: Backend>(case: Case) {
    let log = Log::default();
    case.run::<B, _>(|| {
        let gate = channel::<()>();
        let opened = gate.clone();
        let who = case.who;
        let handle = Arc::new(who.spawn(async move { who.recv(&opened).await.unwrap() }));
        let waiters: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let (handle, log) = (handle.clone(), log.clone());
                super::setup::spawn_parked(move |waits| {
                    waits.set();
                    handle.wait().unwrap();
                    log.add(name);
                })
            })
            .into();
        gate.send(()).unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
    log.assert("a b c");
}
