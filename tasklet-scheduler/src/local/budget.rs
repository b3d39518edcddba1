//! Budgets: how long `run_with` lets tasklets run before it returns to its caller.
//!
//! Native code has no instruction counter, so a budget is spent where the runtime is entered anyway: at operations that may switch,
//! and at [`checkpoint`](super::checkpoint) and [`tick`](super::tick) in code that computes. Rules R45-R50 of the Stackless order.

use std::cell::Cell;
use std::time::Duration;

use tasklet_core::clock::Clock;

/// How much may be used up before a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Budget {
    /// So many turns: switches to a tasklet, and yields of one that is alone in the queue. Only for a whole run: a slice begins anew at every switch.
    Switches(u64),
    /// More than so many ticks, as counted by [`tick`](super::tick) and [`checkpoint`](super::checkpoint).
    Ticks(u64),
    /// So much time by the scheduler's clock.
    Time(Duration),
}

impl Budget {
    fn amount(self) -> u64 {
        match self {
            Budget::Switches(n) | Budget::Ticks(n) => n,
            Budget::Time(time) => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// The limit in force.
#[derive(Clone, Copy)]
struct Limit {
    budget: Budget,
    /// Per slice: the mark moves at every switch.
    per_slice: bool,
    soft: bool,
    mark: u64,
}

/// The counters and the limit of one scheduler.
pub(super) struct Meter {
    ticks: Cell<u64>,
    switches: Cell<u64>,
    limit: Cell<Option<Limit>>,
}

/// A limit that a new one has replaced.
pub(super) struct Replaced(Option<Limit>);

impl Meter {
    pub(super) fn new() -> Meter {
        Meter { ticks: Cell::new(0), switches: Cell::new(0), limit: Cell::new(None) }
    }

    fn counter(&self, budget: Budget, clock: &dyn Clock) -> u64 {
        match budget {
            Budget::Switches(_) => self.switches.get(),
            Budget::Ticks(_) => self.ticks.get(),
            Budget::Time(_) => Budget::Time(clock.now()).amount(),
        }
    }

    fn mark(&self, budget: Budget, clock: &dyn Clock) -> u64 {
        self.counter(budget, clock).saturating_add(budget.amount())
    }

    pub(super) fn install(&self, budget: Budget, per_slice: bool, soft: bool, clock: &dyn Clock) -> Replaced {
        let mark = self.mark(budget, clock);
        Replaced(self.limit.replace(Some(Limit { budget, per_slice, soft, mark })))
    }

    pub(super) fn restore(&self, replaced: Replaced) {
        self.limit.set(replaced.0);
    }

    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limit.get().is_some()
    }

    pub(super) fn is_soft(&self) -> bool {
        self.limit.get().is_some_and(|limit| limit.soft)
    }

    /// Whether ticks are what is counted: then only ticks use the budget up.
    pub(super) fn counts_ticks(&self) -> bool {
        self.limit.get().is_some_and(|limit| matches!(limit.budget, Budget::Ticks(_)))
    }

    pub(super) fn is_spent(&self, clock: &dyn Clock) -> bool {
        self.limit.get().is_some_and(|limit| match limit.budget {
            Budget::Switches(_) => self.switches.get() >= limit.mark,
            budget => self.counter(budget, clock) > limit.mark,
        })
    }

    /// A switch happened: a slice begins.
    #[inline]
    pub(super) fn on_switch(&self, clock: &dyn Clock) {
        self.switches.set(self.switches.get() + 1);
        if self.is_limited() {
            self.on_limited_switch(clock);
        }
    }

    #[cold]
    fn on_limited_switch(&self, clock: &dyn Clock) {
        if self.limit.get().is_some_and(|limit| limit.per_slice) {
            self.restart(clock);
        }
    }

    /// A tasklet has yielded to itself, being alone: a turn without a switch.
    #[cold]
    pub(super) fn on_empty_yield(&self) {
        if let Some(limit @ Limit { budget: Budget::Switches(_), .. }) = self.limit.get() {
            self.limit.set(Some(Limit { mark: limit.mark.saturating_sub(1), ..limit }));
        }
    }

    /// Whether a tasklet that ends has used the budget up. Ticks are spent at ticks only; a hard slice ends with its tasklet.
    #[inline]
    pub(super) fn is_spent_at_an_end(&self, clock: &dyn Clock) -> bool {
        self.is_limited() && self.is_limit_spent_at_an_end(clock)
    }

    #[cold]
    fn is_limit_spent_at_an_end(&self, clock: &dyn Clock) -> bool {
        let counts = self.limit.get().is_some_and(|limit| limit.soft || !limit.per_slice);
        counts && !self.counts_ticks() && self.is_spent(clock)
    }

    /// Counts up to `n` ticks, as many as fit into the budget and at least one; returns how many.
    pub(super) fn take_ticks(&self, n: u64) -> u64 {
        let fitting = match self.limit.get() {
            Some(Limit { budget: Budget::Ticks(_), mark, .. }) => {
                mark.saturating_add(1).saturating_sub(self.ticks.get()).max(1)
            }
            _ => n,
        };
        let taken = n.min(fitting);
        self.ticks.set(self.ticks.get().saturating_add(taken));
        taken
    }

    /// The whole budget is available again.
    pub(super) fn restart(&self, clock: &dyn Clock) {
        if let Some(limit) = self.limit.get() {
            self.limit.set(Some(Limit { mark: self.mark(limit.budget, clock), ..limit }));
        }
    }

    /// The budget is as good as spent: an interrupt that was put off is due. Of ticks two more are granted, as Stackless does.
    pub(super) fn expire(&self, clock: &dyn Clock) {
        if let Some(limit) = self.limit.get() {
            let mark = match limit.budget {
                Budget::Switches(_) => 0,
                Budget::Ticks(_) => self.ticks.get() + 1,
                Budget::Time(_) => self.counter(limit.budget, clock).saturating_sub(1),
            };
            self.limit.set(Some(Limit { mark, ..limit }));
        }
    }

    /// When a total of time is used up.
    pub(super) fn ends_at(&self) -> Option<Duration> {
        match self.limit.get() {
            Some(Limit { budget: Budget::Time(_), per_slice: false, mark, .. }) => {
                Some(Duration::from_nanos(mark.saturating_add(1)))
            }
            _ => None,
        }
    }

    pub(super) fn switches(&self) -> u64 {
        self.switches.get()
    }
}
