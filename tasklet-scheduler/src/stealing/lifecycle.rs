//! From a tasklet's first step on a worker to its last, what others ask for, and the worker's end.

use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;

use tasklet_core::home::Remote;
use tasklet_core::id::TaskletId;
use tasklet_core::park::{ParkError, Parked, Wake};
use tasklet_core::tasklet::{Local, Record, Spec};
use tasklet_core::unwind::{self, Payload, TaskletExit, drop_quietly, is_tasklet_exit};

use super::builder::PanicPolicy;
use super::crew::Phase;
use super::runtime::Unfinished;
use super::shared::Shared;
use super::task::Task;
use super::time::Elapsed;
use super::timers::Timer;
use super::worker::Worker;
use crate::engine::{FiberHead, Host as _};

/// Times a tasklet that catches its kill is killed again when its runtime ends, before it is leaked. Stackless's number.
pub(super) const KILL_ATTEMPTS: u32 = 10;

impl Worker {
    /// On a fiber: runs the tasklet that sits on it, and then new ones for as long as nobody else is to go on. Then the fiber is idle; `false`
    /// if it shall end.
    ///
    /// Its frame lies under each tasklet, and is part of what is copied of one that is swapped: so there is little in it.
    pub(super) fn run_on(&self, fiber: NonNull<FiberHead>) -> bool {
        let mut this = self;
        loop {
            this.run_one(this.current());
            // SAFETY: F1, the caller runs on it; the host of a fiber that runs is alive. Another one, if the tasklet has moved.
            this = unsafe { fiber.as_ref().host.get().cast::<Worker>().as_ref() };
            if !this.go_on(fiber) {
                return this.engine().set_idle(fiber);
            }
        }
    }

    /// The tasklet of a fiber has ended. Whether the next one begins there.
    #[inline(never)]
    fn go_on(&self, fiber: NonNull<FiberHead>) -> bool {
        self.end(fiber);
        let next = self.choose(Some(fiber));
        let stays = next.as_ref().is_some_and(|next| self.fiber_of(next) == Some(fiber));
        match next {
            Some(next) => self.set_running(next),
            None => self.set_idle(),
        }
        if !stays {
            // It is about to be free.
            self.starved.set(false);
        }
        stays
    }

    /// Runs a tasklet's closure, or drops it if something was thrown at it before it started.
    #[inline]
    fn run_one(&self, record: &Record) {
        let fields = self.local(record);
        let outcome = if fields.has_interrupt() { self.fail(record) } else { record.run_body(&self.token) };
        if let Err(payload) = outcome {
            // Only the worker's own helpers have no handle, and they catch what they call.
            let _quiet = self.quiet();
            drop_quietly(payload);
        }
    }

    #[cold]
    fn fail(&self, record: &Record) -> Result<(), Payload> {
        let payload = self.local(record).take_interrupt().unwrap_or_else(|| Box::new(TaskletExit));
        let _quiet = self.quiet();
        record.fail_body(&self.token, payload).map_or(Ok(()), Err)
    }

    /// A tasklet has come to its end.
    #[inline]
    fn end(&self, fiber: NonNull<FiberHead>) {
        let own = self.own.take();
        let _quiet = self.quiet();
        let record = self.current();
        let fields = self.local(record);
        // SAFETY: F1, the caller runs on it.
        let head = unsafe { fiber.as_ref() };
        if head.has_extras() {
            self.drop_extras(head);
        }
        if fields.has_interrupt() {
            drop_quietly(fields.take_interrupt());
        }
        fields.atomic.set(0);
        fields.fiber.set(None);
        head.tasklet.set(None);
        self.counters().finished.add(1);
        if record.name().is_some() {
            self.shared.remove_name(record.id());
        }
        if own.is_none() {
            // It has given its right to run away and did not park, which takes wrong code: whoever has that right may still use it, so
            // it does not count as finished, and its home stays (H1).
            std::mem::forget(self.token.home().clone());
            self.running.set(NonNull::from(&*self.idle));
            return;
        }
        record.finish(&self.token, self);
        // W2: its record may go now, and what `choose` does before the next one runs calls code of users, which asks who runs.
        self.running.set(NonNull::from(&*self.idle));
        if !self.waiting_for_stack.borrow().is_empty()
            && let Some(next) = self.waiting_for_stack.borrow_mut().pop_front()
        {
            self.queue.push(next);
        }
        if let Some(own) = own {
            self.let_go(own);
        }
    }

