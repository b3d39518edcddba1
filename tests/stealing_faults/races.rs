//! Things that happen at the same time on several threads: each tasklet ends once, each closure is dropped once, no wake-up is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tasklet::stealing::{self, Runtime, Unparker, park, unparker, yield_now};
use tasklet::{Channel, JoinHandle, SharedChannel};

use crate::support::{Dice, Dropped, Watchdog, rounds, runtime};

/// What a race of spawns and kills has come to.
#[derive(Default)]
struct Tally {
    ran: AtomicU64,
    returned: AtomicU64,
    killed: AtomicU64,
    dropped: Arc<AtomicU64>,
}

impl Tally {
    /// The body of a tasklet that may be killed before it runs, while it waits or not at all.
    fn body(self: &Arc<Tally>, number: u64) -> impl FnOnce() + Send + 'static {
        let (tally, witness) = (self.clone(), Dropped(self.dropped.clone()));
        move || {
            let _witness = &witness;
            tally.ran.fetch_add(1, Ordering::Relaxed);
            match number % 4 {
                0 => {}
                1 => yield_now(),
                2 => (0..3).for_each(|_| yield_now()),
                _ => drop(park()),
            }
        }
    }

    fn join(&self, handle: JoinHandle<()>) {
        match handle.join() {
            Ok(()) => &self.returned,
            Err(error) => {
                assert!(error.is_killed(), "{error}");
                &self.killed
            }
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    fn check(&self, runtime: Runtime, count: u64, others: u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(get(&self.returned) + get(&self.killed), count);
        assert_eq!(get(&self.dropped), count, "each closure is dropped once");
        assert!(get(&self.ran) >= get(&self.returned) && get(&self.ran) <= count);
        let handle = runtime.handle();
        assert!(runtime.shutdown(Duration::from_secs(30)).is_clean());
        let metrics = handle.metrics();
        assert_eq!(metrics.spawned, count + others, "{metrics:?}");
        assert!(metrics.started <= metrics.spawned && metrics.started == metrics.finished, "{metrics:?}");
        assert_eq!((metrics.queued, metrics.leaked), (0, 0), "{metrics:?}");
    }
}

#[test]
fn spawns_race_kills_of_another_thread() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let watchdog = Watchdog::of_runtime(&runtime);
        let (tally, count) = (Arc::new(Tally::default()), rounds(100_000));
        let (give, take) = mpsc::sync_channel::<JoinHandle<()>>(64);
        thread::scope(|scope| {
            let (tally, watchdog) = (&tally, &watchdog);
            scope.spawn(move || {
                let mut dice = Dice::new(1);
                for handle in take {
                    dice.spin(200);
                    handle.kill();
                    tally.join(handle);
                    watchdog.move_on();
                }
            });
            let mut dice = Dice::new(2);
            for number in 0..count {
                dice.spin(50);
                give.send(runtime.spawn(tally.body(number))).unwrap();
            }
            drop(give);
        });
        tally.check(runtime, count, 0);
    }
}

#[test]
fn spawns_race_kills_of_tasklets() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let watchdog = Watchdog::of_runtime(&runtime);
        let (tally, count) = (Arc::new(Tally::default()), rounds(100_000));
        let shared = tally.clone();
        runtime.run(move || {
            let mut dice = Dice::new(3);
            let mut handles = Vec::new();
            for number in 0..count {
                let handle = stealing::spawn(shared.body(number));
                match dice.below(3) {
                    0 => handle.kill(),
                    1 => {
                        dice.spin(100);
                        handle.kill();
                    }
                    _ => {}
                }
                handles.push(handle);
                if handles.len() == 16 {
                    // The next ones are killed after they have waited a while.
                    for handle in handles.drain(..) {
                        handle.kill();
                        shared.join(handle);
                    }
                    watchdog.move_on();
                }
            }
            for handle in handles {
                handle.kill();
                shared.join(handle);
            }
        });
        tally.check(runtime, count, 1);
    }
}

#[test]
fn limits_of_joins_and_kills_race_ends() {
    let runtime = runtime(2);
    let watchdog = Watchdog::of_runtime(&runtime);
    let count = rounds(20_000);
    let (mut returned, mut killed) = (0, 0);
    let mut dice = Dice::new(4);
    for round in 0..count {
        let spins = dice.below(3000);
        let handle = runtime.spawn(move || {
            (0..spins).for_each(|_| std::hint::spin_loop());
            yield_now();
            round
        });
        let limit = Duration::from_nanos(dice.below(20_000));
        // From a thread and from a tasklet by turns.
        let joined =
            if round % 2 == 0 { handle.join_timeout(limit) } else { runtime.run(move || handle.join_timeout(limit)) };
        let result = joined.unwrap_or_else(|handle| {
            handle.kill();
            handle.join()
        });
        match result {
            Ok(value) => {
                assert_eq!(value, round);
                returned += 1;
            }
            Err(error) => {
                assert!(error.is_killed(), "{error}");
                killed += 1;
            }
        }
        watchdog.move_on();
    }
    assert_eq!(returned + killed, count);
    assert!(runtime.shutdown(Duration::from_secs(30)).is_clean());
}

