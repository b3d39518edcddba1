//! The host's side: making a scheduler, filling it, running it, ending it.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::clock::{Clock, RealClock};
use tasklet_core::current;
use tasklet_core::driver::{Driver, ThreadDriver};
use tasklet_core::id::SchedulerId;
use tasklet_core::scheduler::Scheduler as _;
use tasklet_core::stack::{StackPool, StackSize, StackStats};
use tasklet_core::tasklet::{JoinHandle, Record, Spec, StackKind};

use crate::engine::{Fibers, Host as _};

use super::error::RunError;
use super::hooks::{ChannelHook, ErrorHandler, ScheduleHook};
use super::inner::Inner;
use super::lifecycle::Shutdown;
use super::policy::ErrorPolicy;
use super::remote::RemoteScheduler;
use super::run::{RunOptions, RunOutcome};
use super::tasklet::Tasklet;
use crate::swapped::{SlotStats, Slots, SwapError};
use crate::trim::TRIM_AFTER;

/// Idle fibers kept for reuse by default: a guess, enough for the bursts of a game's frame or a server's second.
const MAX_IDLE_FIBERS: usize = 1024;

/// A deterministic scheduler for one thread, in Stackless's order, driven by its host.
///
/// The stack that makes it is its *main tasklet*, an ordinary member of the queue outside of [`run`](Self::run): when it sends,
/// receives, yields or joins, the tasklets run meanwhile. The free functions of this module act on the scheduler of the code that
/// calls them; for host code that is the one made last on its thread.
///
/// Dropping it kills what has started, in the order of starting, drops what has not, and leaks the stack of a tasklet that catches
/// ten kills. [`shut_down`](Self::shut_down) does the same and tells.
///
/// # Scheduling
///
/// Dropping it switches to each tasklet that has started, one after the other. Each unwinds from where it waits; when it has ended, or
/// gives way after it has caught the kill, the caller goes on. What has not started is not run. Of the methods, those that have a
/// section *Scheduling* say there whether they switch; the others never do.
///
/// # Panics
///
/// Dropping it from one of its own tasklets or hooks panics (unless the thread is panicking already) and leaks it: the stack that
/// runs cannot be taken down.
pub struct Scheduler<B: Backend> {
    inner: Rc<Inner>,
    backend: PhantomData<B>,
}

/// Makes a [`Scheduler`].
pub struct Builder<B: Backend> {
    stacks: StackPool,
    max_idle_fibers: usize,
    slots: Slots,
    kind: StackKind,
    driver: Box<dyn Driver>,
    clock: Box<dyn Clock>,
    trim_after: Option<Duration>,
    flat: bool,
    policy: ErrorPolicy,
    backend: PhantomData<B>,
}

impl<B: Backend> Default for Builder<B> {
    fn default() -> Self {
        Builder {
            stacks: StackPool::default(),
            max_idle_fibers: MAX_IDLE_FIBERS,
            slots: Slots::new(),
            kind: StackKind::Private,
            driver: Box::new(ThreadDriver::default()),
            clock: Box::new(RealClock::default()),
            trim_after: Some(TRIM_AFTER),
            flat: false,
            policy: ErrorPolicy::Raise,
            backend: PhantomData,
        }
    }
}

impl<B: Backend> Builder<B> {
    /// Where stacks come from, for backends that use ours: limits, guards and caches are set there.
    pub fn stacks(self, stacks: StackPool) -> Self {
        Builder { stacks, ..self }
    }

    /// Fibers kept for reuse when no tasklet sits on them. More are given back as they become idle.
    pub fn max_idle_fibers(self, max_idle_fibers: usize) -> Self {
        Builder { max_idle_fibers, ..self }
    }

    /// The stacks on which swapped tasklets take turns.
    pub fn slots(self, slots: Slots) -> Self {
        Builder { slots, ..self }
    }

