//! From a tasklet's first step to its last, throw and kill, and the end of the scheduler.
//!
//! Rules R25-R36 of the Stackless order.

use std::ptr::NonNull;
use std::sync::Arc;

use tasklet_core::current;
use tasklet_core::home::Remote;
use tasklet_core::id::TaskletId;
use tasklet_core::tasklet::{Record, Stage};
use tasklet_core::unwind::{self, Payload, TaskletExit, drop_quietly, is_tasklet_exit};

use crate::engine::{FiberHead, Host as _};

use super::error::{RunError, TaskletError, TaskletStateError};
use super::inner::Inner;
use super::policy::ErrorPolicy;
use super::switch::Kind;

/// Times a tasklet that catches its kill is killed again when its scheduler goes, before it is leaked. Stackless's number.
const KILL_ATTEMPTS: usize = 10;

/// When a thrown payload is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// The target runs at once.
    Now,
    /// The target is made runnable.
    Later,
}

/// What the end of a scheduler found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// Tasklets that had started and were killed.
    pub killed: usize,
    /// Tasklets that never ran: their closures were dropped.
    pub discarded: usize,
    /// Tasklets that caught every kill. Their stacks are leaked: they are never freed or used again.
    pub refused: Vec<TaskletId>,
}

impl Inner {
    /// On a fiber: runs the tasklet that is to run, and the next ones for as long as they can start on this fiber. Then that is idle; `false` if it
    /// shall end.
    ///
    /// Its frame lies under each tasklet, and is part of what is copied of one that is swapped: so there is little in it.
    pub(super) fn run_on(&self, fiber: NonNull<FiberHead>) -> bool {
        loop {
            let error = self.run_one(self.current());
            if !self.go_on(fiber, error) {
                return self.engine().set_idle(fiber);
            }
        }
    }

    /// The tasklet of a fiber has ended. Whether the next one begins there.
    #[inline(never)]
    fn go_on(&self, fiber: NonNull<FiberHead>, error: Option<Payload>) -> bool {
        let ended = self.running.get();
        let next = self.end(self.current(), fiber, error);
        debug_assert_ne!(ended, next, "a tasklet that ended does not go on");
        !self.is_main(next) && self.current_local().fiber.get() == Some(fiber.cast())
    }

    /// Runs a tasklet's closure, or drops it if something was thrown at it before it started (R29). Returns what nobody caught.
    fn run_one(&self, record: &Record) -> Option<Payload> {
        match self.local(record).take_interrupt() {
            None => record.run_body(&self.token).err(),
            Some(payload) => record.fail_body(&self.token, payload),
        }
    }

    /// A tasklet has come to its end (R32, R33). Returns who runs next; it has a fiber, or is the main tasklet.
    fn end(&self, record: &Record, fiber: NonNull<FiberHead>, error: Option<Payload>) -> NonNull<Record> {
        let error = error.and_then(|payload| self.handle_error(record, payload));
        if self.token.has_requests() {
            self.take_requests();
        }
        self.poll_timers();
        let fields = self.local(record);
        let finished = self.ring.remove(record, &self.token);
        fields.fiber.set(None);
        fields.block_trap.set(false);
        self.hooks.drop_quietly(fields.take_interrupt());
        // SAFETY: F1, the caller runs on it.
        unsafe { fiber.as_ref() }.tasklet.set(None);
        self.finish(&finished);
        let mut next = match error {
            None => self.ring.current().unwrap_or_else(|| self.end_last()),
            Some(payload) => self.report(|| {
                let name = record.name().map(str::to_owned);
                RunError::Tasklet(TaskletError::new(record.id(), name, payload))
            }),
        };
        let put_off = fields.pending_interrupt.replace(false) && self.meter.is_soft();
        if put_off || self.meter.is_spent_at_an_end(&self.clock()) {
            next = self.let_owner_go_on(record, next, Kind::Free);
        }
        let next = self.with_fiber(next, Some(fiber));
        self.note_switch(record, next);
        drop(finished);
        next
    }

    /// Tells whoever waits for it, and drops the result nobody awaits.
    fn finish(&self, record: &Record) {
        let _quiet = self.hooks.quiet();
        record.finish(&self.token, self);
    }

    /// What remains of an error after the handler and the policy have seen it.
    fn handle_error(&self, record: &Record, payload: Payload) -> Option<Payload> {
        if is_tasklet_exit(&payload) {
            return None;
        }
        let payload = self.hooks.error(record.id(), payload).err()?;
        if is_tasklet_exit(&payload) {
            return None;
        }
        match ErrorPolicy::decode(self.local(record).policy.get(), self.policy.get()) {
            ErrorPolicy::Raise => Some(payload),
            ErrorPolicy::Discard => {
                drop_quietly(payload);
                None
            }
            ErrorPolicy::Abort => {
                eprintln!(
                    "tasklet {} failed: {}; aborting, as its error policy says",
                    record.id(),
                    unwind::message(&payload)
                );
                std::process::abort();
            }
        }
    }

