//! The record itself: what handles point to, queues link and wait sites name.

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::Waker;

use super::body::{Body, Stage};
use super::finish::{Finish, Kill};
use super::free::Posted;
use super::head::{Head, Joiner};
use super::join::JoinHandle;
use super::label::Site;
use super::local::{Local, StackKind};
use super::spot::Spot;
use crate::current;
use crate::home::{Home, HomeToken, Remote};
use crate::id::{SchedulerId, TaskletId};
use crate::park::Parked;
use crate::scheduler::Scheduler;
use crate::stack::StackSize;
use crate::unwind::{self, Payload, TaskletExit};

/// What is known of a tasklet when it is made.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Shown in dumps and errors.
    pub name: Option<String>,
    /// Where it was made.
    pub site: &'static Location<'static>,
    /// The stack it needs when it starts.
    pub stack_size: StackSize,
    /// What kind of stack that is.
    pub kind: StackKind,
}

impl Spec {
    /// A tasklet without a name, made by the caller, on a stack of the default size.
    #[track_caller]
    pub fn here() -> Spec {
        Spec { name: None, site: Location::caller(), stack_size: StackSize::DEFAULT, kind: StackKind::Private }
    }
}

/// One tasklet.
// In this order, so that what every switch reads lies together, in the first 64 bytes.
#[repr(C)]
pub struct Record {
    /// **H1** Null for a free tasklet that has not started or has finished. Else it points into an `Arc` that is alive: a count of it
    /// is this record's, or, for a free tasklet, its home's own, which the home keeps until all that it has started have finished.
    pub(super) home: AtomicPtr<Home>,
    pub(super) local: Local,
    pub(super) head: Head,
    pub(super) spot: Spot,
    pub(super) body: Body,
}

// SAFETY: handles travel between threads. `head`, `home` and `spot` are `Send` and `Sync` themselves.
// `local` and `body` are reached as the README's table says: with the home's token, which never leaves the home's thread; by the
// join handle after `FINISHED`, and that handle is `Send` only if the result is; and in `drop`, which does not touch a body that
// may not be dropped where it is.
unsafe impl Send for Record {}
// SAFETY: as above.
unsafe impl Sync for Record {}

/// What a dropped record held, for its home to drop. Anywhere else it is forgotten: it may not be `Send`.
pub struct Remains {
    body: ManuallyDrop<Body>,
    home: SchedulerId,
}

// SAFETY: the body is reached by `dispose` alone, with the home's token, so on the home's thread.
unsafe impl Send for Remains {}

impl Remains {
    /// The scheduler that may drop it.
    pub fn home(&self) -> SchedulerId {
        self.home
    }

    /// Drops it. A panic of its destructor is swallowed.
    ///
    /// # Panics
    ///
    /// It belongs to another scheduler.
    pub fn dispose(self, token: &HomeToken) {
        assert_eq!(self.home, token.home().id(), "remains of a tasklet were disposed of by another scheduler");
        drop(ManuallyDrop::into_inner(self.body));
    }
}

impl Record {
    pub(super) fn new(id: TaskletId, spec: Spec, home: *const Home, body: Body, finish: Finish<Joiner>) -> Record {
        Record {
            home: AtomicPtr::new(home.cast_mut()),
            head: Head::new(id, spec.site, spec.name, finish),
            spot: Spot::new(),
            local: Local::new(spec.stack_size, spec.kind),
            body,
        }
    }

    /// A tasklet that stands for a stack which exists already: the host's.
    pub fn main(id: TaskletId, spec: Spec, home: &HomeToken) -> Arc<Record> {
        Arc::new(Record::new(id, spec, counted(home.home()), Body::empty(), Finish::new()))
    }

    /// A tasklet without a closure, to be bound later.
    pub fn unbound(id: TaskletId, spec: Spec, home: &HomeToken) -> Arc<Record> {
        Record::main(id, spec, home)
    }

    /// A tasklet whose result is dropped.
    pub fn detached(id: TaskletId, spec: Spec, home: &HomeToken, f: impl FnOnce() + 'static) -> Arc<Record> {
        Arc::new(Record::new(id, spec, counted(home.home()), Body::detached(f), Finish::new()))
    }

