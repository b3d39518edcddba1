//! The scheduler that runs on this thread: the one file that reads thread-locals.
//!
//! The accessors are never inlined, so that the compiler cannot keep a thread-local's address across a call that switches stacks.
//! What they return is a scheduler, and a started tasklet never changes its scheduler; so it may be kept across a switch, while a
//! thread-local's address may not.
//!
//! A thread has at most one *active* scheduler, the innermost one that has left its main tasklet, and any number of *adopted*
//! ones, whose main tasklet is the code that runs. The current scheduler is the active one, else the one adopted last.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::blocking::Job;
use crate::driver::Driver;
use crate::home::Home;
use crate::id::SchedulerId;
use crate::park::Parked;
use crate::scheduler::{Observed, Scheduler};
use crate::stack::StackUsage;
use crate::stack::overflow::{self, RunningTasklet};
use crate::tasklet::{Record, StackKind};
use crate::thread::ThreadScheduler;

/// A scheduler and its type, so that code which knows the type reaches it without a virtual call.
#[derive(Clone, Copy)]
struct Entry {
    scheduler: NonNull<dyn Scheduler>,
    home: NonNull<Home>,
    kind: &'static TypeId,
}

thread_local! {
    static CURRENT: Cell<Option<Entry>> = const { Cell::new(None) };
    static ACTIVE: Cell<Option<Entry>> = const { Cell::new(None) };
    /// Freed when it becomes empty, not when the thread ends: a scheduler in a thread-local may go later than that.
    static ADOPTED: Cell<ManuallyDrop<Vec<Entry>>> = const { Cell::new(ManuallyDrop::new(Vec::new())) };
    /// Records of free tasklets that have ended, for the next ones that this thread makes.
    static RECORDS: Cell<Vec<Arc<Record>>> = const { Cell::new(Vec::new()) };
    /// Runtimes that the thread's code has entered, outermost first.
    static ENTERED: RefCell<Vec<Arc<dyn Any + Send + Sync>>> = const { RefCell::new(Vec::new()) };
}

#[cfg(not(loom))]
thread_local! {
    static THREAD: Cell<Option<Rc<ThreadScheduler>>> = const { Cell::new(None) };
}

// The threads of a model are one thread of the system.
#[cfg(loom)]
loom::thread_local! {
    static THREAD: Cell<Option<Rc<ThreadScheduler>>> = Cell::new(None);
}

impl Entry {
    /// # Safety
    ///
    /// **A1**: the scheduler is valid until the entry is used no more.
    unsafe fn new<S: Scheduler>(scheduler: NonNull<S>) -> Entry {
        // SAFETY: the caller's promise. S1: a scheduler keeps its home.
        let home = NonNull::from(&**unsafe { scheduler.as_ref() }.home());
        Entry { scheduler, home, kind: const { &TypeId::of::<S>() } }
    }
}

#[inline(never)]
fn current() -> Option<NonNull<dyn Scheduler>> {
    entry().map(|entry| entry.scheduler)
}

#[inline(always)]
fn entry() -> Option<Entry> {
    // A thread that is exiting has no scheduler any more.
    CURRENT.try_with(Cell::get).unwrap_or(None)
}

/// The current scheduler, if it is of this type.
#[inline(never)]
fn current_of(kind: &'static TypeId) -> Option<NonNull<()>> {
    let entry = entry()?;
    (std::ptr::eq(entry.kind, kind) || *entry.kind == *kind).then(|| entry.scheduler.cast())
}

/// The scheduler of the code that runs, for one operation.
pub(crate) enum Current {
    /// One that was made current.
    Scheduler(NonNull<dyn Scheduler>),
    /// The thread itself.
    Thread(Rc<ThreadScheduler>),
}

impl Current {
    #[inline(always)]
    pub(crate) fn scheduler(&self) -> &dyn Scheduler {
        match self {
            // SAFETY: A1 (on `Activation` and `adopt`): a pointer in `CURRENT` is valid until the code that runs returns to whoever
            // put it there. This crate keeps a `Current` for the time of one call only.
            Current::Scheduler(scheduler) => unsafe { scheduler.as_ref() },
            Current::Thread(thread) => &**thread,
        }
    }
}

