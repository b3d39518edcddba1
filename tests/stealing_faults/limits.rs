//! What the system refuses becomes an error that says so, and the runtime goes on with what it has.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tasklet::backend::{self, Backend, StackProvision};
use tasklet::stack::StackSize;
use tasklet::stealing::{self, BuildError, Builder, Runtime, TaskletBuilder, blocking, yield_now};

use crate::child;
use crate::support::{Dropped, Watchdog, runtime};

const MIB: usize = 1 << 20;

/// The stack of a thread of the child: so large that a limit which stops it leaves room for everything else. (The standard library ends the
/// process if a thread that has its stack finds no room for its signal stack.)
const THREAD_STACK: usize = 256 * MIB;

fn has_our_stacks() -> bool {
    backend::Default::STACKS == StackProvision::Ours
}

/// Leaves so many bytes of address space to this process.
fn leave(bytes: usize) {
    let pages: usize = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    let limit = (pages * 4096 + bytes) as u64;
    let bounds = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `bounds` is live for the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &bounds) }, 0);
}

/// Runs the test `name` of this file in a child whose threads have large stacks.
#[track_caller]
fn in_child(name: &str) {
    let test = format!("limits::{name}");
    // One arena: the C library would reserve 64 MiB for each thread.
    let environment = [("RUST_MIN_STACK", &*THREAD_STACK.to_string()), ("MALLOC_ARENA_MAX", "1")];
    let (output, text) = child::run_with(&test, "child", &environment);
    assert!(output.status.success(), "{:?}: {text}", output.status);
    assert!(text.contains("done as expected"), "{text}");
}

/// Sanitizers reserve terabytes beforehand and could not live under any limit.
fn is_instrumented() -> bool {
    std::env::var_os("TASKLET_TEST_QUICK").is_some()
}

fn error(result: Result<Runtime, BuildError>) -> (BuildError, String) {
    let error = result.expect_err("it was built all the same");
    let text = error.to_string();
    (error, text)
}

/// What could not be had has left nothing behind: its threads end, after a moment, and two have room again.
fn there_is_room_in_the_end() {
    let _watchdog = Watchdog::new(|| "threads were left behind".to_owned());
    let runtime = loop {
        match Builder::new().workers(2).build() {
            Ok(runtime) => break runtime,
            Err(error) => assert!(error.is_thread(), "{error}"),
        }
    };
    assert_eq!(runtime.run(|| 6 * 7), 42);
}

#[test]
fn threads_that_cannot_be_had_are_an_error_and_leave_nothing_behind() {
    if is_instrumented() {
        return;
    }
    if child::role().is_none() {
        return in_child("threads_that_cannot_be_had_are_an_error_and_leave_nothing_behind");
    }
    leave(THREAD_STACK * 5 / 2);
    let (error, text) = error(Builder::new().workers(8).build());
    assert!(error.is_thread(), "{text}");
    assert!(text.contains("worker 2 could not be started") && text.contains("raise the limit"), "{text}");
    assert!(std::error::Error::source(&error).is_some());
    there_is_room_in_the_end();
    eprintln!("done as expected");
}

#[test]
fn a_blocking_call_without_a_thread_is_made_right_there() {
    if is_instrumented() {
        return;
    }
    if child::role().is_none() {
        return in_child("a_blocking_call_without_a_thread_is_made_right_there");
    }
    let runtime: Runtime = Builder::new().workers(1).build().unwrap();
    let watchdog = Watchdog::of_runtime(&runtime);
    leave(THREAD_STACK / 2);
    let calls = runtime.run(|| {
        let calls: Vec<_> = (0..10).map(|n| tasklet::spawn(move || blocking(|| (n, thread::current().id())))).collect();
        let here = thread::current().id();
        calls.into_iter().map(|call| call.join().unwrap()).map(|(n, thread)| (n, thread == here)).collect::<Vec<_>>()
    });
    assert_eq!(calls, (0..10).map(|n| (n, true)).collect::<Vec<_>>());
    let panics = runtime.run(|| catch_unwind(|| blocking(|| std::panic::resume_unwind(Box::new(5)))).unwrap_err());
    assert_eq!(panics.downcast_ref(), Some(&5));
    // With room again there are threads again.
    leave(THREAD_STACK * 4);
    let here = thread::current().id();
    assert_ne!(runtime.run(|| blocking(|| thread::current().id())), here);
    assert_eq!(runtime.metrics().blocking.threads, 1);
    watchdog.move_on();
    drop(runtime);
    eprintln!("done as expected");
}

