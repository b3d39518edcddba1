//! The end of a runtime: what it kills, waits for, drops, leaks, and says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, PanicPolicy, TaskletBuilder};

use super::Case;
use super::setup::{
    Census, Flag, LIMIT, Log, caught, caught_text, channel, end, fail, has_our_stacks, park_for_ever, spin_until,
};
use crate::who::Who;

/// Everything that waits is killed, wherever it waits, and everything is dropped once; the report says that all is well.
pub fn shutdown_kills_what_waits<B: Backend>(case: Case) {
    let (census, begun, who) = (Census::default(), Census::default(), case.who);
    let runtime = case.runtime::<B>();
    let values = channel::<u32>();
    let mut waiting = Vec::new();
    for kind in 0..60 {
        let (one, captured, values, begun) = (census.one(), census.one(), values.clone(), begun.clone());
        let builder = TaskletBuilder::new().on(&runtime);
        // Scopes lend the stack.
        let (who, builder) = if kind % 5 == 3 { (Who::Stackful, builder.stackful()) } else { (who, builder) };
        let spawned = who.build(builder, async move {
            let _one = one;
            let _begun = begun.one();
            let child = begun.clone();
            match kind % 5 {
                0 => drop(who.recv(&values).await),
                1 => who.sleep(LIMIT).await,
                2 => {
                    let child = who.spawn(async move {
                        let _begun = child.one();
                        who.stay::<()>().await;
                    });
                    drop(who.join(child).await);
                }
                3 => {
                    stealing::scope(|scope| {
                        scope.spawn(move || {
                            let _begun = child.one();
                            park_for_ever::<()>();
                        });
                    });
                }
                _ => loop {
                    who.give_way().await;
                },
            }
            drop(captured);
        });
        waiting.push(spawned);
    }
    // With the two dozen that they spawn: whoever spawns when the runtime ends already finds a child that was killed, and need not wait.
    spin_until(|| begun.made() == 60 + 24);
    let handle = runtime.handle();
    let report = runtime.shutdown(LIMIT);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.to_string(), "everything has ended");
    assert_eq!(values.balance(), 0);
    for waiting in waiting {
        assert!(waiting.join().unwrap_err().is_killed());
    }
    census.assert_all_dropped();
    let metrics = handle.metrics();
    assert_eq!((metrics.queued, metrics.leaked, metrics.stacks.live), (0, 0, 0));
}

/// Dropping a runtime does the same, without a limit.
pub fn dropping_a_runtime_ends_it<B: Backend>(case: Case) {
    let who = case.who;
    let census = Census::default();
    let runtime = case.runtime::<B>();
    let handle = runtime.handle();
    let one = census.one();
    let waiting = who.spawn_in(&runtime, async move {
        let _one = one;
        who.stay::<()>().await;
    });
    spin_until(|| handle.metrics().started >= 1);
    drop(runtime);
    census.assert_all_dropped();
    assert!(waiting.join().unwrap_err().is_killed());
    assert!(!handle.is_open());
}

/// One that catches every kill is leaked, counted, and named; everybody else ends.
pub fn a_tasklet_that_catches_every_kill_is_leaked<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let handle = runtime.handle();
    let kills = Census::default();
    let catches = kills.clone();
    let started = Flag::default();
    let starts = started.clone();
    let line = line!() + 1;
    let stubborn = TaskletBuilder::new().name("stubborn").on(&runtime).spawn(move || -> () {
        starts.set();
        loop {
            assert!(caught(park_for_ever::<()>).is_err());
            drop(catches.one());
        }
    });
    let meek = runtime.spawn(park_for_ever::<()>);
    started.spin();
    let report = runtime.shutdown(LIMIT);
    assert!(!report.is_clean());
    assert_eq!((report.leaked, report.workers, report.blocking), (1, 0, 0));
    let [unfinished] = &report.unfinished[..] else { panic!("{report}") };
    assert_eq!(unfinished.name.as_deref(), Some("stubborn"));
    assert_eq!(unfinished.id, stubborn.id().get());
    let site = unfinished.site.unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
    assert!(report.to_string().contains("`stubborn` spawned at "), "{report}");
    // Ten times since the last one that gave in.
    assert!((10..=30).contains(&kills.made()), "{} kills", kills.made());
    assert!(meek.join().unwrap_err().is_killed());
    assert_eq!(handle.metrics().leaked, 1);
    if has_our_stacks::<B>() {
        let stacks = handle.metrics().stacks;
        assert_eq!((stacks.live, stacks.leaked), (0, 1));
    }
    drop(stubborn);
}

