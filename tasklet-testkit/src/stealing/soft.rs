//! Soft tasklets: futures on the workers, behind the same handles; and `block_on`.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tasklet_bridge::futures::{block_on, try_block_on};
use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_scheduler::stealing::{self, CancelToken, TaskletBuilder};

use super::Case;
use super::setup::{Census, Flag, Log, channel, end, fail, spawn_parked, spin_until, yield_until};

/// Ready at the second poll; wakes itself at the first.
#[derive(Default)]
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A value that comes later, and the waker of who waits for it.
#[derive(Clone, Default)]
struct Later(Arc<Mutex<(Option<u32>, Option<Waker>)>>);

impl Later {
    fn set(&self, value: u32) {
        let mut state = self.0.lock().unwrap();
        state.0 = Some(value);
        let waker = state.1.take();
        drop(state);
        waker.unwrap_or_else(|| Waker::noop().clone()).wake();
    }

    fn has_waker(&self) -> bool {
        self.0.lock().unwrap().1.is_some()
    }

    fn get(&self) -> impl Future<Output = u32> + Send + use<> {
        let this = self.clone();
        poll_fn(move |context| {
            let mut state = this.0.lock().unwrap();
            match state.0 {
                Some(value) => Poll::Ready(value),
                None => {
                    state.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

/// Results and panics, in tasklets and from outside; names too.
pub fn a_future_gives_its_result<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    assert_eq!(runtime.spawn_async(async { 5 }).join().unwrap(), 5);
    runtime.run(|| {
        let yields = stealing::spawn_async(async {
            Yield::default().await;
            Yield::default().await;
            [7u64; 50]
        });
        let panics = stealing::spawn_async(async {
            Yield::default().await;
            if true {
                fail("E")
            }
        });
        assert_eq!(yields.join().unwrap(), [7; 50]);
        assert_eq!(panics.join().unwrap_err().to_string(), "the tasklet panicked: E");
        let named = TaskletBuilder::new().name("soft").spawn_async(async { 1 });
        assert_eq!(named.name(), Some("soft"));
        assert_eq!(named.join().unwrap(), 1);
    });
    end(runtime);
}

/// One that awaits what a plain thread brings, over and over: no wake is lost.
pub fn wakes_come_from_other_threads<B: Backend>(case: Case) {
    const ROUNDS: u32 = 500;
    let runtime = case.runtime::<B>();
    let values: Vec<Later> = (0..ROUNDS).map(|_| Later::default()).collect();
    let awaited = values.clone();
    let soft = runtime.spawn_async(async move {
        let mut sum = 0;
        for value in &awaited {
            sum += value.get().await;
        }
        sum
    });
    for (number, value) in (0..ROUNDS).zip(&values) {
        value.set(number);
    }
    assert_eq!(soft.join().unwrap(), (0..ROUNDS).sum());
    end(runtime);
}

/// Each wake brings a poll, several before it bring one; a future that has ended is polled no more.
pub fn wakes_merge<B: Backend>(case: Case) {
    let polls = Census::default();
    case.run::<B, _>(|| {
        let (value, counted) = (Later::default(), polls.clone());
        let inner = value.get();
        let soft = stealing::spawn_async(async move {
            let mut inner = Box::pin(inner);
            poll_fn(|context| {
                drop(counted.one());
                inner.as_mut().poll(context)
            })
            .await
        });
        yield_until(|| value.has_waker() && polls.made() == 1);
        let waker = value.0.lock().unwrap().1.take().unwrap();
        waker.wake_by_ref();
        // The second poll has left its waker, so it has not seen the value.
        yield_until(|| value.has_waker() && polls.made() == 2);
        value.set(3);
        assert_eq!(soft.join().unwrap(), 3);
        assert_eq!(polls.made(), 3);
        (0..10).for_each(|_| waker.wake_by_ref());
        (0..100).for_each(|_| stealing::yield_now());
        assert_eq!(polls.made(), 3);
    });
}

/// A kill drops the future, once, whoever still holds its waker; joiners are told.
pub fn a_kill_drops_the_future<B: Backend>(case: Case) {
    let census = Census::default();
    let kept = Later::default();
    case.run::<B, _>(|| {
        let (held, value) = (census.one(), kept.get());
        let waiting = stealing::spawn_async(async move {
            let _held = held;
            value.await
        });
        yield_until(|| kept.has_waker());
        waiting.kill();
        assert!(waiting.join().unwrap_err().is_killed());
        yield_until(|| census.dropped() == 1);
        let held = census.one();
        let unpolled = stealing::spawn_async(async move {
            drop(held);
            pending::<()>().await;
        });
        unpolled.kill();
        assert!(unpolled.join().unwrap_err().is_killed());
        yield_until(|| census.dropped() == 2);
    });
    // Its runtime is gone.
    kept.set(1);
    census.assert_all_dropped();
}

/// Those that wait when the runtime ends are dropped with it.
pub fn shutdown_drops_waiting_futures<B: Backend>(case: Case) {
    let (census, kept) = (Census::default(), Later::default());
    let runtime = case.runtime::<B>();
    let (held, value) = (census.one(), kept.get());
    let waiting = runtime.spawn_async(async move {
        let _held = held;
        value.await
    });
    spin_until(|| kept.has_waker());
    end(runtime);
    kept.set(1);
    drop(kept);
    assert!(waiting.join().unwrap_err().is_killed());
    census.assert_all_dropped();
}

/// What a future calls may block its tasklet: others are polled meanwhile, on the same worker too.
pub fn a_future_may_block<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let (there, back) = (channel::<u32>(), channel::<u32>());
        let (asks, answers) = (there.clone(), back.clone());
        let blocking = stealing::spawn_async(async move {
            Yield::default().await;
            asks.send(1).unwrap();
            stealing::sleep(Duration::from_micros(50));
            let answer = answers.recv().unwrap();
            Yield::default().await;
            answer
        });
        let others: Vec<_> = (0..10).map(|number| stealing::spawn_async(async move { number })).collect();
        let answering = stealing::spawn_async(async move {
            let question = there.recv().unwrap();
            back.send(question + 1).unwrap();
        });
        assert_eq!(blocking.join().unwrap(), 2);
        answering.join().unwrap();
        assert_eq!(others.into_iter().map(|other| other.join().unwrap()).sum::<u32>(), 45);
    });
}

/// Thousands at once, asleep or not, on few stacks.
pub fn many_soft_tasklets_need_few_stacks<B: Backend>(case: Case) {
    const MANY: u32 = 10_000;
    let runtime = case.runtime::<B>();
    let (sum, live) = runtime.run(|| {
        let gate = Later::default();
        let soft: Vec<_> = (0..MANY)
            .map(|number| {
                stealing::spawn_async(async move {
                    Yield::default().await;
                    if number % 100 == 0 {
                        stealing::sleep_async(Duration::from_millis(1)).await;
                    }
                    u64::from(number)
                })
            })
            .collect();
        let sum: u64 = soft.into_iter().map(|soft| block_on(soft).unwrap()).sum();
        gate.set(0);
        (sum, stealing::Handle::try_current().unwrap().metrics().stacks.live)
    });
    assert_eq!(sum, u64::from(MANY) * u64::from(MANY - 1) / 2);
    assert!(live <= 4 * case.workers + 4, "{live} stacks");
    assert!(runtime.metrics().polled >= 2 * u64::from(MANY));
    end(runtime);
}

/// Any tasklet, soft ones inside others included, and any thread waits for any future.
pub fn block_on_works_everywhere<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let value = Later::default();
    let (later, awaited) = (value.clone(), value.get());
    let setter = runtime.spawn(move || later.set(4));
    assert_eq!(block_on(awaited), 4);
    setter.join().unwrap();
    let nested = runtime.run(|| {
        block_on(async {
            let value = value.get();
            Yield::default().await;
            block_on(async move {
                Yield::default().await;
                stealing::spawn_async(async move { block_on(value) }).await.unwrap() + 1
            })
        })
    });
    assert_eq!(nested, 5);
    end(runtime);
}

/// Its wait is a wait like others: killed, limited and cancelled, and then the future is dropped.
pub fn block_on_can_be_ended<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let log = Log::default();
        let guarded = |log: &Log| {
            let guard = log.on_drop("dropped");
            async move {
                let _guard = guard;
                pending::<()>().await;
            }
        };
        let future = guarded(&log);
        let victim = spawn_parked(move |waits| {
            waits.set();
            block_on(future);
        });
        victim.kill();
        assert!(victim.join().unwrap_err().is_killed());
        log.assert("dropped");
        assert!(stealing::timeout(Duration::from_millis(1), || block_on(guarded(&log))).is_err());
        log.assert("dropped");
        let token = CancelToken::new();
        token.cancel();
        assert_eq!(token.run(|| try_block_on(guarded(&log))), Err(ParkError::Cancelled));
        log.assert("dropped");
    });
}

