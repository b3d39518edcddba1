//! The deterministic scheduler: one thread, Stackless's order, driven by its host.
//!
//! The order in which tasklets run is a contract, the same on every backend: rules R1-R66, which the files of this folder name
//! where they implement them. In short: runnable tasklets form a circle with a pointer to the running one; "last" means just
//! before the running one; a tasklet that yields keeps its place and the pointer moves on; a spawned or woken one is linked last;
//! after an exchange on a channel the receiver runs on, unless the channel prefers otherwise.
//!
//! | file | what it is |
//! |---|---|
//! | `ring` | the circle |
//! | `switch` | who goes on when the running tasklet gives way |
//! | `deadlock` | when nobody is left to go on |
//! | `lifecycle` | from first step to last; throw, kill, errors, the scheduler's end |
//! | `run` | `run`, nesting, budgets' effect |
//! | `budget`, `interrupt` | counting switches, ticks and time; what happens when they are used up |
//! | `pump` | a host with an event loop of its own |
//! | `inbox`, `timers` | what other threads ask for; waits whose time is up |
//! | `scheduler`, `tasklet`, `remote`, `suspend`, `guards`, `hooks`, `error`, `policy` | what a user holds |
//!
//! The functions here act on the scheduler of the code that calls them: of the running tasklet, or for host code the one made last
//! on its thread. They panic where there is none. What has no section *Scheduling* neither parks nor switches.

mod budget;
mod deadlock;
mod error;
mod guards;
mod hooks;
mod inbox;
mod inner;
mod interrupt;
mod lifecycle;
mod policy;
mod pump;
mod remote;
mod ring;
mod run;
mod scheduler;
mod stacks;
mod suspend;
mod switch;
mod tasklet;
mod timers;

use std::rc::Rc;

use tasklet_core::current as current_scheduler;
use tasklet_core::operation::{AnyBackend, Switch as SwitchBy};
use tasklet_core::park::ParkError;
use tasklet_core::scheduler::Scheduler as _;
use tasklet_core::tasklet::JoinHandle;

pub use budget::Budget;
pub use error::{RunError, TaskletError, TaskletStateError};
pub use guards::{Atomic, BlockTrap, SwitchTrap};
pub use hooks::{ChannelHook, ErrorHandler, ScheduleHook, Switch};
pub use lifecycle::Shutdown;
pub use policy::ErrorPolicy;
pub use pump::{Next, Pump};
pub use remote::{RemoteScheduler, RemoteTasklet};
pub use run::{RunOptions, RunOutcome};
pub use scheduler::{Builder, Scheduler, TaskletBuilder};
pub use suspend::{Resumer, SuspendError};
pub use tasklet::{State, Tasklet};

pub use crate::time::{Interval, interval, now, sleep, sleep_until, try_sleep_until};

use crate::engine::Host as _;
use inner::Inner;

impl Inner {
    /// Whether this scheduler may act for the calling code: one of its tasklets runs, or its host.
    fn check_here(&self) -> Result<(), ParkError> {
        if self.is_at_rest() || current_scheduler::id() == Some(self.home().id()) {
            Ok(())
        } else {
            Err(ParkError::Elsewhere)
        }
    }

    fn started(&self) -> Vec<Tasklet> {
        let heads = self.engine().occupied();
        // SAFETY: F1 and F2, just listed; a tasklet that sits on a fiber is alive.
        let records = heads.into_iter().filter_map(|head| unsafe { head.as_ref() }.tasklet.get());
        // SAFETY: as above.
        records.map(|record| Tasklet::new(self.share(unsafe { record.as_ref() }), self.shared())).collect()
    }
}

#[track_caller]
fn with<R>(f: impl FnOnce(&Inner) -> R) -> R {
    // SAFETY: what of users' code runs inside the functions below runs in a tasklet, which cannot drop its scheduler, or in a quiet
    // section, where dropping it is refused.
    match unsafe { current_scheduler::with_scheduler(f) } {
        Some(result) => result,
        None => no_scheduler(),
    }
}

