//! The deadlock rule: what happens when the last runnable tasklet leaves the queue or ends.
//!
//! Rules R40, R41 and R51-R56 of the Stackless order. The watchdog takes over if it can; else the thread waits as long as somebody
//! elsewhere can still come, or somebody here waits with a time limit; else the last to block is told.

use std::any::TypeId;
use std::ptr::NonNull;
use std::time::Duration;

use tasklet_core::channel::Direction;
use tasklet_core::clock::Clock as _;
use tasklet_core::operation::SwitchToken;
use tasklet_core::park::{ParkError, ParkReason};
use tasklet_core::tasklet::Record;

use crate::engine::Host as _;

use super::inner::{Inner, Interrupted};
use super::switch::Kind;

impl Inner {
    /// The last runnable tasklet leaves the queue (R40, R51-R53): the watchdog takes over, or the thread waits for other threads, or
    /// it is a deadlock and the caller stays.
    #[cold]
    pub(super) fn leave_last(&self, record: &Record, backend: &'static TypeId) -> Option<SwitchToken> {
        let this = NonNull::from(record);
        loop {
            self.fire_timers();
            match self.ring.current() {
                Some(_) if self.is_linked(record) && self.may_switch().is_err() => {
                    // It never gave way: nobody else may run, and it was woken.
                    self.ring.set_current(this);
                    return None;
                }
                Some(next) if self.may_switch().is_ok() => {
                    return self.prepare_switch(record, next, Kind::Free, backend);
                }
                Some(_) => {
                    // Nobody here may run and wake it. If nobody elsewhere can, waiting is a deadlock.
                    if !self.is_awaited(record) && self.make_runnable(this) {
                        self.ring.set_current(this);
                        self.local(record).fault.set(Some(ParkError::Deadlock));
                        return None;
                    }
                    self.doze(None);
                    continue;
                }
                None => {}
            }
            let watchdog = self.watchdog();
            // SAFETY: a watchdog's stack is in `run`, or it is the main tasklet: alive.
            let floats = self.local(unsafe { watchdog.as_ref() }).wait().is_none();
            let waits = self.waits_for_others();
            let stays = (waits || !floats) && self.is_reachable();
            if floats && !stays {
                self.rouse(watchdog);
                return self.prepare_switch(record, watchdog, Kind::Free, backend);
            }
            if stays {
                let end = if waits { self.meter.ends_at() } else { None };
                if let Some(owner) = self.out_of_time(end) {
                    return self.prepare_switch(record, owner, Kind::Free, backend);
                }
                self.doze(end);
                continue;
            }
            if self.make_runnable(this) {
                self.local(record).fault.set(Some(ParkError::Deadlock));
                return None;
            }
            // Another thread has claimed it: its wake is on the way.
            self.doze(None);
        }
    }

    /// A tasklet has ended and nobody is runnable (R41): the watchdog takes over, with an error if it waits for somebody.
    #[cold]
    pub(super) fn end_last(&self) -> NonNull<Record> {
        loop {
            self.fire_timers();
            if let Some(next) = self.ring.current() {
                return next;
            }
            let watchdog = self.watchdog();
            // SAFETY: as in `leave_last`.
            let fields = self.local(unsafe { watchdog.as_ref() });
            let waits = self.waits_for_others();
            if (fields.wait().is_some() || waits) && self.is_reachable() {
                let end = if waits { self.meter.ends_at() } else { None };
                if let Some(owner) = self.out_of_time(end) {
                    return owner;
                }
                self.doze(end);
                continue;
            }
            let fault = fields.reason().map(|reason| match reason {
                ParkReason::Channel { direction: Direction::Send, .. } => ParkError::MainDeserted(Direction::Send),
                ParkReason::Channel { .. } => ParkError::MainDeserted(Direction::Receive),
                _ => ParkError::Deadlock,
            });
            if self.make_runnable(watchdog) {
                fields.fault.set(fault);
                return watchdog;
            }
            self.doze(None);
        }
    }

    /// Whether the innermost run shall wait for other threads and for timers rather than end.
    fn waits_for_others(&self) -> bool {
        self.watchdogs.borrow().last().is_some_and(|watchdog| watchdog.block_thread)
    }

    /// Whoever has set the budget of time goes on, if that was used up waiting.
    fn out_of_time(&self, end: Option<Duration>) -> Option<NonNull<Record>> {
        let (end, owner) = (end?, self.budget_owner.get()?);
        if self.clock().now() < end {
            return None;
        }
        self.interrupted.set(Some(Interrupted::Between));
        self.rouse(owner);
        Some(owner)
    }

    /// Whether a timer or another thread can still make a tasklet of this scheduler runnable, or has asked for it.
    fn is_reachable(&self) -> bool {
        // The inbox last: who has gone by the time of the first look has asked before it went.
        self.has_sleepers() || self.has_outsiders() || self.token.has_requests()
    }

    /// Whether its timer or another thread can still wake this tasklet, or has asked for something. The inbox last, as in
    /// `is_reachable`.
    fn is_awaited(&self, record: &Record) -> bool {
        self.is_limited(record)
            || self.token.home().has_remotes()
            || self.local(record).wait().is_some_and(|wait| wait.site.is_shared(wait.key))
            || self.token.has_requests()
    }

    fn has_outsiders(&self) -> bool {
        if self.token.home().has_remotes() {
            return true;
        }
        let shared = |record: &Record| self.local(record).wait().is_some_and(|wait| wait.site.is_shared(wait.key));
        if shared(self.current()) || shared(&self.main) {
            return true;
        }
        self.engine().occupied().into_iter().any(|head| {
            // SAFETY: F1, the fiber was just listed; F2, its tasklet is alive until it ends, and nothing runs meanwhile.
            unsafe { head.as_ref().tasklet.get().is_some_and(|record| shared(record.as_ref())) }
        })
    }
}
