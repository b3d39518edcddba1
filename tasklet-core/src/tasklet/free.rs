//! Free tasklets: those that belong to no scheduler before one starts them, whichever that is.
//!
//! Their closures and results are `Send`, so they may be dropped anywhere; their records do not count the home that they get (H1), and are used
//! again when they have ended.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::body::{Body, Stage};
use super::finish::{Finish, Start};
use super::head::Head;
use super::join::JoinHandle;
use super::local::StackKind;
use super::record::{Record, Spec};
use super::spot::Spot;
use crate::current;
use crate::home::{HomeToken, Remote};
use crate::id::TaskletId;
use crate::park::Wake;
use crate::stack::StackSize;
use crate::unwind::{Payload, TaskletExit};

impl Record {
    /// A tasklet that belongs to nobody until a scheduler starts it, whichever that is.
    #[inline]
    pub fn free<T: Send + 'static>(
        id: TaskletId,
        spec: Spec,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> (Unstarted, JoinHandle<T>) {
        // SAFETY: `T` and `f` borrow nothing.
        unsafe { Record::free_unchecked(id, spec, f) }
    }

    /// As [`free`](Self::free), for a closure that borrows.
    ///
    /// # Safety
    ///
    /// What `f` and its result borrow stays valid until the tasklet has [finished](Self::is_finished) and the handle is gone.
    #[inline]
    pub unsafe fn free_unchecked<T: Send>(
        id: TaskletId,
        spec: Spec,
        f: impl FnOnce() -> T + Send,
    ) -> (Unstarted, JoinHandle<T>) {
        let record = match current::take_record() {
            Some(record) => {
                // SAFETY: nobody else refers to a record that was kept (`release`), and whoever kept it was the last to use it.
                unsafe { &mut *Arc::as_ptr(&record).cast_mut() }.reuse(id, spec, f);
                record
            }
            None => Arc::new(Record::new(id, spec, ptr::null(), Body::joinable(f), Finish::free())),
        };
        let handle = JoinHandle::of_record(record.clone());
        (Unstarted(record), handle)
    }

    /// Makes a new tasklet of the record of a free one that has ended. What that has left behind is what a new one begins with, but for
    /// what is set here.
    #[inline]
    fn reuse<T>(&mut self, id: TaskletId, spec: Spec, f: impl FnOnce() -> T) {
        self.head = Head::new(id, spec.site, spec.name, Finish::free());
        self.spot = Spot::new();
        self.local.wake.set(Wake::Served);
        self.local.timed_out.set(false);
        self.local.admitted.set(false);
        self.local.movable.set(false);
        self.local.stack_size.set(spec.stack_size);
        self.local.kind.set(spec.kind);
        debug_assert!(self.local.fiber.get().is_none() && !self.local.has_interrupt() && self.local.wait().is_none());
        self.local.fault.set(None);
        self.local.atomic.set(0);
        self.body.bind_joinable(f);
    }

    /// Lets go of a record. That of a free tasklet which has ended is kept for the next one, if nobody else refers to it.
    #[inline]
    pub fn release(mut record: Arc<Record>) {
        // Looked at first, because `get_mut` costs more than dropping a count.
        let is_last = Arc::strong_count(&record) == 1;
        let has_ended = record.head.finish.is_free() && record.is_finished();
        if is_last && has_ended && Arc::get_mut(&mut record).is_some_and(|record| record.body.stage() == Stage::Empty) {
            current::keep_record(record);
        }
    }

    /// The scheduler gives up a started free tasklet, which another will [adopt](Self::adopt). A kill that comes in between is kept.
    ///
    /// # Panics
    ///
    /// It belongs to another scheduler, or is not free.
    pub fn give_up(&self, token: &HomeToken) {
        self.local(token);
        assert!(self.head.finish.is_free(), "only a tasklet that any scheduler may start can change its scheduler");
        self.head.finish.exclude(|| self.home.store(ptr::null_mut(), Ordering::Relaxed));
    }

    /// Makes the token's scheduler the home of a started tasklet that its former home has [given up](Self::give_up). Returns whether it is to
    /// be killed.
    ///
    /// # Safety
    ///
    /// - The tasklet was given up, and nobody else adopts it.
    /// - As [`Unstarted::start`].
    pub unsafe fn adopt(&self, token: &HomeToken) -> bool {
        let home = Arc::as_ptr(token.home()).cast_mut();
        self.head.finish.exclude(|| self.home.store(home, Ordering::Relaxed));
        self.take_kill_request()
    }