/// Makes a tasklet and appends it to the queue. Never switches.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn spawn(f: impl FnOnce() + 'static) -> Tasklet {
    let site = scheduler::caller();
    with(|inner| TaskletBuilder::new(inner).at(site).spawn(f))
}

/// Makes a tasklet whose result or panic goes to the handle, and appends it to the queue. Never switches.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn spawn_joinable<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let site = scheduler::caller();
    with(|inner| TaskletBuilder::new(inner).at(site).spawn_joinable(f))
}

/// Makes a named tasklet and appends it to the queue. Never switches.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn spawn_named(name: impl Into<String>, f: impl FnOnce() + 'static) -> Tasklet {
    let (site, name) = (scheduler::caller(), name.into());
    with(|inner| TaskletBuilder::new(inner).at(site).name(name).spawn(f))
}

/// The tasklet that runs.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn current() -> Tasklet {
    with(|inner| Tasklet::new(inner.share(inner.current()), inner.shared()))
}

/// The main tasklet of the current scheduler.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn main() -> Tasklet {
    with(|inner| Tasklet::new(inner.main.clone(), inner.shared()))
}

/// Tasklets in the queue, the running one included.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn run_count() -> usize {
    with(|inner| inner.ring.len())
}

/// Yields: the next tasklet in the queue runs, and the caller when its turn comes. Does nothing while the thread is unwinding.
///
/// # Scheduling
///
/// The caller becomes last. Alone in the queue, it goes on.
///
/// # Panics
///
/// The switch trap is set, a hook calls, or there is no local scheduler on this thread.
/// Unwinds with what is thrown at the caller meanwhile.
#[track_caller]
pub fn schedule() {
    schedule_by::<AnyBackend>();
}

/// As [`schedule`], with the switch compiled into the caller: `S` is [`On`](tasklet_core::operation::On) a backend. Under another
/// backend it is the same, slower.
///
/// # Scheduling
///
/// As [`schedule`].
///
/// # Panics
///
/// As [`schedule`].
#[inline(always)]
#[track_caller]
pub fn schedule_by<S: SwitchBy>() {
    // SAFETY: a scheduler that has left its main tasklet refuses to be dropped.
    match unsafe { current_scheduler::with_scheduler(Inner::schedule_by::<S>) } {
        Some(Ok(()) | Err(ParkError::Unwinding)) => {}
        Some(Err(error)) => no_yield(error),
        None => no_scheduler(),
    }
}

#[cold]
#[track_caller]
fn no_yield(error: ParkError) -> ! {
    panic!("could not yield: {error}");
}

#[cold]
#[track_caller]
fn no_scheduler() -> ! {
    panic!("no local scheduler on this thread: make one with local::Scheduler::new() first");
}

/// As [`schedule`], but tells why it could not.
///
/// # Scheduling
///
/// As [`schedule`].
///
/// # Errors
///
/// See [`ParkError`].
///
/// # Panics
///
/// There is no local scheduler on this thread. Unwinds with what is thrown at the caller meanwhile.
#[track_caller]
pub fn try_schedule() -> Result<(), ParkError> {
    with(Inner::schedule)
}

/// Yields and leaves the queue: the caller is paused until somebody inserts or runs it.
///
/// # Scheduling
///
/// The next in the queue runs. If there is none, the caller of `run` does.
///
/// # Errors
///
/// See [`ParkError`]; the caller has not left the queue, or was put back.
///
/// # Panics
///
/// As [`try_schedule`].
#[track_caller]
pub fn schedule_remove() -> Result<(), ParkError> {
    with(Inner::schedule_remove)
}

