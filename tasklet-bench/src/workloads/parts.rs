//! What workloads are made of, whoever runs them: the tasks' work, expected results, and ways to wait that favour nobody.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Tasks that yield.
pub(crate) const YIELDERS: u64 = 1000;

/// Tasks that use one lock.
pub(crate) const LOCKERS: u64 = 1000;

/// Tasks of the ring, if nobody says how many: a prime, as in the programs of other languages that this workload is taken from.
pub(crate) const RING: u64 = 503;

/// Connections of the echo workload, if nobody says how many.
pub(crate) const CONNECTIONS: u64 = 50;

/// Connections of the HTTP workload, if nobody says how many.
pub(crate) const BROWSERS: u64 = 64;

/// Tasks spawned before the first of them is joined.
pub(crate) const BATCH: u64 = 10_000;

/// Tasks that send into one channel.
pub(crate) const PRODUCERS: u64 = 4;

/// Tasks that receive from it.
pub(crate) const CONSUMERS: u64 = 4;

/// Messages that it holds.
pub(crate) const BUFFER: usize = 256;

/// Plain threads that send, and as many that receive.
pub(crate) const THREADS: u64 = 2;

/// Which of the numbers below `n` the producer `at` of so many sends.
pub(crate) fn share(n: u64, producers: u64, at: u64) -> impl Iterator<Item = u64> {
    (at..n).step_by(producers as usize)
}

/// Children of a node of the tree.
pub(crate) const FAN: u64 = 10;

/// What each child of a node with these leaves is a node of. The last ones are smaller if it does not come out even.
pub(crate) fn branches(from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
    let each = (to - from).div_ceil(FAN);
    (0..FAN).map(move |at| (from + at * each, (from + (at + 1) * each).min(to))).take_while(|(from, to)| from < to)
}

/// The sum of the numbers below `n`.
pub(crate) fn sum_below(n: u64) -> u64 {
    n * (n - 1) / 2
}

/// The Fibonacci number that the recursive workloads must come to.
pub(crate) fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// The sum of the first `count` primes.
pub(crate) fn sum_of_primes(count: u64) -> u64 {
    let mut primes: Vec<u64> = Vec::new();
    for candidate in 2.. {
        if primes.len() as u64 == count {
            break;
        }
        if primes.iter().take_while(|prime| *prime * *prime <= candidate).all(|prime| candidate % prime != 0) {
            primes.push(candidate);
        }
    }
    primes.iter().sum()
}

/// Computes for some 5 to 20 microseconds, depending on `seed`, without memory.
pub(crate) fn compute(seed: u64) -> u64 {
    let mut x = seed | 1;
    for _ in 0..2500 * (1 + seed % 4) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

/// How long the task with this number sleeps.
pub(crate) fn nap(number: u64) -> Duration {
    Duration::from_millis(1 + number % 1000)
}

/// The longest of the first `tasks` naps.
pub(crate) fn longest_nap(tasks: u64) -> Duration {
    nap(tasks.min(1000) - 1)
}

/// Tells, once, that so many have come to some point.
pub(crate) struct Countdown {
    left: AtomicU64,
    tell: Box<dyn Fn() + Send + Sync>,
}

impl Countdown {
    /// `tell` is called by the last of `count`; it wakes whoever looks at [`left`](Self::left).
    pub(crate) fn new(count: u64, tell: impl Fn() + Send + Sync + 'static) -> Arc<Countdown> {
        Arc::new(Countdown { left: AtomicU64::new(count), tell: Box::new(tell) })
    }

    pub(crate) fn down(&self) {
        // AcqRel: whoever sees zero has seen what all did before.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.tell)();
        }
    }

    /// How many have not come yet.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }
}

/// What futures wait for until it rings: a list of wakers, so that a waiting task costs its runtime's part and little else.
#[derive(Clone)]
pub(crate) struct Bell(Arc<Mutex<Waiting>>);

struct Waiting {
    rung: bool,
    wakers: Vec<Waker>,
}

impl Bell {
    /// A bell with room for so many, so that the list's growth is not measured.
    pub(crate) fn for_many(tasks: u64) -> Bell {
        let wakers = Vec::with_capacity(usize::try_from(tasks).unwrap_or(0));
        Bell(Arc::new(Mutex::new(Waiting { rung: false, wakers })))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.lock().wakers.len() as u64
    }

    /// Wakes all, in order.
    pub(crate) fn ring(&self) {
        let mut waiting = self.lock();
        waiting.rung = true;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready when it has rung.
    pub(crate) fn rings(self) -> Rings {
        Rings { bell: self, waits: false }
    }
}

pub(crate) struct Rings {
    bell: Bell,
    waits: bool,
}

impl Future for Rings {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut waiting = this.bell.lock();
        if waiting.rung {
            return Poll::Ready(());
        }
        // It stays in its task, whose waker stays the same; each registers once.
        if !this.waits {
            waiting.wakers.push(context.waker().clone());
            this.waits = true;
        }
        Poll::Pending
    }
}

/// Ready at the second look, and awake at once after the first: others have their turn in between.
pub(crate) fn yields() -> impl Future<Output = ()> + Send {
    let mut waited = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_each_leaf_once() {
        fn leaves(from: u64, to: u64) -> Vec<u64> {
            if to - from == 1 {
                return vec![from];
            }
            branches(from, to).flat_map(|(from, to)| leaves(from, to)).collect()
        }
        for n in [1, 2, 9, 10, 11, 99, 100, 1000, 1001] {
            assert_eq!(leaves(0, n), (0..n).collect::<Vec<_>>());
        }
        assert!(branches(0, 1000).all(|(from, to)| to - from == 100));
    }

    #[test]
    fn what_is_expected_is_right() {
        assert_eq!((0..10).map(fibonacci).collect::<Vec<_>>(), [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]);
        assert_eq!(sum_of_primes(5), 2 + 3 + 5 + 7 + 11);
        assert_eq!(sum_below(5), 10);
        assert_eq!((0..3).flat_map(|at| share(11, 3, at)).sum::<u64>(), sum_below(11));
        assert_eq!(longest_nap(3), Duration::from_millis(3));
        assert_eq!(longest_nap(5000), Duration::from_millis(1000));
    }

    #[test]
    fn a_bell_wakes_everybody_once() {
        let bell = Bell::for_many(2);
        let mut context = Context::from_waker(Waker::noop());
        let mut waits = [Box::pin(bell.clone().rings()), Box::pin(bell.clone().rings())];
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut context).is_pending());
            assert!(wait.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(bell.waiting(), 2);
        bell.ring();
        assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut context).is_ready()));
    }
}