/// One that computes is named when the time is up; its worker ends when it comes back.
pub fn a_tasklet_that_computes_on_is_named<B: Backend>(case: Case) {
    let (started, go, stopped) = (Flag::default(), Flag::default(), Census::default());
    let stops = stopped.clone();
    let runtime = case.builder::<B>().on_stop(move |_| drop(stops.one())).build().unwrap();
    let (starts, waits) = (started.clone(), go.clone());
    let busy = TaskletBuilder::new().name("busy").on(&runtime).spawn(move || {
        starts.set();
        waits.spin();
        5
    });
    started.spin();
    let report = runtime.shutdown(Duration::from_millis(20));
    assert_eq!((report.workers, report.leaked), (1, 0), "{report}");
    let [unfinished] = &report.unfinished[..] else { panic!("{report}") };
    assert_eq!((unfinished.name.as_deref(), unfinished.id), (Some("busy"), busy.id().get()));
    assert_eq!(stopped.made(), case.workers - 1);
    go.set();
    assert_eq!(busy.join().unwrap(), 5);
    spin_until(|| stopped.made() == case.workers);
}

/// A call of `blocking` that has not come back is counted.
pub fn a_blocking_call_that_goes_on_is_counted<B: Backend>(case: Case) {
    let (started, go) = (Flag::default(), Flag::default());
    let runtime = case.runtime::<B>();
    let (starts, waits) = (started.clone(), go.clone());
    let waiting = runtime.spawn(move || {
        stealing::blocking(|| {
            starts.set();
            waits.spin();
        });
    });
    started.spin();
    let handle = runtime.handle();
    let report = runtime.shutdown(Duration::from_millis(20));
    assert!(report.blocking == 1 && !report.is_clean(), "{report}");
    go.set();
    spin_until(|| handle.metrics().blocking.threads == 0);
    drop(waiting);
}

/// A runtime cannot wait for its own tasklet; it says so, and ends by itself.
pub fn a_runtime_cannot_be_ended_by_its_own_tasklet<B: Backend>(case: Case) {
    let who = case.who;
    for shut_down in [false, true] {
        let stopped = Census::default();
        let stops = stopped.clone();
        let runtime = case.builder::<B>().on_stop(move |_| drop(stops.one())).build().unwrap();
        let (handle, own) = (runtime.handle(), channel());
        let mine = own.clone();
        let ends_it = who.spawn_in(&handle, async move {
            let runtime: stealing::Runtime<B> = who.recv(&mine).await.unwrap();
            caught_text(|| if shut_down { drop(runtime.shutdown(LIMIT)) } else { drop(runtime) })
        });
        own.send(runtime).unwrap_or_else(|_| unreachable!("the channel is open"));
        let text = ends_it.join().unwrap();
        assert!(text.starts_with("a runtime cannot be ended by one of its own tasklets"), "{text}");
        assert!(!handle.is_open());
        spin_until(|| stopped.made() == case.workers);
    }
}

