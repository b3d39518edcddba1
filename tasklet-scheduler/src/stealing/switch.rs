//! Giving way on a worker: what channels and joins ask of it, up to the switch and after it. Invariants W1 and W2 are `worker`'s.

use std::any::TypeId;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::blocking::Job;
use tasklet_core::channel::HandOver;
use tasklet_core::current;
use tasklet_core::driver::Driver;
use tasklet_core::home::{Home, Remote};
use tasklet_core::id::TaskletId;
use tasklet_core::operation::{AnyBackend, Switch, SwitchToken};
use tasklet_core::park::{ParkError, Parked, WaitSite, Wake};
use tasklet_core::scheduler::{Observed, Scheduler, TimerKey};
use tasklet_core::stack::StackUsage;
use tasklet_core::stack::overflow::RunningTasklet;
use tasklet_core::tasklet::{Local, Record};
use tasklet_core::unwind::{self, AbortOnUnwind};

use super::time::Elapsed;
use super::timers::Timer;
use super::worker::{BUDGET, MayMove, Worker};
use crate::engine::{Engine, FiberHead, Host};

impl Worker {
    /// The running tasklet has given up its right to run, or has passed it on. Chooses who is next, and what suspends the fiber if it is
    /// another.
    #[inline(always)]
    pub(super) fn prepare_leave(&self, record: &Record, backend: &'static TypeId) -> Option<SwitchToken> {
        match self.choose(None) {
            Some(next) if std::ptr::eq(&raw const *next, record) => {
                self.own.set(Some(next));
                return None;
            }
            Some(next) => self.set_running(next),
            None => self.set_idle(),
        }
        let head = self.fiber_of(record).expect("a running tasklet sits on a fiber");
        // SAFETY: F1, the fiber runs.
        let suspender = unsafe { head.as_ref() }.suspender.get().expect("a running fiber has set its suspender");
        let known = std::ptr::eq(backend, self.backend) || *backend == *self.backend;
        // SAFETY: S2, F1: the suspender of the fiber that the running tasklet sits on; `backend` is compared with the engine's.
        Some(unsafe { SwitchToken::new(suspender, known) })
    }

    /// Up to the switch of a yield.
    #[inline(never)]
    pub(super) fn prepare_yield(&self, backend: &'static TypeId, may_move: MayMove) -> Option<SwitchToken> {
        if !self.is_in_tasklet() || std::thread::panicking() {
            return None;
        }
        let own = self.own.take()?;
        let record = Arc::as_ptr(&own);
        if may_move == MayMove::Yes && self.is_departing(&own) {
            self.departing.set(NonNull::new(Arc::into_raw(own).cast_mut()));
        } else {
            self.queue.push(own);
        }
        // SAFETY: W2: it is in the queue of this worker, or back in `own`.
        self.prepare_leave(unsafe { &*record }, backend)
    }

    /// Lets others run. The caller stays on this worker.
    fn yield_in_place(&self) {
        if let Some(token) = self.prepare_yield(AnyBackend::BACKEND, MayMove::No) {
            // SAFETY: made a moment ago for the fiber that runs.
            unsafe { self.suspend(token) }
        }
        self.finish_switch();
    }

    /// Raises what was thrown at the running tasklet, unless it has masked that.
    #[cold]
    fn raise_interrupt(&self) {
        let fields = self.current_local();
        if fields.atomic.get() != 0 || std::thread::panicking() || !self.is_in_tasklet() {
            return;
        }
        if let Some(payload) = fields.take_interrupt() {
            unwind::raise(payload);
        }
    }

    /// Raises what was thrown at the running tasklet while it waited. What came when it was served already, before it ran again, is raised
    /// at its next scheduling point: what it was given would be lost, and what it gave it would give again.
    #[cold]
    fn raise_after_wait(&self) {
        if self.current_local().wake.get() == Wake::Served {
            self.spend_budget();
        } else {
            self.raise_interrupt();
        }
    }

    /// The number of the time limit that is to be raised in a tasklet, if that is what is to be raised.
    pub(super) fn elapsed_limit(&self, fields: &Local) -> Option<u64> {
        let pending = fields.take_interrupt();
        let number = pending.as_ref().and_then(|payload| payload.downcast_ref::<Elapsed>()).map(Elapsed::number);
        fields.set_interrupt(pending);
        number
    }

