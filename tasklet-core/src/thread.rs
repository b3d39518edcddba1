//! A plain thread as the scheduler of one tasklet: itself.
//!
//! Channels and joins recognise who calls them. Code that runs under no scheduler parks its OS thread.

use std::cell::RefCell;
use std::sync::Arc;

use crate::channel::HandOver;
use crate::driver::{Driver, ThreadDriver};
use crate::home::{Home, HomeToken, Remote};
use crate::id::{TaskletId, TaskletIds};
use crate::park::{ParkError, Parked, WaitSite, Wake};
use crate::scheduler::{Observed, Scheduler};
use crate::stack::overflow::RunningTasklet;
use crate::tasklet::{Record, Spec};

/// Parks and wakes one OS thread.
pub(crate) struct ThreadScheduler {
    token: HomeToken,
    driver: ThreadDriver,
    record: Arc<Record>,
    woken: RefCell<Option<Parked>>,
}

impl ThreadScheduler {
    #[track_caller]
    pub(crate) fn new() -> ThreadScheduler {
        let driver = ThreadDriver::default();
        let token = Home::new(driver.notifier());
        let name = std::thread::current().name().map(str::to_owned);
        let spec = Spec { name, ..Spec::here() };
        let record = Record::main(TaskletIds::default().next_id(), spec, &token);
        ThreadScheduler { token, driver, record, woken: RefCell::new(None) }
    }

    fn deliver(who: Parked) {
        let home = who.record().home().clone();
        // A scheduler that is gone has no tasklet left to wake.
        let _ = home.submit(Remote::Unpark(who));
    }
}

impl Scheduler for ThreadScheduler {
    fn home(&self) -> &Arc<Home> {
        self.token.home()
    }

    fn current_id(&self) -> TaskletId {
        self.record.id()
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
        Parked::new(self.record.clone())
    }

    fn park(&self, site: &dyn WaitSite, key: usize) -> Result<Wake, ParkError> {
        loop {
            for request in self.token.take_requests() {
                if let Remote::Unpark(who) = request {
                    *self.woken.borrow_mut() = Some(who);
                }
            }
            if let Some(who) = self.woken.borrow_mut().take() {
                return Ok(who.into_record(&self.token).local(&self.token).wake.get());
            }
            if !site.is_shared(key) && site.unlink(self.record.id(), key).is_some() {
                return Err(ParkError::Deadlock);
            }
            self.driver.wait(None);
        }
    }

    fn unpark(&self, who: Parked) {
        Self::deliver(who);
    }

    fn may_hand_over(&self, _: &Parked, _: HandOver) -> Result<(), ParkError> {
        Ok(())
    }

    fn hand_over(&self, who: Parked, _: HandOver) {
        Self::deliver(who);
    }

    fn yield_now(&self) {
        std::thread::yield_now();
    }
}