    /// Raises a payload in a tasklet of this scheduler (R25-R31).
    pub(super) fn throw(&self, target: &Arc<Record>, payload: Payload, when: When) -> Result<(), TaskletStateError> {
        let pointer = NonNull::from(&**target);
        if pointer == self.running.get() {
            unwind::raise(payload);
        }
        if !self.is_alive(target) {
            return if is_tasklet_exit(&payload) { Ok(()) } else { Err(TaskletStateError::Dead) };
        }
        if when == When::Now {
            self.may_switch()?;
        }
        let replaced = self.local(target).set_interrupt(Some(payload));
        let runnable = self.make_runnable(pointer);
        self.hooks.drop_quietly(replaced);
        // A target that another thread has claimed finds the payload when its wake arrives.
        if !runnable || when == When::Later {
            return Ok(());
        }
        let record = self.current();
        if self.flat.get() {
            self.move_next(target);
        }
        Self::raise(self.switch_to(record, pointer, Kind::Free));
        Ok(())
    }

    /// Moves a linked tasklet to just after the running one.
    pub(super) fn move_next(&self, target: &Record) {
        let record = self.ring.remove(target, &self.token);
        self.ring.insert_next(record, &self.token);
    }

    /// Ends everything: kills what has started, drops what has not, retires the fibers. Called on the host's stack, at rest.
    pub(super) fn shut_down(&self) -> Shutdown {
        let mut report = Shutdown::default();
        self.switch_trap.set(0);
        self.hooks.clear();
        self.close_timers();
        self.policy.set(ErrorPolicy::Discard);
        for _ in 0..KILL_ATTEMPTS {
            self.discard_unstarted(&mut report);
            if !self.kill_started(&mut report) {
                break;
            }
        }
        self.discard_unstarted(&mut report);
        for head in self.engine().occupied() {
            // SAFETY: F1 and F2 as above.
            if let Some(record) = unsafe { head.as_ref() }.tasklet.get() {
                // SAFETY: as above.
                report.refused.push(unsafe { record.as_ref() }.id());
            }
        }
        self.engine().leak_occupied();
        self.engine().retire_idle(self);
        self.close();
        self.closed.set(true);
        current::release(self.pointer());
        report
    }

    /// Kills every tasklet that has started, once. Returns whether there was one.
    fn kill_started(&self, report: &mut Shutdown) -> bool {
        // SAFETY: F1 and F2, just listed: a tasklet that sits on a fiber is alive.
        let record = |head: NonNull<FiberHead>| unsafe { head.as_ref().tasklet.get().map(|record| record.as_ref()) };
        // Counted, since fibers come and go meanwhile.
        let started: Vec<_> =
            self.engine().occupied().into_iter().filter_map(record).map(|record| self.share(record)).collect();
        for record in &started {
            if self.head(record).is_some() {
                self.kill_for_good(record, report);
            }
        }
        !started.is_empty()
    }

    /// Kills a started tasklet, alone in the queue with the host.
    fn kill_for_good(&self, record: &Record, report: &mut Shutdown) {
        let pointer = NonNull::from(record);
        self.local(record).policy.set(0);
        let exit: Payload = Box::new(TaskletExit);
        let keep = self.share(record);
        let replaced = self.local(record).set_interrupt(Some(exit));
        self.rouse(pointer);
        self.hooks.drop_quietly(replaced);
        drop_quietly(self.switch_to(&self.main, pointer, Kind::Directed));
        if !self.is_alive(&keep) {
            report.killed += 1;
        } else if self.is_linked(&keep) {
            self.pause(&keep);
        }
    }

    /// Drops the closures of all tasklets that have not started, and pauses those that have.
    fn discard_unstarted(&self, report: &mut Shutdown) {
        self.take_requests();
        for record in self.ring.snapshot() {
            // A destructor may have changed the queue since.
            if Arc::ptr_eq(&record, &self.main) || !self.is_linked(&record) {
                continue;
            }
            self.pause(&record);
            if self.local(&record).fiber.get().is_none() {
                self.discard(&record, report);
            }
        }
        for record in self.bound.take().iter().filter_map(std::sync::Weak::upgrade) {
            if self.local(&record).fiber.get().is_none() && record.stage(&self.token) == Stage::Closure {
                self.discard(&record, report);
            }
        }
    }

    fn discard(&self, record: &Record, report: &mut Shutdown) {
        let exit: Payload = Box::new(TaskletExit);
        let _quiet = self.hooks.quiet();
        drop_quietly(record.fail_body(&self.token, exit));
        record.finish(&self.token, self);
        report.discarded += 1;
    }
}

impl Inner {
    /// Refuses requests from now on, and drops those that are there.
    fn close(&self) {
        for request in self.token.close() {
            match request {
                Remote::Dispose(remains) => remains.dispose(&self.token),
                request => drop_quietly(request),
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        current::release(self.pointer());
        // The main tasklet at least is linked still, and what is linked keeps its home.
        while let Some(record) = self.ring.current() {
            // SAFETY: L1, the ring owns a count of what is linked.
            drop(self.ring.remove(unsafe { record.as_ref() }, &self.token));
        }
        self.close();
    }
}
