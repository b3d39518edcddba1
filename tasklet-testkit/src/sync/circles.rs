//! Circles of locks. Builds without debug assertions do not look for them.

use std::sync::Arc;

use tasklet_core::backend::Backend;
use tasklet_core::unwind::message;
use tasklet_sync::{Mutex, RwLock};

use super::Case;
use super::setup::{Flag, caught, ms, run, spawn, until, waiting};

/// What is panicked with out of `f`, without the panic hook's words on the terminal.
#[track_caller]
fn report<R>(f: impl FnOnce() -> R) -> String {
    match caught(f) {
        Ok(_) => panic!("a circle was not reported"),
        Err(payload) => message(&payload).to_owned(),
    }
}

/// The one that closes the circle is told of both, with where they were spawned; the other goes on.
pub fn two_locks_in_opposite_order_are_reported<B: Backend>(case: Case) {
    if !cfg!(debug_assertions) {
        return;
    }
    run::<B>(case, || {
        let (left, right) = (Arc::new(Mutex::new(())), Arc::new(RwLock::new(())));
        let both = Flag::default();
        let first = spawn({
            let (left, right, both) = (left.clone(), right.clone(), both.clone());
            move || {
                let _left = left.lock().unwrap();
                until(|| both.is_set());
                drop(right.read().unwrap_or_else(std::sync::PoisonError::into_inner));
            }
        });
        until(|| left.is_locked());
        let second = spawn({
            let (left, right) = (left.clone(), right.clone());
            move || {
                let _right = right.write().unwrap();
                both.set();
                until(|| waiting(&*right) == 1);
                report(|| drop(left.lock()))
            }
        });
        let text = second.join().unwrap();
        first.join().unwrap();
        assert!(text.starts_with("deadlock: "), "{text}");
        assert_eq!(text.matches("spawned at ").count(), 2, "{text}");
        // Where `spawn` of this suite has called the scheduler's.
        assert_eq!(text.matches("setup.rs:").count(), 2, "{text}");
        assert_eq!(text.matches("waits for lock 0x").count(), 2, "{text}");
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

/// It ends by itself.
pub fn a_wait_with_a_limit_is_no_deadlock<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|_| {
        let mutex = Mutex::new(());
        let _guard = mutex.lock().unwrap();
        assert!(mutex.try_lock_for(ms(1)).is_err());
    });
}
