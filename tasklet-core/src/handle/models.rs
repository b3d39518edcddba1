//! A local and a shared handle on two threads.

use loom::cell::UnsafeCell;
use loom::thread;

use super::*;
use crate::driver::{Driver, ThreadDriver};
use crate::home::{Home, Remote};

/// A count that loom watches: two accesses that are not ordered fail the model.
struct Watched(UnsafeCell<u32>);

impl Watched {
    fn add(&self) {
        // SAFETY: loom checks it.
        self.0.with_mut(|count| unsafe { *count += 1 });
    }

    fn get(&self) -> u32 {
        // SAFETY: loom checks it.
        self.0.with(|count| unsafe { *count })
    }
}

impl Waits for Watched {
    fn deserted(&self, _: usize) -> Vec<Arc<Home>> {
        self.add();
        Vec::new()
    }
}

fn handle() -> Handle<Watched, Local> {
    Handle::new(Watched(UnsafeCell::new(0)))
}

#[test]
fn shared_and_local_handle_exclude_each_other() {
    loom::model(|| {
        let local = handle();
        local.lock().add();
        let shared: Handle<Watched, Shared> = local.to();
        let other = thread::spawn(move || shared.lock().add());
        local.lock().add();
        other.join().unwrap();
        // The fourth is the shared handle's end.
        assert_eq!(local.lock().get(), 4);
    });
}

#[test]
fn local_handle_made_from_a_shared_one_excludes_too() {
    loom::model(|| {
        let local = handle();
        let shared: Handle<Watched, Shared> = local.to();
        let other = thread::spawn(move || {
            let local: Handle<Watched, Local> = shared.to();
            drop(shared);
            local.lock().add();
        });
        local.lock().add();
        other.join().unwrap();
        assert_eq!(local.lock().get(), 3);
    });
}

#[test]
fn handle_is_missed_only_after_its_last_wake_was_seen() {
    loom::model(|| {
        let driver = ThreadDriver::default();
        let token = Home::new(driver.notifier());
        let home = token.home().clone();
        let local = handle();
        let shared: Handle<Watched, Shared> = local.to();
        let other = thread::spawn(move || {
            // Claims a waiter, sends it home, goes.
            shared.lock().add();
            assert!(home.submit(Remote::Recheck).is_ok());
        });
        // The order in which a scheduler asks whether waiting is a deadlock: handles first, then the inbox.
        if !local.is_awaited_elsewhere() {
            assert!(token.has_requests());
            assert!(local.lock().get() >= 1);
        }
        other.join().unwrap();
    });
}