#[test]
fn blocking_calls_wait_for_the_threads_that_could_be_had() {
    if is_instrumented() {
        return;
    }
    if child::role().is_none() {
        return in_child("blocking_calls_wait_for_the_threads_that_could_be_had");
    }
    let runtime: Runtime = Builder::new().workers(1).build().unwrap();
    let _watchdog = Watchdog::of_runtime(&runtime);
    // Room for two.
    leave(THREAD_STACK * 5 / 2);
    let sum: u64 = runtime.run(|| {
        let calls: Vec<_> = (0..50)
            .map(|n| {
                tasklet::spawn(move || {
                    blocking(move || {
                        thread::yield_now();
                        n
                    })
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum()
    });
    assert_eq!(sum, (0..50).sum());
    let stats = runtime.metrics().blocking;
    assert!(stats.threads <= 2 && stats.queued == 0 && stats.calls == 50, "{stats:?}");
    eprintln!("done as expected");
}

#[test]
fn stacks_that_cannot_be_had_make_tasklets_wait_or_fail_and_no_more() {
    if !has_our_stacks() || is_instrumented() {
        return;
    }
    if child::role().is_none() {
        return in_child("stacks_that_cannot_be_had_make_tasklets_wait_or_fail_and_no_more");
    }
    let runtime: Runtime = Builder::new().workers(1).build().unwrap();
    let watchdog = Watchdog::of_runtime(&runtime);
    assert_eq!(runtime.run(|| 1), 1);
    leave(32 * MIB);
    // Each keeps a stack while it yields: some two hundred fit.
    let count = runtime.run(|| {
        let handles: Vec<_> = (0..2000)
            .map(|_| {
                tasklet::spawn(|| {
                    yield_now();
                    yield_now();
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join()).filter(Result::is_ok).count()
    });
    assert_eq!(count, 2000);
    watchdog.move_on();
    let large = StackSize::new(64 * MIB).unwrap();
    let error = runtime.run(move || {
        let ran = Arc::new(AtomicU64::new(0));
        let witness = Dropped(ran.clone());
        let handle = TaskletBuilder::new().stack_size(large).spawn(move || drop(witness));
        (handle.join().unwrap_err(), ran.load(Ordering::Relaxed))
    });
    let (error, dropped) = error;
    let text = error.to_string();
    assert!(error.stack_error().is_some_and(|error| error.is_out_of_memory()), "{text}");
    assert!(text.contains("RLIMIT_AS") && text.contains("mmap"), "{text}");
    assert_eq!(dropped, 1, "the closure of a tasklet that cannot start is dropped");
    assert_eq!(runtime.run(|| tasklet::spawn(|| 7).join().unwrap()), 7);
    drop(runtime);
    eprintln!("done as expected");
}

#[test]
fn no_room_for_the_first_stack_is_an_error_of_build() {
    if !has_our_stacks() || is_instrumented() {
        return;
    }
    if child::role().is_none() {
        return in_child("no_room_for_the_first_stack_is_an_error_of_build");
    }
    leave(THREAD_STACK * 5 / 2);
    let huge = StackSize::new(1 << 30).unwrap();
    let (error, text) = error(Builder::new().workers(2).stack_size(huge).build());
    assert!(error.is_stack() && !error.is_thread(), "{text}");
    assert!(text.contains("RLIMIT_AS") && text.contains("a worker has no stack"), "{text}");
    there_is_room_in_the_end();
    eprintln!("done as expected");
}

#[test]
fn numbers_that_make_no_sense_are_named() {
    let (none, text) = error(Builder::new().workers(0).build());
    assert!(none.is_invalid() && text.contains("at least one worker"), "{text}");
    let (many, text) = error(Builder::new().workers(usize::MAX).build());
    assert!(many.is_invalid() && text.contains(&usize::MAX.to_string()), "{text}");
    let (threads, text) = error(Builder::new().workers(1).max_blocking_threads(0).build());
    assert!(threads.is_invalid() && text.contains("blocking"), "{text}");
    assert!(StackSize::new(0).is_err() && StackSize::new(usize::MAX).is_err());
}

#[test]
fn a_ceiling_below_one_stack_for_each_worker_is_an_error_of_build() {
    if !has_our_stacks() {
        return;
    }
    for ceiling in [0, 1, 2 * StackSize::DEFAULT.bytes()] {
        let (error, text) = error(Builder::new().workers(3).stack_ceiling(ceiling).build());
        assert!(error.is_stack(), "{text}");
        assert!(text.contains(&format!("ceiling of {ceiling} bytes")), "{text}");
    }
}

#[test]
fn a_stack_above_the_ceiling_fails_its_tasklet_alone() {
    if !has_our_stacks() {
        return;
    }
    let runtime: Runtime = Builder::new().workers(2).stack_ceiling(16 * MIB).build().unwrap();
    let _watchdog = Watchdog::of_runtime(&runtime);
    let large = StackSize::new(1 << 30).unwrap();
    let handles: Vec<_> = (0..10).map(|_| TaskletBuilder::new().on(&runtime).stack_size(large).spawn(|| ())).collect();
    for handle in handles {
        let error = handle.join().unwrap_err();
        assert!(error.stack_error().is_some_and(|error| error.is_ceiling()), "{error}");
    }
    assert_eq!(runtime.run(|| tasklet::spawn(|| 7).join().unwrap()), 7);
    // Although the one that waits for them sits on a stack.
    let refused = runtime.run(move || {
        let free = TaskletBuilder::new().stack_size(large).spawn(|| ());
        let local = TaskletBuilder::new().stack_size(large).spawn_local(|| ());
        let placed = TaskletBuilder::new().stack_size(large).spawn_on(0, || ()).unwrap();
        [free, local, placed].map(|handle| handle.join().unwrap_err().stack_error().is_some())
    });
    assert_eq!(refused, [true; 3]);
    assert_eq!(runtime.run(|| tasklet::spawn(|| 8).join().unwrap()), 8);
}

#[test]
fn the_largest_stack_can_be_the_default() {
    let size = if has_our_stacks() { 1 << 30 } else { MIB };
    let runtime: Runtime = Builder::new().workers(1).stack_size(StackSize::new(size).unwrap()).build().unwrap();
    assert_eq!(runtime.run(|| tasklet::spawn(|| 7).join().unwrap()), 7);
}

/// A handler that starts the first `good` workers, and does `otherwise` with the next.
fn handler(
    good: usize,
    otherwise: impl Fn(stealing::WorkerThread<backend::Default>) -> io::Result<()> + 'static,
) -> (Builder, Arc<AtomicU64>) {
    let ended = Arc::new(AtomicU64::new(0));
    let counter = ended.clone();
    let builder = Builder::new().workers(4).spawn_handler(move |worker| {
        if worker.index() < good {
            let counted = Dropped(counter.clone());
            thread::spawn(move || {
                worker.run();
                drop(counted);
            });
            Ok(())
        } else {
            otherwise(worker)
        }
    });
    (builder, ended)
}

/// Waits until the threads of all workers have ended; a test that hangs here has left one behind.
fn all_end(ended: &AtomicU64, good: usize) {
    let _watchdog = Watchdog::new(|| "a worker was left behind".to_owned());
    while ended.load(Ordering::Relaxed) != good as u64 {
        thread::yield_now();
    }
}

#[test]
fn a_handler_that_fails_at_any_worker_leaves_nothing_behind() {
    for good in 0..4 {
        let (builder, ended) = handler(good, |_| Err(io::Error::other("no thread today")));
        let (error, text) = error(builder.build());
        assert!(error.is_thread(), "{text}");
        assert!(text.contains(&format!("worker {good}")) && text.contains("no thread today"), "{text}");
        all_end(&ended, good);
    }
}

#[test]
fn a_handler_that_drops_a_worker_is_an_error() {
    for good in 0..4 {
        let (builder, ended) = handler(good, |worker| {
            drop(worker);
            Ok(())
        });
        let _watchdog = Watchdog::new(|| "build waits for a worker that was given up".to_owned());
        let (error, text) = error(builder.build());
        assert!(error.is_thread(), "{text}");
        assert!(text.contains(&format!("worker {good} was dropped, or panicked")), "{text}");
        all_end(&ended, good);
    }
}

#[test]
fn a_handler_that_panics_leaves_nothing_behind() {
    for good in 0..4 {
        let (builder, ended) = handler(good, |_| std::panic::resume_unwind(Box::new("handler")));
        let _watchdog = Watchdog::new(|| "build waits for a worker that was given up".to_owned());
        let payload = catch_unwind(AssertUnwindSafe(|| builder.build())).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"handler"));
        all_end(&ended, good);
    }
}

#[test]
fn a_thread_name_that_cannot_be_is_a_panic_that_leaves_nothing_behind() {
    let witness = Arc::new(());
    let seen = witness.clone();
    let builder = Builder::new().workers(2).on_start(move |_| drop(seen.clone())).thread_name(|index| {
        assert_eq!(index, 0, "no name");
        "zero".to_owned()
    });
    let _watchdog = Watchdog::new(|| "build waits for a worker that was given up".to_owned());
    assert!(catch_unwind(AssertUnwindSafe(|| builder.build())).is_err());
}

#[test]
fn a_driver_that_cannot_be_made_is_an_error() {
    for bad in 0..2 {
        let builder = Builder::new().workers(2).driver(move |index| {
            if index == bad {
                std::panic::resume_unwind(Box::new("no driver"));
            }
            Box::new(tasklet::time::ThreadDriver::default())
        });
        let _watchdog = Watchdog::new(|| "build waits for a worker that was given up".to_owned());
        let (error, text) = error(builder.build());
        assert!(error.is_thread() && text.contains(&format!("worker {bad} was dropped, or panicked")), "{text}");
    }
}

#[test]
fn shutdown_without_end_is_allowed() {
    // More time than clocks can tell.
    let runtime = runtime(1);
    runtime.run(|| blocking(|| ()));
    assert!(runtime.shutdown(std::time::Duration::MAX).is_clean());
}

#[test]
fn a_runtime_that_has_ended_is_freed() {
    let witness = Arc::new(());
    struct Clock(tasklet::time::RealClock, #[expect(dead_code, reason = "counted")] Arc<()>);
    impl tasklet::time::Clock for Clock {
        fn now(&self) -> std::time::Duration {
            self.0.now()
        }
    }
    let make =
        || -> Runtime { Builder::new().workers(2).clock(Clock(Default::default(), witness.clone())).build().unwrap() };
    let _watchdog = Watchdog::new(|| "what has ended is not freed".to_owned());
    for runtime in [make(), make()] {
        runtime.run(|| tasklet::spawn(yield_now).join().unwrap());
        assert!(runtime.shutdown(std::time::Duration::from_secs(30)).is_clean());
    }
    drop(make());
    // The threads of the workers let go of it last.
    while Arc::strong_count(&witness) != 1 {
        thread::yield_now();
    }
}

#[test]
fn soft_tasklets_that_wait_are_killed_when_their_runtime_ends() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let dropped = Arc::new(AtomicU64::new(0));
        let polled = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..100)
            .map(|number| {
                let (witness, polled) = (Dropped(dropped.clone()), polled.clone());
                runtime.spawn_async(async move {
                    let _witness = &witness;
                    polled.fetch_add(1, Ordering::Relaxed);
                    match number % 2 {
                        0 => std::future::pending::<()>().await,
                        _ => stealing::sleep_async(std::time::Duration::from_secs(3600)).await,
                    }
                })
            })
            .collect();
        while polled.load(Ordering::Relaxed) != 100 {
            thread::yield_now();
        }
        drop(runtime);
        assert!(handles.into_iter().all(|handle| handle.join().unwrap_err().is_killed()));
        assert_eq!(dropped.load(Ordering::Relaxed), 100);
    }
}

#[test]
fn what_an_ended_runtime_refuses_is_dropped() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let handle = runtime.handle();
    drop(runtime);
    let dropped = Arc::new(AtomicU64::new(0));
    let make = || {
        let witness = Dropped(dropped.clone());
        move || drop(witness)
    };
    assert!(handle.spawn_on(1, make()).unwrap_err().is_closed());
    assert!(handle.try_spawn(make()).unwrap_err().is_closed());
    assert!(handle.spawn(make()).join().unwrap_err().is_killed());
    let witness = Dropped(dropped.clone());
    assert!(handle.spawn_async(async move { drop(witness) }).join().unwrap_err().is_killed());
    assert_eq!(dropped.load(Ordering::Relaxed), 4);
    let error = handle.spawn_on(2, make()).unwrap_err();
    assert!(error.to_string().contains("no worker 2"), "{error}");
    assert_eq!(dropped.load(Ordering::Relaxed), 5);
}
