//! A driver that does what a test lists instead of sleeping, so that nothing depends on what other threads do when.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_core::driver::{Driver, Notify, ThreadDriver};
use tasklet_core::tasklet::StackKind;

use super::setup::Setup;
use crate::kinds;

/// How long a test waits for what should have come already.
const PATIENCE: Duration = Duration::from_secs(60);

type Actions = Rc<RefCell<Vec<Box<dyn FnOnce()>>>>;

/// Does what is listed, one action for each wait, and counts the waits.
#[derive(Clone, Default)]
pub(super) struct Scripted {
    actions: Actions,
    pub(super) waits: Rc<Cell<usize>>,
    driver: Rc<ThreadDriver>,
}

impl Scripted {
    /// Adds an action to the end of the list.
    pub(super) fn then(&self, action: impl FnOnce() + 'static) {
        self.actions.borrow_mut().insert(0, Box::new(action));
    }
}

impl Driver for Scripted {
    fn wait(&self, timeout: Option<Duration>) {
        self.waits.set(self.waits.get() + 1);
        let action = self.actions.borrow_mut().pop();
        if let Some(action) = action {
            action();
        }
        // What was done has notified the driver, or it forgot to: then this would sleep for ever.
        let asleep = Instant::now();
        self.driver.wait(Some(timeout.unwrap_or(PATIENCE)));
        assert!(timeout.is_some() || asleep.elapsed() < PATIENCE, "nobody has woken the scheduler");
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.driver.notifier()
    }
}

/// A scheduler that sleeps on such a driver.
pub(super) fn scripted<B: Backend>(kind: StackKind) -> (Setup<B>, Scripted) {
    let driver = Scripted::default();
    (Setup::on(kinds::local(kind).driver(driver.clone()).build()), driver)
}

/// On a thread of its own, to its end.
pub(super) fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}
