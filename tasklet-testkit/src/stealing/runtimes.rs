//! Making, entering and ending runtimes: several at once, on the application's own threads, and clear errors.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing::{self, BuildError, Handle, TaskletBuilder, WorkerThread};

use super::Case;
use super::setup::{Census, Flag, LIMIT, Log, caught_text, channel, end, fail, has_our_stacks, park_for_ever};
use crate::who::Who;

/// How many workers the runtime has that a tasklet spawned here runs in: tells runtimes apart.
fn workers_here(who: Who) -> usize {
    who.build(TaskletBuilder::new(), async { Handle::try_current().unwrap().workers() }).join().unwrap()
}

/// The message says what to do.
pub fn spawning_outside_of_a_runtime_panics_helpfully<B: Backend>(_: Case) {
    let no_runtime = "could not spawn a tasklet: there is no runtime here: spawn from a tasklet of one, or make one and use \
                      Runtime::spawn, Runtime::run or Runtime::enter";
    assert_eq!(caught_text(|| stealing::spawn(|| ())), no_runtime);
    assert_eq!(caught_text(|| stealing::spawn_async(async {})), no_runtime);
    let no_worker = "could not spawn a tasklet: no tasklet of a runtime calls, so there is no worker to stay on: use spawn, or \
                     spawn_on with a worker's number";
    assert_eq!(caught_text(|| stealing::spawn_local(|| ())), no_worker);
    for error in [stealing::try_spawn(|| ()).unwrap_err(), stealing::spawn_on(0, || ()).unwrap_err()] {
        assert!(error.is_no_runtime() && !error.is_closed(), "{error}");
    }
    assert_eq!(stealing::worker_index(), None);
}

/// Entering nests, and may be left in any order.
pub fn a_thread_enters_runtimes<B: Backend>(case: Case) {
    let (one, other) = (case.runtime::<B>(), Case { workers: case.workers + 1, ..case }.runtime::<B>());
    let outer = one.enter();
    assert_eq!(workers_here(case.who), case.workers);
    let inner = other.enter();
    assert_eq!(workers_here(case.who), case.workers + 1);
    assert!(caught_text(|| stealing::spawn_local(|| ())).contains("no worker to stay on"));
    drop(inner);
    assert_eq!(workers_here(case.who), case.workers);
    let inner = other.enter();
    drop(outer);
    assert_eq!(workers_here(case.who), case.workers + 1);
    drop(inner);
    assert!(stealing::try_spawn(|| ()).unwrap_err().is_no_runtime());
    // A tasklet spawns into its own, whatever its code has entered.
    let inside = one.run(|| {
        let _entered = other.enter();
        workers_here(case.who)
    });
    assert_eq!(inside, case.workers);
    end(one);
    end(other);
}

/// Three at once, of different sizes; the one in the middle goes first, and nobody else notices.
pub fn runtimes_are_independent<B: Backend>(case: Case) {
    let who = case.who;
    let sizes = [1, case.workers, case.workers + 1];
    let [first, middle, last] = sizes.map(|workers| Case { workers, ..case }.runtime::<B>());
    let gate = channel::<u32>();
    let waits = gate.clone();
    let waiting = who.spawn_in(&first, async move { who.recv(&waits).await.unwrap() });
    let doomed = who.spawn_in(&middle, who.stay::<()>());
    assert_eq!(last.run(|| workers_here(case.who)), case.workers + 1);
    drop(middle);
    assert!(doomed.join().unwrap_err().is_killed());
    assert!(!waiting.is_finished());
    last.run(|| gate.send(6).unwrap());
    assert_eq!(waiting.join().unwrap(), 6);
    end(last);
    assert_eq!(first.run(|| workers_here(case.who)), 1);
    end(first);
}

