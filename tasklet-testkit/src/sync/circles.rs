//! Circles of locks. Builds without debug assertions do not look for them.

use std::cell::Cell;
use std::panic::Location;
use std::sync::{Arc, PoisonError};

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_core::unwind::message;
use tasklet_scheduler::{local, stealing};
use tasklet_sync::{Mutex, Once, RwLock, RwLockReadGuard};

use super::Case;
use super::setup::{Flag, caught, ms, run, spawn_waiting, until, waiting};

/// What is panicked with out of `f`.
#[track_caller]
fn report<R>(f: impl FnOnce() -> R) -> String {
    match caught(f) {
        Ok(_) => panic!("a circle was not reported"),
        Err(payload) => message(&payload).to_owned(),
    }
}

/// A tasklet of the caller's scheduler, and where it was spawned.
#[track_caller]
fn spawn_here<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (JoinHandle<T>, String) {
    let handle = if stealing::worker_index().is_some() { stealing::spawn(f) } else { local::spawn_joinable(f) };
    (handle, Location::caller().to_string())
}

/// Takes `right` under `left`, when somebody has locked it.
fn first_half(left: &Arc<Mutex<()>>, right: &Arc<RwLock<()>>, both: &Flag) -> impl FnOnce() + Send + use<> {
    let (left, right, both) = (left.clone(), right.clone(), both.clone());
    move || {
        let _left = left.lock().unwrap();
        until(|| both.is_set());
        drop(right.read().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Takes `left` under `right`, when somebody who has it waits for that.
fn second_half(left: &Arc<Mutex<()>>, right: &Arc<RwLock<()>>, both: &Flag) -> impl FnOnce() -> String + Send + use<> {
    let (left, right, both) = (left.clone(), right.clone(), both.clone());
    move || {
        let _right = right.write().unwrap();
        both.set();
        until(|| waiting(&*right) == 1);
        report(|| drop(left.lock()))
    }
}

/// The one that closes the circle is told of both, with where each was spawned; the other goes on.
pub fn two_locks_in_opposite_order_are_reported<B: Backend>(case: Case) {
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let (left, right, both) = (Arc::default(), Arc::default(), Flag::default());
        let (first, first_site) = spawn_here(first_half(&left, &right, &both));
        until(|| left.is_locked());
        let (second, second_site) = spawn_here(second_half(&left, &right, &both));
        let text = second.join().unwrap();
        first.join().unwrap();
        assert!(text.starts_with("deadlock: "), "{text}");
        assert_ne!(first_site, second_site);
        for site in [first_site, second_site] {
            assert_eq!(text.matches(&format!("spawned at {site}, holds lock 0x")).count(), 1, "{text}, {site}");
        }
        // Each of the two numbers is held by one and waited for by the other.
        let numbers: Vec<_> = text.split("lock 0x").skip(1).map(|rest| rest.split([';', ' ']).next()).collect();
        assert!(numbers.len() == 4 && numbers[0] == numbers[3] && numbers[1] == numbers[2], "{text}");
    });
}

/// A thread was not spawned as a tasklet: it is called by its name.
pub fn a_thread_in_a_circle_is_named<B: Backend>(case: Case) {
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let (left, right, both) = (Arc::default(), Arc::default(), Flag::default());
        let half = first_half(&left, &right, &both);
        let thread = std::thread::Builder::new().name("left-handed".to_owned()).spawn(half).unwrap();
        until(|| left.is_locked());
        let (second, site) = spawn_here(second_half(&left, &right, &both));
        let text = second.join().unwrap();
        thread.join().unwrap();
        assert!(text.contains("; thread `left-handed` holds lock 0x"), "{text}");
        assert_eq!(text.matches("spawned at ").count(), 1, "{text}");
        assert!(text.contains(&site), "{text}");
    });
}

/// The smallest circle.
pub fn locking_twice_is_reported<B: Backend>(case: Case) {
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let mutex = Mutex::new(());
        let guard = mutex.lock().unwrap();
        let text = report(|| drop(mutex.lock()));
        assert_eq!(text.matches("spawned at ").count(), 1, "{text}");
        drop(guard);
        drop(mutex.lock().unwrap());
        let lock = RwLock::new(());
        let reader = lock.read().unwrap();
        report(|| drop(lock.write()));
        drop(reader);
        // The circle that was refused has left nothing behind.
        drop(lock.write().unwrap());
    });
}

/// A function that is called once is held by whoever calls it.
pub fn what_is_done_once_and_a_lock_in_a_circle_are_reported<B: Backend>(case: Case) {
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let once = Once::new();
        let mut text = String::new();
        once.call_once(|| text = report(|| once.call_once(|| ())));
        assert!(once.is_completed() && text.starts_with("deadlock: "), "{text}");

        let (once, mutex) = (Arc::new(Once::new()), Arc::new(Mutex::new(())));
        let (calls, _) = spawn_here({
            let (once, mutex) = (once.clone(), mutex.clone());
            move || {
                once.call_once(|| {
                    until(|| waiting(&*once) == 1);
                    assert!(report(|| drop(mutex.lock())).starts_with("deadlock: "));
                })
            }
        });
        let guard = mutex.lock().unwrap();
        until(|| format!("{once:?}").contains("running: true"));
        once.wait();
        drop(guard);
        calls.join().unwrap();
    });
}