#[test]
fn several_kill_and_join_one() {
    let runtime = runtime(2);
    let watchdog = Watchdog::of_runtime(&runtime);
    for _ in 0..rounds(5000) {
        let handle = Arc::new(runtime.spawn(|| {
            yield_now();
            let _ = park();
        }));
        thread::scope(|scope| {
            let other = &handle;
            scope.spawn(move || {
                other.kill();
                other.wait().unwrap();
            });
            let joins = handle.clone();
            let joiner = runtime.spawn(move || joins.wait().unwrap());
            handle.kill();
            handle.wait().unwrap();
            joiner.join().unwrap();
        });
        assert!(Arc::into_inner(handle).is_none_or(|handle| handle.join().unwrap_err().is_killed()));
        watchdog.move_on();
    }
}

/// Wakes tasklets of `runtime` from outside `count` times, while its workers fall asleep: by a permit, a value, a new tasklet, a waker.
/// Each wake-up is answered before the next.
fn ping(runtime: &Runtime, watchdog: &Watchdog, seed: u64, count: u64) {
    let mut dice = Dice::new(seed);
    // By a permit, which the answer is too.
    let (asked, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (ask, answer, caller): (_, _, Unparker) = (asked.clone(), answered.clone(), unparker());
    let (tell, told) = mpsc::channel();
    let parks = runtime.spawn(move || {
        tell.send(unparker()).unwrap();
        let mut seen = 0;
        loop {
            let now = ask.load(Ordering::Acquire);
            if now == u64::MAX {
                return;
            }
            if now == seen {
                park().unwrap();
                continue;
            }
            seen = now;
            answer.store(seen, Ordering::Release);
            caller.unpark();
        }
    });
    let parked = told.recv().unwrap();
    // By a value.
    let (request, reply): (SharedChannel<u64>, SharedChannel<u64>) = (Channel::new().share(), Channel::new().share());
    let (requests, replies) = (request.clone(), reply.clone());
    let receives = runtime.spawn(move || {
        while let Ok(value) = requests.recv() {
            replies.send(value + 1).unwrap();
        }
    });
    for round in 1..=count {
        match dice.below(8) {
            0 => {
                let handle = runtime.spawn(move || round);
                assert_eq!(handle.join().unwrap(), round);
            }
            1 => {
                let worker = dice.below(runtime.workers() as u64) as usize;
                assert_eq!(runtime.spawn_on(worker, move || round).unwrap().join().unwrap(), round);
            }
            2 => assert_eq!(runtime.spawn_async(async move { round }).join().unwrap(), round),
            3 | 4 => {
                request.send(round).unwrap();
                assert_eq!(reply.recv().unwrap(), round + 1);
            }
            _ => {
                asked.store(round, Ordering::Release);
                parked.unpark();
                while answered.load(Ordering::Acquire) != round {
                    park().unwrap();
                }
            }
        }
        watchdog.move_on();
        // Workers search for some twenty microseconds before they sleep: most pauses are around that.
        match dice.below(16) {
            0 => thread::sleep(Duration::from_micros(dice.below(100))),
            1..8 => dice.spin(2000),
            _ => dice.spin(50),
        }
    }
    asked.store(u64::MAX, Ordering::Release);
    parked.unpark();
    request.close();
    parks.join().unwrap();
    receives.join().unwrap();
}

fn ping_from_two_threads(workers: usize, wake_ups: u64) {
    let runtime = runtime(workers);
    let watchdog = Watchdog::of_runtime(&runtime);
    thread::scope(|scope| {
        for seed in 0..2 {
            let (runtime, watchdog) = (&runtime, &watchdog);
            scope.spawn(move || ping(runtime, watchdog, seed + workers as u64 * 2, wake_ups / 2));
        }
    });
    assert!(runtime.shutdown(Duration::from_secs(30)).is_clean());
}

#[test]
fn no_wake_up_is_lost_while_workers_fall_asleep() {
    for workers in [1, 2, 4] {
        ping_from_two_threads(workers, rounds(100_000));
    }
}

#[test]
#[ignore = "takes minutes"]
fn ten_million_wake_ups_while_workers_fall_asleep() {
    for (workers, wake_ups) in [(1, 3_000_000), (2, 4_000_000), (4, 3_000_000)] {
        ping_from_two_threads(workers, wake_ups);
    }
}

/// A future that two threads wake, each after it has said something, and that remembers what it heard.
struct Hears {
    said: [Arc<AtomicU64>; 2],
    wakers: Option<mpsc::Sender<std::task::Waker>>,
    until: u64,
}

impl Future for Hears {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        // The wakers are given away once, before anything is said: what is heard below is all there is to go by.
        if let Some(give) = self.wakers.take() {
            for _ in 0..2 {
                give.send(context.waker().clone()).unwrap();
            }
        }
        if self.said.iter().all(|said| said.load(Ordering::Relaxed) == self.until) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    }
}

#[test]
fn two_threads_wake_one_soft_tasklet() {
    let runtime = runtime(2);
    let watchdog = Watchdog::of_runtime(&runtime);
    for round in 0..rounds(2000) {
        let said = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        let (give, take) = mpsc::channel();
        let until = 20;
        let handle = runtime.spawn_async(Hears { said: said.clone(), wakers: Some(give), until });
        thread::scope(|scope| {
            for (number, said) in said.iter().enumerate() {
                let waker = take.recv().unwrap();
                scope.spawn(move || {
                    let mut dice = Dice::new(round * 2 + number as u64);
                    for word in 1..=until {
                        dice.spin(100);
                        said.store(word, Ordering::Relaxed);
                        waker.wake_by_ref();
                    }
                });
            }
        });
        handle.join().unwrap();
        watchdog.move_on();
    }
}
