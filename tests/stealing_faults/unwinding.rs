//! Panics and kills in odd places. A wait in a destructor that runs in a panic blocks the thread of its worker, because the standard
//! library counts panics by thread: whatever it waits for has to come from elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tasklet::stealing::{
    self, Builder, Runtime, blocking, park, park_timeout, scope, sleep, sleep_async, unparker, yield_now,
};
use tasklet::time::{Clock, Driver, Notify, RealClock, ThreadDriver};
use tasklet::{Channel, SharedChannel};

use crate::child;
use crate::support::{OnDrop, Watchdog, parks, runtime, yield_until};

/// A panic that no hook prints.
fn raise() -> ! {
    resume_unwind(Box::new("raised"))
}

/// The runtime does what it should, and none of its threads counts as panicking.
#[track_caller]
fn is_well(runtime: Runtime) {
    for worker in 0..runtime.workers() {
        let panicking = runtime.spawn_on(worker, || {
            yield_now();
            thread::panicking()
        });
        assert!(!panicking.unwrap().join().unwrap(), "worker {worker}");
    }
    assert!(runtime.shutdown(Duration::from_secs(30)).is_clean());
}

/// Calls `f` on worker 0 from a destructor that runs because its tasklet panics, and then from one whose tasklet was killed.
fn while_unwinding<T: Send + 'static>(runtime: &Runtime, f: impl Fn() -> T + Send + Sync + 'static) -> Vec<T> {
    let f = Arc::new(f);
    [false, true]
        .into_iter()
        .map(|is_killed| {
            let (tell, told) = mpsc::channel();
            let f = f.clone();
            let handle = runtime.spawn_on(0, move || {
                let before = tell.clone();
                let _calls = OnDrop(move || {
                    assert!(thread::panicking());
                    tell.send(Some(f())).unwrap();
                });
                before.send(None).unwrap();
                if is_killed {
                    let _ = park();
                }
                raise();
            });
            let handle = handle.unwrap();
            assert!(told.recv().unwrap().is_none());
            if is_killed {
                handle.kill();
            }
            let result = told.recv().unwrap().expect("the call has returned");
            let error = handle.join().unwrap_err();
            assert_eq!((error.is_killed(), error.is_panic()), (is_killed, !is_killed));
            let elsewhere = runtime.spawn_on(0, thread::panicking).unwrap();
            assert!(!elsewhere.join().unwrap(), "the panic was counted for another tasklet");
            result
        })
        .collect()
}

#[test]
fn a_destructor_may_receive_what_others_send() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    // From a thread.
    let channel: SharedChannel<u32> = Channel::new().share();
    let sender = channel.clone();
    let sends = thread::spawn(move || sender.send_all([1, 2]).unwrap());
    let receiver = channel.clone();
    assert_eq!(while_unwinding(&runtime, move || receiver.recv()), [Ok(1), Ok(2)]);
    sends.join().unwrap();
    // From a tasklet of the other worker.
    let sender = channel.clone();
    let sends = runtime.spawn_on(1, move || sender.send_all([3, 4]).unwrap()).unwrap();
    assert_eq!(while_unwinding(&runtime, move || channel.recv()), [Ok(3), Ok(4)]);
    sends.join().unwrap();
    is_well(runtime);
}

#[test]
fn a_destructor_may_join_what_other_workers_run() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let placed = while_unwinding(&runtime, || {
        let placed = stealing::spawn_on(1, || {
            yield_now();
            stealing::worker_index()
        });
        placed.unwrap().join().unwrap()
    });
    assert_eq!(placed, [Some(1), Some(1)]);
    let stolen = while_unwinding(&runtime, || stealing::spawn(stealing::worker_index).join().unwrap());
    assert_eq!(stolen, [Some(1), Some(1)]);
    let scoped = while_unwinding(&runtime, || {
        let mut values = [1, 2, 3];
        scope(|scope| values.iter_mut().for_each(|value| drop(scope.spawn(|| *value *= 2))));
        values
    });
    assert_eq!(scoped, [[2, 4, 6]; 2]);
    is_well(runtime);
}