/// One channel joins two runtimes and a plain thread, first in, first out.
pub fn a_channel_joins_two_runtimes<B: Backend>(case: Case) {
    let who = case.who;
    let (one, other) = (case.runtime::<B>(), case.runtime::<B>());
    let (there, back) = (channel::<u32>(), channel::<u32>());
    let (numbers, doubled) = (there.clone(), back.clone());
    let producer = who.spawn_in(&one, async move {
        for number in 0..500 {
            who.send(&numbers, number).await.unwrap();
        }
        numbers.close();
    });
    let doubler = who.spawn_in(&other, async move {
        while let Ok(number) = who.recv(&there).await {
            who.send(&doubled, 2 * number).await.unwrap();
        }
        doubled.close();
    });
    let received: Vec<u32> = back.iter().collect();
    assert_eq!(received, (0..1000).step_by(2).collect::<Vec<_>>());
    producer.join().unwrap();
    doubler.join().unwrap();
    end(one);
    end(other);
}

/// `run` parks a tasklet of another runtime, gives back what its closure panics with, and is refused where it would hang.
pub fn run_is_for_code_outside<B: Backend>(case: Case) {
    let (one, other) = (case.runtime::<B>(), case.runtime::<B>());
    let borrowed = [1, 2, 3];
    let sum: i32 = one.run(|| other.run(|| borrowed.iter().sum()));
    assert_eq!(sum, 6);
    assert_eq!(caught_text(|| one.run(|| fail("of the closure"))), "of the closure");
    let text = one.run(|| caught_text(|| one.run(|| ())));
    assert!(text.contains("`run` is for code outside of the runtime"), "{text}");
    end(one);
    end(other);
}

/// Threads have names, by default and as asked; hooks are called once for each worker, on its thread.
pub fn hooks_run_once_on_each_named_thread<B: Backend>(case: Case) {
    for named in [false, true] {
        let log = Log::default();
        let (starts, stops) = (log.clone(), log.clone());
        let name = || thread::current().name().unwrap_or("?").to_owned();
        let builder = case.builder::<B>();
        let builder = if named { builder.thread_name(|index| format!("mine {index}")) } else { builder };
        let runtime = builder
            .on_start(move |index| starts.add(format!("start {index} {}", name())))
            .on_stop(move |index| stops.add(format!("stop {index} {}", name())))
            .build()
            .unwrap();
        runtime.run(|| ());
        end(runtime);
        let prefix = if named { "mine " } else { "tasklet-" };
        let both =
            |what: &str| (0..case.workers).map(|index| format!("{what} {index} {prefix}{index}")).collect::<Vec<_>>();
        let mut seen = log.take();
        seen.sort();
        assert_eq!(seen, [both("start"), both("stop")].concat());
    }
}

/// What a hook panics with disturbs nothing.
pub fn a_panicking_hook_disturbs_nothing<B: Backend>(case: Case) {
    let called = Census::default();
    let (starting, stopping) = (called.clone(), called.clone());
    let runtime = case
        .builder::<B>()
        .on_start(move |_| {
            let _one = starting.one();
            fail("a hook")
        })
        .on_stop(move |_| {
            let _one = stopping.one();
            fail("a hook")
        })
        .build()
        .unwrap();
    assert_eq!(runtime.run(|| 1), 1);
    end(runtime);
    assert_eq!(called.made(), 2 * case.workers);
}

/// The application's own threads run the workers, and come back when the runtime ends.
pub fn workers_run_on_threads_of_the_application<B: Backend>(case: Case) {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let started = threads.clone();
    let handler = move |worker: WorkerThread<B>| {
        let name = format!("application {}", worker.name());
        let index = worker.index();
        let thread = thread::Builder::new().name(name).spawn(move || {
            worker.run();
            index
        })?;
        started.lock().unwrap().push(thread);
        Ok(())
    };
    let names = Log::default();
    let of_start = names.clone();
    let runtime = case
        .builder::<B>()
        .on_start(move |_| of_start.add(thread::current().name().unwrap_or("?")))
        .spawn_handler(handler)
        .build()
        .unwrap();
    assert_eq!(runtime.run(|| workers_here(case.who)), case.workers);
    end(runtime);
    let mut names = names.take();
    names.sort();
    assert_eq!(names, (0..case.workers).map(|index| format!("application tasklet-{index}")).collect::<Vec<_>>());
    let threads = std::mem::take(&mut *threads.lock().unwrap());
    let indices: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(indices, (0..case.workers).collect::<Vec<_>>());
}

