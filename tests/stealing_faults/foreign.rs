//! Libraries that know nothing of tasklets and keep threads of their own work inside them, on borrowed data, and their panics come back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rayon::prelude::*;
use tasklet::stealing::{self, blocking, yield_now};

use crate::support::{Watchdog, runtime, yield_until};

#[test]
fn scoped_threads_borrow_from_a_tasklet() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let sums = runtime.run(|| {
            let tasklets: Vec<_> = (0..20_u64)
                .map(|n| {
                    stealing::spawn(move || {
                        let mut values = [n, n + 1, n + 2];
                        yield_now();
                        thread::scope(|scope| {
                            for value in &mut values {
                                scope.spawn(|| *value *= 2);
                            }
                        });
                        yield_now();
                        values.iter().sum::<u64>()
                    })
                })
                .collect();
            tasklets.into_iter().map(|tasklet| tasklet.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(sums, (0..20).map(|n| 6 * n + 6).collect::<Vec<_>>());
    }
}

#[test]
fn a_panic_of_a_scoped_thread_comes_back_to_its_tasklet() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    static PARKS: AtomicU64 = AtomicU64::new(0);
    let (caught, killed) = runtime.run(|| {
        let panics = stealing::spawn(|| {
            thread::scope(|scope| {
                let thread = scope.spawn(|| -> u32 { resume_unwind(Box::new(5)) });
                if let Err(payload) = thread.join() {
                    resume_unwind(payload);
                }
            });
        });
        let caught = panics.join().unwrap_err().into_panic().unwrap().downcast_ref::<i32>().copied();
        // A kill that comes while threads borrow takes effect when they have ended.
        let waits = stealing::spawn(|| {
            let mut value = 0;
            thread::scope(|scope| {
                scope.spawn(|| value += 1);
            });
            assert_eq!(value, 1);
            PARKS.store(1, Ordering::Relaxed);
            stealing::park().unwrap();
        });
        yield_until(|| PARKS.load(Ordering::Relaxed) == 1);
        waits.kill();
        (caught, waits.join().unwrap_err().is_killed())
    });
    assert_eq!((caught, killed), (Some(5), true));
}

#[test]
fn a_scoped_thread_wakes_the_tasklets_of_its_scope_owner() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let sum: u64 = runtime.run(|| {
        let channel = tasklet::Channel::new();
        let shared = channel.share();
        let receives = stealing::spawn(move || shared.iter().sum());
        yield_until(|| channel.balance() == -1);
        let shared = channel.share();
        thread::scope(|scope| {
            scope.spawn(|| {
                // The worker is blocked in this scope: only what need not wait for its tasklets may be done here.
                assert!(shared.try_send(5).is_ok());
            });
        });
        channel.send(2).unwrap();
        channel.close();
        receives.join().unwrap()
    });
    assert_eq!(sum, 7);
}

fn fibonacci(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = rayon::join(|| fibonacci(n - 1), || fibonacci(n - 2));
    a + b
}

#[test]
fn rayon_works_on_what_a_tasklet_borrows() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let all_right = runtime.run(|| {
            let tasklets: Vec<_> = (0..20_u64)
                .map(|n| {
                    stealing::spawn(move || {
                        let mut values: [u64; 64] = std::array::from_fn(|at| n + at as u64);
                        yield_now();
                        values.par_iter_mut().for_each(|value| *value *= 3);
                        yield_now();
                        let sum: u64 = values.par_iter().sum();
                        let number = blocking(|| fibonacci(10));
                        (sum, number) == (values.iter().sum(), 55) && fibonacci(12) == 144
                    })
                })
                .collect();
            tasklets.into_iter().all(|tasklet| tasklet.join().unwrap())
        });
        assert!(all_right);
    }
}

#[test]
fn a_panic_in_rayon_comes_back_to_its_tasklet() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let (caught, after) = runtime.run(|| {
        let mut values = [1, 2, 3];
        let caught = catch_unwind(AssertUnwindSafe(|| {
            values.par_iter_mut().for_each(|value| {
                if *value == 2 {
                    resume_unwind(Box::new("two"));
                }
            });
        }));
        let caught = caught.unwrap_err().downcast_ref::<&str>().copied();
        let panics = stealing::spawn(|| {
            rayon::join(|| (), || resume_unwind(Box::new("right")));
        });
        let joined = panics.join().unwrap_err().into_panic().unwrap().downcast_ref::<&str>().copied();
        ((caught, joined), values.par_iter().sum::<i32>())
    });
    assert_eq!((caught, after), ((Some("two"), Some("right")), 6));
}

#[test]
fn rayons_threads_use_a_runtime_as_any_other_thread_does() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let handle = runtime.handle();
    let sum: u64 = (0..1000_u64).into_par_iter().map(|n| handle.spawn(move || n).join().unwrap()).sum();
    assert_eq!(sum, (0..1000).sum());
    // They are no part of it: what needs one says so.
    let refused = runtime.run(|| {
        (0..4)
            .into_par_iter()
            .map(|_| stealing::try_spawn(|| ()).is_err_and(|error| error.is_no_runtime()))
            .all(|no| no)
            || rayon::current_thread_index().is_some()
    });
    assert!(refused);
}