#[test]
fn a_destructor_may_wait_for_time_and_threads() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        while_unwinding(&runtime, || sleep(Duration::from_millis(2)));
        assert_eq!(while_unwinding(&runtime, || park_timeout(Duration::from_millis(1))), [Ok(false), Ok(false)]);
        let here = while_unwinding(&runtime, || blocking(thread::panicking));
        assert_eq!(here, [true, true], "called right there");
        let unparked = while_unwinding(&runtime, || {
            let unparker = unparker();
            let thread = thread::spawn(move || unparker.unpark());
            let parked = park();
            thread.join().unwrap();
            parked
        });
        assert_eq!(unparked, [Ok(()), Ok(())]);
        // They give way to nobody, and go on.
        while_unwinding(&runtime, || {
            yield_now();
            stealing::checkpoint();
        });
        is_well(runtime);
    }
}

#[test]
fn a_destructor_may_fork_although_its_worker_is_the_only_one() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let sums = while_unwinding(&runtime, || {
            // What the first half spawns lies above the second half in the worker's deque.
            let (left, right) = stealing::join(
                || {
                    (0..3).for_each(|_| drop(stealing::spawn(yield_now)));
                    1
                },
                || 2,
            );
            left + right
        });
        assert_eq!(sums, [3, 3]);
        is_well(runtime);
    }
}

#[test]
fn a_kill_does_not_end_the_waits_of_destructors_nor_make_them_endless() {
    for ends in [false, true] {
        let runtime = runtime(1);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let (tell, told) = mpsc::channel();
        let (go, goes) = mpsc::channel::<()>();
        let (slept, woke) = mpsc::channel();
        let handle = runtime.spawn(move || {
            let _sleeps = OnDrop(|| {
                tell.send(()).unwrap();
                goes.recv().unwrap();
                // The kill is in the inbox.
                let start = std::time::Instant::now();
                sleep(Duration::from_millis(20));
                let waited = park_timeout(Duration::from_millis(1));
                slept.send((start.elapsed(), waited)).unwrap();
            });
            raise();
        });
        told.recv().unwrap();
        if ends {
            let open = runtime.handle();
            let ender = thread::spawn(move || drop(runtime));
            while open.is_open() {
                thread::yield_now();
            }
            go.send(()).unwrap();
            ender.join().unwrap();
        } else {
            handle.kill();
            go.send(()).unwrap();
            handle.wait().unwrap();
            is_well(runtime);
        }
        let (time, waited) = woke.recv().unwrap();
        assert!(time >= Duration::from_millis(20), "{time:?}");
        assert_eq!(waited, Ok(false));
        assert!(handle.join().unwrap_err().is_panic());
    }
}

#[test]
fn a_panic_in_a_destructor_of_a_killed_tasklet_is_the_standard_librarys_to_report() {
    const TEST: &str = "unwinding::a_panic_in_a_destructor_of_a_killed_tasklet_is_the_standard_librarys_to_report";
    if child::role().is_none() {
        let (output, text) = child::run(TEST, "child");
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("panic in a destructor during cleanup") && text.contains("aborting"), "{text}");
        return;
    }
    let runtime = runtime(1);
    runtime.run(|| {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let handle = stealing::spawn(|| {
            let _panics = OnDrop(|| panic!("in a destructor"));
            STARTED.store(1, Ordering::Relaxed);
            let _ = park();
        });
        yield_until(|| STARTED.load(Ordering::Relaxed) == 1);
        handle.kill();
        let _ = handle.join();
    });
    eprintln!("survived");
}

#[test]
fn a_destructor_of_a_killed_tasklet_may_catch_its_own_panic() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let killed = runtime.run(|| {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let handle = stealing::spawn(|| {
            let _catches = OnDrop(|| {
                assert!(catch_unwind(|| raise()).is_err());
                STARTED.store(2, Ordering::Relaxed);
            });
            STARTED.store(1, Ordering::Relaxed);
            let _ = park();
        });
        yield_until(|| STARTED.load(Ordering::Relaxed) == 1);
        handle.kill();
        handle.join().unwrap_err().is_killed() && STARTED.load(Ordering::Relaxed) == 2
    });
    assert!(killed);
    is_well(runtime);
}

