//! Tasklet-local values: one for each tasklet, made when it is first used, dropped when the tasklet ends.

use std::cell::{Cell, RefCell};

use tasklet_core::backend::Backend;
use tasklet_scheduler::{stealing, tasklet_local};

use super::Case;
use super::setup::{Log, OnDrop, caught_text, fail, park_for_ever, spawn_parked};

tasklet_local! {
    static NUMBER: Cell<u32> = Cell::new(17);
    static FIRST: RefCell<Option<OnDrop>> = RefCell::new(None);
    static SECOND: RefCell<Option<OnDrop>> = RefCell::new(None);
    static THIRD: RefCell<Option<OnDrop>> = RefCell::new(None);
    static LOOPING: u32 = LOOPING.with(|value| *value);
}

/// Each has its own, over waits, whoever runs in between on the same worker and stack.
pub fn each_tasklet_has_its_own_value<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let tasklets: Vec<_> = (0..20)
            .map(|number| {
                stealing::spawn(move || {
                    assert_eq!(NUMBER.with(Cell::get), 17);
                    NUMBER.with(|value| value.set(number));
                    for _ in 0..10 {
                        stealing::yield_now();
                        assert_eq!(NUMBER.with(Cell::get), number);
                        stealing::sleep(std::time::Duration::from_micros(10));
                        assert_eq!(NUMBER.with(Cell::get), number);
                    }
                    NUMBER.with(Cell::get)
                })
            })
            .collect();
        for (number, tasklet) in tasklets.into_iter().enumerate() {
            assert_eq!(tasklet.join().unwrap() as usize, number);
        }
        // On the stacks that they have left behind.
        for _ in 0..20 {
            assert_eq!(stealing::spawn(|| NUMBER.with(Cell::get)).join().unwrap(), 17);
        }
        assert_eq!(NUMBER.with(Cell::get), 17);
    });
}

/// In reverse order of their making, before those who wait for the tasklet are told; after a panic and a kill too.
pub fn values_are_dropped_in_reverse_when_the_tasklet_ends<B: Backend>(case: Case) {
    let log = Log::default();
    case.run::<B, _>(|| {
        fn fill(log: &Log) {
            SECOND.with(|value| value.replace(Some(log.on_drop("second"))));
            THIRD.with(|value| value.replace(Some(log.on_drop("third"))));
            stealing::yield_now();
            FIRST.with(|value| value.replace(Some(log.on_drop("first"))));
            log.add("filled");
        }
        let of_end = log.clone();
        stealing::spawn(move || fill(&of_end)).join().unwrap();
        log.assert("filled first third second");
        let of_panic = log.clone();
        let panics = stealing::spawn(move || -> () {
            fill(&of_panic);
            fail("E");
        });
        assert!(panics.join().unwrap_err().is_panic());
        log.assert("filled first third second");
        let of_kill = log.clone();
        let victim = spawn_parked(move |waits| {
            let _local = of_kill.on_drop("local");
            fill(&of_kill);
            waits.set();
            park_for_ever::<()>();
        });
        victim.kill();
        assert!(victim.join().unwrap_err().is_killed());
        log.assert("filled local first third second");
    });
}

/// Using a value in its own use, or in its own making, is told; using another is fine, and so is waiting.
pub fn reentrant_use_panics<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let text = caught_text(|| NUMBER.with(|_| NUMBER.with(Cell::get)));
        assert_eq!(text, "a tasklet-local value was used while it was in use");
        NUMBER.with(|value| {
            value.set(5);
            stealing::yield_now();
            FIRST.with(|other| assert!(other.borrow().is_none()));
            assert_eq!(stealing::spawn(|| NUMBER.with(Cell::get)).join().unwrap(), 17);
        });
        assert_eq!(NUMBER.with(Cell::get), 5);
    });
    assert_eq!(NUMBER.try_with(Cell::get), None);
    assert_eq!(
        caught_text(|| NUMBER.with(Cell::get)),
        "could not use a tasklet-local value: no tasklet of a runtime calls"
    );
}

/// A value whose initialiser uses it panics instead of running on for ever.
pub fn a_value_that_needs_itself_panics<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let text = caught_text(|| LOOPING.with(|value| *value));
        assert_eq!(text, "a tasklet-local value was used while it was in use");
    });
}

/// A value of one that panics in its use is put back.
pub fn a_value_survives_a_panic_in_its_use<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let text = caught_text(|| {
            NUMBER.with(|value| {
                value.set(9);
                fail("E")
            })
        });
        assert_eq!((&*text, NUMBER.with(Cell::get)), ("E", 9));
    });
}