/// The active scheduler, else the one adopted last, else the thread itself, which can park and wake but has no other tasklets.
#[inline(always)]
pub(crate) fn get() -> Current {
    match current() {
        Some(scheduler) => Current::Scheduler(scheduler),
        None => Current::Thread(thread()),
    }
}

/// The current scheduler, for an operation that begins, and whether the operation is observed: does
/// [`Scheduler::begin_operation`], or what comes to the same. `None` if the thread itself is the scheduler.
///
/// Inlined, so only for a function that is not, and that returns before its tasklet is suspended.
#[inline(always)]
pub(crate) fn begin_operation<'a>() -> Option<(&'a dyn Scheduler, Observed)> {
    let entry = entry()?;
    // SAFETY: A1, as in `Current::scheduler`: whoever asks performs one operation, under the scheduler of the code that runs.
    let (scheduler, home) = unsafe { (entry.scheduler.as_ref(), entry.home.as_ref()) };
    let observed = if home.spend() { Observed::No } else { scheduler.begin_operation() };
    Some((scheduler, observed))
}

/// Makes a claimed waiter runnable, here or on its own scheduler; see [`Scheduler::unpark`].
pub fn unpark(who: Parked) {
    get().scheduler().unpark(who);
}

/// Calls `f` with what the current scheduler waits on when it has nothing to run; `None` on a plain thread.
pub fn with_driver<R>(f: impl FnOnce(&dyn Driver) -> R) -> Option<R> {
    let (mut f, mut result) = (Some(f), None);
    get().scheduler().with_driver(&mut |driver| result = f.take().map(|f| f(driver)));
    result
}

/// Calls `f` with the current scheduler if its type is `S`, and a tasklet of it or its host runs.
///
/// # Safety
///
/// The scheduler is not dropped while `f` uses it: `f` runs no code of users that could drop it, or keeps it alive meanwhile.
#[inline(always)]
pub unsafe fn with_scheduler<S: Scheduler, R>(f: impl FnOnce(&S) -> R) -> Option<R> {
    let scheduler = current_of(const { &TypeId::of::<S>() })?;
    // SAFETY: A1, as in `Current::scheduler`, and the caller's promise; `Entry::new` took the type from the pointer.
    Some(f(unsafe { scheduler.cast::<S>().as_ref() }))
}

/// The most records that a thread keeps for reuse: 4 MiB of them. A guess, enough for the bursts of a program that spawns tasklets and
/// joins them. A new one would cost several times what a tasklet does otherwise, and more where an allocator gives memory back eagerly.
const MAX_RECORDS: usize = 1 << 14;

/// Keeps a record for reuse, which nobody else refers to.
#[inline(never)]
pub(crate) fn keep_record(record: Arc<Record>) {
    let mut record = Some(record);
    let _ = RECORDS.try_with(|kept| {
        let mut list = kept.take();
        if list.len() < MAX_RECORDS {
            list.extend(record.take());
        }
        kept.set(list);
    });
}

/// A record that was kept.
#[inline(never)]
pub(crate) fn take_record() -> Option<Arc<Record>> {
    let take = |kept: &Cell<Vec<Arc<Record>>>| {
        let mut list = kept.take();
        let record = list.pop();
        kept.set(list);
        record
    };
    RECORDS.try_with(take).ok()?
}

/// The tasklet of the code that runs; on a plain thread, the one that stands for the thread.
pub fn record() -> Arc<Record> {
    get().scheduler().current_record()
}

/// Whether the running tasklet shares its stack with others, which is [copied away](crate::swap) while it waits: nobody may refer to it then.
pub fn is_swapped() -> bool {
    let record = record();
    // SAFETY: the code that calls is that of this tasklet, so it runs on its home's thread.
    unsafe { record.local_unchecked() }.kind.get() == StackKind::Swapped
}

