//! What interrupts tasklets at scheduling points: requests of other threads, timers, and budgets that are used up.
//!
//! Rules R46-R50 of the Stackless order; the counting is in `budget`.

use std::ptr::NonNull;

use tasklet_core::tasklet::Record;

use super::inner::{Inner, Interrupted};
use super::switch::Kind;

impl Inner {
    /// Does what is due at every scheduling point: requests of other threads, timers, and budgets that are not counted in ticks.
    #[inline]
    pub(super) fn poll(&self) {
        if self.token.has_requests() {
            self.take_requests();
        }
        self.poll_timers();
        if self.meter.is_limited() {
            self.poll_budget();
        }
    }

    #[cold]
    fn poll_budget(&self) {
        // Not from the clock itself.
        if !self.hooks.is_quiet() && !self.meter.counts_ticks() && self.meter.is_spent(&self.clock()) {
            self.time_out();
        }
    }

    /// Code that computes has come to `n` points where it may be interrupted (R46, R47).
    pub(super) fn tick(&self, n: u64) {
        if !self.meter.counts_ticks() {
            self.poll();
        }
        let mut left = n;
        while left != 0 {
            if self.meter.counts_ticks() && self.meter.is_spent(&self.clock()) {
                self.time_out();
            }
            // As many at once as nothing can happen in between.
            left -= self.meter.take_ticks(left);
        }
    }

    /// The budget of a run is used up (R47, R48).
    #[cold]
    pub(super) fn time_out(&self) {
        let record = self.current();
        let fields = self.local(record);
        if self.meter.is_soft() || fields.atomic.get() != 0 || self.may_switch().is_err() {
            self.meter.restart(&self.clock());
            fields.pending_interrupt.set(true);
            return;
        }
        fields.pending_interrupt.set(false);
        let Some(owner) = self.budget_owner.get() else { return };
        if owner == NonNull::from(record) {
            return;
        }
        self.interrupted.set(Some(Interrupted::Victim(self.share(record))));
        self.rouse(owner);
        Self::raise(self.switch_to(record, owner, Kind::Directed));
    }

    /// A soft interrupt is due: the budget's owner goes on instead of `next`, linked just before it (R48).
    #[cold]
    pub(super) fn soft_interrupt(&self, record: &Record, next: NonNull<Record>, kind: Kind) -> NonNull<Record> {
        if self.meter.is_soft() { self.let_owner_go_on(record, next, kind) } else { next }
    }

    /// The budget's owner goes on instead of `next`, linked just before it, if it may.
    pub(super) fn let_owner_go_on(&self, record: &Record, next: NonNull<Record>, kind: Kind) -> NonNull<Record> {
        if self.may_switch().is_err() {
            return next;
        }
        let owner = self.budget_owner.get().unwrap_or_else(|| self.watchdog());
        self.local(record).pending_interrupt.set(false);
        // SAFETY: the owner's stack is in `run`.
        let owner_record = unsafe { owner.as_ref() };
        if self.is_linked(owner_record) || owner == NonNull::from(record) || owner == next {
            return next;
        }
        if kind == Kind::Directed {
            // SAFETY: `next` is linked.
            self.local(unsafe { next.as_ref() }).pending_interrupt.set(true);
            return next;
        }
        self.interrupted.set(Some(Interrupted::Between));
        self.ring.link_before(self.claim(owner_record), next, &self.token);
        owner
    }
}
