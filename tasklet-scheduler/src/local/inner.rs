//! The state of one local scheduler, and what channels and joins ask of it.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::channel::{ChannelEvent, HandOver};
use tasklet_core::clock::Clock;
use tasklet_core::current;
use tasklet_core::driver::{Driver, ReactorCell};
use tasklet_core::home::{Home, HomeToken, Remote};
use tasklet_core::id::{TaskletId, TaskletIds};
use tasklet_core::operation::{On, Switch, SwitchToken};
use tasklet_core::park::{ParkError, Parked, WaitSite, Wake};
use tasklet_core::random::Random;
use tasklet_core::scheduler::{Observed, Scheduler, TimerKey};
use tasklet_core::stack::overflow::RunningTasklet;
use tasklet_core::stack::{StackSize, StackUsage};
use tasklet_core::tasklet::{Local, Record, Spec, StackKind};
use tasklet_core::unwind::{self, AbortOnUnwind, Payload};

use crate::engine::{Engine, FiberHead, Fibers, Host};
use crate::swapped::SwapError;
use crate::trim::{Looks, TRIM_AFTER};

use super::budget::Meter;
use super::error::RunError;
use super::hooks::{Hooks, QuietClock};
use super::policy::ErrorPolicy;
use super::ring::Ring;
use super::switch::Kind;
use super::timers::Alarms;

/// One caller of `run` that has not returned.
pub(super) struct Watchdog {
    pub(super) record: NonNull<Record>,
    /// Wait for other threads instead of returning when nothing is runnable.
    pub(super) block_thread: bool,
    /// What its `run` shall return.
    pub(super) error: Option<RunError>,
    /// The budget that its own has replaced, if it has one in force.
    pub(super) replaced: Option<super::budget::Replaced>,
}

/// Why the watchdog of a budget was resumed.
pub(super) enum Interrupted {
    /// Between two tasklets; nothing was unlinked.
    Between,
    /// In the middle of this one.
    Victim(Arc<Record>),
}

/// Everything of one scheduler. Its host owns it, handles share it.
pub(super) struct Inner {
    pub(super) token: HomeToken,
    driver: Box<dyn Driver>,
    clock: Box<dyn Clock>,
    engine: Box<dyn Engine<Inner>>,
    pub(super) ring: Ring,
    /// The tasklet whose code runs. Linked in the ring, or about to leave it.
    pub(super) running: Cell<NonNull<Record>>,
    pub(super) main: Arc<Record>,
    /// The callers of `run` that have not returned, innermost last.
    pub(super) watchdogs: RefCell<Vec<Watchdog>>,
    /// Errors for callers of `run` that an outer one has popped, until they go on.
    pub(super) kept_errors: RefCell<Vec<(NonNull<Record>, RunError)>>,
    /// The caller of `run` whose budget is in force.
    pub(super) budget_owner: Cell<Option<NonNull<Record>>>,
    pub(super) interrupted: Cell<Option<Interrupted>>,
    pub(super) meter: Meter,
    pub(super) alarms: Alarms,
    /// When stacks are looked at, and the number of switches at the last look.
    pub(super) looks: Looks,
    pub(super) looked_at: Cell<u64>,
    pub(super) switch_trap: Cell<u32>,
    pub(super) flat: Cell<bool>,
    pub(super) policy: Cell<ErrorPolicy>,
    pub(super) hooks: Hooks,
    pub(super) closed: Cell<bool>,
    /// Some host drives it with a pump.
    pub(super) has_pump: Cell<bool>,
    /// The host waits in the driver's stead.
    pub(super) is_lent: Cell<bool>,
    /// Tasklets that may hold a closure although they are in no queue; pruned when it has doubled.
    pub(super) bound: RefCell<Vec<std::sync::Weak<Record>>>,
    /// The same numbers in each run, since the order is.
    random: Random,
    ids: RefCell<TaskletIds>,
    /// The type of the backend that `engine` is made for.
    pub(super) backend: &'static TypeId,
    /// What kind of stack tasklets have that ask for no other.
    pub(super) kind: Cell<StackKind>,
    /// The stack that swapped tasklets have.
    pub(super) slot_size: Cell<StackSize>,
    /// Why its tasklets cannot be swapped, if they cannot.
    pub(super) swap_error: Option<SwapError>,
    this: Weak<Inner>,
}

