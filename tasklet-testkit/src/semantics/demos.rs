//! Small programs users of Stackless know (L4, L5).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tasklet_channels::Channel;
use tasklet_core::backend::Backend;
use tasklet_core::clock::{Clock, VirtualClock};
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, Resumer};

use super::setup::Setup;

/// A lock made of one channel, as in demo/mutex.py.
#[derive(Clone)]
struct Mutex {
    locked: Rc<Cell<bool>>,
    waiting: Channel<()>,
}

impl Mutex {
    fn acquire(&self) {
        if self.locked.replace(true) {
            self.waiting.recv().unwrap();
        }
    }

    fn release(&self) {
        if self.waiting.balance() < 0 {
            // The lock passes to the one that waits longest.
            self.waiting.send(()).unwrap();
        } else {
            self.locked.set(false);
        }
    }
}

/// L4 demo/mutex.py (model).
pub fn a_mutex_made_of_a_channel_serves_in_turns<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let mutex = Mutex { locked: Rc::default(), waiting: Channel::new() };
    for name in ["tick", "trick", "track"] {
        s.spawn_with(name, &mutex, move |log, mutex| {
            let log = |what| log.log(format!("{name}-{what}"));
            log("acq");
            mutex.acquire();
            log("sw");
            local::schedule();
            log("rel");
            mutex.release();
            log("end");
        });
    }
    s.run();
    s.log.assert(
        "tick-acq tick-sw trick-acq track-acq tick-rel trick-sw tick-end trick-rel track-sw trick-end track-rel track-end",
    );
}

/// Wakes whoever sleeps, in the order of time and then of going to sleep.
#[derive(Clone, Default)]
struct Sleepers(Rc<RefCell<Vec<Sleeper>>>);

type Sleeper = (Duration, Resumer<()>);

impl Sleepers {
    fn sleep(&self, clock: &VirtualClock, ticks: u64) {
        let until = clock.now() + Duration::from_secs(ticks);
        local::suspend(|resumer| self.0.borrow_mut().push((until, resumer))).unwrap();
    }

    /// Moves the clock to the next sleeper and wakes it; `false` if nobody sleeps.
    fn wake_next(&self, clock: &VirtualClock) -> bool {
        let mut list = self.0.borrow_mut();
        let Some(first) = list.iter().enumerate().min_by_key(|(_, (until, _))| *until).map(|(at, _)| at) else {
            return false;
        };
        let (until, resumer) = list.remove(first);
        clock.advance_to(until);
        resumer.resume(());
        true
    }
}

/// L5: the sleep idiom of the assembly line (model).
pub fn sleepers_wake_by_the_virtual_clock<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let shared = (Rc::new(VirtualClock::default()), Sleepers::default());
    for (name, ticks) in [("j1", 1), ("j2", 2), ("j3", 3)] {
        s.spawn_with(name, &shared, move |log, (clock, sleepers)| {
            for _ in 0..2 {
                sleepers.sleep(&clock, ticks);
                log.log(format!("{name}@{}", clock.now().as_secs()));
            }
        });
    }
    s.spawn_with("manager", &shared, |_, (clock, sleepers)| {
        while sleepers.wake_next(&clock) {
            local::schedule();
        }
    });
    s.run();
    s.log.assert("j1@1 j2@2 j1@2 j3@3 j2@4 j3@6");
}