/// What is spawned while the runtime ends, or after, counts as killed; those who ask are told.
pub fn spawning_into_an_ending_runtime_counts_as_killed<B: Backend>(case: Case) {
    struct Spawns(Arc<Mutex<Vec<JoinHandle<()>>>>, Census, Who);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let (one, other) = (self.1.one(), self.1.one());
            let handles = [self.2.spawn(async move { drop(one) }), stealing::spawn_local(move || drop(other))];
            self.0.lock().unwrap().extend(handles);
            assert!(stealing::try_spawn(|| ()).unwrap_err().is_closed());
        }
    }
    let (late, census) = (Arc::new(Mutex::new(Vec::new())), Census::default());
    let runtime = case.runtime::<B>();
    let handle = runtime.handle();
    let (spawned, counted, started) = (late.clone(), census.clone(), Flag::default());
    let starts = started.clone();
    // With a stack: the future of a soft tasklet that waits is dropped when the workers have gone, and there is no runtime there.
    let who = case.who;
    let waiting = runtime.spawn(move || {
        let _spawns = Spawns(spawned, counted, who);
        starts.set();
        park_for_ever::<()>();
    });
    started.spin();
    end(runtime);
    assert!(waiting.join().unwrap_err().is_killed());
    let late = std::mem::take(&mut *late.lock().unwrap());
    assert_eq!(late.len(), 2);
    for late in late {
        assert!(late.join().unwrap_err().is_killed());
    }
    let one = census.one();
    assert!(handle.spawn(move || drop(one)).join().unwrap_err().is_killed());
    let one = census.one();
    assert!(handle.spawn_async(async move { drop(one) }).join().unwrap_err().is_killed());
    census.assert_all_dropped();
    assert!(handle.try_spawn(|| ()).unwrap_err().is_closed());
    assert!(handle.spawn_on(0, || ()).unwrap_err().is_closed());
    assert_eq!(handle.try_spawn(|| ()).unwrap_err().to_string(), "the runtime is ending and takes no more tasklets");
}

/// A tasklet that catches its kill and cleans up finds that what it calls still comes to an end: children count as killed, both halves
/// of a `join` run, blocking calls, sleeps and yields return.
pub fn an_ending_runtime_hangs_nobody_who_cleans_up<B: Backend>(case: Case) {
    let (log, census) = (Log::default(), Census::default());
    let runtime = case.runtime::<B>();
    let started = Flag::default();
    let (starts, inner, counted) = (started.clone(), log.clone(), census.clone());
    let cleans_up = runtime.spawn(move || {
        starts.set();
        assert!(caught(park_for_ever::<()>).is_err());
        let _mask = stealing::mask();
        let child = stealing::scope(|scope| {
            let (one, other) = (counted.one(), counted.one());
            scope.spawn(move || drop(other));
            scope.spawn(move || drop(one)).join()
        });
        inner.add(format!("{}", child.unwrap_err()));
        inner.add(format!("{:?}", stealing::join(|| 1, || 2)));
        inner.add(stealing::blocking(|| "blocking"));
        stealing::sleep(Duration::from_micros(100));
        stealing::yield_now();
        stealing::park_timeout(Duration::from_micros(100)).unwrap();
        inner.add("end");
    });
    started.spin();
    end(runtime);
    cleans_up.join().unwrap();
    census.assert_all_dropped();
    assert_eq!(log.take(), ["the tasklet was killed", "(1, 2)", "blocking", "end"]);
}

/// What nobody has started is dropped and never runs.
pub fn unstarted_closures_are_dropped<B: Backend>(case: Case) {
    let (census, ran, ready) = (Census::default(), Flag::default(), Flag::default());
    let runtime = case.runtime::<B>();
    let handle = runtime.handle();
    let (counted, runs, is_ready) = (census.clone(), ran.clone(), ready.clone());
    let unstarted = handle.clone().spawn_on(0, move || {
        let spawn = |kind: u32| {
            let (one, runs) = (counted.one(), runs.clone());
            let body = move || {
                runs.set();
                drop(one);
            };
            match kind {
                0 => stealing::spawn_local(body),
                1 => stealing::spawn_on(0, body).unwrap(),
                // Stolen, if there is somebody.
                _ => case.who.spawn(async move { body() }),
            }
        };
        let kinds = if case.workers == 1 { 3 } else { 2 };
        let handles: Vec<_> = (0..90).map(|number| spawn(number % kinds)).collect();
        is_ready.set();
        // No scheduling point before the runtime ends.
        spin_until(|| !handle.is_open());
        handles
    });
    ready.spin();
    end(runtime);
    let unstarted = unstarted.unwrap().join().unwrap();
    assert_eq!(unstarted.len(), 90);
    for handle in unstarted {
        assert!(handle.join().unwrap_err().is_killed());
    }
    assert!(!ran.is_set());
    census.assert_all_dropped();
}