/// On scoped threads and on the one that has built it; what tasklets see of their threads is the application's.
pub fn the_thread_that_builds_works_too<B: Backend>(case: Case) {
    thread_local!(static MINE: Cell<Option<usize>> = const { Cell::new(None) });
    let log = Log::default();
    let of_start = log.clone();
    let hook = move |index| of_start.add(format!("{}", MINE.get() == Some(index)));
    let (runtime, workers) = case.builder::<B>().on_start(hook).build_unstarted().unwrap();
    let before = runtime.spawn(|| 1);
    assert!(!before.is_finished());
    let refused = runtime.spawn_on(0, || ()).unwrap_err().to_string();
    assert!(refused.starts_with("worker 0 has not started"), "{refused}");
    let here = thread::current().id();
    thread::scope(|scope| {
        let mut workers = workers.into_iter();
        let first = workers.next().unwrap();
        for worker in workers {
            scope.spawn(|| {
                MINE.set(Some(worker.index()));
                worker.run();
            });
        }
        let ends = scope.spawn(move || {
            assert_eq!(before.join().unwrap(), 1);
            for index in 0..case.workers {
                let seen = retry(|| runtime.spawn_on(index, move || (MINE.get(), thread::current().id())).ok());
                let (mine, thread) = seen.join().unwrap();
                // Elsewhere each tasklet may have a thread of its own.
                if has_our_stacks::<B>() {
                    assert_eq!((mine, thread == here), (Some(index), index == 0));
                }
            }
            end(runtime);
        });
        MINE.set(Some(first.index()));
        first.run();
        ends.join().unwrap();
        MINE.set(None);
    });
    assert_eq!(log.take(), vec!["true"; case.workers], "workers start on the threads that run them");
}

/// What `f` gives when it gives something.
fn retry<T>(f: impl Fn() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(given) = f() {
            return given;
        }
        assert!(start.elapsed() < LIMIT, "what is waited for does not happen");
        thread::yield_now();
    }
}

/// Rather than go on with fewer, and the report says which; whoever waits for a tasklet is told.
pub fn a_dropped_worker_ends_its_runtime<B: Backend>(case: Case) {
    for dropped in 0..case.workers {
        let (runtime, workers) = case.builder::<B>().build_unstarted().unwrap();
        let waits = runtime.spawn(park_for_ever::<()>);
        let mut threads = Vec::new();
        let mut given_up = None;
        for worker in workers {
            if worker.index() == dropped {
                given_up = Some(worker);
            } else {
                threads.push(thread::spawn(move || worker.run()));
            }
        }
        drop(given_up);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(waits.join().unwrap_err().is_killed());
        assert!(!runtime.is_open());
        let report = runtime.shutdown(LIMIT);
        assert_eq!(report.missing.len(), 1, "{report}");
        let text = format!("worker {dropped} was dropped, or panicked, before it had started");
        assert!(!report.is_clean() && report.to_string().contains(&text), "{report}");
    }
}

/// Whoever spawns meanwhile is refused, or told that the tasklet was killed: none is left where nobody comes for it.
pub fn spawns_race_with_the_last_worker_that_is_dropped<B: Backend>(case: Case) {
    for _ in 0..50 {
        let (runtime, workers) = case.builder::<B>().build_unstarted().unwrap();
        let handle = runtime.handle();
        let begun = Flag::default();
        let told = begun.clone();
        let spawns = thread::spawn(move || {
            let mut spawned = Vec::new();
            while let Ok(one) = handle.try_spawn(|| ()) {
                spawned.push(one);
                told.set();
            }
            spawned
        });
        retry(|| begun.is_set().then_some(()));
        drop(workers);
        for one in spawns.join().unwrap() {
            let ended = one.join_timeout(LIMIT).expect("it is not forgotten");
            assert!(ended.unwrap_err().is_killed());
        }
    }
}

