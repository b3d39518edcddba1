//! Kills: of tasklets in every state, what they do to locals, values and waiters, and what survives them.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_core::unwind::is_tasklet_exit;
use tasklet_scheduler::stealing;

use super::Case;
use super::setup::{Census, Flag, LIMIT, Log, caught, channel, end, ignore, park_for_ever, spawn_parked, yield_until};
use crate::who::Who;

#[track_caller]
fn assert_killed<T>(handle: JoinHandle<T>) {
    match handle.join() {
        Ok(_) => panic!("it was not killed"),
        Err(error) => assert!(error.is_killed() && !error.is_panic(), "{error}"),
    }
}

/// One that nobody has started never runs, and its closure is dropped by the kill.
pub fn a_new_tasklet_that_is_killed_never_runs<B: Backend>(case: Case) {
    let who = case.who;
    let (census, ran) = (Census::default(), Flag::default());
    case.run::<B, _>(|| {
        for large in [false, true] {
            let (captured, runs) = (census.one(), ran.clone());
            let padding = if large { [7u64; 32] } else { [0; 32] };
            let small = who.spawn(async move {
                runs.set();
                drop(captured);
            });
            let (captured, runs) = (census.one(), ran.clone());
            let padded = who.spawn(async move {
                runs.set();
                drop((captured, padding));
            });
            for handle in [small, padded] {
                handle.kill();
                assert!(handle.is_finished());
                assert_killed(handle);
            }
            who.settles(|| census.dropped() == census.made());
        }
    });
    assert!(!ran.is_set());
}

/// The same for those of one worker alone: it drops the closure.
pub fn a_new_local_tasklet_that_is_killed_never_runs<B: Backend>(case: Case) {
    let (census, ran) = (Census::default(), Flag::default());
    case.run::<B, _>(|| {
        let (captured, runs) = (Rc::new(census.one()), ran.clone());
        let kept = captured.clone();
        let local = stealing::spawn_local(move || {
            runs.set();
            drop(captured);
        });
        let (captured, runs) = (census.one(), ran.clone());
        let here = stealing::spawn_on(stealing::worker_index().unwrap(), move || {
            runs.set();
            drop(captured);
        });
        local.kill();
        let here = here.unwrap();
        here.kill();
        assert_killed(local);
        assert_killed(here);
        assert_eq!(Rc::strong_count(&kept), 1);
    });
    assert!(!ran.is_set());
    census.assert_all_dropped();
}

/// Spawn and kill race with the workers: each closure runs or does not, and is dropped once in any case.
pub fn kills_race_with_starts<B: Backend>(case: Case) {
    let who = case.who;
    let (census, runtime) = (Census::default(), case.runtime::<B>());
    let (mut ran, mut killed) = (0, 0);
    for round in 0..1_000 {
        let captured = census.one();
        let handle = who.spawn_in(&runtime, async move {
            let _captured = captured;
            who.give_way().await;
        });
        if round % 2 == 0 {
            std::thread::yield_now();
        }
        handle.kill();
        match handle.join() {
            Ok(()) => ran += 1,
            Err(error) => {
                assert!(error.is_killed(), "{error}");
                killed += 1;
            }
        }
    }
    end(runtime);
    assert_eq!(ran + killed, 1_000);
    census.assert_all_dropped();
}

/// Wherever it waits: in a channel either way, asleep, in a join, parked; and its locals are dropped in order.
pub fn a_waiting_tasklet_is_killed_where_it_waits<B: Backend>(case: Case) {
    let (log, who) = (Log::default(), case.who);
    case.run::<B, _>(|| {
        let values = channel::<u32>();
        let (receiving, sending) = (values.clone(), channel::<u32>());
        let (sent, joined, here) = (sending.clone(), Census::default(), Flag::default());
        let (one, is_here) = (joined.one(), here.clone());
        let other = who.spawn(async move {
            let _one = one;
            is_here.set();
            who.stay::<()>().await;
        });
        here.wait();
        let mut waits: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = vec![
            Box::pin(async move { ignore(who.recv(&receiving).await) }),
            Box::pin(async move { ignore(who.send(&sent, 1).await) }),
            Box::pin(who.sleep(LIMIT)),
            Box::pin(async move { ignore(who.join(other).await) }),
            Box::pin(who.stay()),
        ];
        if who == Who::Stackful {
            waits.push(Box::pin(async { ignore(stealing::park_timeout(LIMIT)) }));
        }
        for wait in waits {
            let (log_of_victim, gone) = (log.clone(), Census::default());
            let last = gone.one();
            let victim = who.spawn_parked(|waits| async move {
                let _last = last;
                let _first = log_of_victim.on_drop("first");
                let _second = log_of_victim.on_drop("second");
                waits.set();
                wait.await;
                log_of_victim.add("went on");
            });
            victim.kill();
            assert_killed(victim);
            who.settles(|| gone.dropped() == 1);
            log.assert("second first");
        }
        assert_eq!((values.balance(), sending.balance(), joined.dropped()), (0, 0, 0));
    });
}