    /// Whether a kill was asked for that has not taken effect; it has from now on.
    pub fn take_kill_request(&self) -> bool {
        self.head.finish.take_kill()
    }
}

/// A tasklet on its way to the scheduler that it was [made for](Record::joinable_at).
#[must_use = "dropping it leaks the closure"]
pub struct Posted(pub(super) Arc<Record>);

impl Posted {
    /// Puts it into its scheduler's inbox. `false` if that is gone: the tasklet has ended as a kill ends it.
    pub fn submit(self) -> bool {
        // H1: the record has a count of its home for as long as it lives.
        let Some(home) = self.0.share_home() else { return false };
        let submitted = home.submit(Remote::Insert(self.0.clone())).is_ok();
        if !submitted {
            // The closure is `Send`, and its home has never seen it.
            self.0.discard(Box::new(TaskletExit));
        }
        submitted
    }
}

impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Posted").field(&self.0).finish()
    }
}

/// The right to start a [free](Record::free) tasklet, or to end it before it began. One word, so that queues can hold it.
///
/// Dropping it ends the tasklet as a kill does: its closure is dropped, and whoever joins it is told.
#[must_use = "dropping it kills the tasklet"]
pub struct Unstarted(Arc<Record>);

impl Unstarted {
    /// The tasklet.
    pub fn record(&self) -> &Record {
        &self.0
    }

    /// It may go on on another worker's thread once it has started.
    ///
    /// # Safety
    ///
    /// Its code is made for that: nothing of what it keeps across a yield belongs to the thread.
    pub unsafe fn set_movable(&self) {
        // As in `stack_size`.
        self.0.local.movable.set(true);
    }

    /// The stack it needs.
    pub fn stack_size(&self) -> StackSize {
        // Before it starts, its fields belong to whoever has the right to start it.
        self.0.local.stack_size.get()
    }

    /// What kind of stack it needs.
    pub fn kind(&self) -> StackKind {
        // As in `stack_size`.
        self.0.local.kind.get()
    }

    /// Makes the token's scheduler its home. `None` if it has been killed: then there is nothing left to do.
    ///
    /// # Safety
    ///
    /// **H1** The caller keeps a count of its home until the tasklet has finished, for ever if it never does.
    #[inline]
    pub unsafe fn start(self, token: &HomeToken) -> Option<Arc<Record>> {
        let record = self.into_inner();
        // Relaxed: `Finish::start` publishes it.
        record.home.store(Arc::as_ptr(token.home()).cast_mut(), Ordering::Relaxed);
        match record.head.finish.start() {
            Start::Run => Some(record),
            Start::Killed => {
                // Whoever killed it ends it. Another who kills it now may have seen the home, and is waited for.
                record.head.finish.exclude(|| record.home.store(ptr::null_mut(), Ordering::Relaxed));
                None
            }
        }
    }

    /// Ends it with an error instead of starting it.
    pub fn fail(self, payload: Payload) {
        let record = self.into_inner();
        if record.head.finish.start() == Start::Run {
            record.discard(payload);
        }
    }

    /// As one word, for a queue.
    #[inline]
    pub fn into_raw(self) -> NonNull<Record> {
        // The pointer comes from an `Arc`, so it is not null.
        NonNull::new(Arc::into_raw(self.into_inner()).cast_mut()).expect("records have an address")
    }

    /// Out of a queue.
    ///
    /// # Safety
    ///
    /// The pointer is from [`into_raw`](Self::into_raw), and is used once.
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<Record>) -> Unstarted {
        // SAFETY: the caller's promise.
        Unstarted(unsafe { Arc::from_raw(raw.as_ptr()) })
    }

    #[inline]
    fn into_inner(self) -> Arc<Record> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the count moves.
        unsafe { ptr::read(&raw const this.0) }
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if self.0.head.finish.start() == Start::Run {
            self.0.discard(Box::new(TaskletExit));
        }
    }
}

impl fmt::Debug for Unstarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unstarted").field(&self.0).finish()
    }
}
