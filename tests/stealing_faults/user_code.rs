//! Destructors and wakers that a worker calls in the middle of its own work may call anything: what would switch there is refused, the
//! rest is done, and nothing hangs.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use tasklet::stealing::{
    self, Runtime, blocking, checkpoint, park, park_timeout, sleep, sleep_async, timeout, unparker, yield_now,
};
use tasklet::{CancelToken, Channel};
use tasklet_core::current;
use tasklet_core::home::Remote;

use crate::support::{OnDrop, Watchdog, parks, runtime, yield_until};

tasklet::tasklet_local! {
    static LOCAL: Mutex<Option<Box<dyn std::any::Any>>> = Mutex::new(None);
}

type Bomb = Box<dyn FnMut() + Send + Sync>;

/// What a destructor may think of.
const ACTIONS: [(&str, fn()); 16] = [
    ("spawns", || drop(stealing::try_spawn(yield_now))),
    ("spawns here", || drop(stealing::spawn_local(yield_now))),
    ("spawns a future", || drop(stealing::spawn_async(async {}))),
    ("joins", || {
        if let Ok(handle) = stealing::try_spawn(|| 5) {
            assert!(handle.join().map_or_else(|error| error.park_error().is_some(), |five| five == 5));
        }
    }),
    ("kills", || {
        if let Ok(handle) = stealing::try_spawn(parks) {
            handle.kill();
        }
    }),
    ("receives", || {
        let channel = Channel::<u32>::new();
        assert!(channel.try_recv().is_err());
        let sender = channel.share();
        // Where the destructor may not wait, it goes without, and so does the sender.
        let sends = thread::spawn(move || sender.send(5).is_ok());
        if let Ok(value) = channel.recv() {
            assert_eq!(value, 5);
        }
        drop(channel);
        sends.join().unwrap();
    }),
    ("yields", || {
        yield_now();
        checkpoint();
    }),
    ("sleeps", || sleep(Duration::from_micros(10))),
    ("parks", || {
        let _ = park_timeout(Duration::from_micros(10));
    }),
    ("asks who it is", || unparker().unpark()),
    ("ends another runtime", || drop(runtime(1))),
    ("runs another runtime", || assert_eq!(runtime(1).run(|| stealing::spawn(|| 5).join().unwrap()), 5)),
    ("blocks", || assert_eq!(blocking(|| 5), 5)),
    ("forks", || assert_eq!(stealing::join(|| 5, || 6), (5, 6))),
    ("uses values of the tasklet", || {
        let _ = LOCAL.try_with(|value| *value.lock().unwrap() = Some(Box::new(5)));
        let _ = LOCAL.try_with(|value| value.lock().unwrap().take());
    }),
    ("limits, masks and cancels", || {
        let token = CancelToken::new();
        let _ = catch_unwind(AssertUnwindSafe(|| token.run(yield_now)));
        let _ = catch_unwind(|| timeout(Duration::from_micros(1), yield_now));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(stealing::mask())));
        token.cancel();
    }),
];

struct WakesBomb(Mutex<Option<OnDrop<Bomb>>>);

impl Wake for WakesBomb {
    fn wake(self: Arc<WakesBomb>) {
        let bomb = self.0.lock().unwrap().take();
        drop(bomb);
    }
}

fn waker(bomb: OnDrop<Bomb>) -> Waker {
    Waker::from(Arc::new(WakesBomb(Mutex::new(Some(bomb)))))
}