/// A guard that was forgotten stands for its lock as long as there is that, and not for another one in its place.
pub fn a_lock_that_is_gone_is_in_no_circle<B: Backend>(case: Case) {
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let mut place = Box::new((Mutex::new(()), RwLock::new(())));
        std::mem::forget((place.0.lock().unwrap(), place.1.read().unwrap()));
        assert!(report(|| drop(place.0.lock())).starts_with("deadlock: "));
        *place = Default::default();
        let (held, let_go) = (Flag::default(), Flag::default());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _guards = (place.0.lock().unwrap(), place.1.write().unwrap());
                held.set();
                until(|| let_go.is_set());
            });
            until(|| held.is_set());
            scope.spawn(|| {
                until(|| waiting(&place.0) == 1);
                let_go.set();
            });
            drop((place.0.lock().unwrap(), place.1.write().unwrap()));
        });
    });
}

/// A lock is known wherever it is moved. A guard that was forgotten stands for it, and for no other one that comes to lie where it was.
pub fn a_lock_that_was_moved_is_the_same<B: Backend>(case: Case) {
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let mut place = Box::new(Some(Mutex::new(())));
        std::mem::forget(Option::as_ref(&place).unwrap().lock().unwrap());
        let moved = Option::take(&mut *place).unwrap();
        assert!(report(|| drop(moved.lock())).starts_with("deadlock: "));
        *place = Some(Mutex::new(()));
        let other = Option::as_ref(&place).unwrap();
        let (held, let_go) = (Flag::default(), Flag::default());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _guard = other.lock().unwrap();
                held.set();
                until(|| let_go.is_set());
            });
            until(|| held.is_set());
            scope.spawn(|| {
                until(|| waiting(other) == 1);
                let_go.set();
            });
            let locked = caught(|| drop(other.lock()));
            let_go.set();
            assert!(locked.is_ok(), "nobody who waits holds this one");
        });
    });
}

/// Of those who read, the one leaves whose guard is dropped, whoever drops it.
pub fn a_reader_leaves_by_its_own_guard<B: Backend>(case: Case) {
    thread_local! {
        static LEFT: Cell<Option<RwLockReadGuard<'static, ()>>> = const { Cell::new(None) };
    }
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let lock: &'static RwLock<()> = Box::leak(Box::default());
        let reader = lock.read().unwrap();
        let (other, _) = spawn_here(|| LEFT.set(lock.read().ok()));
        other.join().unwrap();
        let (drops, _) = spawn_here(|| drop(LEFT.take().expect("it was left")));
        drops.join().unwrap();
        report(|| drop(lock.write()));
        drop(reader);
        drop(lock.try_write().unwrap());
    });
}

/// A tasklet that was let in to read and has not run yet waits for nobody: whoever reads beside it may wait for what it holds.
pub fn one_that_was_let_in_is_in_no_circle<B: Backend>(case: Case) {
    run::<B>(case, || {
        for _ in 0..20 {
            let (lock, mutex) = (Arc::new(RwLock::new(())), Arc::new(Mutex::new(())));
            let writer = lock.write().unwrap();
            let first = spawn_waiting(|| waiting(&*lock), {
                let (lock, mutex) = (lock.clone(), mutex.clone());
                move || {
                    let _reader = lock.read().unwrap();
                    drop(mutex.lock().unwrap());
                }
            });
            let second = spawn_waiting(|| waiting(&*lock), {
                let (lock, mutex) = (lock.clone(), mutex.clone());
                move || {
                    let _guard = mutex.lock().unwrap();
                    drop(lock.read().unwrap());
                }
            });
            drop(writer);
            first.join().unwrap();
            second.join().unwrap();
        }
    });
}

/// Each waits for the one before it: that is no circle, and takes no stack to see.
pub fn a_long_chain_is_no_circle<B: Backend>(case: Case) {
    const LENGTH: usize = 1000;
    run::<B>(case, || {
        let locks: Arc<Vec<Mutex<()>>> = Arc::new((0..=LENGTH).map(|_| Mutex::new(())).collect());
        let guard = locks[0].lock().unwrap();
        let tasklets: Vec<_> = (0..LENGTH)
            .map(|at| {
                let its = locks.clone();
                spawn_waiting(
                    || waiting(&locks[at]),
                    move || {
                        let _own = its[at + 1].lock().unwrap();
                        drop(its[at].lock().unwrap());
                    },
                )
            })
            .collect();
        drop(guard);
        tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    });
}

/// It ends by itself.
pub fn a_wait_with_a_limit_is_no_deadlock<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|_| {
        let mutex = Mutex::new(());
        let _guard = mutex.lock().unwrap();
        assert!(mutex.try_lock_for(ms(1)).is_err());
    });
}
