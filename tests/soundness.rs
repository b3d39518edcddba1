//! Safe code that once led to memory errors, aborts or hangs: in odd places and at odd times.

use std::cell::RefCell;
use std::panic::catch_unwind;
use std::thread;
use std::time::Duration;

use tasklet::local::{self, Scheduler};
use tasklet::time::{Clock, VirtualClock};

/// Uses the thread's scheduler, if it has one, when it is dropped.
struct AsksWhenDropped;

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        assert!(catch_unwind(local::run_count).is_err(), "the scheduler is gone");
    }
}

thread_local! {
    static HOST: RefCell<Option<(Scheduler, AsksWhenDropped)>> = const { RefCell::new(None) };
}

/// Keeps the messages of panics that are expected out of the output.
fn quietly<R>(f: impl FnOnce() -> R) -> R {
    use std::sync::Once;
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    f()
}

#[test]
fn scheduler_in_a_thread_local_is_not_current_after_it() {
    let thread = thread::spawn(|| HOST.with(|host| *host.borrow_mut() = Some((Scheduler::new(), AsksWhenDropped))));
    quietly(|| thread.join()).unwrap();
}

#[test]
fn scheduler_in_a_thread_local_ends_its_fibers_at_thread_exit() {
    let thread = thread::spawn(|| {
        HOST.with(|host| {
            let scheduler = Scheduler::new();
            scheduler.spawn(|| local::schedule_remove().unwrap());
            scheduler.run().unwrap();
            *host.borrow_mut() = Some((scheduler, AsksWhenDropped));
        });
    });
    quietly(|| thread.join()).unwrap();
}

#[test]
fn virtual_clock_stops_at_the_end_of_time() {
    let clock = VirtualClock::default();
    clock.advance(Duration::MAX);
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.now(), Duration::MAX);
}
