//! Threads for code that blocks: the tasklet parks, its worker goes on with others.
//!
//! A thread is started when work comes and none is idle, up to a limit; what comes beyond queues. An idle one ends after a while.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use tasklet_core::blocking::Job;

/// Threads for blocking calls, of one runtime.
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// There is work, or the pool is closed.
    changed: Condvar,
    /// A thread has ended.
    ended: Condvar,
    max_threads: usize,
    keep_alive: Duration,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
    calls: u64,
    /// The threads alive that have come to work.
    members: Vec<ThreadId>,
}

/// Figures of the threads for blocking calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Threads alive.
    pub threads: usize,
    /// Those of them that wait for work.
    pub idle: usize,
    /// Calls that wait for a thread.
    pub queued: usize,
    /// Calls there have been.
    pub calls: u64,
}

impl Pool {
    pub(super) fn new(max_threads: usize, keep_alive: Duration) -> Pool {
        Pool(Arc::new(Inner {
            state: Mutex::default(),
            changed: Condvar::new(),
            ended: Condvar::new(),
            max_threads,
            keep_alive,
        }))
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.0.lock();
        PoolStats { threads: state.threads, idle: state.idle, queued: state.queue.len(), calls: state.calls }
    }

    /// Has a thread call `job`. Gives it back if none can: the pool is closed, or the first thread could not be started.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(job);
        }
        state.calls += 1;
        state.queue.push_back(job);
        if state.idle >= state.queue.len() {
            self.0.changed.notify_one();
            return Ok(());
        }
        if state.threads == self.0.max_threads {
            return Ok(());
        }
        state.threads += 1;
        let inner = self.0.clone();
        let started = thread::Builder::new().name("tasklet-blocking".to_owned()).spawn(move || inner.work());
        if started.is_err() {
            state.threads -= 1;
            if state.threads == 0 {
                // Nobody would ever come for it. It is the last: we have not let go of the lock.
                return state.queue.pop_back().map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    /// Whether one of its threads calls.
    pub(super) fn is_member(&self) -> bool {
        self.0.lock().members.contains(&thread::current().id())
    }

    /// Takes no more work, and waits for what there is, for `limit` at most. Returns how many threads have not come back.
    pub(super) fn close(&self, limit: Option<Duration>) -> usize {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.changed.notify_all();
        // A limit beyond the end of time is none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        while state.threads != 0 {
            let Some(deadline) = deadline else {
                state = self.0.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.threads
    }
}

impl Inner {
    /// What a thread does.
    fn work(&self) {
        let id = thread::current().id();
        let mut state = self.lock();
        state.members.push(id);
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                // It catches what the user's code panics with.
                job();
                state = self.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let (woken, waited) =
                self.changed.wait_timeout(state, self.keep_alive).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.members.retain(|member| *member != id);
        state.threads -= 1;
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls `f` on a thread for blocking calls, while the tasklet parks: for files, for libraries that wait, for long computations. `f` may
/// borrow: the tasklet does not go on, and is not unwound, before `f` has returned. A kill takes effect then, and the result is dropped.
///
/// On a plain thread, or while the thread is unwinding, `f` is called right there. So it is if no thread can be had.
///
/// # Scheduling
///
/// The caller parks, and is appended to its worker's queue when `f` has returned.
///
/// # Panics
///
/// With what `f` panics with, and in a [swapped](crate::swapped) tasklet, from whose stack `f` cannot borrow while that waits. Unwinds with what is
/// thrown at the caller, when `f` has returned.
///
/// # Examples
///
/// ```
/// # use tasklet_backend_corosensei::Corosensei;
/// # use tasklet_scheduler::stealing::{self, Runtime};
/// # let runtime = Runtime::<Corosensei>::with_defaults()?;
/// # runtime.run(|| {
/// let path = String::from("Cargo.toml");
/// let text = stealing::blocking(|| std::fs::read_to_string(&path)).unwrap();
/// assert!(text.contains("[package]"));
/// # });
/// # Ok::<(), stealing::BuildError>(())
/// ```
#[track_caller]
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    tasklet_core::blocking::blocking(f)
}
