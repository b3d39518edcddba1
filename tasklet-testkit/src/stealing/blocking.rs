//! `blocking`: closures on threads that may block, while the tasklet parks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::Case;
use super::setup::{Flag, caught_text, channel, end, fail, spin_until, yield_until};

/// The closure may borrow, and runs on a thread that is no worker's.
pub fn a_blocking_call_borrows<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let mut text = String::from("a");
        let length = stealing::blocking(|| {
            assert_eq!(stealing::worker_index(), None);
            text.push('b');
            text.len()
        });
        assert_eq!((length, &*text), (2, "ab"));
        assert!(stealing::worker_index().is_some());
    });
}

/// A panic comes back to who called.
pub fn a_blocking_panic_comes_back<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        assert_eq!(caught_text(|| stealing::blocking(|| fail("E"))), "E");
        assert_eq!(stealing::blocking(|| 1), 1);
    });
}

/// The worker goes on with others meanwhile, which may be what the closure waits for.
pub fn the_worker_goes_on_meanwhile<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let go = Flag::default();
        let sets = go.clone();
        let other = stealing::spawn_local(move || sets.set());
        stealing::blocking(|| go.spin());
        other.join().unwrap();
        // The closure may use what plain threads may use.
        let values = channel::<u32>();
        let source = values.clone();
        let sender = stealing::spawn_local(move || source.send(2).unwrap());
        assert_eq!(stealing::blocking(|| values.recv()), Ok(2));
        sender.join().unwrap();
    });
}

/// Several run at once, up to the ceiling; what comes beyond queues, and is counted.
pub fn calls_run_in_parallel_up_to_the_ceiling<B: Backend>(case: Case) {
    let runtime = case.builder::<B>().max_blocking_threads(2).build().unwrap();
    let (running, peak, go) = (AtomicUsize::new(0), AtomicUsize::new(0), Flag::default());
    let handle = runtime.handle();
    runtime.run(|| {
        stealing::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    stealing::blocking(|| {
                        peak.fetch_max(1 + running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        go.spin();
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                });
            }
            yield_until(|| handle.metrics().blocking.queued == 3 && running.load(Ordering::SeqCst) == 2);
            let stats = handle.metrics().blocking;
            assert_eq!((stats.threads, stats.idle, stats.calls), (2, 0, 5));
            go.set();
        });
    });
    assert_eq!((peak.into_inner(), running.into_inner()), (2, 0));
    assert_eq!(handle.metrics().blocking.queued, 0);
    end(runtime);
    assert_eq!(handle.metrics().blocking.threads, 0);
}

/// Threads that have nothing to do end after a while.
pub fn idle_threads_end<B: Backend>(case: Case) {
    let runtime = case.builder::<B>().blocking_keep_alive(Duration::from_millis(1)).build().unwrap();
    runtime.run(|| {
        stealing::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| stealing::blocking(|| ()));
            }
        });
    });
    spin_until(|| runtime.metrics().blocking.threads == 0);
    assert_eq!(runtime.run(|| stealing::blocking(|| 5)), 5);
    end(runtime);
}

/// One thread is used again and again, when its calls come one after the other.
pub fn an_idle_thread_is_used_again<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let mut ids = runtime.run(|| {
        let handle = stealing::Handle::try_current().unwrap();
        (0..10)
            .map(|_| {
                let id = stealing::blocking(|| thread::current().id());
                yield_until(|| handle.metrics().blocking.idle == 1);
                id
            })
            .collect::<Vec<_>>()
    });
    ids.dedup();
    assert_eq!(ids.len(), 1);
    end(runtime);
}

/// In a scope, in a `join`, inside of another blocking call.
pub fn blocking_nests<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let numbers = [1, 2, 3, 4];
        let sum = AtomicUsize::new(0);
        stealing::scope(|scope| {
            for number in &numbers {
                scope.spawn(|| stealing::blocking(|| sum.fetch_add(*number, Ordering::SeqCst)));
            }
        });
        assert_eq!(sum.load(Ordering::SeqCst), 10);
        let both = stealing::join(|| stealing::blocking(|| 1), || stealing::blocking(|| 2));
        assert_eq!(both, (1, 2));
        assert_eq!(stealing::blocking(|| stealing::blocking(|| 3)), 3);
    });
}

/// Outside of a runtime, the closure is called right there.
pub fn a_plain_thread_calls_right_there<B: Backend>(case: Case) {
    let here = thread::current().id();
    assert_eq!(stealing::blocking(|| thread::current().id()), here);
    let runtime = case.runtime::<B>();
    let _entered = runtime.enter();
    assert_eq!(stealing::blocking(|| thread::current().id()), here);
}
