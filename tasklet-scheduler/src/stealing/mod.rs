//! The work-stealing scheduler: tasklets on every core.
//!
//! Each worker, a thread, has a queue of the tasklets that have started on it and a deque of those that have not. A worker that has nothing
//! to do steals from the others' deques: a tasklet that has started stays where it is, so `Rc`, guards and thread-locals are safe in it.
//! A new tasklet runs on the stack that the worker is on; only one that waits keeps a stack.
//!
//! | file | what it is |
//! |---|---|
//! | `builder`, `thread`, `runtime` | making, using and ending a runtime; workers and the threads that run them |
//! | `crew` | the protocol by which workers come and go |
//! | `spawn` | making tasklets |
//! | `worker`, `switch` | one worker, and what channels and joins ask of it |
//! | `choose` | who goes on next; the promise of fairness |
//! | `lifecycle` | beginnings, ends, kills; requests of other threads; the worker's end |
//! | `idle`, `sleep` | stealing, and the protocol of sleeping |
//! | `queue`, `task`, `timers` | what a worker's tasklets lie in |
//! | `scope`, `fork` | structured and fork-join parallelism |
//! | `time`, `cancel`, `extras` | time limits, tokens and masks, tasklet-local values |
//! | `migrate` | tasklets that may change their worker |
//! | `stacks` | stacks of tasklets that wait: measured, trimmed |
//! | `starved` | tasklets that wait for a stack |
//! | `soft`, `blocking` | futures; threads for code that blocks |
//! | `shared`, `metrics` | what workers share; figures |
//!
//! # What is promised about order
//!
//! Channels serve first in, first out. Every tasklet that can go on does so within a bound (written in `choose.rs`). Nothing else: who
//! runs next, and where, may change.
//!
//! The functions here act on the runtime of the tasklet that calls them, or the one that its thread has [entered](Handle::enter).

mod blocking;
mod builder;
mod cancel;
mod choose;
mod crew;
mod extras;
mod fork;
mod idle;
mod lifecycle;
mod metrics;
mod migrate;
mod queue;
mod runtime;
mod scope;
mod shared;
mod sleep;
mod soft;
mod spawn;
mod stacks;
mod starved;
mod switch;
mod task;
mod thread;
mod time;
mod timers;
mod worker;

use std::panic::Location;

use tasklet_core::current;
use tasklet_core::operation::{AnyBackend, Switch};
use tasklet_core::park::ParkError;
use tasklet_core::scheduler::Scheduler as _;
use tasklet_core::tasklet::spot::{self, Permit};
use tasklet_core::tasklet::{JoinHandle, Record};

pub use crate::time::{Interval, interval, now, sleep, sleep_until, try_sleep_until};
pub use blocking::{PoolStats, blocking};
pub use builder::{BuildError, Builder, PanicPolicy};
pub use cancel::{CancelToken, Mask, is_cancelled, mask};
pub(crate) use extras::Extras;
pub use extras::TaskletLocal;
pub use fork::join;
pub use metrics::Metrics;
pub use migrate::spawn_migratable;
pub use runtime::{Enter, Handle, Runtime, Shutdown, Unfinished, run_on};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use spawn::{SpawnError, TaskletBuilder};
pub use thread::WorkerThread;
pub use time::{Elapsed, SleepAsync, sleep_async, timeout};

use worker::Worker;

/// Makes a tasklet that any worker may start. Never switches.
///
/// If the runtime is ending, the tasklet counts as killed.
///
/// # Panics
///
/// The calling code belongs to no runtime and has entered none.
///
/// # Examples
///
/// ```
/// use tasklet_backend_corosensei::Corosensei;
/// use tasklet_scheduler::stealing::{self, Runtime};
///
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// let answer = runtime.run(|| {
///     let half = stealing::spawn(|| 21);
///     2 * half.join().unwrap()
/// });
/// assert_eq!(answer, 42);
/// # Ok::<(), stealing::BuildError>(())
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let site = Location::caller();
    let mut f = Some(f);
    // The way of most tasklets, without what a builder looks at.
    // SAFETY: a closure is moved, which runs no code.
    let spawned = unsafe { current::with_scheduler(|worker: &Worker| worker.spawn_plain(site, &mut f)) };
    match (spawned.flatten(), f) {
        (Some(handle), _) => handle,
        (None, Some(f)) => TaskletBuilder::at(site).spawn(f),
        (None, None) => unreachable!("the closure is here or was spawned"),
    }
}

/// As [`spawn`], but says why it could not.
///
/// # Errors
///
/// There is no runtime here, or it is ending.
#[track_caller]
pub fn try_spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, SpawnError> {
    TaskletBuilder::at(Location::caller()).try_spawn(f)
}

/// Makes a tasklet that stays on the calling worker, so that it may hold what cannot be sent. Never switches.
///
/// If the runtime is ending, the tasklet counts as killed.
///
/// # Panics
///
/// No tasklet of a runtime calls.
#[track_caller]
pub fn spawn_local<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    TaskletBuilder::at(Location::caller()).spawn_local(f)
}

