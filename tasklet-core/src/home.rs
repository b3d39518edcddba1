//! A scheduler as the rest of the process sees it: an identity and an inbox.
//!
//! Other threads never touch a scheduler's queue. They push into its inbox and notify its driver; the scheduler empties the inbox
//! at its scheduling points. So everything about order is decided on one thread.

use std::any::Any;
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, PoisonError};

use crate::driver::Notify;
use crate::id::SchedulerId;
use crate::park::Parked;
use crate::primitive::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard};
use crate::tasklet::{Record, Remains};
use crate::unwind::{AbortOnUnwind, Payload};

/// What another thread asks of a scheduler.
pub enum Remote {
    /// Wake a tasklet that was claimed from its wait site.
    Unpark(Parked),
    /// Append a paused tasklet to the queue.
    Insert(Arc<Record>),
    /// Run a tasklet next: at once if the scheduler is idle.
    Run(Arc<Record>),
    /// Raise a payload in a tasklet: it becomes runnable, and nobody is preempted.
    Throw(Arc<Record>, Payload),
    /// A cancel token of this tasklet was cancelled.
    Cancel(Arc<Record>),
    /// Make and append a tasklet.
    Spawn(Box<dyn FnOnce() + Send>),
    /// Drop what a record's last holder must not drop on its own thread.
    Dispose(Remains),
    /// Look again whether somebody can still wake you.
    Recheck,
    /// Call this, with the scheduler itself, in between two tasklets.
    Call(Visit),
}

/// What is called with a scheduler: short, does not unwind, and switches to nobody.
pub type Visit = Box<dyn FnOnce(&dyn Any) + Send>;

/// A scheduler's address. Tasklets know their home for life.
pub struct Home {
    id: SchedulerId,
    inbox: Mutex<Inbox>,
    /// Whether the inbox has something. A hint that is read at every scheduling point: the lock orders what it promises.
    pending: AtomicBool,
    /// Of the tasklet that runs: touched by the scheduler's own thread alone. Beside `pending`, which is read with it.
    budget: AtomicU32,
    /// Values that let other threads reach the scheduler and are not wait sites: remote tasklets, remote schedulers.
    remotes: AtomicUsize,
    notify: Arc<dyn Notify>,
}

#[derive(Default)]
struct Inbox {
    entries: Vec<Remote>,
    closed: bool,
}

/// Proof that the code runs on behalf of one scheduler, on its thread. There is one per [`Home`], owned by that scheduler; it is
/// neither `Send` nor `Sync`, so nothing behind it is ever reached from elsewhere.
pub struct HomeToken {
    home: Arc<Home>,
    _not_send: std::marker::PhantomData<*mut ()>,
}

impl Home {
    /// A new home and the one token to it.
    #[expect(clippy::new_ret_no_self, reason = "the home is reached through its token")]
    pub fn new(notify: Arc<dyn Notify>) -> HomeToken {
        let home = Home {
            id: SchedulerId::next(),
            inbox: Mutex::default(),
            pending: AtomicBool::new(false),
            budget: AtomicU32::new(0),
            remotes: AtomicUsize::new(0),
            notify,
        };
        HomeToken { home: Arc::new(home), _not_send: std::marker::PhantomData }
    }

    /// Which scheduler this is.
    pub fn id(&self) -> SchedulerId {
        self.id
    }

    /// Puts a request into the inbox and notifies the scheduler.
    ///
    /// # Errors
    ///
    /// The scheduler is gone, or the request is about another scheduler's tasklet; the request comes back. A [`Parked`] or
    /// [`Remains`] in it can be dropped: what they hold is leaked, since nobody may free it.
    pub fn submit(&self, request: Remote) -> Result<(), Remote> {
        if !self.is_about(&request) {
            return Err(request);
        }
        let mut inbox = self.lock();
        if inbox.closed {
            return Err(request);
        }
        // Who came first has notified, and the scheduler has not taken the requests since; it takes them before it waits again.
        let is_first = inbox.entries.is_empty();
        inbox.entries.push(request);
        self.pending.store(true, Ordering::Relaxed);
        drop(inbox);
        if is_first {
            self.notify();
        }
        Ok(())
    }