/// From a plain thread, and from another runtime.
pub fn a_kill_comes_from_anywhere<B: Backend>(case: Case) {
    let who = case.who;
    let (runtime, other) = (case.runtime::<B>(), case.runtime::<B>());
    for from_thread in [false, true] {
        let started = Flag::default();
        let runs = started.clone();
        let victim = who.spawn_in(&runtime, async move {
            runs.set();
            who.stay::<()>().await;
        });
        started.spin();
        if from_thread {
            victim.kill();
        } else {
            other.run(|| victim.kill());
        }
        assert_killed(victim);
    }
    end(runtime);
    end(other);
}

/// A tasklet that kills itself goes on to its next scheduling point.
pub fn a_tasklet_kills_itself<B: Backend>(case: Case) {
    let who = case.who;
    let log = Log::default();
    case.run::<B, _>(|| {
        let own = channel::<JoinHandle<()>>();
        let (mine, log, back) = (own.clone(), log.clone(), channel());
        let give_back = back.clone();
        let handle = who.spawn(async move {
            let handle = who.recv(&mine).await.unwrap();
            handle.kill();
            log.add("still here");
            who.send(&give_back, handle).await.unwrap_or_else(|_| unreachable!("the channel is open"));
            who.give_way().await;
            log.add("not here");
        });
        own.send(handle).unwrap();
        // Its send may be the scheduling point; then the handle is gone with it.
        let waiting = stealing::timeout(Duration::from_millis(200), || back.recv().unwrap());
        if let Ok(handle) = waiting {
            assert_killed(handle);
        }
    });
    log.assert("still here");
}

/// A kill after the end changes nothing: the result is there. A second kill is no more than the first.
pub fn kills_after_the_end_have_no_effect<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let who = case.who;
        let finished = who.spawn(async { 5 });
        finished.wait().unwrap();
        finished.kill();
        finished.kill();
        assert_eq!(finished.join().unwrap(), 5);

        let census = Census::default();
        let one = census.one();
        let victim = who.spawn_parked(|waits| async move {
            let _one = one;
            waits.set();
            who.stay::<()>().await;
        });
        victim.kill();
        victim.kill();
        assert_killed(victim);
        who.settles(|| census.dropped() == 1);
    });
}

/// A tasklet may catch the exit and live on; it can be killed again.
pub fn a_tasklet_that_catches_its_kill_lives_on<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let (caught_it, go) = (channel::<()>(), channel::<()>());
        let (tell, waits) = (caught_it.clone(), go.clone());
        let survivor = spawn_parked(move |parked| {
            parked.set();
            let payload = caught(park_for_ever::<()>).unwrap_err();
            assert!(is_tasklet_exit(&payload));
            tell.send(()).unwrap();
            waits.recv().unwrap();
            stealing::yield_now();
            stealing::sleep(Duration::from_micros(10));
            5
        });
        survivor.kill();
        caught_it.recv().unwrap();
        assert!(!survivor.is_finished());
        go.send(()).unwrap();
        assert_eq!(survivor.join().unwrap(), 5);

        let count = Census::default();
        let catches = count.clone();
        let stubborn = spawn_parked(move |parked| {
            parked.set();
            for _ in 0..3 {
                assert!(caught(park_for_ever::<()>).is_err());
                drop(catches.one());
            }
            park_for_ever::<()>();
        });
        for kills in 1..=3 {
            stubborn.kill();
            yield_until(|| count.made() == kills);
        }
        stubborn.kill();
        assert_killed(stubborn);
        assert_eq!(count.made(), 3);
    });
}

/// The exit passes through frames that catch panics and raise them again.
pub fn a_kill_passes_through_catch_unwind<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let log = Log::default();
        let inner = log.clone();
        let victim = spawn_parked(move |waits| {
            let result = caught(|| {
                let _guard = inner.on_drop("inner");
                waits.set();
                park_for_ever::<()>();
            });
            inner.add("caught");
            result.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        });
        victim.kill();
        assert_killed(victim);
        log.assert("inner caught");
    });
}