impl Inner {
    #[track_caller]
    pub(super) fn new<B: Backend>(
        engine: Fibers<B, Inner>,
        driver: Box<dyn Driver>,
        clock: Box<dyn Clock>,
    ) -> Rc<Inner> {
        let token = Home::new(driver.notifier());
        let mut ids = TaskletIds::default();
        let spec = Spec { name: Some("main".to_owned()), ..Spec::here() };
        let main = Record::main(ids.next_id(), spec, &token);
        let inner = Rc::new_cyclic(|this| Inner {
            driver,
            clock,
            engine: Box::new(engine),
            backend: On::<B>::BACKEND,
            kind: Cell::new(StackKind::Private),
            slot_size: Cell::new(StackSize::DEFAULT),
            swap_error: SwapError::of::<B>(),
            ring: Ring::new(),
            running: Cell::new(NonNull::from(&*main)),
            watchdogs: RefCell::default(),
            kept_errors: RefCell::default(),
            budget_owner: Cell::new(None),
            interrupted: Cell::new(None),
            meter: Meter::new(),
            random: Random::new(0),
            alarms: Alarms::default(),
            looks: Looks::new(Some(TRIM_AFTER)),
            looked_at: Cell::new(0),
            switch_trap: Cell::new(0),
            flat: Cell::new(false),
            policy: Cell::new(ErrorPolicy::Raise),
            hooks: Hooks::default(),
            closed: Cell::new(false),
            has_pump: Cell::new(false),
            is_lent: Cell::new(false),
            bound: RefCell::default(),
            ids: RefCell::new(ids),
            this: this.clone(),
            main,
            token,
        });
        inner.ring.insert(inner.main.clone(), &inner.token);
        inner
    }