    /// All tasklets that ask for nothing else share large stacks, in turns: see [`swapped`](crate::swapped).
    ///
    /// # Errors
    ///
    /// The backend cannot do it.
    ///
    /// # Safety
    ///
    /// The obligations of whoever makes a [swapped tasklet](crate::swapped), for all that are made in the scheduler and do not ask for a
    /// [stack of their own](TaskletBuilder::stackful).
    pub unsafe fn swapped(self) -> Result<Self, SwapError> {
        SwapError::of::<B>().map_or(Ok(()), Err)?;
        Ok(Builder { kind: StackKind::Swapped, ..self })
    }

    /// What the scheduler sleeps on.
    pub fn driver(self, driver: impl Driver + 'static) -> Self {
        Builder { driver: Box::new(driver), ..self }
    }

    /// What budgets of time are measured with, and sleeping tasklets and time limits follow. One that is not the system's needs a
    /// [driver](Self::driver) that waits by it. Stacks are not looked at any more, unless [`trim_after`](Self::trim_after) is called after this.
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Builder { clock: Box::new(clock), trim_after: None, ..self }
    }

    /// How long a tasklet waits before what its stack has in memory and does not need is given back to the system; after at most twice that,
    /// it has been. `None`: never, but [when asked](Scheduler::trim). Default: 10 seconds.
    ///
    /// The scheduler looks at the beginning of a run and before its thread sleeps, for 2 percent of the time at most. Of no effect under backends
    /// that bring their own stacks.
    pub fn trim_after(self, time: Option<Duration>) -> Self {
        Builder { trim_after: time, ..self }
    }

    /// See [`Scheduler::set_flat`].
    pub fn flat(self, flat: bool) -> Self {
        Builder { flat, ..self }
    }

    /// See [`Scheduler::set_error_policy`].
    pub fn error_policy(self, policy: ErrorPolicy) -> Self {
        Builder { policy, ..self }
    }

    /// Makes the scheduler; the calling stack becomes its main tasklet.
    #[track_caller]
    pub fn build(self) -> Scheduler<B> {
        let engine = Fibers::<B, Inner>::new(self.stacks, self.max_idle_fibers, self.slots);
        let inner = Inner::new(engine, self.driver, self.clock);
        inner.flat.set(self.flat);
        inner.policy.set(self.policy);
        inner.kind.set(self.kind);
        inner.slot_size.set(self.slots.size);
        inner.looks.set_after(self.trim_after);
        // SAFETY: A1, `shut_down` and `Inner::drop` release it, and a scheduler in use is leaked instead of dropped.
        unsafe { current::adopt(inner.pointer()) };
        Scheduler { inner, backend: PhantomData }
    }
}

/// Makes a tasklet with more than a closure.
#[must_use = "nothing is made before `spawn`, `spawn_joinable` or `paused`"]
pub struct TaskletBuilder<'a> {
    inner: &'a Inner,
    spec: Spec,
    policy: Option<ErrorPolicy>,
}

impl<'a> TaskletBuilder<'a> {
    #[track_caller]
    pub(super) fn new(inner: &'a Inner) -> TaskletBuilder<'a> {
        TaskletBuilder { inner, spec: Spec { kind: inner.kind.get(), ..Spec::here() }, policy: None }
    }

    /// Where the tasklet counts as made.
    pub(super) fn at(mut self, site: &'static Location<'static>) -> Self {
        self.spec.site = site;
        self
    }

    /// Shown in dumps and errors.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec.name = Some(name.into());
        self
    }

    /// The stack it needs. The default is [`StackSize::DEFAULT`].
    pub fn stack_size(mut self, size: StackSize) -> Self {
        self.spec.stack_size = size;
        self
    }