/// For calls that lend what lies on the caller's stack. While its thread unwinds, a tasklet waits with its thread blocked, so nothing is copied.
///
/// # Panics
///
/// The caller is swapped.
#[track_caller]
pub fn refuse_swapped(what: &str) {
    assert!(
        std::thread::panicking() || !is_swapped(),
        "{what} was called in a swapped tasklet, whose stack nobody may borrow from while it waits: call it in a tasklet with a stack of its own, and join that"
    );
}

pub(crate) fn can_offload() -> bool {
    get().scheduler().can_offload()
}

pub(crate) fn offload(job: Job) -> Result<(), Job> {
    get().scheduler().offload(job)
}

/// Lets others run: see [`Scheduler::yield_now`].
pub fn yield_now() {
    get().scheduler().yield_now();
}

/// Keeps what is thrown at the caller, or cancels it, from ending its waits while this lives. The code that has made it drops it.
#[must_use = "the caller is masked while this lives"]
#[derive(Debug)]
pub struct Masked(PhantomData<*mut ()>);

impl Masked {
    /// From now on.
    #[expect(clippy::new_without_default, reason = "it is an act")]
    pub fn new() -> Masked {
        get().scheduler().set_masked(true);
        Masked(PhantomData)
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        get().scheduler().set_masked(false);
    }
}

/// Raises what was thrown at the caller and has waited: see [`Scheduler::finish_switch`].
pub(crate) fn finish_switch() {
    get().scheduler().finish_switch();
}

/// The time of the current scheduler's clock; on a plain thread, of the system's.
pub fn now() -> Duration {
    get().scheduler().now()
}

/// Which scheduler the code that runs belongs to, if any.
pub fn id() -> Option<SchedulerId> {
    // SAFETY: A1, as in `Current::scheduler`.
    current().map(|scheduler| unsafe { scheduler.as_ref() }.home().id())
}

#[inline(never)]
pub(crate) fn thread() -> Rc<ThreadScheduler> {
    let make = || Rc::new(ThreadScheduler::new());
    THREAD
        .try_with(|slot| {
            let scheduler = slot.take().unwrap_or_else(make);
            slot.set(Some(scheduler.clone()));
            scheduler
        })
        .unwrap_or_else(|_| exiting())
}

/// The one of a thread that is exiting, and has dropped its first one: a destructor of another thread-local waits. Leaked, since nothing comes
/// after it.
#[cfg(not(loom))]
#[cold]
fn exiting() -> Rc<ThreadScheduler> {
    thread_local! {
        static EXITING: Cell<*const ThreadScheduler> = const { Cell::new(std::ptr::null()) };
    }
    EXITING.with(|slot| {
        if slot.get().is_null() {
            slot.set(Rc::into_raw(Rc::new(ThreadScheduler::new())));
        }
        // SAFETY: from `into_raw`, on this thread; the count that it gave is never taken back.
        unsafe {
            Rc::increment_strong_count(slot.get());
            Rc::from_raw(slot.get())
        }
    })
}

#[cfg(loom)]
fn exiting() -> Rc<ThreadScheduler> {
    unreachable!("no destructor of a model's thread-local waits")
}

#[inline(never)]
fn recompute() {
    let active = ACTIVE.try_with(Cell::get).unwrap_or(None);
    let current = active.or_else(|| with_adopted(|list| list.last().copied()).flatten());
    let _ = CURRENT.try_with(|slot| slot.set(current));
}

/// `None` where the system has taken this thread's list already. `f` does not come back here.
fn with_adopted<R>(f: impl FnOnce(&mut Vec<Entry>) -> R) -> Option<R> {
    let with = |adopted: &Cell<ManuallyDrop<Vec<Entry>>>| {
        let mut list = ManuallyDrop::into_inner(adopted.take());
        let result = f(&mut list);
        if !list.is_empty() {
            adopted.set(ManuallyDrop::new(list));
        }
        result
    };
    ADOPTED.try_with(with).ok()
}