/// A name, and what puts a bomb there.
type Place = (&'static str, fn(OnDrop<Bomb>));

/// Where a worker drops what is not its own. Each is called by a tasklet, and has the bomb go off sooner or later.
const PLACES: [Place; 12] = [
    ("the closure of one that is killed before it starts", |bomb| {
        let handle = stealing::spawn(move || drop(bomb));
        handle.kill();
        // Another worker may have been faster.
        let _ = handle.join();
    }),
    ("the closure of one of this worker that is killed before it starts", |bomb| {
        let handle = stealing::spawn_local(move || drop(bomb));
        handle.kill();
        assert!(handle.join().is_err());
    }),
    ("the closure of one of this worker that another thread lets go of", |bomb| {
        let handle = stealing::spawn_on(stealing::worker_index().unwrap(), move || drop(bomb)).unwrap();
        thread::spawn(move || handle.kill()).join().unwrap();
    }),
    ("a result", |bomb| stealing::spawn(move || bomb).detach()),
    ("a result of this worker", |bomb| stealing::spawn_local(move || bomb).detach()),
    ("a payload", |bomb| stealing::spawn(move || resume_unwind(Box::new(Mutex::new(bomb)))).detach()),
    ("a payload that a kill replaces", |bomb| {
        let started = Rc::new(Cell::new(false));
        let starts = started.clone();
        let handle = stealing::spawn_local(move || {
            let _mask = stealing::mask();
            starts.set(true);
            let _ = park();
        });
        yield_until(|| started.get());
        let home = current::record().home().unwrap();
        assert!(home.submit(Remote::Throw(handle.record().unwrap(), Box::new(Mutex::new(bomb)))).is_ok());
        handle.kill();
        (0..3).for_each(|_| yield_now());
        handle.record().unwrap().spot().unpark();
        let _ = handle.join();
    }),
    ("a waker that the end of a tasklet wakes", |bomb| {
        let mut handle = stealing::spawn(yield_now);
        let waker = waker(bomb);
        // Another worker may have been faster.
        let _ = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        drop(waker);
        handle.wait().unwrap();
    }),
    ("a waker that a timer wakes", |bomb| {
        let waker = waker(bomb);
        let mut slept = sleep_async(Duration::from_micros(20));
        assert!(Pin::new(&mut slept).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        sleep(Duration::from_millis(1));
    }),
    ("a value of a tasklet", |bomb| {
        let handle = stealing::spawn(move || LOCAL.with(|value| *value.lock().unwrap() = Some(Box::new(bomb))));
        handle.join().unwrap();
    }),
    ("a future that is killed", |bomb| {
        let started = Arc::new(AtomicU64::new(0));
        let starts = started.clone();
        let handle = stealing::spawn_async(async move {
            let _bomb = &bomb;
            starts.store(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        });
        yield_until(|| started.load(Ordering::Relaxed) == 1);
        handle.kill();
        assert!(handle.join().unwrap_err().is_killed());
    }),
    ("a closure that the end of the runtime finds", |bomb| {
        // The caller does not give way any more.
        stealing::spawn_on(stealing::worker_index().unwrap(), move || drop(bomb)).unwrap().detach();
    }),
];

#[test]
fn nothing_that_a_destructor_calls_hangs_or_breaks_the_worker() {
    for workers in [1, 2] {
        for (place, put) in PLACES {
            for (what, act) in ACTIONS {
                let runtime = runtime(workers);
                let handle = runtime.handle();
                let _watchdog = Watchdog::new(move || format!("{place} {what}: {:?}", handle.metrics()));
                let called = Arc::new(AtomicU64::new(0));
                let counter = called.clone();
                let bomb: Bomb = Box::new(move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                    // Some of it panics where there is no tasklet, with a message for the user: not here.
                    let _ = catch_unwind(act);
                });
                runtime.run(move || put(OnDrop(bomb)));
                let sum = runtime.run(|| {
                    let handles: Vec<_> = (0..10)
                        .map(|n| {
                            stealing::spawn(move || {
                                yield_now();
                                n
                            })
                        })
                        .collect();
                    handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>()
                });
                assert_eq!(sum, 45, "{place} {what}");
                assert!(runtime.shutdown(Duration::from_secs(30)).is_clean(), "{place} {what}");
                assert_eq!(called.load(Ordering::Relaxed), 1, "{place} {what}");
            }
        }
    }
}

#[test]
fn what_the_end_of_a_runtime_drops_may_call_anything() {
    for workers in [1, 2] {
        for (what, act) in ACTIONS {
            let runtime = runtime(workers);
            let handle = runtime.handle();
            let _watchdog = Watchdog::new(move || format!("{what}: {:?}", handle.metrics()));
            let called = Arc::new(AtomicU64::new(0));
            let bomb = || {
                let counter = called.clone();
                OnDrop(move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                    let _ = catch_unwind(act);
                })
            };
            let bombs: [_; 4] = std::array::from_fn(|_| bomb());
            runtime.run(move || {
                let [waiting, free, placed, result] = bombs;
                let started = Arc::new(AtomicU64::new(0));
                let (first, second) = (started.clone(), started.clone());
                stealing::spawn(move || {
                    let _waiting = &waiting;
                    first.fetch_add(1, Ordering::Relaxed);
                    let _ = park();
                })
                .detach();
                stealing::spawn_local(move || {
                    let result = result;
                    second.fetch_add(1, Ordering::Relaxed);
                    let _ = catch_unwind(park);
                    result
                })
                .detach();
                yield_until(|| started.load(Ordering::Relaxed) == 2);
                // They do not start before the end: the caller does not give way any more.
                stealing::spawn(move || drop(free)).detach();
                stealing::spawn_on(stealing::worker_index().unwrap(), move || drop(placed)).unwrap().detach();
            });
            drop(runtime);
            assert_eq!(called.load(Ordering::Relaxed), 4, "{what}");
        }
    }
}

#[test]
fn a_destructor_that_ends_its_own_runtime_is_told_and_the_runtime_ends() {
    for workers in [1, 2] {
        let owner: Arc<Mutex<Option<Runtime>>> = Arc::default();
        let refused = Arc::new(AtomicU64::new(0));
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let handle = runtime.handle();
        *owner.lock().unwrap() = Some(runtime);
        let counter = refused.clone();
        let ends = OnDrop(move || {
            if let Some(runtime) = owner.lock().unwrap().take() {
                let panic = catch_unwind(AssertUnwindSafe(|| drop(runtime))).unwrap_err();
                let text = panic.downcast_ref::<&str>().copied().unwrap_or_default();
                assert!(text.contains("one of its own tasklets"), "{text}");
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        // It ends after its handle has gone, or its result would be dropped here.
        let (go, goes) = mpsc::channel::<()>();
        let result = handle.spawn(move || {
            goes.recv().unwrap();
            ends
        });
        result.detach();
        go.send(()).unwrap();
        while handle.is_open() || refused.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        assert!(handle.try_spawn(|| ()).unwrap_err().is_closed());
    }
}

/// Keys of timers are counted per worker, so those of two may be equal.
#[test]
fn a_future_that_sleeps_on_two_workers_stops_nobody_elses_timer() {
    let clock = Arc::new(tasklet::time::VirtualClock::default());
    let runtime = tasklet::Builder::new().workers(2).clock(clock.clone()).build().unwrap();
    let time = Duration::from_millis(20);
    let mut future = Box::pin(sleep_async(time));
    let poll = |future: &mut Pin<Box<stealing::SleepAsync>>| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(Future::poll(future.as_mut(), &mut context).is_pending());
    };
    // The first timer of one worker.
    let future = runtime.spawn_on(0, move || {
        poll(&mut future);
        future
    });
    let mut future = future.unwrap().join().unwrap();
    // The first ones of the other, at the same time; the clock stands still.
    let sleepers = runtime.spawn_on(1, move || {
        let sleepers: Vec<_> = (0..3).map(|_| tasklet::spawn_local(move || sleep(time))).collect();
        yield_now();
        poll(&mut future);
        drop(future);
        sleepers.iter().map(|sleeper| sleeper.record().unwrap()).collect::<Vec<_>>()
    });
    let sleepers = sleepers.unwrap().join().unwrap();
    clock.advance(time);
    let start = std::time::Instant::now();
    while sleepers.iter().any(|sleeper| !sleeper.is_finished()) {
        assert!(start.elapsed() < Duration::from_secs(20), "a sleeper's timer is gone");
        thread::yield_now();
    }
}
