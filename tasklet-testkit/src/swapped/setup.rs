//! What every test of swapped tasklets begins with: one slot, so that whoever else runs takes the stack of whoever waits.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tasklet_core::backend::Backend;
use tasklet_core::clock::VirtualClock;
use tasklet_core::driver::VirtualDriver;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::swapped::Slots;
use tasklet_scheduler::{local, stealing};

pub(super) use crate::channels::setup::{give_way, spawn, until};
pub(super) use crate::stealing::setup::{Census, LIMIT, caught, caught_text, end, fail, ignore};

use super::Case;
use crate::kinds;

/// One slot, of the usual size, with poison.
pub(super) fn one_slot() -> Slots {
    Slots::new().count(1).poison(true)
}

/// A local scheduler of the case with these slots.
pub(super) fn scheduler<B: Backend>(case: Case, slots: Slots) -> local::Scheduler<B> {
    kinds::local::<B>(case.kind).slots(slots).build()
}

/// A runtime of the case with these slots for each worker.
pub(super) fn runtime<B: Backend>(case: Case, slots: Slots) -> stealing::Runtime<B> {
    case.builder::<B>().slots(slots).build().expect("a runtime")
}

/// Runs `body` as a tasklet of the case's scheduler, with one slot for each worker.
#[track_caller]
pub(super) fn run<B: Backend>(case: Case, body: impl FnOnce() + Send + 'static) {
    run_on::<B>(case, one_slot(), body);
}

/// As [`run`], with these slots.
#[track_caller]
pub(super) fn run_on<B: Backend>(case: Case, slots: Slots, body: impl FnOnce() + Send + 'static) {
    if case.workers > 0 {
        let runtime = runtime::<B>(case, slots);
        runtime.run(body);
        return end(runtime);
    }
    let scheduler = scheduler::<B>(case, slots);
    let done = scheduler.spawn_joinable(body);
    if let Err(error) = done.join() {
        panic!("{error}");
    }
    let stats = scheduler.slot_stats();
    assert_eq!((stats.tasklets, stats.bytes), (0, 0), "whoever has ended has left nothing");
}

/// As [`run`], in virtual time, on the local scheduler or on one worker.
#[track_caller]
pub(super) fn run_virtual<B: Backend>(case: Case, body: impl FnOnce() + Send + 'static) {
    let clock = Arc::new(VirtualClock::default());
    if case.workers > 0 {
        let driven = clock.clone();
        let builder = case.builder::<B>().slots(one_slot()).clock(clock.clone());
        let runtime = builder.driver(move |_| Box::new(VirtualDriver::new(driven.clone()))).build().expect("a runtime");
        runtime.run(body);
        return end(runtime);
    }
    let builder = kinds::local::<B>(case.kind).slots(one_slot()).clock(clock.clone());
    let scheduler = builder.driver(VirtualDriver::new(clock)).build();
    if let Err(error) = scheduler.spawn_joinable(body).join() {
        panic!("{error}");
    }
}

/// A tasklet of the caller's scheduler and worker.
pub(super) fn spawn_here<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    if stealing::worker_index().is_some() { stealing::spawn_local(f) } else { local::spawn_joinable(f) }
}

/// Others of the caller's worker, swapped ones, have run when this returns: whoever waits was copied away, as the caller was meanwhile. They
/// overwrite a good part of the stack.
pub(super) fn evict() {
    let others = [0_u8, 1].map(|number| {
        spawn_here(move || {
            let dirt = std::hint::black_box([number ^ 0x5a; 6 << 10]);
            give_way();
            assert!(std::hint::black_box(&dirt).iter().all(|byte| *byte == number ^ 0x5a));
        })
    });
    others.into_iter().for_each(|other| other.join().expect("nobody disturbs them"));
}

/// A tasklet of the caller's worker that has called its argument, and waits, copied away.
pub(super) fn spawn_waiting<T: 'static>(f: impl FnOnce(&dyn Fn()) -> T + 'static) -> JoinHandle<T> {
    let ready = Rc::new(Cell::new(false));
    let seen = ready.clone();
    let handle = spawn_here(move || f(&|| ready.set(true)));
    until(|| seen.get());
    // It has come to its wait when the caller runs again, since it does not give way in between.
    evict();
    handle
}
