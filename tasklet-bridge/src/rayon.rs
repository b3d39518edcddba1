//! Computing on a pool of rayon's, while the tasklet that asks for it parks.
//!
//! A tasklet that calls rayon itself keeps its worker until rayon is done, and with it all other tasklets there. With these functions the
//! pool's threads compute, and the worker goes on with others. Parallel iterators, `join` and `scope` inside of them work as
//! they do in a pool: on the pool's threads.
//!
//! On a plain thread, and on one of the pool's own threads, each does what rayon's function of that name does.
//!
//! The pool is a [`ThreadPool`], or [`Global`]: rayon's own.

use rayon_core::ThreadPool;
use tasklet_core::blocking::{self, Job};
use tasklet_core::current;
use tasklet_core::tasklet::JoinHandle;

/// Where rayon's functions compute that are called without a pool: in the pool whose thread calls, else in one of the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Global;

/// A pool of rayon's: a [`ThreadPool`], or the [`Global`] one.
pub trait Pool: sealed::Sealed {}

impl Pool for ThreadPool {}
impl Pool for Global {}

mod sealed {
    use super::Job;

    /// What is asked of a pool.
    pub trait Sealed: Sync {
        /// Whether one of its threads calls.
        fn is_member(&self) -> bool;

        /// Has one of its threads call this.
        fn submit(&self, job: Job);

        /// Calls this on one of its threads, and blocks the caller.
        fn call<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T;
    }
}

impl sealed::Sealed for ThreadPool {
    fn is_member(&self) -> bool {
        self.current_thread_index().is_some()
    }

    fn submit(&self, job: Job) {
        self.spawn(job);
    }

    fn call<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.install(f)
    }
}

impl sealed::Sealed for Global {
    fn is_member(&self) -> bool {
        rayon_core::current_thread_index().is_some()
    }

    fn submit(&self, job: Job) {
        rayon_core::spawn(job);
    }

    fn call<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        rayon_core::scope(|_| f())
    }
}

/// Calls `f` in the pool, as [`ThreadPool::install`], and parks the calling tasklet meanwhile. `f` may borrow: the tasklet does not go on, and is not
/// unwound, before `f` has returned. A kill, a time limit or a cancellation takes effect then, and the result is dropped.
///
/// A plain thread is blocked, as is that of a tasklet that unwinds. On a thread of the pool, `f` is called right there.
///
/// # Scheduling
///
/// The caller parks, and is appended to the queue of its scheduler when `f` has returned.
///
/// # Panics
///
/// With what `f` panics with, and in a swapped tasklet, from whose stack `f` cannot borrow while that waits: [`spawn`], and join that. Unwinds with
/// what is thrown at the caller, when `f` has returned.
///
/// # Examples
///
/// ```
/// use rayon::prelude::*;
/// use tasklet_bridge::rayon::{Global, install};
/// # use tasklet_backend_corosensei::Corosensei;
/// # use tasklet_scheduler::stealing::{self, Runtime};
///
/// # let runtime = Runtime::<Corosensei>::with_defaults()?;
/// # runtime.run(|| {
/// // In a tasklet:
/// let mut numbers: Vec<u64> = (0..10_000).rev().collect();
/// let sum: u64 = install(&Global, || {
///     numbers.par_sort();
///     numbers.par_iter().sum()
/// });
/// assert_eq!((sum, numbers[1]), (49_995_000, 1));
/// # });
/// # Ok::<(), stealing::BuildError>(())
/// ```
#[track_caller]
pub fn install<T: Send>(pool: &impl Pool, f: impl FnOnce() -> T + Send) -> T {
    if pool.is_member() || current::id().is_none() || std::thread::panicking() {
        return pool.call(f);
    }
    blocking::elsewhere("rayon::install", |job| pool.submit(job), f)
}

/// Calls `a` and `b` in the pool, in parallel if a thread is free, as [`rayon_core::join`]; otherwise as [`install`].
///
/// # Scheduling
///
/// As [`install`].
///
/// # Panics
///
/// As [`install`], and with what `a` panics with, else with what `b` does; both have ended then.
///
/// # Examples
///
/// ```
/// use tasklet_bridge::rayon::{Global, join};
///
/// let words = ["a", "b", "c"];
/// assert_eq!(join(&Global, || words.len(), || words.concat()), (3, "abc".to_owned()));
/// ```
#[track_caller]
pub fn join<A: Send, B: Send>(pool: &impl Pool, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    install(pool, || rayon_core::join(a, b))
}

/// Has the pool call `f`, as [`ThreadPool::spawn`], and returns at once. The handle is one as of a tasklet: it is joined, awaited, selected, from
/// anywhere; when it is dropped, `f` goes on, and what it returns is dropped.
///
/// A kill through the handle before `f` was called drops `f`. Later it has no effect: rayon's jobs are not interrupted.
///
/// # Panics
///
/// What `f` panics with is kept for the handle.
///
/// # Examples
///
/// ```
/// use tasklet_bridge::rayon::{Global, spawn};
///
/// let sum = spawn(&Global, || (1..=4).sum::<u32>());
/// assert_eq!(sum.join().unwrap(), 10);
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(pool: &impl Pool, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (job, handle) = blocking::deferred(f);
    pool.submit(job);
    handle
}
