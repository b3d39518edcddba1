//! What channels, joins and other wait sites ask of the scheduler they run under.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use crate::blocking::Job;
use crate::channel::{ChannelEvent, HandOver};
use crate::driver::Driver;
use crate::home::Home;
use crate::id::TaskletId;
use crate::operation::SwitchToken;
use crate::park::{ParkError, Parked, WaitSite, Wake};
use crate::stack::StackUsage;
use crate::stack::overflow::RunningTasklet;
use crate::tasklet::Record;

/// Whether a scheduler has a channel hook to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Operations are told to [`Scheduler::channel_event`].
    Yes,
    /// Nobody listens.
    No,
}

/// Names a timer of one scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey {
    /// When it goes off, on the scheduler's clock.
    pub at: Duration,
    /// Tells it from others at the same time: the scheduler's own count.
    pub number: u64,
}

/// Decides which tasklet of its own runs next. Called on its own thread only, by the tasklet that runs.
///
/// The protocol of parking is in [`park`](crate::park), the meaning of [`HandOver`] in [`channel`](crate::channel).
///
/// # Safety
///
/// An implementor promises:
///
/// 1. **S1** [`home`](Self::home) is always the same, and its token is the implementor's: all tasklets it runs belong to it.
/// 2. **S2** A [`SwitchToken`] is what its constructor asks for, and no tasklet is resumed before the one that ran is suspended.
/// 3. **S3** When [`prepare_park`](Self::prepare_park) or [`prepare_hand_over`](Self::prepare_hand_over) unwinds, the caller is the
///    running tasklet, and it counts as waiting nowhere or its stack is never left: nobody uses the site of a wait that has ended.
/// 4. **S4** [`running`](Self::running) only reads memory that is valid whenever a signal comes.
/// 5. **S5** [`suspend`](Self::suspend) suspends the token's fiber and does nothing else.
/// 6. **S6** Whatever safe code does with a [`Parked`], its own or another's, leads to a panic, a leak or a wait for ever at worst.
pub unsafe trait Scheduler: Any {
    /// Where other threads reach this scheduler; tells its tasklets from others'.
    fn home(&self) -> &Arc<Home>;

    /// The tasklet that runs.
    fn current_id(&self) -> TaskletId;

    /// One more count of the tasklet that runs.
    fn current_record(&self) -> Arc<Record>;

    /// Name and stack of the tasklet that runs, for a report of a stack overflow. Called from a signal handler: reads memory and
    /// does nothing else. `None` for the main tasklet, whose stack is not ours.
    fn running(&self) -> Option<RunningTasklet<'_>>;

    /// The first step of every operation that may switch, before any lock is taken: requests of other threads and budgets are
    /// looked at, and the caller may be interrupted here. Tells whether channel operations are observed. Left out for operations that
    /// were [granted](crate::home::HomeToken::grant).
    fn begin_operation(&self) -> Observed;

    /// Whether the running tasklet may park now.
    ///
    /// # Errors
    ///
    /// See [`ParkError`]; a deadlock is found later, when the switch is prepared.
    fn may_park(&self) -> Result<(), ParkError>;

    /// Takes the running tasklet out of the queue. It goes on running until it parks, which it must do next: the [`Parked`] goes to a
    /// wait site, and the operation ends with [`Step::Park`](crate::operation::Step::Park).
    fn begin_park(&self) -> Parked;

    /// [`may_park`](Self::may_park), then [`begin_park`](Self::begin_park): one call through a table of functions instead of two.
    ///
    /// # Errors
    ///
    /// As [`may_park`](Self::may_park).
    #[inline]
    fn try_park(&self) -> Result<Parked, ParkError> {
        self.may_park()?;
        Ok(self.begin_park())
    }

