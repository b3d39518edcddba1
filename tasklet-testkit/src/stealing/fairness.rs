//! Fairness on one worker, counted in turns: the bounds that `choose.rs` of the scheduler states, beside all that could starve others.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::Case;
use super::setup::{Flag, Log, channel, end};
use crate::who::Who;

/// `SLOT_STREAK` of the scheduler's queue.
const SLOT_STREAK: u64 = 8;

/// `LOOK_EVERY` of `choose.rs`.
const LOOK_EVERY: u64 = 32;

/// `STREAK` of the scheduler's soft tasklets.
const SOFT_STREAK: u64 = 8;

/// The most turns of others before a tasklet goes on, with `s` that can, if each new one is `streak` turns at most.
fn go_on_bound(s: u64, streak: u64) -> u64 {
    (s + 1) * (1 + SLOT_STREAK) * (7 + streak) / 7
}

/// The most turns of others before a new tasklet starts, with `d` older ones.
fn start_bound(d: u64) -> u64 {
    256 * (d + 1)
}

/// Counts turns: each time that another tasklet than before says that it runs.
#[derive(Clone, Default)]
struct Turns(Arc<[AtomicU64; 2]>);

impl Turns {
    /// The calling tasklet, whose number `who` is, runs. Returns how many turns there have been.
    fn count(&self, who: u64) -> u64 {
        // One worker: nobody else writes meanwhile.
        let [turns, last] = &*self.0;
        if last.swap(who, Ordering::Relaxed) != who {
            turns.fetch_add(1, Ordering::Relaxed);
        }
        turns.load(Ordering::Relaxed)
    }
}

/// Tasklets that have started and yield go on in turn.
pub fn tasklets_that_yield_take_turns<B: Backend>(case: Case) {
    let log = Log::default();
    case.run::<B, _>(|| {
        let started = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let (log, started) = (log.clone(), started.clone());
                stealing::spawn(move || {
                    started.fetch_add(1, Ordering::Relaxed);
                    while started.load(Ordering::Relaxed) < 3 {
                        stealing::yield_now();
                    }
                    for _ in 0..20 {
                        log.add(name);
                        stealing::yield_now();
                    }
                })
            })
            .into();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    });
    let order = log.take();
    assert_eq!(order.len(), 60);
    for three in order.windows(3) {
        assert!(three[0] != three[1] && three[1] != three[2] && three[2] != three[0], "{order:?}");
    }
}

/// What runs beside the observers of [`observe`].
#[derive(Clone, Copy, Default)]
struct Beside {
    /// Two tasklets that hand values to each other all the time.
    hot_pair: bool,
    /// A tasklet that spawns at every turn.
    storm: bool,
    /// A tasklet that spawns its successor and ends, and so on.
    chain: bool,
    /// Tasklets in the injector.
    injected: u64,
    /// Soft tasklets that wake themselves at each poll.
    soft: u64,
}

/// Two tasklets that hand values to each other all the time.
fn hot_pair(turns: &Turns, stop: &Flag, who: Who) {
    let (there, back) = (channel::<()>(), channel::<()>());
    who.spawn({
        let (turns, stop, there, back) = (turns.clone(), stop.clone(), there.clone(), back.clone());
        async move {
            while !stop.is_set() {
                turns.count(100);
                who.send(&there, ()).await.unwrap();
                turns.count(100);
                who.recv(&back).await.unwrap();
            }
            there.close();
        }
    });
    let turns = turns.clone();
    who.spawn(async move {
        while who.recv(&there).await.is_ok() {
            turns.count(101);
            who.send(&back, ()).await.unwrap();
        }
    });
}

/// A tasklet that spawns at each of its turns.
fn storm(turns: &Turns, stop: &Flag, who: Who) {
    let (turns, stop) = (turns.clone(), stop.clone());
    who.spawn(async move {
        let mut child = 1_000;
        while !stop.is_set() {
            turns.count(102);
            let its = turns.clone();
            who.spawn(async move { its.count(child) });
            child += 1;
            who.give_way().await;
        }
    });
}

