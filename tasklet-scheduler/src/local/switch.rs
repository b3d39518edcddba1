//! Switching: who goes on when the running tasklet gives way.
//!
//! Rules R3, R4, R6, R7 and R33 of the Stackless order; what if nobody is left is in `deadlock`. A refused operation is refused before
//! anything was changed.

use std::any::TypeId;
use std::ptr::NonNull;

use tasklet_core::operation::{AnyBackend, Switch, SwitchToken};
use tasklet_core::park::{ParkError, Wake};
use tasklet_core::tasklet::{Record, Wait};
use tasklet_core::unwind::Payload;

use crate::engine::{FiberHead, Host as _};

use super::error::RunError;
use super::hooks;
use super::inner::Inner;

/// Whether a soft interrupt may take the place of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The next in the queue would go on: an interrupt may come in between.
    Free,
    /// A certain tasklet is to go on: an interrupt is handed to it.
    Directed,
}

/// What came of preparing to yield: two words, so that they are returned in registers.
struct Prepared {
    /// What suspends the fiber, if it is to be suspended.
    suspender: Option<NonNull<()>>,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The caller goes on, at once or after a switch.
    GoOn,
    /// The same, and the switch's backend is the one that the caller has named.
    GoOnKnown,
    /// A switch is not allowed.
    Refused(ParkError),
}

impl Inner {
    /// Whether a switch is allowed now.
    #[inline]
    pub(super) fn may_switch(&self) -> Result<(), ParkError> {
        if self.switch_trap.get() != 0 {
            Err(ParkError::SwitchTrapped)
        } else if self.hooks.is_quiet() {
            Err(ParkError::InHook)
        } else if std::thread::panicking() {
            Err(ParkError::Unwinding)
        } else {
            Ok(())
        }
    }

    /// Whether what is thrown at the running tasklet can be raised in it.
    #[cold]
    fn may_raise(&self) -> Result<(), ParkError> {
        if std::thread::panicking() { Err(ParkError::Unwinding) } else { Ok(()) }
    }

    /// Whether the running tasklet may leave the queue: it will switch unless it is the last and nobody takes over.
    #[inline]
    pub(super) fn may_leave(&self) -> Result<(), ParkError> {
        if self.hooks.is_quiet() {
            Err(ParkError::InHook)
        } else if self.ring.len() > 1 || self.takes_over() {
            self.may_switch()
        } else {
            // It would wait alone. Not from a destructor that runs because of a panic: what is thrown at it could not be raised.
            self.may_raise()
        }
    }

    /// Whether somebody takes over when the running tasklet, the last in the queue, leaves it: the watchdog does, unless it waits.
    fn takes_over(&self) -> bool {
        let watchdog = self.watchdog();
        // SAFETY: a watchdog's stack is in `run`, or it is the main tasklet: alive.
        watchdog != self.running.get() && self.local(unsafe { watchdog.as_ref() }).wait().is_none()
    }

    /// Lets the next in the queue run (R6).
    pub(super) fn schedule(&self) -> Result<(), ParkError> {
        self.schedule_by::<AnyBackend>()
    }

    /// As [`schedule`](Self::schedule), with the switch compiled into the caller.
    #[inline(always)]
    pub(super) fn schedule_by<S: Switch>(&self) -> Result<(), ParkError> {
        let Prepared { suspender, verdict } = self.prepare_schedule(S::BACKEND);
        if let Some(suspender) = suspender {
            // SAFETY: made a moment ago for the fiber that runs.
            unsafe { S::switch(self, SwitchToken::new(suspender, verdict == Verdict::GoOnKnown)) }
        } else if let Verdict::Refused(error) = verdict {
            return Err(error);
        }
        let fields = self.current_local();
        if fields.has_interrupt() {
            // From a destructor that runs because of a panic, nothing can be raised. It ends with that panic.
            self.may_raise()?;
            Self::raise(fields.take_interrupt());
        }
        Ok(())
    }

    #[inline(never)]
    fn prepare_schedule(&self, backend: &'static TypeId) -> Prepared {
        self.poll();
        let record = self.current();
        let Some(next) = self.ring.next(record, &self.token) else {
            // It is on its way out: this is a hook or a destructor.
            return Prepared { suspender: None, verdict: Verdict::Refused(ParkError::InHook) };
        };
        if self.ring.len() == 1 && self.meter.is_limited() {
            self.meter.on_empty_yield();
        }
        if next != NonNull::from(record)
            && let Err(error) = self.may_switch()
        {
            return Prepared { suspender: None, verdict: Verdict::Refused(error) };
        }
        match self.prepare_switch(record, next, Kind::Free, backend) {
            None => Prepared { suspender: None, verdict: Verdict::GoOn },
            Some(token) => {
                let verdict = if token.is_known() { Verdict::GoOnKnown } else { Verdict::GoOn };
                Prepared { suspender: Some(token.suspender()), verdict }
            }
        }
    }