    /// It shares a large stack with others, in turns: while it waits, what it has on the stack is copied away if another needs that, to memory that is
    /// as large as that. [Its stack's size](Self::stack_size) is that of a slot, whatever was asked for.
    ///
    /// # Errors
    ///
    /// The backend cannot do it.
    ///
    /// # Safety
    ///
    /// The obligations of whoever makes a [swapped tasklet](crate::swapped).
    pub unsafe fn swapped(mut self) -> Result<Self, SwapError> {
        self.inner.swap_error.map_or(Ok(()), Err)?;
        self.spec.kind = StackKind::Swapped;
        Ok(self)
    }

    /// It has a stack of its own, also under a scheduler whose tasklets are [swapped](Builder::swapped) otherwise.
    pub fn stackful(mut self) -> Self {
        self.spec.kind = StackKind::Private;
        self
    }

    /// What becomes of its panic, whatever the scheduler's own policy.
    pub fn error_policy(mut self, policy: ErrorPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    fn make(self, f: impl FnOnce() + 'static) -> Tasklet {
        let policy = ErrorPolicy::encode(self.policy);
        let record = Record::detached(self.inner.next_id(), self.spec, &self.inner.token, f);
        self.inner.local(&record).policy.set(policy);
        Tasklet::new(record, self.inner.shared())
    }

    /// Makes it and appends it to the queue. Never switches.
    pub fn spawn(self, f: impl FnOnce() + 'static) -> Tasklet {
        let tasklet = self.make(f);
        tasklet.insert_new();
        tasklet
    }

    /// Makes it, paused: in no queue until it is inserted or run.
    pub fn paused(self, f: impl FnOnce() + 'static) -> Tasklet {
        let inner = self.inner;
        let tasklet = self.make(f);
        inner.remember(tasklet.record());
        tasklet
    }

    /// Makes it and appends it to the queue; its result or panic goes to the handle. Never switches.
    pub fn spawn_joinable<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        let (record, handle) = Record::joinable(self.inner.next_id(), self.spec, &self.inner.token, f);
        self.inner.ring.insert(record, &self.inner.token);
        handle
    }

    /// Makes it without a closure, dead until it is bound.
    pub fn unbound(self) -> Tasklet {
        let record = Record::unbound(self.inner.next_id(), self.spec, &self.inner.token);
        Tasklet::new(record, self.inner.shared())
    }
}

impl Tasklet {
    fn insert_new(&self) {
        self.insert().expect("a new tasklet can be inserted");
    }
}

impl<B: Backend> Scheduler<B> {
    /// A scheduler with default settings; the calling stack becomes its main tasklet.
    #[expect(clippy::new_without_default, reason = "making one has an effect on the thread")]
    #[track_caller]
    pub fn new() -> Scheduler<B> {
        Builder::default().build()
    }

    /// Settings for a new scheduler.
    pub fn builder() -> Builder<B> {
        Builder::default()
    }

    pub(super) fn inner(&self) -> &Rc<Inner> {
        &self.inner
    }

    /// Its identity.
    pub fn id(&self) -> SchedulerId {
        self.inner.home().id()
    }

    /// Makes a tasklet and appends it to the queue. Never switches.
    ///
    /// Its panic goes to the innermost caller of `run` (see [`ErrorPolicy`]); what it returns is dropped.
    #[track_caller]
    pub fn spawn(&self, f: impl FnOnce() + 'static) -> Tasklet {
        TaskletBuilder::new(&self.inner).spawn(f)
    }