    /// The clock, called in quiet sections.
    #[inline]
    pub(super) fn clock(&self) -> QuietClock<'_> {
        self.hooks.quiet_clock(&*self.clock)
    }

    /// Sleeps until another thread has asked for something, for `limit` at most.
    pub(super) fn wait(&self, limit: Option<Duration>) {
        let _quiet = self.hooks.quiet();
        let guard = AbortOnUnwind::new("a scheduler's driver");
        self.driver.wait(limit);
        guard.disarm();
    }

    /// Takes note of what has happened outside. Returns whether something has.
    pub(super) fn poll_driver(&self) -> bool {
        let _quiet = self.hooks.quiet();
        let guard = AbortOnUnwind::new("a scheduler's driver");
        let any = self.driver.poll();
        if self.is_lent.get()
            && let Some(cell) = self.driver.reactor()
        {
            // What the host is to be told was fetched.
            cell.ring();
        }
        guard.disarm();
        any
    }

    /// Where the driver has its reactor, if it can have one.
    pub(super) fn reactor(&self) -> Option<&ReactorCell> {
        self.driver.reactor()
    }

    pub(super) fn shared(&self) -> Rc<Inner> {
        self.this.upgrade().expect("a scheduler in use is alive")
    }

    pub(super) fn next_id(&self) -> TaskletId {
        self.ids.borrow_mut().next_id()
    }

    pub(super) fn pointer(&self) -> NonNull<Inner> {
        NonNull::from(self)
    }

    /// Calls `f` while this is the thread's active scheduler.
    pub(super) fn active<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: A1, `self` is borrowed for longer than the activation lives, and a scheduler that is active refuses to be shut
        // down; activations end in the reverse order of the calls that make them.
        let _active = unsafe { current::activate(self.pointer()) };
        f()
    }

    /// The tasklet that runs.
    #[inline]
    pub(super) fn current(&self) -> &Record {
        // SAFETY: the record of a running tasklet is owned by the ring, by the `Parked` made in `begin_park`, or by `main`, until it
        // gives way or ends, and the borrow ends before that.
        unsafe { self.running.get().as_ref() }
    }

    /// What the scheduler may touch of the tasklet that runs.
    #[inline]
    pub(super) fn current_local(&self) -> &Local {
        // SAFETY: the running tasklet is this scheduler's: it was linked in the ring, which compared it, or it is the main tasklet.
        unsafe { self.current().local_unchecked() }
    }

    #[inline]
    pub(super) fn is_main(&self, record: NonNull<Record>) -> bool {
        std::ptr::eq(record.as_ptr(), Arc::as_ptr(&self.main))
    }

    /// Whether the host's own code runs: the scheduler is not in the middle of anything.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_main(self.running.get())
    }

    #[inline]
    pub(super) fn local<'a>(&self, record: &'a Record) -> &'a Local {
        record.local(&self.token)
    }

    pub(super) fn is_linked(&self, record: &Record) -> bool {
        self.ring.is_linked(record, &self.token)
    }

    /// At a wait site, or claimed from one by another thread and on its way back.
    pub(super) fn is_blocked(&self, record: &Record) -> bool {
        !self.is_linked(record) && self.local(record).wait().is_some()
    }

    /// Has a closure to run or has started and not ended.
    pub(super) fn is_alive(&self, record: &Record) -> bool {
        use tasklet_core::tasklet::Stage;
        self.is_main(NonNull::from(record))
            || self.local(record).fiber.get().is_some()
            || record.stage(&self.token) == Stage::Closure
    }

    pub(super) fn head(&self, record: &Record) -> Option<&FiberHead> {
        // SAFETY: F1 and F2, the fiber a tasklet sits on is alive.
        self.local(record).fiber.get().map(|fiber| unsafe { fiber.cast::<FiberHead>().as_ref() })
    }

    /// Keeps the count of a tasklet that left the ring and waits nowhere.
    pub(super) fn hold(&self, record: Arc<Record>) {
        if let Some(head) = self.head(&record) {
            head.hold(record);
        }
        // The main tasklet is owned by the scheduler, one that has not started by its handles.
    }

    /// Takes a linked tasklet out of the ring. One that was served, or thrown at, where it waited and has not gone on since does not
    /// wait there any more: it is paused.
    pub(super) fn pause(&self, record: &Record) {
        let record = self.ring.remove(record, &self.token);
        self.hold(record);
    }

    /// The count of a tasklet that is to be linked and waits nowhere.
    pub(super) fn claim(&self, record: &Record) -> Arc<Record> {
        if let Some(held) = self.head(record).and_then(FiberHead::take_held) {
            return held;
        }
        self.share(record)
    }

    /// One more count of a tasklet.
    pub(super) fn share(&self, record: &Record) -> Arc<Record> {
        let pointer = std::ptr::from_ref(record);
        // SAFETY: every record is made in an `Arc` (its constructors return nothing else), and the borrow keeps it alive.
        unsafe {
            Arc::increment_strong_count(pointer);
            Arc::from_raw(pointer)
        }
    }

    /// Appends a tasklet that is in no list.
    pub(super) fn insert(&self, record: &Record) {
        let record = self.claim(record);
        self.ring.insert(record, &self.token);
    }

    /// Remembers a tasklet whose closure must be dropped with the scheduler although no queue holds it.
    pub(super) fn remember(&self, record: &Arc<Record>) {
        let mut bound = self.bound.borrow_mut();
        if bound.len() == bound.capacity() {
            bound.retain(|weak| weak.strong_count() != 0);
        }
        bound.push(Arc::downgrade(record));
    }

    /// Sends a claimed waiter home. Its driver's notifier is the user's code.
    fn deliver(&self, who: Parked) {
        let _quiet = self.hooks.quiet();
        let home = who.share_home();
        // A scheduler that is gone has no tasklet left to wake.
        let _ = home.submit(Remote::Unpark(who));
    }

    /// Raises what was thrown at the running tasklet.
    pub(super) fn raise(payload: Option<Payload>) {
        if let Some(payload) = payload {
            unwind::raise(payload);
        }
    }
}

impl Host for Inner {
    fn engine(&self) -> &dyn Engine<Inner> {
        &*self.engine
    }

    #[inline]
    fn fiber_to_run(&self) -> Option<NonNull<FiberHead>> {
        let running = self.running.get();
        if self.is_main(running) {
            return None;
        }
        let fiber = self.current_local().fiber.get();
        Some(fiber.expect("a tasklet was given a fiber before the switch to it").cast())
    }

    fn enter_fiber(&self) {
        // SAFETY: A1 as in `as_active`: fibers run inside it. The state of the thread before is restored there, not here.
        std::mem::forget(unsafe { current::activate(self.pointer()) });
    }

    fn run_tasklets(&self, fiber: NonNull<FiberHead>) -> bool {
        self.run_on(fiber)
    }

    fn as_active(&self, f: &mut dyn FnMut()) {
        self.active(f);
    }
}

// SAFETY: S1 by `new`; S2 in `prepare_switch` and `run_fibers`; S3, `prepare_park` aborts; S4, the running tasklet's record and its fiber
// are alive; S5 in the engine; S6, the ring takes a record once, and only one that is in it, or never was, is run.
unsafe impl Scheduler for Inner {
    fn home(&self) -> &Arc<Home> {
        self.token.home()
    }