/// A destructor may hand values to others while its runtime ends.
pub fn a_destructor_sends_while_its_runtime_ends<B: Backend>(case: Case) {
    let who = case.who;
    struct Sends(tasklet_channels::SharedChannel<u32>);
    impl Drop for Sends {
        fn drop(&mut self) {
            self.0.send(7).unwrap();
            assert!(self.0.try_send(8).unwrap_err().is_would_block());
        }
    }
    // In some rounds only is it a helper that drops the future, and the kill of all is for that too.
    for _ in 0..20 {
        let (values, started) = (channel::<u32>(), Flag::default());
        let (sends, starts) = (values.clone(), started.clone());
        let receiver = {
            let values = values.clone();
            std::thread::spawn(move || values.recv())
        };
        spin_until(|| values.balance() == -1);
        let runtime = case.runtime::<B>();
        let waiting = who.spawn_in(&runtime, async move {
            let _sends = Sends(sends);
            starts.set();
            who.stay::<()>().await;
        });
        started.spin();
        end(runtime);
        assert!(waiting.join().unwrap_err().is_killed());
        assert_eq!(values.balance(), 0, "nobody has sent anything");
        assert_eq!(receiver.join().unwrap(), Ok(7));
    }
}

/// When everything has ended, the figures add up.
pub fn the_figures_add_up<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let handle = runtime.handle();
    let outside: Vec<_> = (0..50).map(|_| runtime.spawn(stealing::yield_now)).collect();
    runtime.run(|| {
        let mut handles: Vec<_> = (0..200).map(|_| stealing::spawn(|| ())).collect();
        handles.extend((0..20).map(|_| stealing::spawn_local(stealing::yield_now)));
        handles.extend((0..20).map(|number| stealing::spawn_on(number % case.workers, || ()).unwrap()));
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert!(stealing::spawn(|| -> () { fail("E") }).join().is_err());
        let killed = super::setup::spawn_parked(|waits| {
            waits.set();
            park_for_ever::<()>();
        });
        killed.kill();
        assert!(killed.join().is_err());
    });
    outside.into_iter().for_each(|handle| handle.join().unwrap());
    end(runtime);
    let metrics = handle.metrics();
    // Those of this test, the closure that was run, one that fails, one that is killed.
    assert_eq!((metrics.spawned, metrics.started, metrics.finished), (293, 293, 293), "{metrics:?}");
    assert_eq!((metrics.queued, metrics.leaked, metrics.sleeping, metrics.polled), (0, 0, 0, 0));
}

/// Many runtimes, each with work in the middle of its life when it ends: none hangs, nothing is left.
pub fn ending_at_any_time_leaves_nothing<B: Backend>(case: Case) {
    let who = case.who;
    let census = Census::default();
    for round in 0..30 {
        let runtime = case.runtime::<B>();
        let values = channel::<super::setup::Counted>();
        for number in 0..20 {
            let (values, counted) = (values.clone(), census.clone());
            drop(who.spawn_in(&runtime, async move {
                for _ in 0..10 {
                    if number % 2 == 0 {
                        drop(who.send(&values, counted.one()).await);
                    } else {
                        drop(who.recv(&values).await);
                    }
                    let child = counted.one();
                    drop(who.spawn(async move { drop(child) }));
                }
            }));
        }
        (0..round * 20).for_each(|_| std::hint::spin_loop());
        end(runtime);
    }
    census.assert_all_dropped();
}

/// With the policy that asks for it, a panic ends the process and says whose it was; a kill does not.
pub fn a_panic_aborts_if_the_policy_says_so<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        let runtime = case.builder::<B>().panic_policy(PanicPolicy::Abort).build().unwrap();
        let who = case.who;
        let killed = who.spawn_in(&runtime, who.stay::<()>());
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        eprintln!("the kill is over");
        let doomed = who.build(TaskletBuilder::new().name("doomed").on(&runtime), async {
            fail("on purpose");
        });
        let _ = doomed.join();
        eprintln!("still here");
    });
    assert_eq!(ended.signal, Some(libc::SIGABRT), "{ended:?}");
    let said = &ended.stderr;
    assert!(said.contains("the kill is over") && !said.contains("still here"), "{said}");
    assert!(said.contains("`doomed`, spawned at ") && said.contains(file!()), "{said}");
    assert!(said.contains("panicked: on purpose; aborting, as the panic policy says"), "{said}");
}
