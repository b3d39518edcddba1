//! Tasklets that may change their worker do, keep what they hold, and can be killed wherever they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tasklet::backend::{self, Backend, Moves};
use tasklet::stealing::{self, Builder};

/// What a tasklet holds across its moves, and what it saw.
struct Trail {
    seen: Vec<usize>,
    sum: u64,
}

/// Yields until one of those that do has run on two workers.
fn wander(stop: &AtomicBool) -> Trail {
    let mut trail = Trail { seen: Vec::new(), sum: 0 };
    let mut step = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let here = stealing::worker_index().expect("a worker runs it");
        if !trail.seen.contains(&here) {
            trail.seen.push(here);
        }
        stop.fetch_or(trail.seen.len() == 2, Ordering::Relaxed);
        step += 1;
        trail.sum += step;
        tasklet::yield_now();
    }
    assert_eq!(trail.sum, step * (step + 1) / 2);
    trail
}

fn can_move() -> bool {
    <backend::Default as Backend>::MOVES == Moves::Yes
}

#[test]
fn a_migratable_tasklet_runs_on_several_workers() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicUsize::new(0));
    let spawn = || {
        let (stop, started) = (stop.clone(), started.clone());
        let body = move || {
            started.fetch_add(1, Ordering::Relaxed);
            wander(&stop)
        };
        // SAFETY: what is on the stack across the yield is numbers and a vector; no thread-locals, no function of the library.
        unsafe { stealing::TaskletBuilder::new().on(&runtime).spawn_migratable(body) }
    };
    if !can_move() {
        assert!(spawn().is_err_and(|error| error.is_cannot_move()));
        return;
    }
    // All of them start on one worker, since the other one is busy until they have.
    let busy = Arc::new(AtomicBool::new(false));
    let (is_busy, begun) = (busy.clone(), started.clone());
    let blocker = runtime.spawn_on(1, move || {
        is_busy.store(true, Ordering::Relaxed);
        while begun.load(Ordering::Relaxed) != 4 {
            std::hint::spin_loop();
        }
    });
    while !busy.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    let wanderers: Vec<_> = (0..4).map(|_| spawn()).collect();
    blocker.unwrap().join().unwrap();
    let trails: Vec<Trail> = wanderers.into_iter().map(|wanderer| wanderer.unwrap().join().unwrap()).collect();
    assert!(trails.iter().any(|trail| trail.seen.len() == 2));
    assert!(runtime.shutdown(Duration::from_secs(10)).is_clean());
}

#[test]
fn a_kill_reaches_a_tasklet_that_moves() {
    if !can_move() {
        return;
    }
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let runtime = Builder::new().workers(3).build().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    const ROUNDS: usize = 300;
    for round in 0..ROUNDS {
        let counted = Counted(dropped.clone());
        let body = move || {
            let _counted = counted;
            loop {
                tasklet::yield_now();
            }
        };
        // SAFETY: what is on the stack across the yield is a counter that is `Send`.
        let handle = unsafe { stealing::TaskletBuilder::new().on(&runtime).spawn_migratable(body) }.unwrap();
        for _ in 0..round * 20 {
            std::hint::spin_loop();
        }
        handle.kill();
        assert!(handle.join().unwrap_err().is_killed());
    }
    assert_eq!(dropped.load(Ordering::Relaxed), ROUNDS);
    assert!(runtime.shutdown(Duration::from_secs(10)).is_clean());
}

#[test]
fn a_runtime_ends_while_tasklets_move() {
    if !can_move() {
        return;
    }
    for _ in 0..30 {
        let runtime = Builder::new().workers(2).build().unwrap();
        for _ in 0..8 {
            let body = || {
                loop {
                    tasklet::yield_now();
                }
            };
            // SAFETY: nothing is on the stack.
            unsafe { stealing::TaskletBuilder::new().on(&runtime).spawn_migratable(body) }.unwrap().detach();
        }
        runtime.run(|| tasklet::sleep(Duration::from_millis(1)));
        let report = runtime.shutdown(Duration::from_secs(10));
        assert!(report.is_clean(), "{report}");
    }
}
