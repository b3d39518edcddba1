//! A tasklet ends while others join, detach and are killed, in every order.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;

/// A tasklet with its result, which loom watches: an access that is not ordered after another fails the model.
struct Tasklet {
    finish: Finish<Arc<Waiter>>,
    result: UnsafeCell<Option<u32>>,
}

// SAFETY: what the models are about; loom checks the accesses to `result`.
unsafe impl Sync for Tasklet {}
// SAFETY: as above.
unsafe impl Send for Tasklet {}

/// Sleeps until it is woken and counts how often it is.
#[derive(Default)]
struct Waiter {
    woken: Mutex<u32>,
    changed: Condvar,
}

impl Waiter {
    fn wake(&self) {
        *self.woken.lock().unwrap() += 1;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut woken = self.woken.lock().unwrap();
        while *woken == 0 {
            woken = self.changed.wait(woken).unwrap();
        }
    }

    fn woken(&self) -> u32 {
        *self.woken.lock().unwrap()
    }
}

impl Parts for Arc<Waiter> {
    type Content = Arc<Waiter>;

    fn into_parts(self) -> (u8, Arc<Waiter>) {
        (0, self)
    }

    unsafe fn from_parts(_: u8, content: Arc<Waiter>) -> Arc<Waiter> {
        content
    }
}

impl Tasklet {
    fn new() -> Arc<Tasklet> {
        Arc::new(Tasklet { finish: Finish::joinable(), result: UnsafeCell::new(None) })
    }

    /// What its home does.
    fn end(&self) {
        // SAFETY: loom checks it.
        self.result.with_mut(|result| unsafe { *result = Some(7) });
        let finished = self.finish.finish();
        if finished.detached {
            assert_eq!(self.take(), Some(7), "the result is there for its second owner");
        }
        finished.wake_joiners(|joiner| joiner.wake());
    }

    /// What `JoinHandle::wait` does. Each way that says "finished" is the only one on its path: the result must be seen by it alone.
    fn join(&self) -> (Awaited, Arc<Waiter>) {
        let waiter = Arc::new(Waiter::default());
        if self.finish.is_finished() {
            return (Awaited::Finished, waiter);
        }
        let awaited = self.finish.await_with(|_| false, || waiter.clone());
        if awaited == Awaited::Registered {
            waiter.wait();
        }
        (awaited, waiter)
    }

    fn take(&self) -> Option<u32> {
        // SAFETY: loom checks it.
        self.result.with_mut(|result| unsafe { (*result).take() })
    }

    fn peek(&self) -> Option<u32> {
        // SAFETY: loom checks it.
        self.result.with(|result| unsafe { *result })
    }
}

fn is_woken_once(awaited: Awaited, waiter: &Waiter) -> bool {
    waiter.woken() == u32::from(awaited == Awaited::Registered)
}

#[test]
fn joiner_is_woken_once_or_finds_the_result() {
    loom::model(|| {
        let tasklet = Tasklet::new();
        let home = thread::spawn({
            let tasklet = tasklet.clone();
            move || tasklet.end()
        });
        let (awaited, waiter) = tasklet.join();
        assert_eq!(tasklet.take(), Some(7));
        home.join().unwrap();
        assert!(is_woken_once(awaited, &waiter));
    });
}

#[test]
fn two_joiners_are_both_served() {
    loom::model(|| {
        let tasklet = Tasklet::new();
        let other = thread::spawn({
            let tasklet = tasklet.clone();
            move || {
                let (awaited, waiter) = tasklet.join();
                assert_eq!(tasklet.peek(), Some(7));
                (awaited, waiter)
            }
        });
        let home = thread::spawn({
            let tasklet = tasklet.clone();
            move || tasklet.end()
        });
        let (awaited, waiter) = tasklet.join();
        assert_eq!(tasklet.peek(), Some(7));
        home.join().unwrap();
        assert!(is_woken_once(awaited, &waiter));
        let (awaited, waiter) = other.join().unwrap();
        assert!(is_woken_once(awaited, &waiter));
    });
}

#[test]
fn result_has_one_owner_when_the_handle_goes_as_the_tasklet_ends() {
    loom::model(|| {
        let tasklet = Tasklet::new();
        let home = thread::spawn({
            let tasklet = tasklet.clone();
            move || tasklet.end()
        });
        if tasklet.finish.detach() {
            assert_eq!(tasklet.take(), Some(7), "the result is there for its second owner");
        }
        home.join().unwrap();
        assert_eq!(tasklet.take(), None, "somebody owned it");
    });
}

#[test]
fn killed_joiner_is_claimed_once() {
    loom::model(|| {
        let tasklet = Tasklet::new();
        let waiter = Arc::new(Waiter::default());
        assert_eq!(tasklet.finish.await_with(|_| false, || waiter.clone()), Awaited::Registered);
        let home = thread::spawn({
            let tasklet = tasklet.clone();
            move || tasklet.end()
        });
        if let Some(claimed) = tasklet.finish.unlink(|other| Arc::ptr_eq(other, &waiter)) {
            claimed.wake();
        }
        waiter.wait();
        home.join().unwrap();
        assert_eq!(waiter.woken(), 1);
    });
}

#[test]
fn unstarted_tasklet_is_run_or_killed_never_both() {
    loom::model(|| {
        let tasklet = Arc::new(Tasklet { finish: Finish::free(), result: UnsafeCell::new(None) });
        let worker = thread::spawn({
            let tasklet = tasklet.clone();
            move || {
                let start = tasklet.finish.start();
                if start == Start::Run {
                    tasklet.end();
                }
                start
            }
        });
        let kill = tasklet.finish.request_kill();
        if kill == Kill::Claimed {
            // The body is the killer's now: loom sees a race if the worker had it too.
            tasklet.end();
        }
        let start = worker.join().unwrap();
        assert_eq!(start == Start::Run, kill != Kill::Claimed);
        assert!(tasklet.finish.is_finished());
    });
}

#[test]
fn home_is_not_used_after_the_end() {
    loom::model(|| {
        let tasklet = Arc::new(Tasklet { finish: Finish::free(), result: UnsafeCell::new(None) });
        // The cell stands for what the home's pointer leads to: written when the tasklet starts and after it has finished.
        let worker = thread::spawn({
            let tasklet = tasklet.clone();
            move || {
                // SAFETY: loom checks it.
                tasklet.result.with_mut(|home| unsafe { *home = Some(1) });
                let started = tasklet.finish.start();
                assert_eq!(started, Start::Run);
                tasklet.finish.finish().wake_joiners(|_| {});
                // SAFETY: loom checks it.
                tasklet.result.with_mut(|home| unsafe { *home = None });
            }
        });
        let seen = tasklet.finish.access(|| tasklet.peek());
        assert!(seen.is_none_or(|home| home == Some(1)));
        worker.join().unwrap();
    });
}
