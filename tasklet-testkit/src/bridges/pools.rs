//! Pools of rayon's compute, tasklets park.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder, current_thread_index};
use tasklet_bridge::futures::block_on;
use tasklet_bridge::rayon::{Global, install, join, spawn as spawn_in};
use tasklet_core::backend::Backend;
use tasklet_scheduler::{stealing, time};

use super::Case;
use crate::channels::setup::{give_way, run, run_virtual, spawn, until};
use crate::kinds::StackKind;
use crate::stealing::setup::{Census, Flag, Log, caught, caught_text};

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// On the pool's threads, into the caller's stack.
pub fn parallel_iterators_work_on_what_is_borrowed<B: Backend>(case: Case) {
    run::<B>(case, || {
        let pool = pool(2);
        let mut numbers: Vec<u64> = (0..1000).collect();
        let here = thread::current().id();
        let sum: u64 = install(&pool, || {
            assert_ne!(thread::current().id(), here);
            assert!(current_thread_index().is_some());
            numbers.par_iter_mut().for_each(|number| *number *= 2);
            numbers.par_iter().sum()
        });
        assert_eq!((sum, numbers[999]), (999_000, 1998));
        assert_eq!(install(&Global, || numbers.par_iter().max().copied()), Some(1998));
        assert_eq!(thread::current().id(), here);
    });
}

/// What each half returns, and what one panics with when both have ended.
pub fn both_halves_of_a_join_come_back<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (pool, text) = (pool(2), String::from("text"));
        assert_eq!(join(&pool, || text.len(), || text.as_str()), (4, "text"));
        let ended = Flag::default();
        let payload = caught(|| join(&pool, || resume_unwind(Box::new("left")), || ended.set())).unwrap_err();
        assert_eq!((payload.downcast_ref(), ended.is_set()), (Some(&"left"), true));
    });
}

/// With its payload, and the pool is as before.
pub fn a_panic_comes_back<B: Backend>(case: Case) {
    run::<B>(case, || {
        let pool = pool(1);
        let payload = caught(|| install(&pool, || -> () { resume_unwind(Box::new(42_u8)) })).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&42_u8));
        let inside = || {
            (0..100).into_par_iter().for_each(|n| {
                if n == 50 {
                    resume_unwind(Box::new(n))
                }
            })
        };
        let payload = caught(|| install(&pool, inside)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&50));
        assert_eq!(install(&pool, || 1), 1);
    });
}

/// The job waits for a tasklet of the same worker, which goes on.
pub fn others_run_meanwhile<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (log, begun) = (Log::default(), Flag::default());
        let (go, gone) = mpsc::channel();
        let (seen, told) = (log.clone(), begun.clone());
        let computes = spawn(move || {
            install(&pool(1), move || {
                seen.add("begun");
                told.set();
                gone.recv().unwrap();
                seen.add("ended");
            });
        });
        until(|| begun.is_set());
        log.add("meanwhile");
        go.send(()).unwrap();
        computes.join().unwrap();
        log.assert("begun meanwhile ended");
    });
}

/// The tasklet ends when the job has, and what that returned is dropped, once.
pub fn a_kill_waits_for_the_job<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (census, begun, ended) = (Census::default(), Flag::default(), Flag::default());
        let (go, gone) = mpsc::channel();
        let (counts, told, tells) = (census.clone(), begun.clone(), ended.clone());
        let computes = spawn(move || {
            let (borrowed, lent) = (&counts.one(), counts.one());
            let counts = &counts;
            let result = install(&pool(1), move || {
                told.set();
                gone.recv().unwrap();
                tells.set();
                (counts.one(), borrowed)
            });
            drop((result.0, lent));
            unreachable!("it is killed");
        });
        until(|| begun.is_set());
        computes.kill();
        (0..10).for_each(|_| give_way());
        assert!(!computes.is_finished() && !ended.is_set());
        assert_eq!((census.made(), census.dropped()), (2, 0), "the job borrows");
        go.send(()).unwrap();
        assert!(computes.join().unwrap_err().is_killed());
        assert!(ended.is_set());
        assert_eq!(census.made(), 3);
        census.assert_all_dropped();
    });
}

