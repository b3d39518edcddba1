//! The record itself: what handles point to, queues link and wait sites name.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering, fence};
use std::task::Waker;

use super::body::{Body, Stage};
use super::finish::{Awaited, Finish, Kill, Start};
use super::join::JoinHandle;
use super::spot::Spot;
use crate::current;
use crate::home::{Home, HomeToken, Remote};
use crate::id::{SchedulerId, TaskletId};
use crate::park::{ParkError, ParkReason, Parked, WaitSite, Wake};
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
}

impl Spec {
    /// A tasklet without a name, made by the caller, on a stack of the default size.
    #[track_caller]
    pub fn here() -> Spec {
        Spec { name: None, site: Location::caller(), stack_size: StackSize::DEFAULT }
    }
}

/// One tasklet.
// In this order, so that what every switch reads lies together, in the first 64 bytes.
#[repr(C)]
pub struct Record {
    /// **H1** Null for a free tasklet that has not started or has finished. Else it points into an `Arc` that is alive: a count of it
    /// is this record's, or, for a free tasklet, its home's own, which the home keeps until all that it has started have finished.
    home: AtomicPtr<Home>,
    local: Local,
    id: TaskletId,
    site: &'static Location<'static>,
    /// Boxed twice, because few tasklets have one and the record is what a million of them cost.
    name: Option<Box<Box<str>>>,
    pub(super) finish: Finish<Joiner>,
    pub(super) spot: Spot,
    body: Body,
}

/// Who waits for a tasklet to finish.
pub(super) enum Joiner {
    /// A tasklet, or a thread.
    Parked(Parked),
    /// The tasklet's own join handle, as a future.
    Waker(Waker),
    /// Something that goes on for as long as the tasklet does: a scope, a future that it stands for.
    Other(Waker),
}

impl Joiner {
    pub(super) fn is_waker(&self) -> bool {
        matches!(self, Joiner::Waker(_))
    }

    /// `unpark` is how the caller's scheduler wakes tasklets.
    fn wake(self, unpark: impl FnOnce(Parked)) {
        match self {
            Joiner::Parked(parked) => unpark(parked),
            Joiner::Waker(waker) | Joiner::Other(waker) => unwind::drop_quietly(WakeOnDrop(Some(waker))),
        }
    }
}

/// A waker is the user's code: what it panics with is swallowed.
struct WakeOnDrop(Option<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

// SAFETY: handles travel between threads. `id`, `site`, `name`, `home`, `finish` and `spot` are `Send` and `Sync` themselves.
// `local` and `body` are reached as the README's table says: with the home's token, which never leaves the home's thread; by the
// join handle after `FINISHED`, and that handle is `Send` only if the result is; and in `drop`, which does not touch a body that
// may not be dropped where it is.
unsafe impl Send for Record {}
// SAFETY: as above.
unsafe impl Sync for Record {}

/// What only a tasklet's home reads and writes.
#[repr(C)]
pub struct Local {
    /// The next in the queue; `None` while not linked.
    pub next: Cell<Option<NonNull<Record>>>,
    /// The one before in the queue; `None` while not linked.
    pub prev: Cell<Option<NonNull<Record>>>,
    /// The fiber it sits on, in its scheduler's own terms; `None` before it starts and after it ends.
    pub fiber: Cell<Option<NonNull<()>>>,
    /// Raised when it continues.
    interrupt: Cell<Option<Payload>>,
    /// A budget ran out while it could not be interrupted.
    pub pending_interrupt: Cell<bool>,
    /// The timer of the wait that it is about to begin has gone off.
    pub timed_out: Cell<bool>,
    /// It may go on on another worker's thread.
    pub movable: Cell<bool>,
    /// It has been in its scheduler's queue, or has started: nobody puts it there as a new one again.
    pub admitted: Cell<bool>,
    /// Blocking is an error.
    pub block_trap: Cell<bool>,
    /// How its last park ended.
    pub wake: Cell<Wake>,
    /// How its park failed, if it did.
    pub fault: Cell<Option<ParkError>>,
    /// What becomes of its panic, in its scheduler's own terms.
    pub policy: Cell<u8>,
    /// Depth of guards against involuntary switches, or against kills and cancellation, as its scheduler has it.
    pub atomic: Cell<u16>,
    wait: Cell<Option<RawWait>>,
    /// The stack it needs, in bytes.
    pub stack_size: Cell<StackSize>,
}

/// Where a tasklet waits, and with which key.
#[derive(Clone, Copy)]
pub struct Wait<'a> {
    /// The place that holds the tasklet's [`Parked`] until somebody claims it.
    pub site: &'a dyn WaitSite,
    /// The key it parked with.
    pub key: usize,
}