    /// The budget is spent, somebody has asked for something, or something was thrown at the running tasklet.
    #[cold]
    pub(super) fn attend(&self) {
        self.token.grant(BUDGET);
        if !self.is_in_tasklet() {
            return;
        }
        if self.token.has_requests() {
            self.take_requests();
        }
        self.raise_interrupt();
        if !std::thread::panicking() {
            self.yield_in_place();
        }
    }

    /// The running tasklet finds at its next operation that there is something to attend to.
    pub(super) fn spend_budget(&self) {
        self.token.grant(0);
    }

    /// Whether what is thrown at the running tasklet, or cancels it, waits.
    pub(super) fn is_masked(&self) -> bool {
        self.current_local().atomic.get() != 0
    }

    /// A tasklet of this worker can go on.
    #[inline]
    pub(super) fn make_runnable(&self, record: Arc<Record>) {
        if self.blocked.get() == Some(NonNull::from(&*record)) {
            self.blocked.set(None);
            self.own.set(Some(record));
        } else {
            self.queue.push(record);
        }
    }

    /// As [`make_runnable`](Self::make_runnable); it goes on next.
    #[inline]
    fn make_next(&self, record: Arc<Record>) {
        if self.blocked.get().is_some() { self.make_runnable(record) } else { self.queue.push_next(record) }
    }

    /// The running tasklet waits, and its thread with it: it unwinds, so nobody else may run on its thread.
    #[cold]
    fn block_thread(&self, record: &Record) {
        self.blocked.set(Some(NonNull::from(record)));
        let _quiet = self.quiet();
        while self.blocked.get().is_some() {
            if self.token.has_requests() {
                self.take_requests();
            }
            self.fire_timers();
            if self.blocked.get().is_some() && !self.token.has_requests() {
                let limit = self.timers.earliest().map(|at| at.saturating_sub(self.now()));
                self.wait_on_driver(limit);
            }
        }
    }

    fn deliver(&self, who: Parked) {
        let _quiet = self.quiet();
        let home = who.share_home();
        // A scheduler that is gone has no tasklet left to wake.
        let _ = home.submit(Remote::Unpark(who));
    }
}

impl Host for Worker {
    fn engine(&self) -> &dyn Engine<Worker> {
        &*self.engine
    }

    #[inline]
    fn fiber_to_run(&self) -> Option<NonNull<FiberHead>> {
        if let Some(record) = self.departing.get() {
            self.departing.set(None);
            // SAFETY: a count, from `prepare_yield`.
            self.depart(unsafe { Arc::from_raw(record.as_ptr()) });
        }
        if self.is_on_root() && !self.find_work() {
            return None;
        }
        let fiber = self.current_local().fiber.get();
        Some(fiber.expect("a tasklet was given a fiber before the switch to it").cast())
    }

    fn enter_fiber(&self) {
        // SAFETY: A1: the worker lives for as long as its thread, and that of a coroutine which is a thread ends before.
        std::mem::forget(unsafe { current::activate(NonNull::from(self)) });
    }

    fn run_tasklets(&self, fiber: NonNull<FiberHead>) -> bool {
        self.run_on(fiber)
    }

    fn as_active(&self, f: &mut dyn FnMut()) {
        // SAFETY: A1: `self` is borrowed for longer than the activation lives.
        let _active = unsafe { current::activate(NonNull::from(self)) };
        f();
    }
}

// SAFETY: S1 by `new`. S2 in `prepare_leave` and `fiber_to_run`. S3: `prepare_park` aborts rather than unwinds. S4: the running
// tasklet's record and its fiber are alive (W2, F2). S5 in the engine. S6: W1, the right to run is used once, and what comes out of the
// queue without a fiber is started only if it never was.
unsafe impl Scheduler for Worker {
    fn home(&self) -> &Arc<Home> {
        self.token.home()
    }

    fn can_offload(&self) -> bool {
        true
    }

    fn offload(&self, job: Job) -> Result<(), Job> {
        self.shared.config.pool.submit(job)
    }

    fn with_driver(&self, f: &mut dyn FnMut(&dyn Driver)) {
        self.use_driver(f);
    }

    fn current_id(&self) -> TaskletId {
        self.current().id()
    }

    fn current_record(&self) -> Arc<Record> {
        self.current_local().lent.set(true);
        let record = self.running.get().as_ptr();
        // SAFETY: W2, and every record is made in an `Arc`.
        unsafe {
            Arc::increment_strong_count(record);
            Arc::from_raw(record)
        }
    }