/// Leaves the queue until a value arrives. `register` gets the [`Resumer`] that brings it.
///
/// # Scheduling
///
/// As [`schedule_remove`]; with the value, the caller is appended to the queue. If `register` resumes at once, nobody else runs.
///
/// # Errors
///
/// The resumer was dropped, somebody else brought the caller back, or it could not leave the queue.
///
/// # Panics
///
/// As [`try_schedule`], and with what `register` panics with.
///
/// # Examples
///
/// ```
/// # use tasklet_scheduler::local;
/// # use tasklet_backend_corosensei::Corosensei as Backend;
/// use std::{cell::RefCell, rc::Rc};
///
/// let scheduler = local::Scheduler::<Backend>::new();
/// let waiting = Rc::new(RefCell::new(Vec::new()));
/// let list = waiting.clone();
/// let answer = scheduler.spawn_joinable(move || local::suspend(|resumer| list.borrow_mut().push(resumer)));
/// scheduler.run().unwrap();
/// waiting.borrow_mut().pop().unwrap().resume(42);
/// assert_eq!(answer.join().unwrap(), Ok(42));
/// ```
#[track_caller]
pub fn suspend<T: 'static>(register: impl FnOnce(Resumer<T>)) -> Result<T, SuspendError> {
    let (resumer, slot) = Resumer::new(current());
    register(resumer);
    match suspend::outcome(&slot) {
        // Nobody has resumed yet.
        Err(SuspendError::Inserted) => {}
        done => return done,
    }
    match schedule_remove() {
        Ok(()) => suspend::outcome(&slot),
        Err(error) => Err(SuspendError::Park(error)),
    }
}

/// Runs tasklets from inside a tasklet until nothing is runnable; see [`Scheduler::run`].
///
/// # Scheduling
///
/// The caller leaves the queue, and the next in it runs. When nothing is runnable, the innermost caller of `run` goes on. If the
/// caller of an outer run is woken, the deeper ones become runnable too, behind it.
///
/// # Errors
///
/// See [`RunError`].
///
/// # Panics
///
/// There is no local scheduler on this thread. Unwinds with what is thrown at the caller meanwhile.
#[track_caller]
pub fn run() -> Result<RunOutcome, RunError> {
    run_with(RunOptions::new())
}

/// As [`run`], within budgets; see [`Scheduler::run_with`].
///
/// # Scheduling
///
/// As [`Scheduler::run_with`].
///
/// # Errors
///
/// See [`RunError`].
///
/// # Panics
///
/// As [`run`].
#[track_caller]
pub fn run_with(options: RunOptions) -> Result<RunOutcome, RunError> {
    with(|inner| inner.run(options))
}

/// A point where code that computes may be interrupted by a budget. Counts as one tick.
///
/// # Scheduling
///
/// Switches only if a hard budget is used up: then whoever called `run` with it goes on, and the caller leaves the queue. It is
/// handed out as [`RunOutcome::Interrupted`].
///
/// # Panics
///
/// As [`try_schedule`].
#[track_caller]
pub fn checkpoint() {
    tick(1);
}

/// As [`checkpoint`], for work worth `n` ticks: may be interrupted before each.
///
/// # Scheduling
///
/// As [`checkpoint`].
///
/// # Panics
///
/// As [`try_schedule`].
#[track_caller]
pub fn tick(n: u64) {
    with(|inner| inner.tick(n));
}

/// Forbids switches on the current scheduler while the guard lives.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn switch_trap() -> SwitchTrap {
    with(|inner| SwitchTrap::new(inner.shared()))
}

/// Forbids the running tasklet to block while the guard lives.
///
/// # Panics
///
/// There is no local scheduler on this thread.
#[track_caller]
pub fn block_trap() -> BlockTrap {
    BlockTrap::new(current())
}

/// Keeps budgets from interrupting the running tasklet while the guard lives.
///
/// # Panics
///
/// There is no local scheduler on this thread, or the tasklet has 65,535 such guards.
#[track_caller]
pub fn atomic() -> Atomic {
    let inner: Rc<Inner> = with(Inner::shared);
    Atomic::new(current(), inner)
}