#[test]
fn destructors_of_what_never_ran_or_nobody_wants_may_panic() {
    // One worker: nobody else starts what the caller spawns before it gives way.
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let counter = Arc::new(AtomicU64::new(0));
    let bomb = || {
        let counter = counter.clone();
        OnDrop(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            raise();
        })
    };
    // Closures that never run: of a free tasklet, of one on its worker, of a future.
    let (free, placed, soft) = (bomb(), bomb(), bomb());
    runtime.run(move || {
        let hold = stealing::spawn_on(stealing::worker_index().unwrap(), move || drop(Box::new(placed))).unwrap();
        let free = stealing::spawn(move || std::mem::forget(free));
        let soft = stealing::spawn_async(async move { std::mem::forget(soft) });
        for handle in [free, soft, hold] {
            handle.kill();
            assert!(handle.join().unwrap_err().is_killed());
        }
    });
    // Results and payloads that nobody takes.
    let (result, payload) = (bomb(), bomb());
    runtime.spawn(move || result).detach();
    runtime.spawn(move || resume_unwind(Box::new(Mutex::new(payload)))).detach();
    while counter.load(Ordering::Relaxed) != 5 {
        thread::yield_now();
    }
    // A result that its joiner drops is the joiner's business.
    let result = bomb();
    let result = runtime.spawn(move || result).join().unwrap_or_else(|_| unreachable!());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(result))).is_err());
    is_well(runtime);
    assert_eq!(counter.load(Ordering::Relaxed), 6);
}

#[test]
fn hooks_that_panic_disturb_nothing() {
    let called = Arc::new(AtomicU64::new(0));
    let hook = || {
        let called = called.clone();
        move |_| {
            called.fetch_add(1, Ordering::Relaxed);
            raise();
        }
    };
    let runtime: Runtime = Builder::new().workers(2).on_start(hook()).on_stop(hook()).build().unwrap();
    let _watchdog = Watchdog::of_runtime(&runtime);
    assert_eq!(runtime.run(|| stealing::spawn(|| 5).join().unwrap()), 5);
    is_well(runtime);
    // Stop hooks are called before a worker counts as ended.
    assert_eq!(called.load(Ordering::Relaxed), 4);
}

/// Panics when it has been asked often enough.
struct Panics<T>(T, AtomicU64);

impl<T> Panics<T> {
    fn ask(&self) {
        assert!(self.1.fetch_add(1, Ordering::Relaxed) < 3, "asked too often");
    }
}

impl Clock for Panics<RealClock> {
    fn now(&self) -> Duration {
        self.ask();
        self.0.now()
    }
}

impl Driver for Panics<ThreadDriver> {
    fn wait(&self, limit: Option<Duration>) {
        self.ask();
        self.0.wait(limit.or(Some(Duration::from_millis(1))));
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.0.notifier()
    }
}

/// A driver whose notifier panics, once the runtime has got to work.
struct Silent(ThreadDriver);

struct Refuses(Arc<dyn Notify>, AtomicU64);

impl Notify for Refuses {
    fn notify(&self) {
        assert!(self.1.fetch_add(1, Ordering::Relaxed) < 20, "asked too often");
        self.0.notify();
    }
}

impl Driver for Silent {
    fn wait(&self, timeout: Option<Duration>) {
        self.0.wait(timeout);
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(Refuses(self.0.notifier(), AtomicU64::new(0)))
    }
}

#[test]
fn a_clock_or_driver_that_panics_ends_the_process_with_a_message() {
    const TEST: &str = "unwinding::a_clock_or_driver_that_panics_ends_the_process_with_a_message";
    let Some(role) = child::role() else {
        for role in ["clock", "driver", "notifier"] {
            let (output, text) = child::run(TEST, role);
            assert!(!output.status.success(), "{role}: {text}");
            assert!(text.contains("asked too often"), "{role}: {text}");
            assert!(text.contains(role) && text.contains("must not unwind; aborting"), "{role}: {text}");
            assert!(!text.contains("survived"), "{role}: {text}");
        }
        return;
    };
    let builder = Builder::new().workers(1);
    let builder = match &*role {
        "clock" => builder.clock(Panics(RealClock::default(), AtomicU64::new(0))),
        "notifier" => builder.driver(|_| Box::new(Silent(ThreadDriver::default()))),
        _ => builder.driver(|_| Box::new(Panics(ThreadDriver::default(), AtomicU64::new(0)))),
    };
    let runtime: Runtime = builder.build().unwrap();
    // Calls that lend what lies on their stacks, and notify.
    for _ in 0..100 {
        let mut lent = [0u8; 64];
        runtime.run(|| {
            sleep(Duration::from_millis(5));
            lent.fill(1);
        });
    }
    eprintln!("survived");
}

