//! Two and three threads that take and give permits: none is lost, and nobody waits while there are enough.

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::thread;

use super::*;
use crate::models::model;

/// A number that the permits guard: as many as there are to change it, one to look at it.
struct Guarded {
    permits: Permits,
    number: UnsafeCell<u32>,
}

const ALL: usize = 2;

// SAFETY: loom checks it.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Guarded> {
        Arc::new(Guarded { permits: Permits::new(ALL), number: UnsafeCell::new(0) })
    }

    fn take(&self, count: usize, limit: Limit) -> bool {
        self.permits.try_take(count) || self.permits.take(count, None, limit).is_ok()
    }

    fn look(&self) {
        // SAFETY: loom checks it.
        self.number.with(|number| assert!(unsafe { *number } < 10));
        // A switch that is asked for, so that others come meanwhile.
        thread::yield_now();
    }

    fn read(&self) {
        assert!(self.take(1, Limit::Never));
        self.look();
        self.permits.give(1);
    }

    fn write(&self) {
        assert!(self.take(ALL, Limit::Never));
        // SAFETY: loom checks it.
        self.number.with_mut(|number| unsafe { *number += 1 });
        thread::yield_now();
        self.permits.give(ALL);
    }

    /// Gives up as soon as it would have to wait for longer than no time.
    fn write_at_once(&self) {
        if self.take(ALL, Limit::At(Duration::ZERO)) {
            self.permits.give(ALL);
        }
    }
}

/// Runs these two and one more at the same time.
fn together(switches: usize, others: [fn(&Guarded); 2], own: fn(&Guarded)) {
    model(switches, move || {
        let guarded = Guarded::new();
        let others = others.map(|other| {
            let guarded = guarded.clone();
            thread::spawn(move || other(&guarded))
        });
        own(&guarded);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!((guarded.permits.available(), guarded.permits.waiting()), (ALL, 0));
    });
}

#[test]
fn readers_and_a_writer() {
    together(2, [Guarded::read, Guarded::read], Guarded::write);
}

#[test]
fn writers_and_a_reader() {
    together(2, [Guarded::write, Guarded::read], Guarded::write);
}

#[test]
fn one_that_gives_up_stands_in_nobodys_way() {
    together(2, [Guarded::read, Guarded::write_at_once], Guarded::read);
}