    fn running(&self) -> Option<RunningTasklet<'_>> {
        let record = self.current();
        let head = self.current_head()?;
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
        // What was granted is spent, or there are requests.
        self.attend();
        Observed::No
    }

    #[inline]
    fn may_park(&self) -> Result<(), ParkError> {
        if !self.is_in_tasklet() {
            return Err(ParkError::InHook);
        }
        // SAFETY: F1 and F2.
        let extras = self.fiber_of(self.current()).is_some_and(|head| unsafe { head.as_ref() }.has_extras());
        if extras && self.is_cancelled() { Err(ParkError::Cancelled) } else { Ok(()) }
    }

    #[inline]
    fn begin_park(&self) -> Parked {
        let own = self.own.take().expect("a tasklet parks once at a time, while it runs");
        Parked::new(own, &self.token)
    }

    unsafe fn prepare_park(&self, site: &dyn WaitSite, key: usize, backend: &'static TypeId) -> Option<SwitchToken> {
        let record = self.current();
        let fields = self.current_local();
        let own = self.own.take();
        let has_parked = own.is_none() && !self.is_on_root();
        self.own.set(own);
        assert!(has_parked, "a tasklet that parks has given up its right to run");
        // SAFETY: `finish_park` clears it, and the caller promises that `site` lives until then.
        unsafe { fields.set_wait(site, key) };
        // S3: a stack that unwinds from here would take the site with it.
        let guard = AbortOnUnwind::new("a driver or a clock of a worker whose tasklet parks");
        let token = if std::thread::panicking() {
            self.block_thread(record);
            None
        } else {
            if fields.timed_out.replace(false) {
                self.end_wait(record, |parked| parked.with(Wake::TimedOut));
            } else if fields.has_interrupt() && fields.atomic.get() == 0 {
                self.end_wait(record, |parked| parked.with(Wake::Interrupted));
            }
            self.prepare_leave(record, backend)
        };
        guard.disarm();
        token
    }

    #[inline]
    fn finish_park(&self) -> Result<Wake, ParkError> {
        let fields = self.current_local();
        fields.clear_wait();
        if fields.has_interrupt() {
            self.raise_after_wait();
        }
        match fields.fault.take() {
            Some(error) => Err(error),
            None => Ok(fields.wake.get()),
        }
    }

    fn unpark(&self, who: Parked) {
        if who.record().is_at(&self.token) {
            self.make_runnable(who.into_record(&self.token));
        } else {
            self.deliver(who);
        }
    }

    fn may_hand_over(&self, _: &Record, _: HandOver) -> Result<(), ParkError> {
        Ok(())
    }

    unsafe fn prepare_hand_over(&self, who: Parked, how: HandOver, _: &'static TypeId) -> Option<SwitchToken> {
        // The caller goes on in any case; a preference for the partner says that it goes next.
        if who.record().is_at(&self.token) && matches!(how, HandOver::Partner | HandOver::Next) {
            self.make_next(who.into_record(&self.token));
        } else {
            self.unpark(who);
        }
        if how == HandOver::Everybody {
            self.spend_budget();
        }
        None
    }

    #[inline]
    fn finish_switch(&self) {
        if self.current_local().has_interrupt() {
            self.raise_interrupt();
        }
    }

    fn now(&self) -> Duration {
        Worker::now(self)
    }

    fn start_timer(&self, at: Duration) -> Option<TimerKey> {
        self.current_local().timed_out.set(false);
        Some(self.start(at, Timer::Wait(self.current_record())))
    }

    fn stop_timer(&self, key: TimerKey) {
        self.current_local().timed_out.set(false);
        drop(self.timers.stop(key));
    }

    fn stack_usage(&self) -> Option<StackUsage> {
        self.stack_usage_of(self.current())
    }

    fn random(&self) -> u64 {
        self.random.next()
    }

    fn set_masked(&self, masked: bool) {
        let fields = self.current_local();
        let depth = &fields.atomic;
        depth.set(if masked { depth.get().saturating_add(1) } else { depth.get().saturating_sub(1) });
        if !masked && fields.has_interrupt() {
            // What came meanwhile is raised at the next scheduling point.
            self.spend_budget();
        }
    }

    unsafe fn suspend(&self, token: SwitchToken) {
        // SAFETY: the caller's promise.
        unsafe { self.engine.suspend(token) }
    }

    fn yield_now(&self) {
        self.yield_in_place();
    }
}