    /// A tasklet whose result and panics go to the join handle.
    pub fn joinable<T: 'static>(
        id: TaskletId,
        spec: Spec,
        home: &HomeToken,
        f: impl FnOnce() -> T + 'static,
    ) -> (Arc<Record>, JoinHandle<T>) {
        let record = Arc::new(Record::new(id, spec, counted(home.home()), Body::joinable(f), Finish::joinable()));
        let handle = JoinHandle::of_record(record.clone());
        (record, handle)
    }

    /// A tasklet that belongs to the scheduler behind `home`, made on another thread.
    pub fn joinable_at<T: Send + 'static>(
        id: TaskletId,
        spec: Spec,
        home: &Arc<Home>,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> (Posted, JoinHandle<T>) {
        let record = Arc::new(Record::new(id, spec, counted(home), Body::joinable(f), Finish::joinable()));
        let handle = JoinHandle::of_record(record.clone());
        (Posted(record), handle)
    }

    /// Its identity.
    #[inline]
    pub fn id(&self) -> TaskletId {
        self.head.id
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.head.label.name()
    }

    /// Where it was made.
    pub fn site(&self) -> &'static Location<'static> {
        self.head.label.site()
    }

    /// What is at hand of that.
    #[inline]
    pub fn site_at_hand(&self) -> Site {
        self.head.label.at_hand()
    }

    /// The scheduler it belongs to; none if no scheduler has started it yet, or a free one has finished.
    pub fn home(&self) -> Option<Arc<Home>> {
        if self.head.finish.is_free() {
            self.head.finish.access(|| self.share_home()).flatten()
        } else {
            self.share_home()
        }
    }

    pub(super) fn share_home(&self) -> Option<Arc<Home>> {
        // Relaxed: set when the record was made, or read inside `access`, which orders it.
        let home = NonNull::new(self.home.load(Ordering::Relaxed))?;
        // SAFETY: H1: the record has a count, or `access` keeps the end of the tasklet from letting go of its home's.
        Some(unsafe {
            Arc::increment_strong_count(home.as_ptr());
            Arc::from_raw(home.as_ptr())
        })
    }

    /// The home of a tasklet that has one and keeps it.
    ///
    /// # Safety
    ///
    /// The tasklet has started and cannot finish while the borrow lasts.
    pub(crate) unsafe fn home_unchecked(&self) -> &Home {
        // Relaxed: whoever knows that it has started has synchronised with that.
        // SAFETY: H1.
        unsafe { &*self.home.load(Ordering::Relaxed) }
    }

    /// Whether it belongs to the token's scheduler.
    #[inline]
    pub fn is_at(&self, token: &HomeToken) -> bool {
        // Relaxed: the address of the caller's own home is stored by the caller's own thread, or before the record got there.
        ptr::eq(self.home.load(Ordering::Relaxed), Arc::as_ptr(token.home()))
    }

    /// What only its home may touch.
    ///
    /// # Panics
    ///
    /// The tasklet belongs to another scheduler.
    #[inline]
    pub fn local(&self, token: &HomeToken) -> &Local {
        assert!(self.is_at(token), "a tasklet was touched by a scheduler it does not belong to");
        &self.local
    }

    /// As [`local`](Self::local), without looking whose it is.
    ///
    /// # Safety
    ///
    /// The tasklet belongs to the scheduler that calls, on whose thread the caller runs.
    #[inline]
    pub unsafe fn local_unchecked(&self) -> &Local {
        &self.local
    }

    /// Whether it has a closure to run, its result, or neither. A finished joinable tasklet is not asked.
    pub fn stage(&self, token: &HomeToken) -> Stage {
        self.local(token);
        if self.is_finished() { Stage::Empty } else { self.body.stage() }
    }

    /// Whether it was made with a join handle.
    pub fn is_joinable(&self) -> bool {
        self.head.finish.is_joinable()
    }

    /// Binds a closure to a tasklet that has none and whose result nobody awaits. It is not finished any more.
    ///
    /// # Panics
    ///
    /// It has a closure, or was made with a join handle.
    pub fn bind(&self, token: &HomeToken, f: impl FnOnce() + 'static) {
        self.local(token);
        assert!(!self.is_joinable(), "a tasklet with a join handle cannot be bound again");
        self.body.bind(f);
        self.head.finish.reset();
    }

    /// Runs the closure at the root of the tasklet's stack. `Err` is a panic for the scheduler; those of a joinable tasklet go to
    /// its handle.
    ///
    /// # Panics
    ///
    /// The tasklet has finished: a join handle may have its body.
    pub fn run_body(&self, token: &HomeToken) -> Result<(), Payload> {
        self.own_body(token).run()
    }

    /// Drops the closure that has not run and ends the tasklet with `payload`; gives it back if no join handle will report it.
    ///
    /// # Panics
    ///
    /// As [`run_body`](Self::run_body).
    pub fn fail_body(&self, token: &HomeToken, payload: Payload) -> Option<Payload> {
        self.own_body(token).fail(payload)
    }

    /// The body, while it is the home's.
    fn own_body(&self, token: &HomeToken) -> &Body {
        self.local(token);
        assert!(!self.is_finished(), "the body of a finished tasklet is not its scheduler's");
        &self.body
    }

    /// Drops a closure that has not run.
    pub fn clear_body(&self, token: &HomeToken) {
        self.local(token);
        if !self.is_finished() {
            self.body.clear();
        }
    }

    /// Takes the result of a finished tasklet.
    ///
    /// # Safety
    ///
    /// The tasklet was made by [`Record::joinable`] with a closure returning `T`, has finished, and only its one handle calls this.
    pub(super) unsafe fn take_result<T>(&self) -> Option<Result<T, Payload>> {
        // SAFETY: the caller's promise; the body is the handle's since `FINISHED`, and a joinable tasklet is never bound again.
        unsafe { self.body.take_result::<T>() }
    }

    /// Whether it has run to its end or was killed.
    pub fn is_finished(&self) -> bool {
        self.head.finish.is_finished()
    }

    /// Marks it as finished and wakes, through its own scheduler, whoever waits for that. The result is the join handle's from now on.
    #[inline]
    pub fn finish(&self, token: &HomeToken, scheduler: &dyn Scheduler) {
        self.local(token);
        self.end(|joiner| scheduler.unpark(joiner));
    }

    #[inline]
    pub(super) fn end(&self, mut unpark: impl FnMut(Parked)) {
        let finished = self.head.finish.finish();
        if self.head.finish.is_free() {
            // H1: nobody uses it any more, and nobody will.
            self.home.store(ptr::null_mut(), Ordering::Relaxed);
        }
        if finished.detached {
            self.body.clear();
        }
        finished.wake_joiners(|joiner| joiner.wake(&mut unpark));
    }

    /// The closure has not run and never will: ends the tasklet as a kill does. The caller owns the body.
    pub(super) fn discard(&self, payload: Payload) {
        unwind::drop_quietly(self.body.fail(payload));
        self.end(current::unpark);
    }

    /// Kills it, from any thread: see [`JoinHandle::kill`].
    pub fn kill(self: &Arc<Record>) {
        match self.head.finish.request_kill() {
            Kill::Nothing => {}
            Kill::Claimed => self.discard(Box::new(TaskletExit)),
            Kill::Ask => {
                if let Some(home) = self.home() {
                    // A home that is closed has killed it, or leaked it.
                    let _ = home.submit(Remote::Throw(self.clone(), Box::new(TaskletExit)));
                }
            }
        }
    }

    /// Wakes `waker` when the tasklet has finished, and what it may have left without an owner has been dropped. `Err` gives the waker
    /// back if it has finished already.
    pub fn on_finish(&self, waker: Waker) -> Result<(), Waker> {
        self.head.on_finish(waker)
    }

    /// The place where it waits for a permit: see [`Spot`].
    pub fn spot(&self) -> &Spot {
        &self.spot
    }
}

/// A permit for the tasklet's [spot](Record::spot): what async code wakes a tasklet with, without an allocation.
impl std::task::Wake for Record {
    fn wake(self: Arc<Record>) {
        self.spot.unpark();
    }

    fn wake_by_ref(self: &Arc<Record>) {
        self.spot.unpark();
    }
}

/// A new count of a home, for a record to own.
fn counted(home: &Arc<Home>) -> *const Home {
    Arc::into_raw(home.clone())
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.head.finish.is_free() {
            // What is in the body is `Send`, and the home is not counted.
            return;
        }
        let home = *self.home.get_mut();
        if home.is_null() {
            return;
        }
        // SAFETY: H1: a record that is not free owns a count, from `counted`.
        let home = unsafe { Arc::from_raw(home) };
        // Also when it counts as finished: what has an owner elsewhere, the result, was taken by it before the record goes.
        if self.body.stage() != Stage::Empty && current::id() != Some(home.id()) {
            let remains = Remains { body: ManuallyDrop::new(self.body.take()), home: home.id() };
            // If its home is gone, it is forgotten.
            let _ = home.submit(Remote::Dispose(remains));
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.fmt(f)
    }
}
