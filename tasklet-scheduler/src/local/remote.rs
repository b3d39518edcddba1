//! Handles that other threads may hold. They ask through the inbox; the scheduler decides on its own thread.

use std::sync::{Arc, Weak};

use tasklet_core::home::{Home, Remote};
use tasklet_core::id::{SchedulerId, TaskletId};
use tasklet_core::tasklet::Record;
use tasklet_core::unwind::TaskletExit;

use super::error::TaskletStateError;

/// Keeps a scheduler from calling it a deadlock when all its tasklets wait: somebody outside may still act.
#[derive(Debug)]
struct Presence(Arc<Home>);

impl Presence {
    fn new(home: &Arc<Home>) -> Presence {
        home.add_remote();
        Presence(home.clone())
    }
}

impl Clone for Presence {
    fn clone(&self) -> Self {
        Presence::new(&self.0)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.remove_remote();
    }
}

/// A tasklet, for other threads. It does not keep the tasklet alive.
///
/// All requests are queued and done at the owner's next scheduling point; nothing is preempted. While one exists, the owner waits
/// for it rather than report a deadlock.
#[derive(Clone, Debug)]
pub struct RemoteTasklet {
    record: Weak<Record>,
    id: TaskletId,
    home: Presence,
}

impl RemoteTasklet {
    pub(super) fn new(record: &Arc<Record>, home: &Arc<Home>) -> RemoteTasklet {
        RemoteTasklet { record: Arc::downgrade(record), id: record.id(), home: Presence::new(home) }
    }

    /// Its identity.
    pub fn id(&self) -> TaskletId {
        self.id
    }

    /// Its scheduler, while that exists.
    pub fn scheduler_id(&self) -> Option<SchedulerId> {
        self.home.0.is_open().then(|| self.home.0.id())
    }

    fn submit(&self, request: impl FnOnce(Arc<Record>) -> Remote) -> Result<(), TaskletStateError> {
        let record = self.record.upgrade().ok_or(TaskletStateError::Dead)?;
        self.home.0.submit(request(record)).map_err(|_| TaskletStateError::NoScheduler)
    }

    /// Appends it to its owner's queue, unless it is queued, blocked or dead when the request arrives.
    ///
    /// # Errors
    ///
    /// The tasklet or its scheduler is gone.
    pub fn insert(&self) -> Result<(), TaskletStateError> {
        self.submit(Remote::Insert)
    }

    /// Makes it the next of its owner to run: before all others if the owner is idle, else after the one that runs.
    ///
    /// # Errors
    ///
    /// The tasklet or its scheduler is gone.
    pub fn run(&self) -> Result<(), TaskletStateError> {
        self.submit(Remote::Run)
    }

    /// Switching to another thread's tasklet is impossible.
    ///
    /// # Errors
    ///
    /// Always [`TaskletStateError::OtherScheduler`].
    pub fn switch(&self) -> Result<(), TaskletStateError> {
        Err(TaskletStateError::OtherScheduler)
    }

    /// Raises a payload in it when its turn comes; a blocked or paused one is appended.
    ///
    /// # Errors
    ///
    /// The tasklet or its scheduler is gone.
    pub fn throw(&self, payload: impl std::any::Any + Send) -> Result<(), TaskletStateError> {
        self.submit(|record| Remote::Throw(record, Box::new(payload)))
    }

    /// Ends it when its turn comes. Does nothing if it is dead or its scheduler is gone.
    pub fn kill(&self) {
        let _ = self.throw(TaskletExit);
    }
}

/// A scheduler, for other threads. While one exists, the scheduler waits for it rather than report a deadlock.
#[derive(Clone, Debug)]
pub struct RemoteScheduler {
    home: Presence,
}

impl RemoteScheduler {
    pub(super) fn new(home: &Arc<Home>) -> RemoteScheduler {
        RemoteScheduler { home: Presence::new(home) }
    }

    /// Which scheduler this is.
    pub fn id(&self) -> SchedulerId {
        self.home.0.id()
    }

    /// Makes a tasklet there; it is appended to the queue at the owner's next scheduling point.
    ///
    /// # Errors
    ///
    /// The scheduler is gone; the closure was dropped.
    pub fn spawn(&self, f: impl FnOnce() + Send + 'static) -> Result<(), TaskletStateError> {
        self.home.0.submit(Remote::Spawn(Box::new(f))).map_err(|_| TaskletStateError::NoScheduler)
    }
}