/// A soft tasklet that wakes itself at each poll.
fn restless(turns: &Turns, stop: &Flag, who: u64) {
    let (turns, stop) = (turns.clone(), stop.clone());
    let mut polls = 0;
    stealing::spawn_async(poll_fn(move |context| {
        // Each poll is a turn, though it be the same one's.
        polls += 1;
        turns.count(who + polls % 2);
        if stop.is_set() {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }));
}

/// The number of the first of a [`chain`].
const FIRST_LINK: u64 = 1_000_000;

/// Spawns a tasklet that does the same and ends, and so on, as long as it is wanted; not for ever if the test fails.
fn chain(who: Who, turns: Turns, number: u64, is_wanted: impl Fn() -> bool + Send + 'static) {
    turns.count(number);
    if is_wanted() && number < 2 * FIRST_LINK {
        who.spawn(async move { chain(who, turns, number + 1, is_wanted) });
    }
}

/// Has some tasklets yield and count the turns of others between two of their own, beside others that never stop.
#[track_caller]
fn observe<B: Backend>(case: Case, beside: Beside) {
    const OBSERVERS: u64 = 5;
    let who = case.who;
    let runtime = case.runtime::<B>();
    let (turns, stop, filled) = (Turns::default(), Flag::default(), Flag::default());
    let main = runtime.spawn({
        let (turns, stop, filled) = (turns.clone(), stop.clone(), filled.clone());
        move || {
            // The injector is filled while this computes.
            filled.spin();
            if beside.hot_pair {
                hot_pair(&turns, &stop, who);
            }
            if beside.storm {
                storm(&turns, &stop, who);
            }
            if beside.chain {
                chain(who, turns.clone(), FIRST_LINK, {
                    let stop = stop.clone();
                    move || !stop.is_set()
                });
            }
            for soft in 0..beside.soft {
                restless(&turns, &stop, 200 + 2 * soft);
            }
            let observers: Vec<_> = (1..=OBSERVERS)
                .map(|who| {
                    let turns = turns.clone();
                    stealing::spawn(move || {
                        let mut worst = 0;
                        let mut before = turns.count(who);
                        for _ in 0..2_000 {
                            stealing::yield_now();
                            let now = turns.count(who);
                            worst = worst.max((now - before).saturating_sub(1));
                            before = now;
                        }
                        worst
                    })
                })
                .collect();
            let worst = observers.into_iter().map(|observer| observer.join().unwrap()).max().unwrap();
            stop.set();
            worst
        }
    });
    let injected: Vec<_> = (0..beside.injected)
        .map(|index| {
            let turns = turns.clone();
            who.spawn_in(&runtime, async move { turns.count(10_000_000 + index) })
        })
        .collect();
    filled.set();
    let worst = main.join().unwrap();
    for tasklet in injected {
        tasklet.join().unwrap();
    }
    // The others of the five, the pair, the storm.
    let s = OBSERVERS - 1 + 2 * u64::from(beside.hot_pair) + u64::from(beside.storm);
    let bound = match beside {
        // Nothing goes by the slot, so what it adds to the bound would hide the rest.
        Beside { soft: 1.., hot_pair: false, .. } => s + SOFT_STREAK * (s + 1).div_ceil(7),
        Beside { soft: 1.., .. } => go_on_bound(s, SOFT_STREAK),
        _ if who == Who::Soft => go_on_bound(s, SOFT_STREAK),
        _ => go_on_bound(s, 1),
    };
    assert!(worst <= bound, "{worst} turns of others, and {bound} are promised");
    assert!(beside.soft == 0 || beside.chain || runtime.metrics().polled > 1_000, "the soft ones have had their turns");
    end(runtime);
}

/// A pair that talks all the time starves nobody.
pub fn a_hot_pair_starves_nobody<B: Backend>(case: Case) {
    observe::<B>(case, Beside { hot_pair: true, ..Beside::default() });
}

/// A tasklet that spawns for ever starves nobody, nor does a chain of tasklets each of which spawns the next.
pub fn a_spawn_storm_starves_nobody<B: Backend>(case: Case) {
    observe::<B>(case, Beside { storm: true, ..Beside::default() });
    observe::<B>(case, Beside { chain: true, ..Beside::default() });
}

/// A full injector starves nobody.
pub fn a_full_injector_starves_nobody<B: Backend>(case: Case) {
    observe::<B>(case, Beside { injected: 2_000, ..Beside::default() });
}

/// Nor do soft tasklets that are woken all the time.
pub fn restless_soft_tasklets_starve_nobody<B: Backend>(case: Case) {
    observe::<B>(case, Beside { soft: 50, ..Beside::default() });
}

/// All at once.
pub fn everything_at_once_starves_nobody<B: Backend>(case: Case) {
    observe::<B>(case, Beside { hot_pair: true, storm: true, chain: true, injected: 2_000, soft: 50 });
}

/// New tasklets start within the bound, the oldest first, although a chain of younger ones never ends.
pub fn old_new_tasklets_start_within_the_bound<B: Backend>(case: Case) {
    const OLD: u64 = 20;
    let starts = case.run::<B, _>(|| {
        let (turns, left) = (Turns::default(), Arc::new(AtomicU64::new(OLD)));
        let old: Vec<_> = (0..OLD)
            .map(|who| {
                let (turns, left) = (turns.clone(), left.clone());
                stealing::spawn(move || {
                    left.fetch_sub(1, Ordering::Relaxed);
                    turns.count(who)
                })
            })
            .collect();
        chain(case.who, turns, FIRST_LINK, move || left.load(Ordering::Relaxed) != 0);
        old.into_iter().map(|old| old.join().unwrap()).collect::<Vec<u64>>()
    });
    for (older, start) in starts.into_iter().enumerate() {
        // A helper's polls in a row are one choice.
        let bound = start_bound(older as u64) * if case.who == Who::Soft { SOFT_STREAK } else { 1 };
        assert!(start - 1 <= bound, "number {older} started after {} others, and {bound} are promised", start - 1);
    }
}

/// What other threads have spawned starts, one in `LOOK_EVERY` turns, although those here never stop.
pub fn the_injector_is_looked_at_by_a_busy_worker<B: Backend>(case: Case) {
    const INJECTED: u64 = 20;
    let runtime = case.runtime::<B>();
    let (turns, stop, filled) = (Turns::default(), Flag::default(), Flag::default());
    let yielders = runtime.spawn({
        let (turns, stop, filled) = (turns.clone(), stop.clone(), filled.clone());
        move || {
            let yielders: Vec<_> = (1..=3)
                .map(|who| {
                    let (turns, stop) = (turns.clone(), stop.clone());
                    stealing::spawn(move || {
                        while !stop.is_set() && turns.count(who) < 1_000_000 {
                            stealing::yield_now();
                        }
                    })
                })
                .collect();
            filled.spin();
            yielders.into_iter().for_each(|yielder| yielder.join().unwrap());
        }
    });
    let injected: Vec<_> = (0..INJECTED)
        .map(|index| {
            let turns = turns.clone();
            runtime.spawn(move || turns.count(1_000 + index))
        })
        .collect();
    filled.set();
    for (before, tasklet) in injected.into_iter().enumerate() {
        let start = tasklet.join().unwrap();
        // One is taken at each look, and starts as the youngest of the deque or in its turn as an old one.
        let bound = (before as u64 + 1) * LOOK_EVERY + start_bound(3);
        assert!(start <= bound, "number {before} started after {start} turns, and {bound} are promised");
    }
    stop.set();
    yielders.join().unwrap();
    end(runtime);
}