/// Makes a tasklet that runs on one certain worker. Never switches.
///
/// # Errors
///
/// There is no such worker, no runtime here, or it is ending.
#[track_caller]
pub fn spawn_on<T: Send + 'static>(
    worker: usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    TaskletBuilder::at(Location::caller()).spawn_on(worker, f)
}

/// Makes a soft tasklet: a future that the workers poll, wherever one is free. Never switches.
///
/// A kill ends it at once, and drops the future; one that blocks inside of a poll goes on until it comes out of that.
///
/// If the runtime is ending, the tasklet counts as killed.
///
/// # Panics
///
/// The calling code belongs to no runtime and has entered none.
#[track_caller]
pub fn spawn_async<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    TaskletBuilder::at(Location::caller()).spawn_async(future)
}

/// Lets every other tasklet of this worker that can go on run first. On a plain thread, as [`std::thread::yield_now`].
///
/// # Scheduling
///
/// The caller is appended to its worker's queue. It goes on at once if nobody else can.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller meanwhile.
pub fn yield_now() {
    yield_by::<AnyBackend>();
}

/// As [`yield_now`], with the switch compiled into the caller: `S` is [`On`](tasklet_core::operation::On) a backend. Under another backend
/// it is the same, slower.
///
/// # Scheduling
///
/// As [`yield_now`].
///
/// # Panics
///
/// As [`yield_now`].
#[inline(always)]
pub fn yield_by<S: Switch>() {
    // SAFETY: a worker ends after its tasklets. The token is used up at once, for the fiber that runs.
    let yielded = unsafe {
        current::with_scheduler(|worker: &Worker| {
            let is_movable = worker.is_movable();
            if let Some(token) = worker.prepare_yield(S::BACKEND, worker::MayMove::Yes) {
                S::switch(worker, token);
            }
            if is_movable {
                // The worker may be another one now; the one above is not this thread's to touch.
                return false;
            }
            worker.finish_switch();
            true
        })
    };
    if yielded != Some(true) {
        finish_yield(yielded.is_some());
    }
}

/// The end of a yield that began on a worker and may have ended on another, or all of one where there is no worker.
#[cold]
#[inline(never)]
fn finish_yield(has_yielded: bool) {
    if has_yielded {
        // SAFETY: as in `yield_by`.
        unsafe { current::with_scheduler(|worker: &Worker| worker.finish_switch()) };
    } else {
        current::yield_now();
    }
}

/// A point where code that computes lets others run, now and then, and where kills and time limits reach it.
///
/// # Scheduling
///
/// As an operation on a channel that need not wait: after 128 of them the caller [gives way](yield_now).
///
/// # Panics
///
/// Unwinds with what is thrown at the caller.
#[inline]
pub fn checkpoint() {
    // SAFETY: a worker ends after its tasklets.
    unsafe {
        current::with_scheduler(|worker: &Worker| {
            if !worker.token.spend() {
                worker.attend()
            }
        })
    };
}

/// Parks the calling tasklet, or thread, until somebody [unparks](Unparker::unpark) it. As [`std::thread::park`]: a permit that is there is
/// taken at once, and the wait may end although nobody has left one.
///
/// # Scheduling
///
/// If there is a permit, the caller goes on. Else it parks.
///
/// # Errors
///
/// See [`ParkError`].
///
/// # Panics
///
/// Unwinds with what is thrown at the caller.
pub fn park() -> Result<(), ParkError> {
    spot::park().map(drop)
}

/// As [`park`], for `time` at most. Returns whether there was a permit.
///
/// # Scheduling
///
/// As [`park`].
///
/// # Errors
///
/// As [`park`].
///
/// # Panics
///
/// As [`park`].
pub fn park_timeout(time: std::time::Duration) -> Result<bool, ParkError> {
    Ok(spot::park_until(current::now().saturating_add(time))? == Permit::Taken)
}

/// The right to unpark a tasklet, from anywhere: [`unparker`] makes one for the caller, and [`JoinHandle::record`] leads to another's.
#[derive(Clone, Debug)]
pub struct Unparker(std::sync::Arc<Record>);

/// What unparks the calling tasklet, or thread.
pub fn unparker() -> Unparker {
    Unparker(current::record())
}

impl Unparker {
    /// Lets the tasklet go on that is [parked](park), or the next `park` of it return at once. On one that has ended, nothing happens.
    ///
    /// # Scheduling
    ///
    /// The tasklet is appended to its worker's queue. The caller goes on.
    pub fn unpark(&self) {
        self.0.spot().unpark();
    }
}

/// Which worker runs the calling tasklet; none on other threads.
pub fn worker_index() -> Option<usize> {
    // SAFETY: the worker is used for a number.
    unsafe { current::with_scheduler(|worker: &Worker| worker.index) }
}