    /// Ends the current wait of its driver, or the next one.
    pub fn notify(&self) {
        // What is notified of is in a queue already: callers that lend what lies on their stack must not unwind from here.
        let guard = AbortOnUnwind::new("a driver's notifier");
        self.notify.notify();
        guard.disarm();
    }

    fn is_about(&self, request: &Remote) -> bool {
        match request {
            Remote::Unpark(who) => who.home().id == self.id,
            Remote::Insert(record) | Remote::Run(record) | Remote::Throw(record, _) | Remote::Cancel(record) => {
                // A free tasklet that has finished meanwhile is nobody's, and the request of no effect.
                record.home().is_none_or(|home| home.id == self.id)
            }
            Remote::Dispose(remains) => remains.home() == self.id,
            Remote::Spawn(_) | Remote::Recheck | Remote::Call(_) => true,
        }
    }

    /// Takes one operation from the budget of the tasklet that runs. False if none is left, or there are requests: then the scheduler is
    /// to be asked.
    #[inline(always)]
    pub(crate) fn spend(&self) -> bool {
        // Relaxed, no read-modify-write: only the scheduler's own thread comes here.
        let left = self.budget.load(Ordering::Relaxed);
        let goes_on = left != 0 && !self.pending.load(Ordering::Relaxed);
        if goes_on {
            self.budget.store(left - 1, Ordering::Relaxed);
        }
        goes_on
    }

    /// Whether the scheduler still takes requests.
    pub fn is_open(&self) -> bool {
        !self.lock().closed
    }

    /// One more value outside the scheduler can reach it. While there is one, waiting is not a deadlock.
    pub fn add_remote(&self) {
        self.remotes.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer. The last one makes the scheduler look again whether its tasklets wait for nobody.
    pub fn remove_remote(&self) {
        // Release: pairs with the Acquire in `has_remotes`, so that what the last remote submitted is seen before it is missed.
        if self.remotes.fetch_sub(1, Ordering::Release) == 1 {
            let _ = self.submit(Remote::Recheck);
        }
    }

    /// Whether values outside the scheduler can reach it.
    pub fn has_remotes(&self) -> bool {
        // Acquire: pairs with the Release in `remove_remote`.
        self.remotes.load(Ordering::Acquire) != 0
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // Nothing panics while the lock is held except for allocation failure, which leaves the vector whole.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HomeToken {
    /// The home this is the token of.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// How many operations may begin before [`Scheduler::begin_operation`] is called for the next: what a scheduler grants that does
    /// not want to know of each. They are not [observed](crate::scheduler::Observed). A request that comes in is told of at once.
    ///
    /// [`Scheduler::begin_operation`]: crate::scheduler::Scheduler::begin_operation
    #[inline]
    pub fn grant(&self, operations: u32) {
        self.home.budget.store(operations, Ordering::Relaxed);
    }

    /// Takes one operation from what was [granted](Self::grant). False if the scheduler is to be asked.
    #[inline]
    pub fn spend(&self) -> bool {
        self.home.spend()
    }

    /// Whether requests may have come in. Cheap: for every scheduling point.
    #[inline]
    pub fn has_requests(&self) -> bool {
        self.home.pending.load(Ordering::Relaxed)
    }

    /// Takes all requests, oldest first.
    pub fn take_requests(&self) -> Vec<Remote> {
        let mut inbox = self.home.lock();
        self.home.pending.store(false, Ordering::Relaxed);
        std::mem::take(&mut inbox.entries)
    }

    /// Takes all requests and refuses further ones.
    pub fn close(&self) -> Vec<Remote> {
        let mut inbox = self.home.lock();
        inbox.closed = true;
        self.home.pending.store(false, Ordering::Relaxed);
        std::mem::take(&mut inbox.entries)
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod models;