/// A wake during the poll is not lost, and wakes of a waker that was cloned and dropped count for nothing.
pub fn wakers_are_counted<B: Backend>(case: Case) {
    struct Counts(Census);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            drop(self.0.one());
        }
    }
    let runtime = case.runtime::<B>();
    let woken = Census::default();
    // The waker that a join handle is polled with is let go when the tasklet has ended.
    let go = Flag::default();
    let waits = go.clone();
    let mut handle = std::pin::pin!(runtime.spawn(move || waits.wait()));
    let counts = Arc::new(Counts(woken.clone()));
    let waker = Waker::from(counts.clone());
    for _ in 0..3 {
        assert!(handle.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    // One is kept, not three.
    assert_eq!(Arc::strong_count(&counts), 3);
    go.set();
    spin_until(|| woken.made() == 1);
    assert!(matches!(handle.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(()))));
    drop(waker);
    spin_until(|| Arc::strong_count(&counts) == 1);
    end(runtime);
}

/// Panics when it is dropped.
struct Bomb(Census);

impl Drop for Bomb {
    fn drop(&mut self) {
        drop(self.0.one());
        fail("dropped");
    }
}

/// When the last waker of a soft tasklet goes, so does its future, and whoever joins it is told.
pub fn one_that_nobody_can_wake_ends<B: Backend>(case: Case) {
    let (census, kept) = (Census::default(), Later::default());
    let runtime = case.runtime::<B>();
    let (held, value) = (census.one(), kept.get());
    let waits = runtime.spawn_async(async move {
        let _held = held;
        value.await
    });
    spin_until(|| kept.has_waker());
    let ended = Census::default();
    struct Tells(Census);
    impl Wake for Tells {
        fn wake(self: Arc<Self>) {
            drop(self.0.one());
        }
    }
    waits.on_finish(Waker::from(Arc::new(Tells(ended.clone())))).unwrap();
    spin_until(|| Arc::strong_count(&kept.0) == 2);
    let waker = kept.0.lock().unwrap().1.take();
    assert_eq!((census.dropped(), ended.made()), (0, 0));
    // The poll that has left the waker may not be over yet: then it is the last that can bring about another, and whoever comes last drops it.
    drop(waker);
    assert!(waits.join().unwrap_err().is_killed());
    assert_eq!((census.dropped(), ended.made()), (1, 1));
    end(runtime);
}

