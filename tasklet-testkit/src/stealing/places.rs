//! Where tasklets run: one that has started stays where it is, one that has not goes to who has nothing to do.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing::{self, TaskletBuilder};

use super::Case;
use super::setup::{Flag, channel, end, spin_until};

/// Worker and thread of the calling tasklet. The thread is another than the worker's where coroutines are threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(usize, ThreadId);

impl Place {
    fn here() -> Place {
        Place(stealing::worker_index().expect("a tasklet calls"), std::thread::current().id())
    }
}

/// Over yields, channel waits, sleeps, joins, parks and blocking calls, with as much to steal as there can be.
pub fn a_started_tasklet_never_moves<B: Backend>(case: Case) {
    let moved = AtomicUsize::new(0);
    let resumed = AtomicUsize::new(0);
    let look = |place: Place| {
        resumed.fetch_add(1, Ordering::Relaxed);
        if Place::here() != place {
            moved.fetch_add(1, Ordering::Relaxed);
        }
    };
    case.run::<B, _>(|| {
        stealing::scope(|scope| {
            for _ in 0..2 * case.workers + 2 {
                let (there, back) = (channel::<u32>(), channel::<u32>());
                let (its_there, its_back) = (there.clone(), back.clone());
                scope.spawn(move || {
                    let place = Place::here();
                    for value in its_there.iter() {
                        look(place);
                        its_back.send(value).unwrap();
                        look(place);
                    }
                });
                scope.spawn(move || {
                    let place = Place::here();
                    for round in 0..20 {
                        stealing::yield_now();
                        look(place);
                        there.send(round).unwrap();
                        look(place);
                        assert_eq!(back.recv(), Ok(round));
                        look(place);
                        stealing::sleep(Duration::from_micros(50));
                        look(place);
                        assert_eq!(stealing::spawn(move || round).join().unwrap(), round);
                        look(place);
                        let _ = stealing::park_timeout(Duration::from_micros(10));
                        look(place);
                        if round % 8 == 0 {
                            stealing::blocking(|| ());
                            look(place);
                        }
                    }
                    there.close();
                });
            }
        });
    });
    assert_eq!(moved.load(Ordering::Relaxed), 0);
    assert!(resumed.load(Ordering::Relaxed) >= 20 * 8 * (2 * case.workers + 2));
}

/// What cannot be sent is safe in a tasklet that was spawned here, whatever it waits for.
pub fn a_local_tasklet_may_hold_an_rc<B: Backend>(case: Case) {
    let total = case.run::<B, _>(|| {
        let shared = Rc::new(Cell::new(0));
        let handles: Vec<_> = (0..10)
            .map(|_| {
                let shared = shared.clone();
                stealing::spawn_local(move || {
                    for _ in 0..10 {
                        // Not atomic: two threads at once would lose some.
                        let before = shared.get();
                        shared.set(before + 1);
                        stealing::yield_now();
                        stealing::sleep(Duration::from_micros(10));
                    }
                    shared.clone()
                })
            })
            .collect();
        let results: Vec<Rc<_>> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        assert_eq!(Rc::strong_count(&shared), 11);
        drop(results);
        shared.get()
    });
    assert_eq!(total, 100);
}

/// A local tasklet runs on its spawner's worker, although others are idle and its worker computes.
pub fn a_local_tasklet_stays_on_its_worker<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let home = stealing::worker_index();
        let started = Flag::default();
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let started = started.clone();
                stealing::spawn_local(move || {
                    started.set();
                    stealing::worker_index()
                })
            })
            .collect();
        // Time for others to take one, if they could.
        let start = Instant::now();
        spin_until(|| start.elapsed() > Duration::from_millis(10));
        assert!(!started.is_set());
        for handle in handles {
            assert_eq!(handle.join().unwrap(), home);
        }
    });
}

/// From outside and from every worker.
pub fn a_tasklet_runs_on_the_worker_it_was_spawned_on<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    for worker in 0..case.workers {
        let handle = runtime.spawn_on(worker, stealing::worker_index).unwrap();
        assert_eq!(handle.join().unwrap(), Some(worker));
    }
    runtime.run(|| {
        for from in 0..case.workers {
            let spawner = stealing::spawn_on(from, move || {
                let handles: Vec<_> = (0..case.workers)
                    .map(|worker| (worker, stealing::spawn_on(worker, stealing::worker_index).unwrap()))
                    .collect();
                for (worker, handle) in handles {
                    assert_eq!(handle.join().unwrap(), Some(worker));
                }
            });
            spawner.unwrap().join().unwrap();
        }
    });
    end(runtime);
}

/// The message names the numbers.
pub fn a_worker_that_does_not_exist_is_refused<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let error = runtime.spawn_on(case.workers, || ()).unwrap_err();
    let expected = format!("there is no worker {0}: the runtime has {0}, numbered from 0", case.workers);
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_no_runtime() && !error.is_closed());
    let inside = runtime.run(|| stealing::spawn_on(99, || ()).unwrap_err().to_string());
    assert!(inside.starts_with("there is no worker 99: "), "{inside}");
    end(runtime);
}

/// A worker that computes keeps nobody waiting: what it has spawned is started elsewhere.
pub fn children_of_a_busy_worker_start_elsewhere<B: Backend>(case: Case) {
    for children in [1, 2, 100] {
        let runtime = case.runtime::<B>();
        let (ran, elsewhere) = runtime.run(|| {
            let home = stealing::worker_index();
            let (ran, elsewhere) = (AtomicUsize::new(0), AtomicUsize::new(0));
            stealing::scope(|scope| {
                for _ in 0..children {
                    scope.spawn(|| {
                        if stealing::worker_index() != home {
                            elsewhere.fetch_add(1, Ordering::SeqCst);
                        }
                        ran.fetch_add(1, Ordering::SeqCst);
                    });
                }
                // No scheduling point until all have run.
                spin_until(|| ran.load(Ordering::SeqCst) == children);
            });
            (ran.into_inner(), elsewhere.into_inner())
        });
        assert_eq!((ran, elsewhere), (children, children));
        assert!(runtime.metrics().stolen >= 1);
        end(runtime);
    }
}

/// Names and stack sizes do not change where a tasklet may run; a builder may be for another runtime than the one that calls.
pub fn a_builder_spawns_into_the_runtime_it_is_for<B: Backend>(case: Case) {
    let one = case.runtime::<B>();
    let second = Case { workers: case.workers + 1, ..case }.runtime::<B>();
    let workers = one.run(|| {
        let named = TaskletBuilder::new().name("named").on(&second);
        let handle = case.who.build(named, async { stealing::Handle::try_current().unwrap().workers() });
        assert_eq!(handle.name(), Some("named"));
        handle.join().unwrap()
    });
    assert_eq!(workers, case.workers + 1);
    end(one);
    end(second);
}