/// Also of those that are run later, or never.
pub fn a_runtime_ends_without_those_that_never_came<B: Backend>(case: Case) {
    let (runtime, mut workers) = case.builder::<B>().build_unstarted().unwrap();
    let census = Census::default();
    let one = census.one();
    let never = runtime.spawn(move || drop(one));
    let comes = if case.workers > 1 { workers.pop() } else { None };
    let came = comes.map(|worker| thread::spawn(move || worker.run()));
    if came.is_some() {
        never.join().unwrap();
    } else {
        drop(never);
    }
    end(runtime);
    census.assert_all_dropped();
    workers.into_iter().for_each(WorkerThread::run);
    came.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Nobody hangs, and nothing is left, whoever is first.
pub fn workers_that_come_race_with_the_end<B: Backend>(case: Case) {
    for round in 0..200 {
        let (runtime, workers) = case.builder::<B>().build_unstarted().unwrap();
        let census = Census::default();
        let one = census.one();
        let spawned = runtime.spawn(move || drop(one));
        let threads: Vec<_> = workers.into_iter().map(|worker| thread::spawn(move || worker.run())).collect();
        (0..round % 20).for_each(|_| thread::yield_now());
        end(runtime);
        let _ = spawned.join();
        census.assert_all_dropped();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Starts the workers on threads of its own, up to one that fails in the given way; returns the error when all threads have ended.
fn build_fails<B: Backend>(case: Case, fail: fn(WorkerThread<B>) -> io::Result<()>) -> BuildError {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let started = threads.clone();
    let handler = move |worker: WorkerThread<B>| {
        if worker.index() == case.workers - 1 {
            return fail(worker);
        }
        started.lock().unwrap().push(thread::spawn(move || worker.run()));
        Ok(())
    };
    let error = case.builder::<B>().spawn_handler(handler).build().unwrap_err();
    for thread in std::mem::take(&mut *threads.lock().unwrap()) {
        thread.join().unwrap();
    }
    error
}

/// The error names the worker and the cause, and the workers that have started end.
pub fn a_spawn_handler_that_fails_fails_the_build<B: Backend>(case: Case) {
    let error = build_fails::<B>(case, |_| Err(io::Error::other("no more threads")));
    assert!(error.is_thread() && !error.is_invalid() && !error.is_stack(), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("the thread of worker {} could not be started", case.workers - 1)), "{text}");
    assert!(text.contains("no more threads"), "{text}");
    assert!(std::error::Error::source(&error).is_some());
}

/// A handler that drops what it should have run fails the build as well, rather than leave it waiting.
pub fn a_worker_that_is_given_up_fails_the_build<B: Backend>(case: Case) {
    let error = build_fails::<B>(case, |worker| {
        drop(worker);
        Ok(())
    });
    assert!(error.is_thread(), "{error}");
    let elsewhere = build_fails::<B>(case, |worker| {
        thread::spawn(move || drop(worker));
        Ok(())
    });
    assert!(elsewhere.to_string().contains(&format!("worker {}", case.workers - 1)), "{elsewhere}");
}

/// Numbers that make no sense are told before anything is started.
pub fn absurd_numbers_are_refused<B: Backend>(case: Case) {
    let started = Flag::default();
    let builder = || {
        let started = started.clone();
        case.builder::<B>().on_start(move |_| started.set())
    };
    let errors = [
        (builder().workers(0), "a runtime needs at least one worker"),
        (builder().workers(1 << 20), "a runtime has at most 4096 workers, not 1048576"),
        (builder().max_blocking_threads(0), "blocking calls need at least one thread"),
    ];
    for (builder, text) in errors {
        let error = builder.build().unwrap_err();
        assert!(error.is_invalid() && !error.is_thread() && !error.is_stack());
        assert_eq!(error.to_string(), text);
    }
    assert!(!started.is_set());
}

/// A ceiling under which not even the workers' first stacks fit is an error of the build.
pub fn a_ceiling_without_room_for_the_workers_fails_the_build<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let error = case.builder::<B>().stack_ceiling(16 << 10).build().unwrap_err();
    assert!(error.is_stack() && !error.is_invalid(), "{error}");
    assert!(error.to_string().contains("does not fit under the ceiling of 16384 bytes"), "{error}");
}