/// A kill of one that is being polled ends it at once, for whoever joins it; the future goes when it comes out of its poll, and what it returns
/// is dropped.
pub fn a_kill_inside_a_poll_ends_it_at_once<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    for returns in [false, true] {
        let census = Census::default();
        let (inside, out) = (Flag::default(), Flag::default());
        let held = census.one();
        let soft = runtime.spawn_async({
            let (inside, out, made) = (inside.clone(), out.clone(), census.clone());
            poll_fn(move |_| {
                let _held = &held;
                inside.set();
                out.spin();
                if returns { Poll::Ready(made.one()) } else { Poll::Pending }
            })
        });
        inside.spin();
        soft.kill();
        assert!(soft.is_finished());
        assert_eq!(census.dropped(), 0);
        assert!(soft.join().is_err_and(|error| error.is_killed()));
        out.set();
        spin_until(|| census.dropped() == census.made());
        assert_eq!(census.made(), 1 + usize::from(returns));
    }
    end(runtime);
}

/// Of futures, of results that nobody awaits, and of those of tasklets that were killed.
pub fn panics_of_destructors_are_swallowed<B: Backend>(case: Case) {
    let dropped = Census::default();
    let bomb = || Bomb(dropped.clone());
    case.run::<B, _>(|| {
        let held = bomb();
        // It goes with the future, not inside of the poll.
        let ready = stealing::spawn_async(poll_fn(move |_| {
            let _held = &held;
            Poll::Ready(3)
        }));
        assert_eq!(ready.join().unwrap(), 3);
        yield_until(|| dropped.made() == 1);
        let result = bomb();
        stealing::spawn_async(async move { result }).detach();
        yield_until(|| dropped.made() == 2);
        let held = bomb();
        let killed = stealing::spawn_async(async move {
            let _held = held;
            pending::<()>().await;
        });
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        yield_until(|| dropped.made() == 3);
    });
}

/// When a runtime ends, soft tasklets may be waiting, in a queue, asleep, just made, or ended with their handle kept.
pub fn the_end_of_a_runtime_takes_all_kinds<B: Backend>(case: Case) {
    let census = Census::default();
    for _ in 0..20 {
        let kept = Later::default();
        let runtime = case.runtime::<B>();
        let done = runtime.spawn_async({
            let result = census.one();
            async move { result }
        });
        spin_until(|| done.is_finished());
        let handles: Vec<_> = (0..40)
            .map(|number| {
                let (held, value) = (census.one(), kept.get());
                runtime.spawn_async(async move {
                    let _held = held;
                    match number % 4 {
                        0 => drop(value.await),
                        1 => stealing::sleep_async(Duration::from_secs(3600)).await,
                        2 => loop {
                            Yield::default().await;
                        },
                        _ => stealing::spawn_async(pending::<()>()).await.unwrap_or(()),
                    }
                })
            })
            .collect();
        end(runtime);
        for handle in handles {
            // Those that awaited one which nobody could wake may have ended before.
            assert!(handle.is_finished());
            drop(handle.join());
        }
        kept.set(1);
        drop(done.join().unwrap());
    }
    census.assert_all_dropped();
}