    /// Leaves the queue and lets the next in it run; returns when somebody has brought the caller back (R7).
    pub(super) fn schedule_remove(&self) -> Result<(), ParkError> {
        self.poll();
        self.may_leave()?;
        let record = self.current();
        self.hold(self.ring.remove(record, &self.token));
        Self::raise(self.leave(record));
        match self.local(record).fault.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The running tasklet has left the queue: switches to the next, or applies the deadlock rule.
    pub(super) fn leave(&self, record: &Record) -> Option<Payload> {
        let token = self.prepare_leave(record, AnyBackend::BACKEND);
        self.complete(record, token)
    }

    /// As [`leave`](Self::leave), up to the switch.
    #[inline(always)]
    pub(super) fn prepare_leave(&self, record: &Record, backend: &'static TypeId) -> Option<SwitchToken> {
        let asked = self.token.has_requests();
        if asked {
            self.take_requests();
        }
        if self.local(record).has_interrupt() {
            // It came in while the tasklet ran: nobody else will wake it for that. Its turn comes as if it had been blocked already.
            self.make_runnable(NonNull::from(record));
        }
        match self.ring.current() {
            Some(next) if !asked => self.prepare_switch(record, next, Kind::Free, backend),
            // Also if somebody is queued by request since the caller was found to be the last, which may leave where none may switch.
            _ => self.leave_last(record, backend),
        }
    }

    /// Switches to a linked tasklet (R3) and returns what was thrown at the caller meanwhile (R4). The caller has made sure that
    /// switching is allowed.
    pub(super) fn switch_to(&self, record: &Record, next: NonNull<Record>, kind: Kind) -> Option<Payload> {
        let token = self.prepare_switch(record, next, kind, AnyBackend::BACKEND);
        self.complete(record, token)
    }

    /// Suspends the running fiber if it is to be, and takes what was thrown at its tasklet.
    fn complete(&self, record: &Record, token: Option<SwitchToken>) -> Option<Payload> {
        if let Some(token) = token {
            // SAFETY: made a moment ago for the fiber that runs.
            unsafe { self.engine().suspend(token) };
        }
        self.local(record).take_interrupt()
    }

    /// Does all of a switch but the suspending. From the main tasklet, all of it: returns when the main tasklet runs again.
    #[inline(always)]
    pub(super) fn prepare_switch(
        &self,
        record: &Record,
        next: NonNull<Record>,
        kind: Kind,
        backend: &'static TypeId,
    ) -> Option<SwitchToken> {
        let mut next = next;
        let fields = self.local(record);
        if fields.pending_interrupt.get() {
            next = self.soft_interrupt(record, next, kind);
        }
        let this = NonNull::from(record);
        if next != this {
            next = self.with_fiber(next, None);
        }
        if next == this {
            return None;
        }
        self.note_switch(record, next);
        if self.is_main(this) {
            self.leave_main();
            return None;
        }
        let head = self.head(record).expect("a running tasklet sits on a fiber");
        let suspender = head.suspender.get().expect("a running fiber has set its suspender");
        let known = std::ptr::eq(backend, self.backend) || *backend == *self.backend;
        // SAFETY: S2, F1: the suspender of the fiber that the running tasklet sits on; `backend` is compared with the engine's.
        Some(unsafe { SwitchToken::new(suspender, known) })
    }

    /// On the host's stack: returns when the main tasklet is to run.
    #[inline(never)]
    fn leave_main(&self) {
        self.active(|| self.engine().run_fibers(self));
    }

    /// Makes `next` the running tasklet, for whoever resumes fibers to see.
    #[inline]
    pub(super) fn note_switch(&self, from: &Record, next: NonNull<Record>) {
        if self.hooks.has_schedule_hook() {
            self.tell(from, next);
        }
        self.meter.on_switch(&self.clock());
        self.ring.set_current(next);
        self.running.set(next);
    }

    #[cold]
    fn tell(&self, from: &Record, next: NonNull<Record>) {
        // SAFETY: `next` is linked, so the ring owns a count of it.
        let to = unsafe { next.as_ref() }.id();
        self.hooks.schedule(&hooks::Switch { from: from.id(), to });
        // SAFETY: as above: in a quiet section nothing leaves the queue.
        debug_assert!(self.is_linked(unsafe { next.as_ref() }), "a hook changed the queue");
    }

    /// Gives a tasklet that has not started a fiber: `own`, if its stack is large enough, else another. Returns who is to run: the
    /// tasklet, or the watchdog with the error if no stack could be had.
    #[inline(always)]
    pub(super) fn with_fiber(&self, next: NonNull<Record>, own: Option<NonNull<FiberHead>>) -> NonNull<Record> {
        // SAFETY: `next` is linked, so the ring owns a count of it and has compared its home.
        if unsafe { next.as_ref().local_unchecked() }.fiber.get().is_some() || self.is_main(next) {
            return next;
        }
        self.start(next, own)
    }

    #[inline(never)]
    fn start(&self, next: NonNull<Record>, own: Option<NonNull<FiberHead>>) -> NonNull<Record> {
        // SAFETY: as in `with_fiber`.
        let record = unsafe { next.as_ref() };
        let fields = self.local(record);
        let (size, kind) = (fields.stack_size.get(), fields.kind.get());
        // SAFETY: F1, the caller runs on its own fiber.
        let fiber = match own.filter(|own| unsafe { own.as_ref() }.fits(size, kind)) {
            Some(own) => Ok(own),
            None => self.engine().take_fiber(self, size, kind),
        };
        match fiber {
            Ok(fiber) => {
                fields.fiber.set(Some(fiber.cast()));
                // SAFETY: F1, just taken or the caller's own.
                unsafe { fiber.as_ref() }.tasklet.set(Some(next));
                next
            }
            Err(error) => self.report(|| RunError::Stack { tasklet: record.id(), error }),
        }
    }

    /// Who is told of errors and takes over when nobody is runnable: the innermost caller of `run`, else the main tasklet.
    pub(super) fn watchdog(&self) -> NonNull<Record> {
        self.watchdogs.borrow().last().map_or(NonNull::from(&*self.main), |watchdog| watchdog.record)
    }

    /// Hands an error to the watchdog and makes it runnable (R33). Its `run` returns the error; a main tasklet that is not in `run`
    /// has it raised. Either way it replaces what is to be raised in the watchdog already: of two, the later one counts.
    pub(super) fn report(&self, error: impl FnOnce() -> RunError) -> NonNull<Record> {
        let (watchdog, error) = (self.watchdog(), error());
        let in_run = match self.watchdogs.borrow_mut().last_mut() {
            Some(watchdog) => Ok(watchdog.error.replace(error)),
            None => Err(error),
        };
        let payload: Option<Payload> = match in_run {
            Ok(replaced) => {
                self.hooks.drop_quietly(replaced);
                None
            }
            Err(RunError::Tasklet(error)) => Some(error.into_payload()),
            Err(error) => Some(Box::new(error.to_string())),
        };
        // SAFETY: a watchdog's stack is in `run`, or it is the main tasklet: alive.
        let replaced = self.local(unsafe { watchdog.as_ref() }).set_interrupt(payload);
        self.hooks.drop_quietly(replaced);
        self.rouse(watchdog);
        watchdog
    }

    /// Links a live tasklet wherever it is; waits for the wake that is on its way if another thread has claimed it.
    pub(super) fn rouse(&self, target: NonNull<Record>) {
        while !self.make_runnable(target) {
            self.wait(None);
            self.take_requests();
        }
    }

    /// Links a live tasklet if it is not linked: unlinks it from its wait site (R3). `false` if another thread has claimed it there,
    /// so that its wake is on the way.
    pub(super) fn make_runnable(&self, target: NonNull<Record>) -> bool {
        // SAFETY: callers pass live tasklets: the watchdog, whose stack is in `run`, or the target of a handle.
        let record = unsafe { target.as_ref() };
        if self.is_linked(record) {
            return true;
        }
        match self.local(record).wait() {
            Some(wait) => self.end_wait(record, wait, Wake::Served),
            None => {
                self.insert(record);
                true
            }
        }
    }

    /// Links a tasklet that waits. `false` if another thread has claimed it, so that its wake is on the way.
    pub(super) fn end_wait(&self, record: &Record, wait: Wait<'_>, wake: Wake) -> bool {
        match wait.site.unlink(record.id(), wait.key) {
            Some(parked) => {
                self.ring.insert(parked.with(wake).into_record(&self.token), &self.token);
                true
            }
            None => false,
        }
    }
}