/// Makes `scheduler` the current one of this thread's own code, until [`release`].
///
/// # Safety
///
/// **A1** `scheduler` stays valid until it was released, on this thread.
pub unsafe fn adopt<S: Scheduler>(scheduler: NonNull<S>) {
    // SAFETY: the caller's promise.
    with_adopted(|list| list.push(unsafe { Entry::new(scheduler) }));
    recompute();
}

/// Ends [`adopt`].
pub fn release<S: Scheduler>(scheduler: NonNull<S>) {
    with_adopted(|list| list.retain(|other| !std::ptr::addr_eq(other.scheduler.as_ptr(), scheduler.as_ptr())));
    recompute();
}

/// Makes `runtime` the one that code of this thread spawns into, until [`leave`].
pub fn enter(runtime: Arc<dyn Any + Send + Sync>) {
    let _ = ENTERED.try_with(|list| list.borrow_mut().push(runtime));
}

/// Ends the last [`enter`] of this runtime.
pub fn leave(runtime: &Arc<dyn Any + Send + Sync>) {
    let left = ENTERED.try_with(|list| {
        let mut list = list.borrow_mut();
        let at = list.iter().rposition(|other| Arc::ptr_eq(other, runtime))?;
        Some(list.remove(at))
    });
    // Dropped with nothing borrowed.
    drop(left);
}

/// The runtime that this thread has entered last, if it is of this type.
#[inline(never)]
pub fn entered<T: Any + Send + Sync>() -> Option<Arc<T>> {
    let last = ENTERED.try_with(|list| list.borrow().last().cloned()).ok()??;
    last.downcast().ok()
}

/// A scheduler has left its main tasklet: it is the active one until this is dropped.
#[must_use = "the scheduler is active only while this lives"]
pub struct Activation {
    outer: Option<Entry>,
}

/// Makes `scheduler` the active one of this thread.
///
/// # Safety
///
/// **A1** `scheduler` stays valid until the activation was dropped, and activations of one thread are dropped in reverse order.
#[inline(never)]
pub unsafe fn activate<S: Scheduler>(scheduler: NonNull<S>) -> Activation {
    // SAFETY: the caller's promise.
    let entry = Some(unsafe { Entry::new(scheduler) });
    CURRENT.with(|slot| slot.set(entry));
    Activation { outer: ACTIVE.with(|slot| slot.replace(entry)) }
}

impl Drop for Activation {
    #[inline(never)]
    fn drop(&mut self) {
        ACTIVE.with(|slot| slot.set(self.outer));
        recompute();
    }
}

/// How much memory the stack of the calling tasklet takes. `None` where no tasklet calls, in the main tasklet of a local scheduler, and if the backend
/// brings its own stacks. In a soft tasklet, it is the stack that it is polled on. Never switches.
///
/// It asks the kernel: about 1 us for a stack of the default size, 3 us for a slot.
pub fn stack_usage() -> Option<StackUsage> {
    get().scheduler().stack_usage()
}

/// Makes a stack overflow of a tasklet print its name, number, stack size and what to do, and abort. Without it the guard stops an
/// overflow all the same, and the process dies by the signal alone.
///
/// Installs handlers for SIGSEGV and SIGBUS, once per process; other faults go to the handlers that were there before. A thread
/// that was not made by Rust needs a signal stack: see
/// [`ensure_signal_stack`](crate::stack::overflow::ensure_signal_stack).
///
/// # Errors
///
/// The system refused a handler.
pub fn install_overflow_handler() -> std::io::Result<()> {
    fn query(tell: &mut dyn FnMut(RunningTasklet<'_>)) {
        // SAFETY: A1, as in `Current::scheduler`.
        if let Some(running) = current().and_then(|scheduler| unsafe { scheduler.as_ref() }.running()) {
            tell(running);
        }
    }
    // SAFETY: `query` reads a constant-initialised thread-local without a destructor and the fields of the current scheduler, which
    // `Scheduler::running` promises to do nothing but read.
    unsafe { overflow::install_overflow_handler(query) }
}
