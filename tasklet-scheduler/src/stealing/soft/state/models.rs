//! A soft tasklet is woken while it waits, lies in a queue, is polled, and ends.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;

/// A soft tasklet that has ended when it has seen all events, with the queue that it is put into.
struct Soft {
    state: State,
    /// What the future holds: two polls that are not ordered fail the model.
    future: UnsafeCell<usize>,
    /// What wakers have done. Relaxed: the word carries it to the poll, as it does for a future that reads a flag.
    events: AtomicUsize,
    wanted: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Stored when the future is dropped.
const DROPPED: usize = usize::MAX;

#[derive(Default)]
struct Queue {
    len: usize,
    has_ended: bool,
}

// SAFETY: what the models are about; loom checks the accesses to `future`.
unsafe impl Sync for Soft {}
// SAFETY: as above.
unsafe impl Send for Soft {}

impl Soft {
    /// Made, and in the queue.
    fn new(wanted: usize) -> Arc<Soft> {
        Arc::new(Soft {
            state: State::queued(),
            future: UnsafeCell::new(0),
            events: AtomicUsize::new(0),
            wanted,
            queue: Mutex::new(Queue { len: 1, has_ended: false }),
            changed: Condvar::new(),
        })
    }

    fn schedule(&self) {
        let mut queue = self.queue.lock().unwrap();
        // One that was discarded between its wake and this is there in vain.
        assert!(queue.len == 0, "it is in the queue once");
        queue.len += 1;
        self.changed.notify_one();
    }

    /// One event happens, and whoever brings it wakes.
    fn happen(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if self.state.wake() {
            self.schedule();
        }
    }

    /// Takes it out of the queue; `false` if it has ended. Only wakes put it there, so loom reports one that is lost as a deadlock.
    fn take(&self) -> bool {
        let mut queue = self.queue.lock().unwrap();
        while queue.len == 0 && !queue.has_ended {
            queue = self.changed.wait(queue).unwrap();
        }
        let taken = queue.len != 0;
        queue.len = 0;
        taken
    }

    /// What its owner does when it has ended.
    fn drop_future(&self) {
        // SAFETY: loom checks it.
        self.future.with_mut(|polls| unsafe {
            assert_ne!(*polls, DROPPED, "it has one owner");
            *polls = DROPPED;
        });
        self.queue.lock().unwrap().has_ended = true;
        self.changed.notify_all();
    }

    /// The runtime ends.
    fn discard(&self) {
        if self.state.discard() {
            self.drop_future();
        }
    }

    /// What a worker does.
    fn run(&self) {
        while self.take() {
            if !self.state.begin_poll() {
                return;
            }
            let seen = self.events.load(Ordering::Relaxed);
            // SAFETY: loom checks it.
            self.future.with_mut(|polls| unsafe { *polls += 1 });
            if seen == self.wanted {
                self.state.end();
                self.drop_future();
                continue;
            }
            match self.state.end_poll() {
                Polled::Waits => {}
                Polled::Again => self.schedule(),
                Polled::Ended => self.drop_future(),
            }
        }
    }
}

#[test]
fn no_wake_is_lost() {
    loom::model(|| {
        let soft = Soft::new(2);
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let soft = soft.clone();
                thread::spawn(move || soft.happen())
            })
            .collect();
        soft.run();
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        assert_eq!(soft.queue.lock().unwrap().len, 0, "it has ended, and is in no queue");
    });
}

#[test]
fn polls_by_different_workers_follow_one_another() {
    loom::model(|| {
        let soft = Soft::new(1);
        let other = thread::spawn({
            let soft = soft.clone();
            move || soft.run()
        });
        soft.happen();
        soft.run();
        other.join().unwrap();
        assert!(!soft.state.wake(), "what has ended is not put into a queue");
    });
}

#[test]
fn a_discarded_future_is_dropped_once() {
    loom::model(|| {
        let soft = Soft::new(1);
        let worker = thread::spawn({
            let soft = soft.clone();
            move || soft.run()
        });
        let other = thread::spawn({
            let soft = soft.clone();
            move || soft.happen()
        });
        soft.discard();
        worker.join().unwrap();
        other.join().unwrap();
        // SAFETY: loom checks it.
        soft.future.with(|polls| assert_eq!(unsafe { *polls }, DROPPED));
        assert!(!soft.state.wake() && !soft.state.discard(), "it has ended");
    });
}
