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
        assert!(queue.len == 0 && !queue.has_ended, "it is in the queue once");
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

    /// What a worker does.
    fn run(&self) {
        while self.take() {
            self.state.begin_poll();
            let seen = self.events.load(Ordering::Relaxed);
            // SAFETY: loom checks it.
            self.future.with_mut(|polls| unsafe { *polls += 1 });
            if seen == self.wanted {
                self.state.end();
                self.queue.lock().unwrap().has_ended = true;
                self.changed.notify_all();
            } else if self.state.end_poll() == Polled::Again {
                self.schedule();
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