/// A call of `blocking` is not cut short: the kill takes effect when it has returned, and what it borrows is whole until then.
pub fn a_kill_waits_for_a_blocking_call<B: Backend>(case: Case) {
    let (log, started, go) = (Log::default(), Flag::default(), Flag::default());
    case.run::<B, _>(|| {
        let (inner, starts, waits) = (log.clone(), started.clone(), go.clone());
        let victim = stealing::spawn(move || {
            let _guard = inner.on_drop("unwound");
            let mut borrowed = vec![1, 2, 3];
            let result = stealing::blocking(|| {
                starts.set();
                waits.spin();
                borrowed.push(4);
                inner.add(format!("{borrowed:?}"));
                inner.on_drop("result")
            });
            drop(result);
            inner.add("went on");
        });
        started.wait();
        victim.kill();
        (0..100).for_each(|_| stealing::yield_now());
        assert!(!victim.is_finished());
        log.assert("");
        go.set();
        assert_killed(victim);
    });
    log.assert("[1, 2, 3, 4] result unwound");
}

/// What both closures of a `join` do is over before the kill of their caller is raised; the second one is dropped in any case.
pub fn a_kill_waits_for_both_halves_of_a_join<B: Backend>(case: Case) {
    let log = Log::default();
    let census = Census::default();
    case.run::<B, _>(|| {
        for _ in 0..20 {
            let (inner, captured) = (log.clone(), census.one());
            let (in_first, in_second) = (Flag::default(), Flag::default());
            let (first_runs, second_runs) = (in_first.clone(), in_second.clone());
            let victim = stealing::spawn(move || {
                let borrowed = inner.on_drop("borrowed");
                let first = || {
                    first_runs.set();
                    park_for_ever::<()>();
                };
                let second = || {
                    second_runs.set();
                    for _ in 0..5 {
                        stealing::yield_now();
                    }
                    borrowed.add("second");
                    drop(captured);
                };
                stealing::join(first, second);
                inner.add("went on");
            });
            in_first.wait();
            victim.kill();
            assert_killed(victim);
            log.assert(if in_second.is_set() { "second borrowed" } else { "borrowed" });
        }
    });
    census.assert_all_dropped();
}

/// A value that was handed to a receiver which is killed is dropped once; one that was not stays the sender's.
pub fn a_value_for_a_killed_receiver_is_dropped_once<B: Backend>(case: Case) {
    let who = case.who;
    let census = Census::default();
    let (mut received, mut lost, mut returned) = (0, 0, 0);
    case.run::<B, _>(|| {
        for round in 0..300 {
            let values = channel();
            let source = values.clone();
            let receiver = who.spawn(async move { who.recv(&values).await.unwrap() });
            yield_until(|| source.balance() == -1);
            let killer = || {
                if round % 2 == 0 {
                    stealing::yield_now();
                }
                receiver.kill();
            };
            if round % 3 == 0 {
                killer();
            }
            let sent = source.try_send(census.one());
            if round % 3 != 0 {
                killer();
            }
            match (sent, receiver.join()) {
                (Ok(()), Ok(value)) => {
                    drop(value);
                    received += 1;
                }
                (Ok(()), Err(error)) => {
                    assert!(error.is_killed());
                    lost += 1;
                }
                (Err(error), Err(_)) => {
                    drop(error.into_inner());
                    returned += 1;
                }
                (Err(_), Ok(_)) => unreachable!("a value was received that nobody has sent"),
            }
        }
    });
    census.assert_all_dropped();
    assert_eq!((census.made(), received + lost + returned), (300, 300));
}

/// A sender that is killed while it waits takes its value along; receivers get those of the others, in order.
pub fn a_killed_senders_value_is_dropped_once<B: Backend>(case: Case) {
    let who = case.who;
    let census = Census::default();
    case.run::<B, _>(|| {
        let values = channel();
        let senders: Vec<_> = (0..10)
            .map(|number| {
                let (values, value) = (values.clone(), census.one());
                let sender = who.spawn({
                    let values = values.clone();
                    async move { drop(who.send(&values, (number, value)).await) }
                });
                yield_until(|| values.balance() == number + 1);
                sender
            })
            .collect();
        for sender in senders.iter().step_by(3) {
            sender.kill();
            sender.wait().unwrap();
        }
        who.settles(|| census.dropped() == 4);
        let received: Vec<isize> = (0..6).map(|_| values.recv().unwrap().0).collect();
        assert_eq!(received, [1, 2, 4, 5, 7, 8]);
    });
    census.assert_all_dropped();
}
