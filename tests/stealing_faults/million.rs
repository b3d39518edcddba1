//! A million tasklets under a ceiling of 1 GiB of stacks, which is room for some eight thousand at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tasklet::backend::{self, Backend, StackProvision};
use tasklet::stealing::{Builder, Runtime, yield_now};

use crate::support::{Watchdog, rounds};

const CEILING: usize = 1 << 30;

/// Spawns them by `spawn`, which gets the body, and waits until all have run.
fn fork(workers: usize, yields: u32, from_outside: bool) {
    let count = rounds(1_000_000);
    let runtime: Runtime = Builder::new().workers(workers).stack_ceiling(CEILING).build().unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let (handle, counter) = (runtime.handle(), done.clone());
    let watched = done.clone();
    let watchdog =
        Watchdog::new(move || format!("{} are done; {:?}", watched.load(Ordering::Relaxed), handle.metrics()));
    let handle = runtime.handle();
    let spawn_all = move || {
        for _ in 0..count {
            let counter = counter.clone();
            handle
                .spawn(move || {
                    (0..yields).for_each(|_| yield_now());
                    counter.fetch_add(1, Ordering::Relaxed);
                })
                .detach();
        }
    };
    if from_outside {
        spawn_all();
    } else {
        runtime.run(spawn_all);
    }
    let (mut largest, mut last) = (0, 0);
    while done.load(Ordering::Relaxed) != count {
        largest = largest.max(runtime.metrics().stacks.reserved);
        let now = done.load(Ordering::Relaxed);
        if now != last {
            watchdog.move_on();
            last = now;
        }
        std::thread::yield_now();
    }
    assert!(largest <= CEILING, "{largest} bytes of stacks");
    drop(runtime);
    assert_eq!(done.load(Ordering::Relaxed), count);
}

#[test]
fn a_million_that_never_wait_fit_under_a_low_ceiling() {
    for workers in [1, 2] {
        fork(workers, 0, false);
        fork(workers, 0, true);
    }
}

#[test]
fn a_million_that_wait_fit_under_a_low_ceiling() {
    if backend::Default::STACKS == StackProvision::Backend {
        // Its own ceiling is reached first, which is an error.
        return;
    }
    for workers in [1, 2] {
        fork(workers, 2, false);
        fork(workers, 2, true);
    }
}
