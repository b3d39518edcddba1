//! Memory of stacks in use: what tasklets and hosts are told of it, and what goes back while tasklets wait.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_core::clock::VirtualClock;
use tasklet_core::current;
use tasklet_core::driver::VirtualDriver;
use tasklet_core::stack::{Depot, StackConfig, StackPool};
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunError, RunOptions};

use super::setup::{Setup, leave};
use crate::kinds;
use crate::stealing::setup::has_our_stacks;
use crate::stealing::trims::{DEEP, SHALLOW, deep_down, trims};

/// A tasklet that calls deep, leaves the queue, calls deep again and says its name.
fn diver<B: Backend>(s: &Setup<B>, name: &'static str) -> local::Tasklet {
    let log = s.log.clone();
    s.spawn(name, move |_| {
        let locals = black_box([name; 20]);
        deep_down(DEEP, &mut || {});
        leave();
        deep_down(DEEP, &mut || {});
        assert!(locals.iter().all(|local| *local == name));
        log.log(name);
    })
}

/// A tasklet that has called deep and waits gives its pages back, is told so, and goes on as if nothing had happened.
pub fn a_deep_tasklet_gives_its_pages_back_and_goes_on<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let tasklets = ["a", "b", "c"].map(|name| diver(&s, name));
    assert!(tasklets.iter().all(|tasklet| tasklet.stack_usage().is_none()), "they have not begun");
    assert_eq!(current::stack_usage(), None, "main has none of ours");
    s.run();
    let before = tasklets.clone().map(|tasklet| tasklet.stack_usage());
    s.scheduler.trim();
    let after = tasklets.clone().map(|tasklet| tasklet.stack_usage());
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!(before.is_some(), has_our_stacks::<B>());
        let (Some(before), Some(after)) = (before, after) else { continue };
        assert!(before.resident >= DEEP && before.high_water >= DEEP && before.reserved >= before.high_water);
        assert_eq!((after.reserved, after.high_water), (before.reserved, before.high_water));
        assert_eq!(after.resident <= SHALLOW, trims::<B>(), "{before:?} {after:?}");
    }
    tasklets[1].kill().unwrap();
    assert!(!tasklets[1].is_alive() && tasklets[1].stack_usage().is_none());
    tasklets[0].insert().unwrap();
    tasklets[2].insert().unwrap();
    s.run();
    s.log.assert("a c");
}

/// The mark is of the deepest call, however often less was given back since.
pub fn a_high_water_mark_outlives_shallower_calls<B: Backend>(kind: StackKind) {
    if !has_our_stacks::<B>() {
        return;
    }
    let s = Setup::<B>::new(kind);
    let tasklet = s.spawn("a", |_| {
        for bytes in [DEEP / 2, DEEP, DEEP / 2] {
            deep_down(bytes, &mut || {});
            leave();
        }
    });
    for (bytes, round) in [DEEP / 2, DEEP, DEEP].into_iter().zip(1..) {
        s.run();
        s.scheduler.trim();
        let usage = tasklet.stack_usage().expect("it waits");
        assert!((bytes..bytes + SHALLOW).contains(&usage.high_water), "{usage:?} after call {round}");
        tasklet.insert().unwrap();
    }
    s.run();
}

/// A tasklet knows its own stack; while it runs, nothing of any is given back.
pub fn a_running_tasklet_is_left_alone<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::on(kinds::local(kind).build());
    let scheduler = Rc::new(s.scheduler);
    let (inner, told) = (scheduler.clone(), Rc::new(Cell::new(None)));
    let tell = told.clone();
    scheduler.spawn(move || {
        local::schedule();
        deep_down(DEEP, &mut || {
            inner.trim();
            tell.set(Some(current::stack_usage().map(|usage| usage.resident)));
        });
    });
    scheduler.run().unwrap();
    let told = told.get().expect("it has run");
    assert_eq!(told.is_some(), has_our_stacks::<B>());
    assert!(told.is_none_or(|resident| resident >= DEEP), "{told:?}");
}

/// Want of memory for a stack ends a run only when nothing can be taken from tasklets that wait, and is over when there is something again.
pub fn a_ceiling_on_memory_ends_the_run_and_loses_nothing<B: Backend>(kind: StackKind) {
    if !trims::<B>() {
        return;
    }
    let depot = Depot::new(StackConfig::new().resident_ceiling(40 * DEEP).cache_limit(4));
    let s = Setup::<B>::on(kinds::local(kind).stacks(StackPool::new(&depot)).build());
    // Those that wait high up on their stacks make room for each other. So many that the memory is measured in between.
    let shallow: Vec<_> = (0..200).map(|_| diver(&s, "s")).collect();
    s.run();
    assert!(shallow.iter().all(|tasklet| tasklet.stack_usage().is_some()));
    // Those that wait deep down do not.
    let deep: Vec<_> = (0..100)
        .map(|_| {
            let log = s.log.clone();
            s.spawn("d", move |_| {
                deep_down(DEEP, &mut leave);
                log.log("d");
            })
        })
        .collect();
    let error = match s.scheduler.run() {
        Err(RunError::Stack { error, .. }) => error,
        outcome => panic!("there should have been no memory, but the run ended with {outcome:?}"),
    };
    assert!(error.is_resident_ceiling() && error.to_string().contains(&(40 * DEEP).to_string()), "{error}");
    let started = deep.iter().filter(|tasklet| tasklet.stack_usage().is_some()).count();
    assert!((5..100).contains(&started), "{started}");
    // When those have ended that have begun, the others begin.
    let mut waiting = deep;
    while !waiting.is_empty() {
        let (begun, queued): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|tasklet| tasklet.stack_usage().is_some());
        assert!(!begun.is_empty());
        queued.iter().filter(|tasklet| !tasklet.is_paused()).for_each(|tasklet| tasklet.remove().unwrap());
        begun.iter().for_each(|tasklet| tasklet.insert().unwrap());
        s.run();
        queued.iter().for_each(|tasklet| tasklet.insert().unwrap());
        match s.scheduler.run() {
            Err(RunError::Stack { error, .. }) => assert!(error.is_resident_ceiling(), "{error}"),
            outcome => drop(outcome.unwrap()),
        }
        waiting = queued;
    }
    assert_eq!(s.log.take().split(' ').filter(|name| *name == "d").count(), 100);
    shallow.iter().for_each(|tasklet| tasklet.insert().unwrap());
    s.run();
}