    fn with_driver(&self, f: &mut dyn FnMut(&dyn Driver)) {
        self.expect_events();
        f(&*self.driver);
    }

    fn current_id(&self) -> TaskletId {
        self.current().id()
    }

    fn current_record(&self) -> Arc<Record> {
        self.share(self.current())
    }

    fn running(&self) -> Option<RunningTasklet<'_>> {
        let record = self.current();
        let head = self.head(record)?;
        Some(RunningTasklet {
            id: record.id().get(),
            name: record.name(),
            stack_limit: head.limit.get(),
            stack_size: head.size.bytes(),
            is_swapped: head.is_swapped(),
        })
    }

    #[inline]
    fn begin_operation(&self) -> Observed {
        self.poll();
        if self.hooks.has_channel_hook() { Observed::Yes } else { Observed::No }
    }

    #[inline]
    fn may_park(&self) -> Result<(), ParkError> {
        if self.current_local().block_trap.get() {
            return Err(ParkError::BlockTrapped);
        }
        self.may_leave()
    }

    #[inline]
    fn begin_park(&self) -> Parked {
        Parked::new(self.ring.remove(self.current(), &self.token), &self.token)
    }

    unsafe fn prepare_park(&self, site: &dyn WaitSite, key: usize, backend: &'static TypeId) -> Option<SwitchToken> {
        let record = self.current();
        assert!(!self.is_linked(record), "a tasklet that parks has left the queue");
        // SAFETY: `finish_park` clears it, and the caller promises that `site` lives until then.
        unsafe { self.local(record).set_wait(site, key) };
        // S3: a stack that unwinds from here would take the site with it. A driver or a clock that panics must not.
        let guard = AbortOnUnwind::new("a driver or a clock of a scheduler whose tasklet parks");
        if self.local(record).timed_out.get() {
            self.give_up_wait(record);
        }
        let token = self.prepare_leave(record, backend);
        guard.disarm();
        token
    }

    fn finish_park(&self) -> Result<Wake, ParkError> {
        let fields = self.current_local();
        fields.clear_wait();
        Self::raise(fields.take_interrupt());
        match fields.fault.take() {
            Some(error) => Err(error),
            None => Ok(fields.wake.get()),
        }
    }

    fn unpark(&self, who: Parked) {
        if who.record().is_at(&self.token) {
            self.ring.insert(who.into_record(&self.token), &self.token);
        } else {
            self.deliver(who);
        }
    }

    #[inline]
    fn may_hand_over(&self, who: &Record, how: HandOver) -> Result<(), ParkError> {
        if matches!(how, HandOver::Caller | HandOver::Next) || !who.is_at(&self.token) {
            Ok(())
        } else {
            self.may_switch()
        }
    }

    unsafe fn prepare_hand_over(&self, who: Parked, how: HandOver, backend: &'static TypeId) -> Option<SwitchToken> {
        if !who.record().is_at(&self.token) {
            self.deliver(who);
            return None;
        }
        let record = self.current();
        let partner = who.into_record(&self.token);
        match how {
            HandOver::Caller | HandOver::Next => {
                self.ring.insert(partner, &self.token);
                None
            }
            HandOver::Partner => {
                let partner = self.ring.insert_next(partner, &self.token);
                self.prepare_switch(record, partner, Kind::Directed, backend)
            }
            HandOver::Everybody => {
                self.ring.insert(partner, &self.token);
                let next = self.ring.next(record, &self.token).expect("the running tasklet is linked");
                self.prepare_switch(record, next, Kind::Free, backend)
            }
        }
    }

    fn now(&self) -> Duration {
        self.clock().now()
    }

    fn start_timer(&self, at: Duration) -> Option<TimerKey> {
        Some(self.start_alarm(at))
    }

    fn stop_timer(&self, key: TimerKey) {
        self.stop_alarm(key);
    }

    fn random(&self) -> u64 {
        self.random.next()
    }

    fn finish_switch(&self) {
        Self::raise(self.current_local().take_interrupt());
    }

    fn stack_usage(&self) -> Option<StackUsage> {
        self.stack_usage_of(self.current())
    }

    unsafe fn suspend(&self, token: SwitchToken) {
        // SAFETY: the caller's promise.
        unsafe { self.engine.suspend(token) }
    }

    fn channel_event(&self, event: &ChannelEvent) {
        self.hooks.channel(event);
    }

    fn yield_now(&self) {
        if self.may_switch().is_ok() {
            let _ = self.schedule();
        }
    }
}
