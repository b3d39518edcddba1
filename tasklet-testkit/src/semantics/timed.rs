//! What the tests of time share: a scheduler in virtual time, and tasklets that log when it is.

use std::sync::Arc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::clock::{Clock, VirtualClock};
use tasklet_core::driver::VirtualDriver;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunOptions, RunOutcome, Tasklet};

use super::setup::Setup;
use crate::Recorder;
use crate::kinds;

pub(super) const WAIT: RunOptions = RunOptions::new().block_thread();

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A scheduler in virtual time: while it waits for a timer, its clock moves.
pub(super) struct Timed<B: Backend> {
    pub(super) s: Setup<B>,
    pub(super) clock: Arc<VirtualClock>,
}

impl<B: Backend> Timed<B> {
    pub(super) fn new(kind: StackKind) -> Timed<B> {
        let clock = Arc::new(VirtualClock::default());
        let builder = kinds::local(kind).clock(clock.clone()).driver(VirtualDriver::new(clock.clone()));
        Timed { s: Setup::on(builder.build()), clock }
    }

    /// A queued tasklet that knows the clock.
    pub(super) fn spawn(&self, name: &'static str, f: impl FnOnce(Log) + 'static) -> Tasklet {
        let clock = self.clock.clone();
        self.s.spawn(name, move |log| f(Log { name, log, clock }))
    }

    /// A queued tasklet that sleeps once, and logs when it has.
    pub(super) fn sleeps(&self, name: &'static str, milliseconds: u64) -> Tasklet {
        self.spawn(name, move |log| {
            local::sleep(ms(milliseconds));
            log.now();
        })
    }

    /// Runs until nobody is runnable and nobody sleeps.
    #[track_caller]
    pub(super) fn run_all(&self) {
        let outcome = self.s.scheduler.run_with(WAIT);
        assert!(matches!(outcome, Ok(RunOutcome::Idle)), "{outcome:?}");
    }

    /// The time in milliseconds.
    pub(super) fn at(&self) -> u128 {
        self.clock.now().as_millis()
    }
}

/// What a tasklet logs with.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) name: &'static str,
    pub(super) log: Recorder,
    pub(super) clock: Arc<VirtualClock>,
}

impl Log {
    /// Logs the tasklet's name and the time.
    pub(super) fn now(&self) {
        self.says("");
    }

    pub(super) fn says(&self, what: &str) {
        self.log.log(format!("{}{what}@{}", self.name, self.clock.now().as_millis()));
    }
}

/// Logs when it is dropped.
pub(super) struct OnDrop(pub(super) Log);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.says("-dropped");
    }
}