/// Where nobody had anything to give back, somebody has when it has run.
pub fn memory_is_looked_for_again_after_somebody_has_run<B: Backend>(kind: StackKind) {
    if !trims::<B>() {
        return;
    }
    let depot = Depot::new(StackConfig::new().resident_ceiling(40 * DEEP).cache_limit(4));
    let builder = kinds::local(kind).stacks(StackPool::new(&depot)).trim_after(None);
    let s = Setup::<B>::on(builder.build());
    let spawn = |_| {
        s.spawn("d", |_| {
            deep_down(DEEP, &mut leave);
            leave();
        })
    };
    let tasklets: Vec<_> = (0..150).map(spawn).collect();
    let is_refused = || match s.scheduler.run() {
        Err(RunError::Stack { error, .. }) => error.is_resident_ceiling(),
        outcome => panic!("there is no memory, but the run ended with {outcome:?}"),
    };
    // Again and again: a look in vain is not repeated at once.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(20) {
        assert!(is_refused());
    }
    let (begun, queued): (Vec<_>, Vec<_>) = tasklets.iter().partition(|tasklet| tasklet.stack_usage().is_some());
    assert!(begun.len() >= 5 && queued.len() >= 5, "{} have begun", begun.len());
    queued.iter().filter(|tasklet| !tasklet.is_paused()).for_each(|tasklet| tasklet.remove().unwrap());
    // Each comes up to where it does not need what it has.
    begun.iter().for_each(|tasklet| tasklet.insert().unwrap());
    s.run();
    queued.iter().for_each(|tasklet| tasklet.insert().unwrap());
    let start = Instant::now();
    while queued.iter().all(|tasklet| tasklet.stack_usage().is_none()) {
        assert!(start.elapsed() < Duration::from_secs(10), "nobody looks at those who have run");
        let _ = s.scheduler.run();
    }
    tasklets.iter().for_each(|tasklet| tasklet.kill().unwrap());
}

/// Who waits for long enough gives back what it does not need, without anybody asking: at the beginning of a run, and while one waits.
pub fn what_waits_for_a_while_is_trimmed<B: Backend>(kind: StackKind) {
    let hour = Duration::from_secs(3600);
    for (after, gives_back) in [(Some(hour), true), (Some(1000 * hour), false), (None, false)] {
        for sleeps in [false, true] {
            let clock = Arc::new(VirtualClock::default());
            let builder = kinds::local::<B>(kind).clock(clock.clone()).driver(VirtualDriver::new(clock.clone()));
            let s = Setup::on(builder.trim_after(after).build());
            let tasklet = diver(&s, "a");
            s.run();
            if sleeps {
                s.spawn("sleeper", move |_| tasklet_scheduler::time::sleep(4 * hour));
                s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
            } else {
                for _ in 0..4 {
                    s.says("b");
                    s.run();
                    clock.advance(hour);
                }
            }
            let is_small = tasklet.stack_usage().is_some_and(|usage| usage.resident <= SHALLOW);
            assert_eq!(is_small, gives_back && trims::<B>(), "{after:?}, {sleeps}");
            s.log.take();
            tasklet.insert().unwrap();
            s.run();
            s.log.assert("a");
        }
    }
}

/// Of the stacks that are left of a burst, a run gives some back before it begins, and a run that waits all that are too many.
pub fn runs_give_free_stacks_back<B: Backend>(kind: StackKind) {
    if !has_our_stacks::<B>() {
        return;
    }
    let clock = Arc::new(VirtualClock::default());
    let depot = Depot::new(StackConfig::new().warm_limit(10).cache_limit(4));
    let builder = kinds::local::<B>(kind).clock(clock.clone()).driver(VirtualDriver::new(clock));
    let s = Setup::on(builder.stacks(StackPool::new(&depot)).max_idle_fibers(1).build());
    let tasklets: Vec<_> = (0..300).map(|_| s.spawn("t", |_| leave())).collect();
    s.run();
    tasklets.iter().for_each(|tasklet| tasklet.insert().unwrap());
    s.run();
    let left = depot.resident();
    let each = left / 300;
    assert!(each >= 4096, "{left}: stacks keep their pages");
    s.run();
    // No more than that: whoever runs tasklets in a frame of a game waits for it.
    let given_back = left - depot.resident();
    assert!((32 * 4096..=32 * 2 * each).contains(&given_back), "{given_back} of {left}");
    s.spawn("sleeper", move |_| tasklet_scheduler::time::sleep(Duration::from_secs(1)));
    s.scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    assert!(depot.resident() <= left / 10, "{} of {left}", depot.resident());
}