#[test]
fn waits_may_be_caught_and_waited_again() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let (caught, received, killed) = runtime.run(|| {
        let channel: Channel<u32> = Channel::new();
        let shared = channel.share();
        let (tell, told) = mpsc::channel();
        let told = Mutex::new(told);
        let handle = stealing::spawn(move || {
            let mut caught = 0;
            // Each kill ends one wait: in a channel, in a join, in time, in a scope.
            let other = stealing::spawn(parks);
            let waits: [&dyn Fn(); 4] = [
                &|| {
                    let _ = shared.recv();
                },
                &|| {
                    let _ = other.wait();
                },
                &|| sleep(Duration::from_secs(3600)),
                &|| scope(|scope| drop(scope.spawn(parks))),
            ];
            for wait in waits {
                tell.send(()).unwrap();
                caught += u32::from(catch_unwind(AssertUnwindSafe(wait)).is_err());
            }
            tell.send(()).unwrap();
            let received = shared.recv();
            other.kill();
            (caught, received, other.join().unwrap_err().is_killed())
        });
        for _ in 0..4 {
            blocking(|| told.lock().unwrap().recv().unwrap());
            handle.kill();
        }
        blocking(|| told.lock().unwrap().recv().unwrap());
        channel.send(9).unwrap();
        handle.join().unwrap()
    });
    assert_eq!((caught, received, killed), (4, Ok(9), true));
    is_well(runtime);
}

/// Panics when it wakes, and counts that.
struct PanickingWaker(AtomicU64);

impl Wake for PanickingWaker {
    fn wake(self: Arc<PanickingWaker>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        raise();
    }
}

#[test]
fn wakers_that_panic_disturb_nothing() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let panics = Arc::new(PanickingWaker(AtomicU64::new(0)));
        let waker = Waker::from(panics.clone());
        // Woken by the end of a tasklet.
        let (go, goes) = mpsc::channel::<()>();
        let mut handle = runtime.spawn(move || goes.recv().unwrap());
        assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
        go.send(()).unwrap();
        handle.wait().unwrap();
        // Woken by a timer of the worker.
        let timed = waker.clone();
        runtime.run(move || {
            let mut slept = sleep_async(Duration::from_micros(100));
            assert!(Pin::new(&mut slept).poll(&mut Context::from_waker(&timed)).is_pending());
            sleep(Duration::from_millis(2));
            (0..100).for_each(|_| yield_now());
        });
        // Woken by a kill.
        let mut killed = runtime.spawn(parks);
        assert!(Pin::new(&mut killed).poll(&mut Context::from_waker(&waker)).is_pending());
        killed.kill();
        killed.wait().unwrap();
        while panics.0.load(Ordering::Relaxed) != 3 {
            thread::yield_now();
        }
        is_well(runtime);
    }
}

/// A future that panics when it is polled so many times, and when it is dropped.
struct Bomb {
    polls: u32,
    dropped: Arc<AtomicU64>,
}

impl Future for Bomb {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.polls {
            0 => raise(),
            1 => return Poll::Ready(()),
            _ => self.polls -= 1,
        }
        if self.polls < 100 {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        raise();
    }
}

#[test]
fn futures_that_panic_wherever_they_can_disturb_nothing() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let dropped = Arc::new(AtomicU64::new(0));
        let spawn = |polls| runtime.spawn_async(Bomb { polls, dropped: dropped.clone() });
        assert!(spawn(0).join().unwrap_err().is_panic());
        spawn(1).join().unwrap();
        spawn(5).join().unwrap();
        let waits = spawn(1000);
        waits.kill();
        assert!(waits.join().unwrap_err().is_killed());
        while dropped.load(Ordering::Relaxed) != 4 {
            thread::yield_now();
        }
        is_well(runtime);
    }
}

#[test]
fn scopes_and_forks_bring_panics_back_when_nothing_borrows_any_more() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let caught = runtime.run(|| {
        let mut value = 0;
        let scoped = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                scope.spawn(|| {
                    (0..10).for_each(|_| yield_now());
                    value += 1;
                });
                raise();
            })
        }));
        let mut sides = (0, 0);
        let forked = catch_unwind(AssertUnwindSafe(|| {
            stealing::join(
                || {
                    sides.0 += 1;
                    raise()
                },
                || sides.1 += 1,
            )
        }));
        (scoped.is_err(), value, forked.is_err(), sides.0)
    });
    assert_eq!(caught, (true, 1, true, 1));
    is_well(runtime);
}