    /// Makes a tasklet whose result or panic goes to the handle, and appends it to the queue. Never switches.
    #[track_caller]
    pub fn spawn_joinable<T: 'static>(&self, f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        TaskletBuilder::new(&self.inner).spawn_joinable(f)
    }

    /// Settings for a new tasklet.
    #[track_caller]
    pub fn tasklet(&self) -> TaskletBuilder<'_> {
        TaskletBuilder::new(&self.inner)
    }

    /// Runs tasklets until nothing is runnable, or a tasklet fails.
    ///
    /// # Scheduling
    ///
    /// The caller leaves the queue until the run ends. Tasklets that are blocked or paused then stay so. Runs nest: a tasklet may
    /// call [`run`](super::run).
    ///
    /// Tasklets that sleep, or wait with a time limit, are not waited for: a run begins with those whose time is up, and does not end
    /// before they have run. [`next_timer`](Self::next_timer) tells when to run again; [`block_thread`](RunOptions::block_thread) waits.
    ///
    /// Before the first tasklet, and before any budget counts, a run gives memory back, a little at a time: of up to 32 free stacks, if there are more than
    /// the depot [keeps](tasklet_core::stack::StackConfig::warm_limit), in some 20 us; and of up to 16 that have waited [for
    /// long](Builder::trim_after), in up to 110 us. A run that waits does the rest while it does.
    ///
    /// # Errors
    ///
    /// See [`RunError`]. All other tasklets stay queued, in order.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller meanwhile.
    pub fn run(&self) -> Result<RunOutcome, RunError> {
        self.inner.check_here().map_err(RunError::Park)?;
        self.inner.run(RunOptions::new())
    }

    /// As [`run`](Self::run), within budgets. Only the outermost budget of nested runs is in force.
    ///
    /// # Scheduling
    ///
    /// As [`run`](Self::run). When a budget is used up, the caller goes on: instead of the next tasklet, which stays first in the
    /// queue, or, if the budget is [`hard`](RunOptions::hard), instead of the tasklet that used it up. With
    /// [`block_thread`](RunOptions::block_thread), the thread sleeps while nothing is runnable and another thread or a timer can change
    /// that.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and a budget that makes no sense.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn run_with(&self, options: RunOptions) -> Result<RunOutcome, RunError> {
        self.inner.check_here().map_err(RunError::Park)?;
        self.inner.run(options)
    }

    /// Runs tasklets for about `time`, then returns between two of them: what a game loop does once per frame.
    ///
    /// # Scheduling
    ///
    /// As [`run_with`](Self::run_with) with a soft budget.
    ///
    /// # Errors
    ///
    /// As [`run_with`](Self::run_with).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&self, time: Duration) -> Result<RunOutcome, RunError> {
        self.inner.check_here().map_err(RunError::Park)?;
        self.inner.run_for(time)
    }

    /// Lets every other runnable tasklet run once, as [`schedule`](super::schedule) does in a tasklet.
    ///
    /// # Scheduling
    ///
    /// The next in the queue runs; the caller becomes last. Alone in the queue, it goes on.
    ///
    /// # Panics
    ///
    /// A switch is not allowed here. Unwinds with what is thrown at the caller meanwhile.
    #[track_caller]
    pub fn schedule(&self) {
        let result = self.inner.check_here().and_then(|()| self.inner.schedule());
        result.unwrap_or_else(|error| panic!("could not yield: {error}"));
    }

    /// When the time of the first tasklet that sleeps or waits with a limit is up, on the scheduler's [clock](super::now).
    pub fn next_timer(&self) -> Option<Duration> {
        self.inner.next_timer()
    }

    /// Tasklets in the queue, the running one included.
    pub fn run_count(&self) -> usize {
        self.inner.ring.len()
    }

    /// The tasklets in the queue, from the running one on.
    pub fn runnable(&self) -> Vec<Tasklet> {
        let records = self.inner.ring.snapshot();
        records.into_iter().map(|record| Tasklet::new(record, self.inner.clone())).collect()
    }

    /// The tasklets that have started and not ended, wherever they wait.
    pub fn started(&self) -> Vec<Tasklet> {
        self.inner.started()
    }

    /// The host's own stack as a tasklet.
    pub fn main(&self) -> Tasklet {
        Tasklet::new(self.inner.main.clone(), self.inner.clone())
    }

    /// The tasklet that runs; the main tasklet, in host code.
    pub fn current(&self) -> Tasklet {
        Tasklet::new(self.inner.share(self.inner.current()), self.inner.clone())
    }

    /// A handle for other threads.
    pub fn remote(&self) -> RemoteScheduler {
        RemoteScheduler::new(self.inner.home())
    }

    /// In flat mode, `run`, `switch`, `kill` and `throw` move their target to the front of the queue, and the caller becomes last.
    /// Otherwise control jumps to the target's place in the queue, as in Stackless.
    pub fn set_flat(&self, flat: bool) {
        self.inner.flat.set(flat);
    }

    /// What becomes of panics that nobody catches; returns what was set before.
    pub fn set_error_policy(&self, policy: ErrorPolicy) -> ErrorPolicy {
        self.inner.policy.replace(policy)
    }

    /// Sees errors before the policy does, in the tasklet that ends with them. Returns the previous one; inside the handler itself
    /// `None`, because it is taken out while it runs.
    pub fn set_error_handler(&self, handler: Option<ErrorHandler>) -> Option<ErrorHandler> {
        self.inner.hooks.set_error(handler)
    }

    /// Called at every switch. Returns the previous one; inside the hook itself `None`, because it is taken out while it runs.
    pub fn set_schedule_hook(&self, hook: Option<ScheduleHook>) -> Option<ScheduleHook> {
        self.inner.hooks.set_schedule(hook)
    }

    /// Called at every operation of a Stackless channel, but for those of selects and futures: before it, or after it if it serves a
    /// tasklet of another scheduler. Returns the previous one; inside the hook itself `None`, because it is taken out while it runs.
    pub fn set_channel_hook(&self, hook: Option<ChannelHook>) -> Option<ChannelHook> {
        self.inner.hooks.set_channel(hook)
    }

    /// Switches so far.
    pub fn switches(&self) -> u64 {
        self.inner.meter.switches()
    }

    /// Callers of `run` that have not returned.
    pub fn run_depth(&self) -> usize {
        self.inner.watchdogs.borrow().len()
    }

    /// Fibers alive, and how many of them are idle.
    pub fn fibers(&self) -> (usize, usize) {
        self.inner.engine().counts()
    }

    /// Figures of the stacks; zero where the backend brings its own.
    pub fn stack_stats(&self) -> StackStats {
        self.inner.engine().stack_stats()
    }

    /// What the slots of [swapped](crate::swapped) tasklets hold.
    pub fn slot_stats(&self) -> SlotStats {
        self.inner.engine().slot_stats()
    }

    /// Gives the stacks of idle fibers back to the system, and the pages of other stacks below where their tasklets are suspended. Does nothing
    /// while a tasklet runs.
    ///
    /// Costs about 7 us for a stack that has 100 KiB to give back, and 1.3 us for one that has nothing.
    pub fn trim(&self) {
        if self.inner.is_at_rest() && !self.inner.hooks.is_quiet() {
            self.inner.trim_stacks();
            self.inner.engine().retire_idle(&self.inner);
        }
    }

    /// Ends the scheduler and tells what it found.
    ///
    /// # Scheduling
    ///
    /// As dropping it.
    ///
    /// # Panics
    ///
    /// As dropping it does.
    pub fn shut_down(self) -> Shutdown {
        self.end()
    }

    fn end(&self) -> Shutdown {
        if self.inner.closed.get() {
            return Shutdown::default();
        }
        if !self.inner.is_at_rest() || self.inner.hooks.is_quiet() {
            std::mem::forget(self.inner.clone());
            if std::thread::panicking() {
                return Shutdown::default();
            }
            panic!("a local scheduler cannot be dropped by one of its own tasklets or hooks; it is leaked");
        }
        self.inner.shut_down()
    }
}

impl<B: Backend> Drop for Scheduler<B> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<B: Backend> fmt::Debug for Scheduler<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("backend", &B::NAME)
            .field("id", &self.id().get())
            .field("run_count", &self.run_count())
            .finish_non_exhaustive()
    }
}

/// The caller's location, for tasklets made by free functions.
#[track_caller]
pub(super) fn caller() -> &'static Location<'static> {
    Location::caller()
}
