//! Workers that come and go while the runtime ends, and spawns meanwhile.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, fence};
use loom::thread;

use super::*;

/// A runtime of which nothing is left but its crew.
struct Runtime {
    crew: Crew,
    /// How many tasklets are there, as an injector has it: who adds releases it, and who takes has a full fence before it finds nothing.
    injected: AtomicUsize,
    dropped: AtomicUsize,
    /// What each worker leaves behind, for the last one.
    left: Vec<UnsafeCell<bool>>,
    /// Whether a worker can be told something. Relaxed, so that it orders nothing which the protocol does not.
    homes: Vec<AtomicBool>,
    told: Vec<AtomicBool>,
    cleared: AtomicUsize,
}

impl Runtime {
    fn new(workers: usize) -> Arc<Runtime> {
        let flags = || (0..workers).map(|_| AtomicBool::new(false)).collect();
        Arc::new(Runtime {
            crew: Crew::new(workers),
            injected: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            left: (0..workers).map(|_| UnsafeCell::new(false)).collect(),
            homes: flags(),
            told: flags(),
            cleared: AtomicUsize::new(0),
        })
    }

    fn discard_injected(&self) {
        loop {
            fence(Ordering::SeqCst);
            let there = self.injected.load(Ordering::Relaxed);
            if there == 0 {
                return;
            }
            if self.injected.compare_exchange(there, there - 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// As `Shared::inject`; the fence is that of `call_for_injected`.
    fn inject(&self) {
        self.injected.fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
        if !self.crew.is_open() {
            self.discard_injected();
        }
    }

    fn leave(&self, workers: usize) {
        self.crew.leave(workers, || {
            self.cleared.fetch_add(1, Ordering::Relaxed);
            self.discard_injected();
            for left in &self.left {
                // SAFETY: loom checks it.
                let _ = left.with(|left| unsafe { *left });
            }
        });
    }

    /// As `Shared::advance`.
    fn close(&self) {
        let given_up = self.crew.advance(Phase::Closing);
        self.leave(given_up.len());
        for (home, told) in self.homes.iter().zip(&self.told) {
            if home.load(Ordering::Relaxed) {
                told.store(true, Ordering::Release);
            }
        }
    }

    /// As `SeatGuard`'s drop.
    fn drop_seat(&self, index: usize, has_started: bool) {
        if !has_started && self.crew.awaits(index) {
            self.close();
        }
        if self.crew.exit(index) {
            self.leave(1);
        }
    }

    /// As `WorkerThread::run`, for a worker that runs until it has learnt of the end.
    fn run(&self, index: usize) {
        let has_started = self.crew.start(index);
        if has_started {
            let ends = self.crew.enter(|| self.homes[index].store(true, Ordering::Relaxed));
            while !ends && !self.told[index].load(Ordering::Acquire) {
                // Whoever is never told runs for ever: loom ends that with a panic.
                thread::yield_now();
            }
            assert_ne!(self.crew.phase(), Phase::Open);
            // SAFETY: loom checks it.
            self.left[index].with_mut(|left| unsafe { *left = true });
        }
        self.drop_seat(index, has_started);
    }

    fn check(&self) {
        assert_eq!(self.cleared.load(Ordering::Relaxed), 1, "the last one clears up, and nobody else");
        assert_eq!(self.injected.load(Ordering::Relaxed), 0, "a tasklet is lost in the injector");
    }
}

#[test]
fn a_spawn_meets_the_drop_of_the_last_worker() {
    loom::model(|| {
        let runtime = Runtime::new(1);
        let drops = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.drop_seat(0, false)
        });
        runtime.inject();
        drops.join().unwrap();
        runtime.check();
        assert_eq!(runtime.dropped.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_worker_starts_while_the_runtime_ends() {
    loom::model(|| {
        let runtime = Runtime::new(1);
        let worker = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.run(0)
        });
        runtime.close();
        assert!(runtime.crew.wait(None));
        worker.join().unwrap();
        runtime.check();
    });
}

#[test]
fn the_last_worker_sees_what_the_others_leave() {
    loom::model(|| {
        let runtime = Runtime::new(2);
        assert!(runtime.crew.start(0) && runtime.crew.start(1));
        runtime.close();
        let leaves = |index: usize| {
            let runtime = runtime.clone();
            move || {
                // SAFETY: loom checks it.
                runtime.left[index].with_mut(|left| unsafe { *left = true });
                runtime.drop_seat(index, true);
            }
        };
        let other = thread::spawn(leaves(1));
        leaves(0)();
        assert!(runtime.crew.wait(None));
        other.join().unwrap();
        runtime.check();
    });
}

#[test]
fn one_worker_is_dropped_while_the_other_starts_and_somebody_spawns() {
    loom::model(|| {
        let runtime = Runtime::new(2);
        let worker = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.run(0)
        });
        let drops = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.drop_seat(1, false)
        });
        runtime.inject();
        worker.join().unwrap();
        drops.join().unwrap();
        runtime.check();
    });
}
