//! Waits with a time limit: when the scheduler looks at its clock, and what happens when the time is up.
//!
//! A tasklet whose time is up is claimed where it waits and appended to the queue, as one that another thread wakes. Those whose times
//! have come together are appended in the order of their times, and of starting to wait among equals.
//!
//! The clock is looked at where requests of other threads are: at scheduling points, but only if there is a timer, and not at each of
//! them, since it costs as much as two yields. Where points follow each other closely up to [`MAX_SKIPPED`] go by in between. At the
//! beginning of a run, and whenever nobody is runnable, it is looked at in any case; so a run does not end while a sleeper is due.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::clock::Clock as _;
use tasklet_core::park::Wake;
use tasklet_core::scheduler::TimerKey;
use tasklet_core::tasklet::Record;

use crate::timers::Timers;

use super::inner::Inner;

/// The most scheduling points that go by between two looks at the clock: a yield of 9 ns then takes 12, measured.
const MAX_SKIPPED: u32 = 15;

/// Looks that were further apart than this follow each other at every point: what lies between two points is long beside the clock's cost.
const CLOSE: Duration = Duration::from_micros(10);

/// Scheduling points between two looks at the events of the operating system, once a tasklet has waited for any: each is a system call. A guess.
const POLL_EVERY: u32 = 64;

/// The timers of one scheduler, and when it looks at them.
#[derive(Default)]
pub(super) struct Alarms {
    timers: Timers<Arc<Record>>,
    /// Points that go by before the next look.
    skip: Cell<u32>,
    /// How many went by before the last one.
    skipped: Cell<u32>,
    /// The time of the last look.
    looked: Cell<Duration>,
    /// The scheduler ends: nothing goes off any more.
    closed: Cell<bool>,
    /// Points before events are looked at; none if nobody has waited for any.
    until_poll: Cell<Option<u32>>,
}

impl Alarms {
    fn start(&self, at: Duration, record: Arc<Record>) -> TimerKey {
        if self.closed.get() {
            return TimerKey { at, number: self.timers.number() };
        }
        // It may be due already: then the wait ends as soon as it begins.
        self.skip.set(0);
        self.timers.start(at, record)
    }

    /// The clock was looked at.
    fn note_look(&self, now: Duration) {
        let is_close = now.saturating_sub(self.looked.replace(now)) <= CLOSE;
        let skip = if is_close { (self.skipped.get() * 2 + 1).min(MAX_SKIPPED) } else { 0 };
        self.skipped.set(skip);
        self.skip.set(skip);
    }
}

impl Inner {
    /// Limits the next wait of the running tasklet.
    pub(super) fn start_alarm(&self, at: Duration) -> TimerKey {
        let record = self.current();
        self.local(record).timed_out.set(false);
        self.alarms.start(at, self.share(record))
    }

    /// The wait is over.
    pub(super) fn stop_alarm(&self, key: TimerKey) {
        self.current_local().timed_out.set(false);
        let record = self.alarms.timers.stop(key);
        self.hooks.drop_quietly(record);
    }

    /// At a scheduling point: does what is due, if it is time to look.
    #[inline]
    pub(super) fn poll_timers(&self) {
        if self.alarms.timers.earliest().is_some() || self.alarms.until_poll.get().is_some() {
            self.pass_point();
        }
    }

    #[inline(never)]
    fn pass_point(&self) {
        match self.alarms.until_poll.get() {
            Some(0) => self.poll_events(),
            left => self.alarms.until_poll.set(left.map(|left| left - 1)),
        }
        match self.alarms.skip.get().checked_sub(1) {
            Some(left) => self.alarms.skip.set(left),
            None => self.fire_timers(),
        }
    }

    /// The driver waits for events from now on.
    pub(super) fn expect_events(&self) {
        self.alarms.until_poll.set(Some(self.alarms.until_poll.get().unwrap_or(POLL_EVERY)));
    }

    /// Looks at events, if somebody has waited for any. Switches to nobody.
    pub(super) fn poll_events(&self) {
        if self.alarms.until_poll.get().is_some() && !self.hooks.is_quiet() {
            self.alarms.until_poll.set(Some(POLL_EVERY));
            self.poll_driver();
        }
    }

    /// Does what is due. Switches to nobody.
    pub(super) fn fire_timers(&self) {
        // Not from the clock itself.
        if self.alarms.timers.earliest().is_none() || self.hooks.is_quiet() {
            return;
        }
        let now = self.clock().now();
        self.alarms.note_look(now);
        let _quiet = self.hooks.quiet();
        while let Some(record) = self.alarms.timers.take_due(now) {
            let fields = self.local(&record);
            match fields.wait() {
                Some(wait) => {
                    // Another thread may have claimed it: its wake is on the way.
                    self.end_wait(&record, wait, Wake::TimedOut);
                }
                // It has not come to its wait yet, or does not wait any more and forgets this.
                None => fields.timed_out.set(true),
            }
        }
    }

    /// The time of the running tasklet was up before it came to its wait.
    #[cold]
    pub(super) fn give_up_wait(&self, record: &Record) {
        if let Some(wait) = self.local(record).wait() {
            self.end_wait(record, wait, Wake::TimedOut);
        }
    }

    /// Whether a timer will make a tasklet runnable: not one whose tasklet was paused on the way to its wait.
    pub(super) fn has_sleepers(&self) -> bool {
        self.alarms.timers.any(|record| self.local(record).wait().is_some())
    }

    /// Whether this tasklet's wait has a time limit.
    pub(super) fn is_limited(&self, record: &Record) -> bool {
        self.alarms.timers.any(|other| NonNull::from(&**other) == NonNull::from(record))
    }

    /// When the next timer goes off.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.alarms.timers.earliest()
    }

    /// Nobody is runnable: sleeps until another thread has asked for something, the next timer goes off, stacks are to be looked
    /// at, or the clock shows `end`.
    pub(super) fn doze(&self, end: Option<Duration>) {
        self.look_at_stacks();
        self.cool_stacks();
        let until = self.alarms.timers.earliest().into_iter().chain(end).chain(self.looks.due()).min();
        let limit = until.map(|at| at.saturating_sub(self.clock().now()));
        self.wait(limit);
        self.take_requests();
    }

    /// The scheduler ends: its tasklets are killed one by one, and none wakes in between because its time is up.
    pub(super) fn close_timers(&self) {
        self.alarms.closed.set(true);
        let records: Vec<_> = self.alarms.timers.clear().collect();
        self.hooks.drop_quietly(records);
    }
}
