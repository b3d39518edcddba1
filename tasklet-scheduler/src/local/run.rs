//! Running tasklets from their host, or from one of themselves. Rules R37-R50 of the Stackless order.

use std::ptr::NonNull;
use std::time::Duration;

use tasklet_core::park::ParkError;
use tasklet_core::unwind::Payload;

use super::budget::Budget;
use super::error::RunError;
use super::inner::{Inner, Interrupted, Watchdog};
use super::tasklet::Tasklet;

/// How [`run_with`](super::Scheduler::run_with) shall run tasklets.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tasklet_scheduler::local::{Budget, RunOptions};
///
/// // Whatever is runnable, for five milliseconds, then back to the host between two tasklets.
/// let frame = RunOptions::new().total(Budget::Time(Duration::from_millis(5)));
/// // Take back the processor from any tasklet that counts more than 1000 ticks between two switches.
/// let guarded = RunOptions::new().slice(Budget::Ticks(1000)).hard();
/// # let _ = (frame, guarded);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    limit: Option<(Budget, PerSlice)>,
    hard: bool,
    block_thread: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PerSlice {
    Yes,
    No,
}

impl RunOptions {
    /// Until nothing is runnable, without a budget.
    pub const fn new() -> RunOptions {
        RunOptions { limit: None, hard: false, block_thread: false }
    }

    /// Limits what one tasklet may use between two switches. Replaces a total.
    pub const fn slice(self, budget: Budget) -> RunOptions {
        RunOptions { limit: Some((budget, PerSlice::Yes)), ..self }
    }

    /// Limits the whole run. Replaces a limit per slice.
    pub const fn total(self, budget: Budget) -> RunOptions {
        RunOptions { limit: Some((budget, PerSlice::No)), ..self }
    }

    /// When the budget is used up, `run` returns from the middle of the tasklet that used it, and hands the tasklet out, paused:
    /// [`RunOutcome::Interrupted`]. Otherwise it returns between two tasklets, and all stay queued.
    ///
    /// The middle of a tasklet is a scheduling point or [`checkpoint`](super::checkpoint); nothing is interrupted elsewhere. A
    /// scheduling point is an operation that may switch, even where it does not: one whose documentation has a section *Scheduling*.
    /// A total that is found spent at the end of a tasklet ends the run there, between two tasklets: [`RunOutcome::Budget`].
    pub const fn hard(self) -> RunOptions {
        RunOptions { hard: true, ..self }
    }

    /// When nothing is runnable, wait for other threads as long as one of them can make a tasklet runnable, and for the times of tasklets
    /// that sleep or wait with a limit. A total budget of time limits the waiting too: then the run ends with [`RunOutcome::Budget`].
    pub const fn block_thread(self) -> RunOptions {
        RunOptions { block_thread: true, ..self }
    }

    fn check(&self) -> Result<(), RunError> {
        let empty = match self.limit {
            Some((Budget::Switches(_), PerSlice::Yes)) => {
                return Err(RunError::Budget(
                    "a slice ends at every switch, so it cannot be limited in switches; limit the total",
                ));
            }
            Some((Budget::Switches(n), _)) => n == 0,
            Some((Budget::Ticks(n), _)) => n == 0,
            Some((Budget::Time(time), _)) => time.is_zero(),
            None => false,
        };
        if empty { Err(RunError::Budget("a budget of nothing runs nothing")) } else { Ok(()) }
    }
}

/// How a run ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunOutcome {
    /// Nothing is runnable. Tasklets may be blocked, asleep or paused.
    Idle,
    /// The budget is used up; the tasklets are queued as they were, the one that would have run next first. None is if time was used
    /// up [waiting](RunOptions::block_thread).
    Budget,
    /// The budget was used up by this tasklet, which is paused: insert it to let it go on, or kill it.
    Interrupted(Tasklet),
    /// Somebody has made the caller runnable although other tasklets are.
    Woken,
}

impl Inner {
    /// Runs tasklets until the caller is resumed (R38, R39).
    pub(super) fn run(&self, options: RunOptions) -> Result<RunOutcome, RunError> {
        options.check()?;
        self.poll();
        self.fire_timers();
        self.poll_events();
        if self.ring.len() > 1 || options.block_thread {
            self.may_switch().map_err(RunError::Park)?;
        } else if self.hooks.is_quiet() {
            return Err(RunError::Park(ParkError::InHook));
        }
        self.begin_run_with_stacks();
        let record = self.current();
        let this = NonNull::from(record);
        let replaced = match options.limit {
            // Only the outermost limit is in force (R45).
            Some((budget, per_slice)) if self.budget_owner.get().is_none() => {
                let replaced = self.meter.install(budget, per_slice == PerSlice::Yes, !options.hard, &self.clock());
                self.budget_owner.set(Some(this));
                Some(replaced)
            }
            _ => None,
        };
        let watchdog = Watchdog { record: this, block_thread: options.block_thread, error: None, replaced };
        self.watchdogs.borrow_mut().push(watchdog);
        self.hold(self.ring.remove(record, &self.token));
        let payload = self.leave(record);
        // A run that cannot wait has nothing to do; that is no error.
        self.local(record).fault.set(None);
        self.finish_run(this, payload)
    }

    fn finish_run(
        &self,
        this: NonNull<tasklet_core::tasklet::Record>,
        payload: Option<Payload>,
    ) -> Result<RunOutcome, RunError> {
        let error = self.unwind_watchdogs(this);
        let interrupted = self.interrupted.take();
        Self::raise(payload);
        if let Some(error) = error {
            return Err(error);
        }
        Ok(match interrupted {
            Some(Interrupted::Between) => RunOutcome::Budget,
            Some(Interrupted::Victim(victim)) => {
                if self.is_linked(&victim) {
                    self.hold(self.ring.remove(&victim, &self.token));
                }
                RunOutcome::Interrupted(Tasklet::new(victim, self.shared()))
            }
            None if self.ring.len() == 1 => RunOutcome::Idle,
            None => RunOutcome::Woken,
        })
    }

    /// Pops a caller of `run` that was resumed, and every deeper one; the deeper ones become runnable and return in due course
    /// (R39), each with its own error if it has one. Returns the caller's error.
    fn unwind_watchdogs(&self, this: NonNull<tasklet_core::tasklet::Record>) -> Option<RunError> {
        if !self.watchdogs.borrow().iter().any(|watchdog| watchdog.record == this) {
            let mut kept = self.kept_errors.borrow_mut();
            let index = kept.iter().position(|(record, _)| *record == this)?;
            return Some(kept.swap_remove(index).1);
        }
        loop {
            let popped = self.watchdogs.borrow_mut().pop()?;
            if let Some(replaced) = popped.replaced {
                self.meter.restore(replaced);
                self.budget_owner.set(None);
            }
            if popped.record == this {
                return popped.error;
            }
            if let Some(error) = popped.error {
                self.kept_errors.borrow_mut().push((popped.record, error));
            }
            // SAFETY: its stack is in `run`, so it is alive.
            let record = unsafe { popped.record.as_ref() };
            if !self.is_linked(record) && !self.is_blocked(record) {
                self.insert(record);
            }
        }
    }

    /// Runs for about `time`, then returns between two tasklets.
    pub(super) fn run_for(&self, time: Duration) -> Result<RunOutcome, RunError> {
        self.run(RunOptions::new().total(Budget::Time(time)))
    }
}
