//! A plain thread as the scheduler of one tasklet: itself.
//!
//! Channels and joins recognise who calls them. Code that runs under no scheduler parks its OS thread.

use std::any::TypeId;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::HandOver;
use crate::clock::{Clock, RealClock};
use crate::driver::{Driver, ThreadDriver};
use crate::home::{Home, HomeToken, Remote};
use crate::id::{TaskletId, TaskletIds};
use crate::operation::SwitchToken;
use crate::park::{ParkError, Parked, WaitSite, Wake};
use crate::random::Random;
use crate::scheduler::{Observed, Scheduler, TimerKey};
use crate::stack::overflow::RunningTasklet;
use crate::tasklet::{Record, Spec};

/// Parks and wakes one OS thread.
pub(crate) struct ThreadScheduler {
    token: HomeToken,
    driver: ThreadDriver,
    record: Arc<Record>,
    clock: RealClock,
    /// When the wait ends that is about to begin.
    deadline: Cell<Option<Duration>>,
    random: Random,
}

impl ThreadScheduler {
    #[track_caller]
    pub(crate) fn new() -> ThreadScheduler {
        let driver = ThreadDriver::default();
        let token = Home::new(driver.notifier());
        let name = std::thread::current().name().map(str::to_owned);
        let spec = Spec { name, ..Spec::here() };
        let record = Record::main(TaskletIds::default().next_id(), spec, &token);
        ThreadScheduler {
            token,
            driver,
            record,
            clock: RealClock::default(),
            deadline: Cell::new(None),
            random: Random::unforeseen(),
        }
    }

    fn deliver(who: Parked) {
        let home = who.share_home();
        // A scheduler that is gone has no tasklet left to wake.
        let _ = home.submit(Remote::Unpark(who));
    }
}

// SAFETY: S1 by `new`; S2 and S5, it makes no tokens; S3, the wait is over when `prepare_park` unwinds, and the site is not kept; S4,
// nothing is read; S6, its one tasklet is never resumed by others, and a `Parked` is a count of its record and no more.
unsafe impl Scheduler for ThreadScheduler {
    fn home(&self) -> &Arc<Home> {
        self.token.home()
    }

    fn current_id(&self) -> TaskletId {
        self.record.id()
    }

    fn current_record(&self) -> Arc<Record> {
        self.record.clone()
    }

    fn running(&self) -> Option<RunningTasklet<'_>> {
        None
    }

    fn begin_operation(&self) -> Observed {
        Observed::No
    }

    fn may_park(&self) -> Result<(), ParkError> {
        Ok(())
    }

    fn begin_park(&self) -> Parked {
        Parked::new(self.record.clone(), &self.token)
    }

    unsafe fn prepare_park(&self, site: &dyn WaitSite, key: usize, _: &'static TypeId) -> Option<SwitchToken> {
        loop {
            for request in self.token.take_requests() {
                if let Remote::Unpark(who) = request {
                    who.into_record(&self.token);
                    return None;
                }
            }
            // Nobody will ever come, unless time does.
            if self.deadline.get().is_none()
                && !site.is_shared(key)
                && let Some(who) = site.unlink(self.record.id(), key)
            {
                who.into_record(&self.token);
                self.record.local(&self.token).fault.set(Some(ParkError::Deadlock));
                return None;
            }
            let Some(at) = self.deadline.get() else {
                self.driver.wait(None);
                continue;
            };
            match at.checked_sub(self.clock.now()) {
                Some(left) if !left.is_zero() => self.driver.wait(Some(left)),
                // Who cannot be unlinked has been claimed, and the wake is on the way.
                _ => match site.unlink(self.record.id(), key) {
                    Some(who) => {
                        who.with(Wake::TimedOut).into_record(&self.token);
                        return None;
                    }
                    None => self.driver.wait(None),
                },
            }
        }
    }

    fn finish_park(&self) -> Result<Wake, ParkError> {
        let fields = self.record.local(&self.token);
        fields.fault.take().map_or_else(|| Ok(fields.wake.get()), Err)
    }

    fn unpark(&self, who: Parked) {
        Self::deliver(who);
    }

    fn may_hand_over(&self, _: &Record, _: HandOver) -> Result<(), ParkError> {
        Ok(())
    }

    unsafe fn prepare_hand_over(&self, who: Parked, _: HandOver, _: &'static TypeId) -> Option<SwitchToken> {
        Self::deliver(who);
        None
    }

    fn finish_switch(&self) {}

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn start_timer(&self, at: Duration) -> Option<TimerKey> {
        self.deadline.set(Some(at));
        Some(TimerKey { at, number: 0 })
    }

    fn stop_timer(&self, _: TimerKey) {
        self.deadline.set(None);
    }

    fn random(&self) -> u64 {
        self.random.next()
    }

    unsafe fn suspend(&self, _: SwitchToken) {
        unreachable!("a plain thread makes no tokens");
    }

    fn yield_now(&self) {
        std::thread::yield_now();
    }
}