    /// The worker has no more use for a record: it is dropped, unless it is the helper that polls soft tasklets.
    #[inline]
    fn let_go(&self, mut record: Arc<Record>) {
        if record.is_joinable() {
            Record::release(record);
        } else if self.is_runner(&record) && Arc::get_mut(&mut record).is_some() {
            // Nobody has kept it, who could mean another future by it later.
            if self.local(&record).lent.take() {
                record.spot().take();
            }
            self.spare_runner.set(Some(record));
        }
    }

    #[cold]
    fn drop_extras(&self, head: &FiberHead) {
        // One may make the next: a destructor uses a tasklet-local value.
        for _ in 0..KILL_ATTEMPTS {
            let Some(extras) = head.extras.take() else { return };
            drop_quietly(extras);
        }
        std::mem::forget(head.extras.take());
    }

    /// What polls soft tasklets: one record, used again and again. While a future blocks its tasklet, another is made.
    pub(super) fn runner(&self, f: impl FnOnce() + 'static) -> Arc<Record> {
        if let Some(runner) = self.spare_runner.take() {
            runner.bind(&self.token, f);
            return runner;
        }
        let spec = Spec { stack_size: self.shared.config.stack_size, ..Spec::here() };
        Record::detached(self.next_id(), spec, &self.token, f)
    }

    fn is_runner(&self, record: &Record) -> bool {
        // Forks have records without a handle too: one is as good as another.
        self.local(record).stack_size.get() == self.shared.config.stack_size
    }

    /// Ends a tasklet of this worker's that never ran.
    pub(super) fn fail_own(&self, record: &Record, payload: Payload) {
        let _quiet = self.quiet();
        drop_quietly(record.fail_body(&self.token, payload));
        self.counters().finished.add(1);
        record.finish(&self.token, self);
    }

    /// Does what is in the inbox, oldest first. Switches to nobody.
    #[cold]
    pub(super) fn take_requests(&self) {
        // What requests hold is dropped here, and destructors are the user's code.
        let _quiet = self.quiet();
        for request in self.token.take_requests() {
            self.take_request(request);
        }
        if !self.closing.get() && self.shared.phase() != Phase::Open {
            self.closing.set(true);
            self.discard_unstarted();
            self.kill_started();
        }
    }

    fn take_request(&self, request: Remote) {
        match request {
            Remote::Unpark(who) => self.make_runnable(who.into_record(&self.token)),
            // Only what was spawned onto this worker, and has not started, comes this way.
            Remote::Insert(record) => {
                if !record.is_at(&self.token) || self.local(&record).admitted.replace(true) {
                    // Somebody asks for what is not theirs to ask.
                } else if self.closing.get() {
                    self.discard(&record);
                } else {
                    self.queue.push(record);
                }
            }
            Remote::Throw(record, payload) => self.throw(&record, payload),
            Remote::Cancel(record) => {
                // It may have left the token meanwhile, and wait for something else.
                if record.is_at(&self.token)
                    && !record.is_finished()
                    && self.local(&record).atomic.get() == 0
                    && self.is_under_cancelled(&record)
                {
                    self.cancel_wait(&record);
                }
            }
            Remote::Dispose(remains) => remains.dispose(&self.token),
            Remote::Call(f) => f(self),
            Remote::Run(_) | Remote::Spawn(_) | Remote::Recheck => {}
        }
    }