#[derive(Clone, Copy)]
struct RawWait {
    site: NonNull<dyn WaitSite>,
    key: usize,
}

impl Local {
    /// The tasklet counts as waiting at `site` from now on.
    ///
    /// # Safety
    ///
    /// `site` stays valid until [`clear_wait`](Self::clear_wait), which is called when the tasklet goes on, before the borrow of
    /// `site` ends. (If it never goes on, because its stack was leaked, the borrow never ends either.)
    #[inline]
    pub unsafe fn set_wait(&self, site: &dyn WaitSite, key: usize) {
        // SAFETY: only the lifetime changes, as the caller promises to make up for.
        let site = unsafe { std::mem::transmute::<&dyn WaitSite, &'static dyn WaitSite>(site) };
        self.wait.set(Some(RawWait { site: NonNull::from(site), key }));
    }

    /// The tasklet goes on.
    #[inline]
    pub fn clear_wait(&self) {
        self.wait.set(None);
    }

    /// Where the tasklet waits, if it does.
    pub fn wait(&self) -> Option<Wait<'_>> {
        self.wait.get().map(|raw| {
            // SAFETY: the promise of `set_wait`. The reference does not outlive the caller's next switch: schedulers look and let go.
            Wait { site: unsafe { raw.site.as_ref() }, key: raw.key }
        })
    }

    /// Why the tasklet waits, if it does.
    pub fn reason(&self) -> Option<ParkReason> {
        self.wait().map(|wait| wait.site.reason(wait.key))
    }

    /// Whether something will be raised when the tasklet continues.
    #[inline]
    pub fn has_interrupt(&self) -> bool {
        let interrupt = self.interrupt.take();
        let has = interrupt.is_some();
        self.interrupt.set(interrupt);
        has
    }

    /// Stores what will be raised when the tasklet continues; returns what it replaces.
    pub fn set_interrupt(&self, payload: Option<Payload>) -> Option<Payload> {
        self.interrupt.replace(payload)
    }