/// They wait their turn, and each gets its own.
pub fn a_thousand_tasklets_share_two_threads<B: Backend>(case: Case) {
    run::<B>(case, || {
        let pool = Arc::new(pool(2));
        let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasklets: Vec<_> = (0..1000_u64)
            .map(|n| {
                let (pool, running, peak) = (pool.clone(), running.clone(), peak.clone());
                spawn(move || {
                    install(&*pool, || {
                        peak.fetch_max(1 + running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        let sum: u64 = (n..n + 10).into_par_iter().sum();
                        running.fetch_sub(1, Ordering::SeqCst);
                        sum
                    })
                })
            })
            .collect();
        let sums: Vec<u64> = tasklets.into_iter().map(|tasklet| tasklet.join().unwrap()).collect();
        assert_eq!(sums, (0..1000).map(|n| 10 * n + 45).collect::<Vec<_>>());
        // A thread that waits for a part takes another job meanwhile, so that more than two may have begun.
        assert!(peak.load(Ordering::SeqCst) >= 1);
        assert_eq!(running.load(Ordering::SeqCst), 0);
    });
}

/// No second thread is needed, and none is waited for.
pub fn who_is_in_the_pool_stays_there<B: Backend>(case: Case) {
    run::<B>(case, || {
        let pool = pool(1);
        let same = install(&pool, || {
            let outer = thread::current().id();
            let inner = install(&pool, || install(&Global, || thread::current().id()));
            let halves = join(&pool, || thread::current().id(), || thread::current().id());
            (inner, halves) == (outer, (outer, outer))
        });
        assert!(same);
    });
}

/// Blocks, with the same results.
pub fn a_plain_thread_does_what_rayon_does<B: Backend>(case: Case) {
    run::<B>(case, || {
        let thread = thread::spawn(|| {
            let (pool, text) = (pool(2), String::from("a"));
            let payload = caught(|| install(&pool, || -> () { resume_unwind(Box::new(1_u8)) })).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&1_u8));
            let names = join(&pool, || text.as_str(), || current_thread_index().is_some());
            (
                names == ("a", true),
                install(&Global, || current_thread_index().is_some()),
                spawn_in(&pool, || 5).join().unwrap(),
            )
        });
        until(|| thread.is_finished());
        assert_eq!(thread.join().unwrap(), (true, true, 5));
    });
}

/// It is joined, awaited, or left alone.
pub fn a_job_has_a_handle<B: Backend>(case: Case) {
    run::<B>(case, || {
        let pool = pool(2);
        assert_eq!(spawn_in(&pool, || (0..10).into_par_iter().sum::<u32>()).join().unwrap(), 45);
        assert_eq!(block_on(spawn_in(&pool, || 7)).unwrap(), 7);
        let panics = spawn_in(&pool, || -> () { resume_unwind(Box::new("E")) });
        assert_eq!(panics.join().unwrap_err().into_panic().unwrap().downcast_ref(), Some(&"E"));
        let (census, done) = (Census::default(), Flag::default());
        let (result, told) = (census.one(), done.clone());
        drop(spawn_in(&pool, move || {
            told.set();
            result
        }));
        until(|| done.is_set() && census.dropped() == 1);
        let (go, gone) = mpsc::channel();
        let waits = spawn_in(&pool, move || gone.recv().unwrap());
        let waits = waits.join_timeout(Duration::from_millis(1)).unwrap_err();
        go.send(3).unwrap();
        assert_eq!(waits.join().unwrap(), 3);
    });
}

/// Before it was called. Later it goes on.
pub fn a_killed_job_is_dropped_once<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (pool, census) = (pool(1), Census::default());
        let (begun, (go, gone)) = (Flag::default(), mpsc::channel());
        let (told, counts) = (begun.clone(), census.clone());
        let first = spawn_in(&pool, move || {
            told.set();
            gone.recv().unwrap();
            counts.one()
        });
        until(|| begun.is_set());
        let one = census.one();
        let second = spawn_in(&pool, move || drop(one));
        second.kill();
        first.kill();
        census.assert_all_dropped();
        assert!(second.join().unwrap_err().is_killed() && !first.is_finished());
        go.send(()).unwrap();
        drop(first.join().unwrap());
        assert_eq!(census.made(), 2);
        census.assert_all_dropped();
    });
}

/// Whose stack cannot be lent: it has a job and its handle instead.
pub fn a_swapped_tasklet_is_refused<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let pool = pool(1);
        if case.kind == StackKind::Swapped {
            let text = caught_text(|| install(&pool, || 1));
            assert!(text.starts_with("rayon::install was called in a swapped tasklet"), "{text}");
        } else {
            assert_eq!(install(&pool, || 1), 1);
        }
        assert_eq!(spawn_in(&pool, || 2).join().unwrap(), 2);
    });
}

/// The limit is told when the job has ended.
pub fn a_time_limit_waits_for_the_job<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let begun = Flag::default();
        let (go, gone) = mpsc::channel();
        let told = begun.clone();
        let limited = stealing::spawn(move || {
            let limit = Duration::from_secs(1);
            let in_time = stealing::timeout(limit, || {
                install(&pool(1), move || {
                    told.set();
                    gone.recv().unwrap();
                });
            });
            (in_time.is_err(), time::now())
        });
        until(|| begun.is_set());
        time::sleep(Duration::from_secs(3));
        assert!(!limited.is_finished());
        go.send(()).unwrap();
        let (is_late, at) = limited.join().unwrap();
        assert!(is_late && at >= Duration::from_secs(3), "{at:?}");
    });
}