    /// Raises a payload in a tasklet when it goes on, and ends its wait.
    fn throw(&self, record: &Arc<Record>, payload: Payload) {
        // Free ones that have finished have no home any more.
        if !record.is_at(&self.token) || record.is_finished() {
            drop_quietly(payload);
            return;
        }
        let fields = self.local(record);
        if is_tasklet_exit(&payload) && fields.movable.get() {
            // Whoever adopts it next need not see to that.
            record.take_kill_request();
        }
        // A kill is not replaced by anything less.
        let pending = fields.take_interrupt();
        let (stays, goes) = match pending {
            Some(pending) if is_tasklet_exit(&pending) => (pending, Some(payload)),
            pending => (payload, pending),
        };
        fields.set_interrupt(Some(stays));
        fields.lent.set(true);
        drop_quietly(goes);
        if std::ptr::eq(self.running.get().as_ptr(), Arc::as_ptr(record)) && self.blocked.get().is_none() {
            self.spend_budget();
        }
        // One that waits because its thread unwinds waits on.
        if fields.atomic.get() == 0 && self.blocked.get() != Some(NonNull::from(&**record)) {
            self.end_wait(record, |parked| parked.with(Wake::Interrupted));
        }
        if fields.fiber.get().is_none() {
            self.end_wait_for_stack(record);
        }
    }

    /// A tasklet of this worker that waits for a stack, if it does, needs none any more: it is killed.
    fn end_wait_for_stack(&self, record: &Arc<Record>) {
        let mut waiting = self.waiting_for_stack.borrow_mut();
        let at = waiting.iter().position(|other| Arc::ptr_eq(other, record));
        if let Some(record) = at.and_then(|at| waiting.remove(at)) {
            self.queue.push(record);
        }
    }

    /// Claims a tasklet that waits, if nobody else has, and lets it go on.
    pub(super) fn end_wait(&self, record: &Record, with: impl FnOnce(Parked) -> Parked) -> bool {
        let Some(wait) = self.local(record).wait() else { return false };
        let Some(parked) = wait.site.unlink(record.id(), wait.key) else { return false };
        self.make_runnable(with(parked).into_record(&self.token));
        true
    }

    /// Ends the wait of a tasklet whose token was cancelled.
    pub(super) fn cancel_wait(&self, record: &Record) {
        if self.end_wait(record, |parked| parked) {
            self.local(record).fault.set(Some(ParkError::Cancelled));
        }
    }