    /// Does all of a park but the switch: the next tasklet is the one that runs, for whoever resumes fibers to see. `backend` is the
    /// one whose switch the caller has compiled in. The running tasklet has called [`begin_park`](Self::begin_park), and `site` holds
    /// its [`Parked`] under `key`, or held it until somebody claimed it.
    ///
    /// # Panics
    ///
    /// The running tasklet has not called [`begin_park`](Self::begin_park).
    ///
    /// # Safety
    ///
    /// - The caller does with a token what [`SwitchToken`] says, at once, and then calls [`finish_park`](Self::finish_park). `site`
    ///   stays valid until then.
    unsafe fn prepare_park(&self, site: &dyn WaitSite, key: usize, backend: &'static TypeId) -> Option<SwitchToken>;

    /// The caller of [`prepare_park`](Self::prepare_park) goes on.
    ///
    /// # Errors
    ///
    /// [`ParkError::Deadlock`] or [`ParkError::MainDeserted`]: nobody would ever have woken the caller. It was unlinked from its site.
    ///
    /// # Panics
    ///
    /// Unwinds with what was thrown at the caller; it was unlinked from its site if nobody had claimed it.
    fn finish_park(&self) -> Result<Wake, ParkError>;

    /// Makes a parked tasklet runnable, here or on its own scheduler. The caller goes on.
    fn unpark(&self, who: Parked);

    /// Whether a hand-over to `who` would be refused.
    ///
    /// # Errors
    ///
    /// It would switch, and may not.
    fn may_hand_over(&self, who: &Record, how: HandOver) -> Result<(), ParkError>;

    /// Makes a partner runnable after an exchange and decides who goes on; does all but the switch, if there is to be one. A partner
    /// of another scheduler goes to its inbox, and the caller goes on.
    ///
    /// # Safety
    ///
    /// The caller does with a token what [`SwitchToken`] says, at once, and then calls [`finish_switch`](Self::finish_switch).
    unsafe fn prepare_hand_over(&self, who: Parked, how: HandOver, backend: &'static TypeId) -> Option<SwitchToken>;

    /// The caller of [`prepare_hand_over`](Self::prepare_hand_over) goes on.
    ///
    /// # Panics
    ///
    /// Unwinds with what was thrown at the caller while it had given way.
    fn finish_switch(&self);

    /// Its clock's time, in which [`start_timer`](Self::start_timer) counts.
    fn now(&self) -> Duration;

    /// Limits the next wait of the running tasklet: if it waits at `at`, whoever has not claimed it by then never will, and it finds
    /// [`Wake::TimedOut`]. The caller [stops](Self::stop_timer) the timer when the wait is over. `None` if there are no timers here.
    fn start_timer(&self, at: Duration) -> Option<TimerKey>;

    /// Ends [`start_timer`](Self::start_timer). Does nothing if the timer has gone off.
    fn stop_timer(&self, key: TimerKey);

    /// A number that nobody can foresee, unless the scheduler's order is to be the same in each run: which of several things that are
    /// ready is taken.
    fn random(&self) -> u64;

    /// From now on, or not any more, the running tasklet waits for something that it must not be disturbed in: what is thrown at it
    /// waits too. Schedulers that do not care wake it all the same, and it waits again.
    fn set_masked(&self, masked: bool) {
        let _ = masked;
    }

    /// How much memory the stack of the running tasklet takes; none if that is not one of [ours](crate::stack).
    fn stack_usage(&self) -> Option<StackUsage> {
        None
    }

    /// Whether there is a place for [`offload`](Self::offload).
    fn can_offload(&self) -> bool {
        false
    }

    /// Has `job` called on a thread that may block. Gives it back if none can be had.
    ///
    /// # Errors
    ///
    /// There is no such thread.
    fn offload(&self, job: Job) -> Result<(), Job> {
        Err(job)
    }

    /// Calls `f` with what the scheduler waits on when it has nothing to run, if it has such a thing and its own code does not use it.
    fn with_driver(&self, f: &mut dyn FnMut(&dyn Driver)) {
        let _ = f;
    }

    /// Suspends the running fiber, for callers that do not know its backend.
    ///
    /// # Safety
    ///
    /// As [`SwitchToken`] says.
    unsafe fn suspend(&self, token: SwitchToken);

    /// Tells the channel hook about an operation.
    fn channel_event(&self, event: &ChannelEvent) {
        let _ = event;
    }

    /// Lets every other runnable tasklet run first. Does nothing where a switch is not allowed.
    fn yield_now(&self);
}