    /// Takes what is to be raised.
    #[inline]
    pub fn take_interrupt(&self) -> Option<Payload> {
        self.interrupt.take()
    }
}

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
    fn new(id: TaskletId, spec: Spec, home: *const Home, body: Body, finish: Finish<Joiner>) -> Record {
        Record {
            id,
            site: spec.site,
            name: spec.name.map(|name| Box::new(name.into_boxed_str())),
            home: AtomicPtr::new(home.cast_mut()),
            finish,
            spot: Spot::new(),
            local: Local {
                next: Cell::new(None),
                prev: Cell::new(None),
                fiber: Cell::new(None),
                interrupt: Cell::new(None),
                wait: Cell::new(None),
                stack_size: Cell::new(spec.stack_size),
                wake: Cell::new(Wake::Served),
                fault: Cell::new(None),
                block_trap: Cell::new(false),
                atomic: Cell::new(0),
                pending_interrupt: Cell::new(false),
                timed_out: Cell::new(false),
                admitted: Cell::new(false),
                movable: Cell::new(false),
                policy: Cell::new(0),
            },
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
        let handle = JoinHandle::new(record.clone());
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
        let handle = JoinHandle::new(record.clone());
        (Posted(record), handle)
    }

    /// A tasklet that nobody runs: what `promise` [fulfils](Promise::fulfil) is its result. A kill ends it at once.
    pub fn promise<T: Send + 'static>(id: TaskletId, spec: Spec) -> (Promise<T>, JoinHandle<T>) {
        let unreachable = || -> T { unreachable!("the body of a promise is not run") };
        let (unstarted, handle) = Record::free(id, spec, unreachable);
        (Promise { record: unstarted.into_inner(), result: PhantomData }, handle)
    }

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
                // SAFETY: nobody else refers to a record that was kept (`is_unique`), and whoever kept it was the last to use it.
                unsafe { &mut *Arc::as_ptr(&record).cast_mut() }.reuse(id, spec, f);
                record
            }
            None => Arc::new(Record::new(id, spec, ptr::null(), Body::joinable(f), Finish::free())),
        };
        let handle = JoinHandle::new(record.clone());
        (Unstarted(record), handle)
    }

    /// Makes a new tasklet of the record of a free one that has ended. What that has left behind is what a new one begins with, but for
    /// what is set here.
    #[inline]
    fn reuse<T>(&mut self, id: TaskletId, spec: Spec, f: impl FnOnce() -> T) {
        self.id = id;
        self.site = spec.site;
        self.name = spec.name.map(|name| Box::new(name.into_boxed_str()));
        self.finish = Finish::free();
        self.spot = Spot::new();
        self.local.wake.set(Wake::Served);
        self.local.timed_out.set(false);
        self.local.admitted.set(false);
        self.local.movable.set(false);
        self.local.stack_size.set(spec.stack_size);
        debug_assert!(self.local.fiber.get().is_none() && !self.local.has_interrupt() && self.local.wait().is_none());
        self.local.fault.set(None);
        self.local.atomic.set(0);
        self.body.bind_joinable(f);
    }

    /// Lets go of a record. That of a free tasklet which has ended is kept for the next one, if nobody else refers to it.
    #[inline]
    pub fn release(record: Arc<Record>) {
        let has_ended = record.finish.is_free() && record.is_finished();
        if has_ended && is_unique(&record) && record.body.stage() == Stage::Empty {
            current::keep_record(record);
        }
    }

    /// Its identity.
    pub fn id(&self) -> TaskletId {
        self.id
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| &***name)
    }

    /// Where it was made.
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// The scheduler it belongs to; none if no scheduler has started it yet, or a free one has finished.
    pub fn home(&self) -> Option<Arc<Home>> {
        if self.finish.is_free() { self.finish.access(|| self.share_home()).flatten() } else { self.share_home() }
    }

    fn share_home(&self) -> Option<Arc<Home>> {
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
        self.finish.is_joinable()
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
        self.finish.reset();
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

    /// The join handle is gone. Returns whether the tasklet has finished, so that the result is the caller's to drop.
    pub(super) fn detach(&self) -> bool {
        self.finish.detach()
    }

    /// Whether it has run to its end or was killed.
    pub fn is_finished(&self) -> bool {
        self.finish.is_finished()
    }

    /// Marks it as finished and wakes, through its own scheduler, whoever waits for that. The result is the join handle's from now on.
    #[inline]
    pub fn finish(&self, token: &HomeToken, scheduler: &dyn Scheduler) {
        self.local(token);
        self.end(|joiner| scheduler.unpark(joiner));
    }

    #[inline]
    fn end(&self, mut unpark: impl FnMut(Parked)) {
        let finished = self.finish.finish();
        if self.finish.is_free() {
            // H1: nobody uses it any more, and nobody will.
            self.home.store(ptr::null_mut(), Ordering::Relaxed);
        }
        if finished.detached {
            self.body.clear();
        }
        finished.wake_joiners(|joiner| joiner.wake(&mut unpark));
    }

    /// The closure has not run and never will: ends the tasklet as a kill does. The caller owns the body.
    fn discard(&self, payload: Payload) {
        unwind::drop_quietly(self.body.fail(payload));
        self.end(current::unpark);
    }

    /// Kills it, from any thread: see [`JoinHandle::kill`].
    pub fn kill(self: &Arc<Record>) {
        match self.finish.request_kill() {
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
        let mut waker = Some(waker);
        let make = || Joiner::Other(waker.take().expect("called once"));
        match self.finish.await_with(|_| false, make) {
            Awaited::Registered => Ok(()),
            Awaited::Finished => Err(waker.expect("it was not used")),
        }
    }

    /// The scheduler gives up a started free tasklet, which another will [adopt](Self::adopt). A kill that comes in between is kept.
    ///
    /// # Panics
    ///
    /// It belongs to another scheduler, or is not free.
    pub fn give_up(&self, token: &HomeToken) {
        self.local(token);
        assert!(self.finish.is_free(), "only a tasklet that any scheduler may start can change its scheduler");
        self.finish.exclude(|| self.home.store(ptr::null_mut(), Ordering::Relaxed));
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
        self.finish.exclude(|| self.home.store(home, Ordering::Relaxed));
        self.take_kill_request()
    }

    /// Whether a kill was asked for that has not taken effect; it has from now on.
    pub fn take_kill_request(&self) -> bool {
        self.finish.take_kill()
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

/// Whether this is the only reference of any kind. As `Arc::get_mut` finds out, but with loads alone.
#[inline]
fn is_unique(record: &Arc<Record>) -> bool {
    // First that there is no weak one: somebody may have made a strong one of it and dropped the weak one, and is seen then.
    if Arc::weak_count(record) != 0 {
        return false;
    }
    // Acquire: pairs with the release of a weak reference that was dropped.
    fence(Ordering::Acquire);
    if Arc::strong_count(record) != 1 {
        return false;
    }
    // Acquire: pairs with the release of a strong one: what others did with the record happens before what we do.
    fence(Ordering::Acquire);
    true
}

/// A new count of a home, for a record to own.
fn counted(home: &Arc<Home>) -> *const Home {
    Arc::into_raw(home.clone())
}

/// The duty to bring the result of a [promised](Record::promise) tasklet. Dropping it ends the tasklet as a kill does.
#[must_use = "dropping it kills the tasklet"]
pub struct Promise<T> {
    record: Arc<Record>,
    result: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Promise<T> {
    /// The tasklet.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Ends the tasklet with this result. Gives it back if the tasklet was killed before.
    pub fn fulfil(self, result: Result<T, Payload>) -> Result<(), Result<T, Payload>> {
        match self.record.finish.start() {
            Start::Killed => Err(result),
            Start::Run => {
                // SAFETY: made by `promise` for this `T`; the body is ours, as `Start::Run` says.
                unsafe { self.record.body.set_result(result) };
                self.record.end(current::unpark);
                Ok(())
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        // Whoever has started it has fulfilled it.
        if !self.record.finish.has_started() && self.record.finish.start() == Start::Run {
            self.record.discard(Box::new(TaskletExit));
        }
    }
}

/// A tasklet on its way to the scheduler that it was [made for](Record::joinable_at).
#[must_use = "dropping it leaks the closure"]
pub struct Posted(Arc<Record>);

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
        match record.finish.start() {
            Start::Run => Some(record),
            Start::Killed => {
                // Whoever killed it ends it. Another who kills it now may have seen the home, and is waited for.
                record.finish.exclude(|| record.home.store(ptr::null_mut(), Ordering::Relaxed));
                None
            }
        }
    }

    /// Ends it with an error instead of starting it.
    pub fn fail(self, payload: Payload) {
        let record = self.into_inner();
        if record.finish.start() == Start::Run {
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
        if self.0.finish.start() == Start::Run {
            self.0.discard(Box::new(TaskletExit));
        }
    }
}

impl fmt::Debug for Unstarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unstarted").field(&self.0).finish()
    }
}

// SAFETY: P1, `unlink` looks for it. The key tells whether the waiter belongs to another scheduler.
unsafe impl WaitSite for Record {
    fn reason(&self, _: usize) -> ParkReason {
        ParkReason::Join(self.id)
    }

    fn unlink(&self, who: TaskletId, _: usize) -> Option<Parked> {
        match self.finish.unlink(|joiner| matches!(joiner, Joiner::Parked(parked) if parked.record().id() == who))? {
            Joiner::Parked(parked) => Some(parked),
            Joiner::Waker(_) | Joiner::Other(_) => None,
        }
    }

    fn is_shared(&self, key: usize) -> bool {
        // A tasklet of another scheduler finishes whatever this one does.
        key != 0
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.finish.is_free() {
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
        f.debug_struct("Tasklet")
            .field("id", &self.id.get())
            .field("name", &self.name())
            .field("site", &format_args!("{}", self.site))
            .finish()
    }
}