    /// Does what is due. Switches to nobody.
    pub(super) fn fire_timers(&self) {
        if self.timers.earliest().is_none() {
            return;
        }
        let now = self.now();
        let _quiet = self.quiet();
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                // A tasklet stops its timers before it ends, unless wrong code has started one.
                Timer::Wait(record) if !record.is_at(&self.token) => drop(record),
                Timer::Wait(record) => {
                    if !self.end_wait(&record, |parked| parked.with(Wake::TimedOut))
                        && self.local(&record).wait().is_none()
                    {
                        // It has not come to its wait yet.
                        self.local(&record).timed_out.set(true);
                    }
                }
                Timer::Elapsed(record, number) => {
                    if !record.is_finished() && self.may_elapse(self.local(&record), number) {
                        self.throw(&record, Box::new(Elapsed::of(number)));
                    }
                }
                Timer::Wake(waker) => unwind::wake_quietly(waker),
            }
        }
    }

    /// Whether a time limit that has passed is to be raised in a tasklet. A kill that is on its way counts more; of two limits the
    /// outer one, since it ends what the inner one would.
    fn may_elapse(&self, fields: &Local, number: u64) -> bool {
        !fields.has_interrupt() || self.elapsed_limit(fields).is_some_and(|pending| number < pending)
    }

    /// Drops the closures of all tasklets of this worker that have not started.
    fn discard_unstarted(&self) {
        while let Some(task) = self.deque.pop() {
            match task.unpack() {
                // It has started: it is killed with the others.
                Task::Resume(record) => {
                    let record = self.take_in(record);
                    self.queue.push(record);
                }
                task => drop(task.pack()),
            }
        }
        self.shared.discard_injected();
        let waiting = self.waiting_for_stack.take();
        for record in waiting {
            self.discard(&record);
        }
        for _ in 0..self.queue.len() {
            let Some(record) = self.queue.pop() else { break };
            if self.fiber_of(&record).is_some() {
                self.queue.push(record);
            } else {
                self.discard(&record);
            }
        }
    }

    pub(super) fn discard(&self, record: &Record) {
        if !record.is_finished() && self.fiber_of(record).is_none() {
            self.fail_own(record, Box::new(TaskletExit));
        }
    }

    /// Kills every tasklet of this worker that has started.
    pub(super) fn kill_started(&self) {
        for head in self.engine().occupied() {
            // SAFETY: F1 and F2, just listed; a tasklet that sits on a fiber is alive, and nothing runs meanwhile.
            if let Some(record) = unsafe { head.as_ref() }.tasklet.get() {
                // SAFETY: as above; every record is made in an `Arc`.
                let record = unsafe {
                    Arc::increment_strong_count(record.as_ptr());
                    Arc::from_raw(record.as_ptr())
                };
                self.throw(&record, Box::new(TaskletExit));
            }
        }
    }

    /// Whether a tasklet of this worker waits for something that must not be cut short.
    pub(super) fn has_masked(&self) -> bool {
        self.engine().occupied().into_iter().any(|head| {
            // SAFETY: as in `kill_started`.
            let record = unsafe { head.as_ref() }.tasklet.get();
            // SAFETY: as above.
            record.is_some_and(|record| self.local(unsafe { record.as_ref() }).atomic.get() != 0)
        })
    }

    /// The worker's end: what has not ended is leaked and counted, and nothing is taken any more. On the root, with nothing to run.
    pub(super) fn finish_up(&self) {
        let _quiet = self.quiet();
        self.discard_unstarted();
        for timer in self.timers.clear() {
            drop_quietly(timer);
        }
        for head in self.engine().occupied() {
            // SAFETY: as in `kill_started`.
            if let Some(record) = unsafe { head.as_ref() }.tasklet.get() {
                // SAFETY: as above.
                let record = unsafe { record.as_ref() };
                let name = record.name().map(str::to_owned);
                self.shared.add_leaked(Unfinished { id: record.id().get(), name, site: Some(record.site()) });
            }
        }
        if self.engine().leak_occupied() != 0 {
            // H1: the records of what is leaked lead to the home for ever.
            std::mem::forget(self.token.home().clone());
        }
        self.spare_runner.take();
        self.engine().retire_idle(self);
        for request in self.token.close() {
            match request {
                Remote::Dispose(remains) => remains.dispose(&self.token),
                Remote::Insert(record) if record.is_at(&self.token) && !self.local(&record).admitted.get() => {
                    self.discard(&record);
                }
                request => drop_quietly(request),
            }
        }
        // A destructor may have spawned.
        self.discard_unstarted();
    }

    /// What to do about a panic of the running tasklet, before it goes to the handle.
    pub(super) fn on_panic(&self, payload: &Payload) {
        let current = self.current();
        self.shared.on_panic(current.id(), current.name(), current.site(), payload);
    }
}

impl Shared {
    /// What to do about a panic of a tasklet, before it goes to the handle.
    pub(super) fn on_panic(&self, id: TaskletId, name: Option<&str>, site: &Location<'_>, payload: &Payload) {
        if is_tasklet_exit(payload) {
            return;
        }
        if let PanicPolicy::Abort = self.config.panic_policy {
            let name = name.map(|name| format!(" `{name}`")).unwrap_or_default();
            let message = unwind::message(payload);
            eprintln!("tasklet {id}{name}, spawned at {site}, panicked: {message}; aborting, as the panic policy says");
            std::process::abort();
        }
    }
}
