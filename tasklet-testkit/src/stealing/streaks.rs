//! Soft tasklets that are polled one after another by the same helper tasklet: what one poll leaves behind in the helper, the next does not
//! find.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::current::{self, Masked};
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, CancelToken, Unparker};
use tasklet_scheduler::tasklet_local;

use super::Case;
use super::setup::{Flag, caught, spawn_parked};

tasklet_local! {
    static NUMBER: Cell<u32> = Cell::new(17);
}

/// Calls `first` in the poll of a soft tasklet and `then` in that of another, which is the next to be polled.
fn in_a_row<T: Send + 'static>(first: impl FnOnce() + Send + 'static, then: impl FnOnce() -> T + Send + 'static) -> T {
    let first = stealing::spawn_async(async move {
        // The youngest is the next.
        let next = stealing::spawn_async(async move { then() });
        first();
        next.await.unwrap()
    });
    first.join().unwrap()
}

/// Calls `f` beside a tasklet that counts its turns: it can always go on, so that what has not started begins after it has, but for one choice
/// in several.
fn beside_one_that_yields(f: impl Fn(&Arc<AtomicUsize>)) {
    let (turns, stop) = (Arc::new(AtomicUsize::new(0)), Flag::default());
    let (counts, stopped) = (turns.clone(), stop.clone());
    let other = stealing::spawn_local(move || {
        while !stopped.is_set() {
            counts.fetch_add(1, Ordering::Relaxed);
            stealing::yield_now();
        }
    });
    for _ in 0..100 {
        f(&turns);
    }
    stop.set();
    other.join().unwrap();
}

/// Nobody else runs in between, if nothing is left behind: what the others here look at is one turn of one helper.
pub fn polls_in_a_row_are_one_turn<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        beside_one_that_yields(|turns| {
            let before = Arc::new(AtomicUsize::new(0));
            let (seen, counts, turns) = (before.clone(), turns.clone(), turns.clone());
            let then = in_a_row(
                move || seen.store(counts.load(Ordering::Relaxed), Ordering::Relaxed),
                move || turns.load(Ordering::Relaxed),
            );
            assert_eq!(before.load(Ordering::Relaxed), then);
        });
    });
}

/// Each poll makes its own.
pub fn a_poll_finds_no_values_of_another<B: Backend>(case: Case) {
    let found = case.run::<B, _>(|| in_a_row(|| NUMBER.with(|value| value.set(1)), || NUMBER.with(Cell::get)));
    assert_eq!(found, 17);
}

/// One that was never taken off, too.
pub fn a_poll_is_not_under_the_mask_of_another<B: Backend>(case: Case) {
    let is_cancelled = || {
        let token = CancelToken::new();
        token.cancel();
        token.run(stealing::is_cancelled)
    };
    // The one shows to others whose it is, the other does not.
    let masks: [fn(); 2] = [|| std::mem::forget(stealing::mask()), || std::mem::forget(Masked::new())];
    for mask in masks {
        assert!(case.run::<B, _>(|| in_a_row(mask, is_cancelled)));
    }
}

/// Neither one that lies there, nor one that is left later by whoever kept the right to leave it.
pub fn a_poll_takes_no_permit_of_another<B: Backend>(case: Case) {
    let waits = || stealing::park_timeout(Duration::from_millis(1));
    assert_eq!(case.run::<B, _>(|| in_a_row(|| stealing::unparker().unpark(), waits)), Ok(false));
    let found = case.run::<B, _>(|| {
        let kept = Arc::new(Mutex::new(None));
        let keeps = kept.clone();
        in_a_row(
            move || *keeps.lock().unwrap() = Some(stealing::unparker()),
            move || {
                kept.lock().unwrap().take().unwrap().unpark();
                waits()
            },
        )
    });
    assert_eq!(found, Ok(false));
}

/// What came during a poll is seen to before the next.
pub fn requests_come_before_the_next_poll<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        beside_one_that_yields(|_| {
            let woken = Flag::default();
            let (unparker, parked) = spawn_parked_once(woken.clone());
            let goes_first = in_a_row(
                // From outside, so it goes through the inbox.
                move || thread::spawn(move || unparker.unpark()).join().unwrap(),
                move || woken.is_set(),
            );
            assert!(goes_first);
            parked.join().unwrap();
        });
    });
}

/// A tasklet that parks, and sets `woken` when it goes on.
fn spawn_parked_once(woken: Flag) -> (Unparker, JoinHandle<()>) {
    let unparker = Arc::new(Mutex::new(None));
    let own = unparker.clone();
    let parked = spawn_parked(move |waits| {
        *own.lock().unwrap() = Some(stealing::unparker());
        waits.set();
        stealing::park().unwrap();
        woken.set();
    });
    let unparker = unparker.lock().unwrap().take().unwrap();
    (unparker, parked)
}

/// One that the poll has put off for so long that it is over, or that comes when it is.
pub fn a_poll_is_not_ended_by_a_kill_of_another<B: Backend>(case: Case) {
    let arrives = || {
        let masked = Masked::new();
        current::record().kill();
        stealing::checkpoint();
        drop(masked);
    };
    let kills: [fn(); 2] = [arrives, || current::record().kill()];
    for kill in kills {
        // What is thrown is raised there.
        assert!(case.run::<B, _>(|| in_a_row(kill, || caught(stealing::yield_now).is_ok())));
    }
}
