//! A runtime as its owner and its handles see it.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_core::stack::Depot;
use tasklet_core::tasklet::JoinHandle;

use super::builder::{BuildError, Builder};
use super::crew::Phase;
use super::metrics::Metrics;
use super::shared::Shared;
use super::spawn::{SpawnError, TaskletBuilder};
use super::worker::Worker;

/// Workers, stacks and timers: runs tasklets on every core. Any number may exist, each made and dropped at will.
///
/// Dropping it [shuts it down](Self::shutdown) without a limit: it waits until every tasklet has ended.
///
/// # Panics
///
/// Dropping it inside one of its own tasklets, or inside a call of [`blocking`](super::blocking), panics: it would wait for itself. Its end has been asked for then, and the
/// workers end by themselves.
pub struct Runtime<B: Backend> {
    handle: Handle,
    /// Its end has been waited for.
    ended: bool,
    backend: PhantomData<fn() -> B>,
}

/// What a runtime looks like to those who use it: spawns, and tells figures. Clones are handles to the same runtime, and do not keep it
/// running.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl<B: Backend> Runtime<B> {
    pub(super) fn new(shared: Arc<Shared>) -> Runtime<B> {
        Runtime { handle: Handle { shared }, ended: false, backend: PhantomData }
    }

    /// A runtime with the defaults of [`Builder::new`].
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn with_defaults() -> Result<Runtime<B>, BuildError> {
        Builder::new().build()
    }

    /// A handle to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Spawns `f` as a tasklet, and waits for it on the calling thread.
    ///
    /// # Scheduling
    ///
    /// A plain thread is blocked, a tasklet of another runtime parks.
    ///
    /// # Panics
    ///
    /// With what `f` panics with; if one of the runtime's own tasklets calls, which would wait for its own worker; and in a
    /// [swapped](crate::swapped) tasklet of another, from whose stack `f` cannot borrow while that waits.
    #[track_caller]
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        assert!(
            !self.handle.is_current(),
            "a tasklet calls what it wants to run; `run` is for code outside of the runtime"
        );
        current::refuse_swapped("Runtime::run");
        let spawned = TaskletBuilder::at(Location::caller()).on(&self.handle);
        // SAFETY: we wait below until the tasklet has finished, whatever happens, and consume the handle.
        let handle = unsafe { spawned.spawn_unchecked(f) }.unwrap_or_else(|error| panic!("{error}"));
        if let Some(payload) = handle.wait_through() {
            drop(handle);
            resume_unwind(payload);
        }
        match handle.join() {
            Ok(value) => value,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic().unwrap_or_else(|| Box::new("a panic"))),
            Err(error) => panic!("the tasklet that was run has no result: {error}"),
        }
    }

    /// Kills all tasklets, waits for `limit` at most until they have ended and the workers' threads with them, and tells.
    ///
    /// Tasklets that have not started are dropped. One that catches the exit is killed ten times, then leaked and counted. What does not
    /// end in time, such as one that computes or a call of [`blocking`](super::blocking), is named in the report; its worker's thread
    /// ends when it comes back.
    ///
    /// # Panics
    ///
    /// One of the runtime's own tasklets calls.
    #[track_caller]
    pub fn shutdown(mut self, limit: Duration) -> Shutdown {
        if self.handle.would_wait_for_itself() {
            self.refuse_to_wait();
        }
        self.ended = true;
        self.handle.end(Some(limit))
    }

    #[cold]
    #[track_caller]
    fn refuse_to_wait(&mut self) {
        self.ended = true;
        self.handle.shared.advance(Phase::Closing);
        if !std::thread::panicking() {
            panic!(
                "a runtime cannot be ended by one of its own tasklets, nor inside a call of `blocking`: it would wait for itself; end \
                 it outside of it. It ends now without being waited for"
            );
        }
    }
}

impl<B: Backend> std::ops::Deref for Runtime<B> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl<B: Backend> Drop for Runtime<B> {
    #[track_caller]
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.handle.would_wait_for_itself() {
            self.refuse_to_wait();
        } else {
            let _ = self.handle.end(None);
        }
    }
}

impl<B: Backend> fmt::Debug for Runtime<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("backend", &B::NAME).field("workers", &self.workers()).finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) fn from_shared(shared: Arc<Shared>) -> Handle {
        Handle { shared }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shared.seats.len()
    }

    /// Whether one of its workers calls.
    pub fn is_current(&self) -> bool {
        // SAFETY: the worker is looked at and let go.
        let of = |worker: &Worker| Arc::ptr_eq(&worker.shared, &self.shared);
        // SAFETY: as above.
        unsafe { current::with_scheduler(of) }.unwrap_or(false)
    }

    /// Makes a tasklet that any worker may start. Never switches.
    ///
    /// If the runtime is ending, the tasklet counts as killed.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        TaskletBuilder::at(Location::caller()).on(self).spawn(f)
    }

    /// As [`spawn`](Self::spawn), but says if the runtime is ending.
    ///
    /// # Errors
    ///
    /// The runtime is ending.
    #[track_caller]
    pub fn try_spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        TaskletBuilder::at(Location::caller()).on(self).try_spawn(f)
    }

    /// Makes a tasklet that runs on one certain worker. Never switches.
    ///
    /// # Errors
    ///
    /// There is no such worker or it has not started, or the runtime is ending.
    #[track_caller]
    pub fn spawn_on<T: Send + 'static>(
        &self,
        worker: usize,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        TaskletBuilder::at(Location::caller()).on(self).spawn_on(worker, f)
    }

    /// Makes a soft tasklet: a future that the workers poll. Never switches.
    ///
    /// If the runtime is ending, the tasklet counts as killed.
    #[track_caller]
    pub fn spawn_async<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        TaskletBuilder::at(Location::caller()).on(self).spawn_async(future)
    }

    /// Until the guard is dropped, the free functions of this module act on this runtime when code of this thread calls them that is no
    /// tasklet.
    #[must_use = "the thread has entered the runtime while the guard lives"]
    pub fn enter(&self) -> Enter {
        let runtime: Arc<dyn Any + Send + Sync> = self.shared.clone();
        current::enter(runtime.clone());
        Enter { runtime, _not_send: PhantomData }
    }

    /// Figures of it, as of now.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.shared)
    }

    /// Where its stacks come from.
    pub fn depot(&self) -> &Depot {
        &self.shared.config.depot
    }

    /// Whether it takes tasklets: its end has not been asked for.
    pub fn is_open(&self) -> bool {
        self.shared.is_open()
    }

    /// Whether the runtime cannot end before the calling code has gone on.
    fn would_wait_for_itself(&self) -> bool {
        self.is_current() || self.shared.config.pool.is_member()
    }

    fn end(&self, limit: Option<Duration>) -> Shutdown {
        let shared = &self.shared;
        let start = Instant::now();
        shared.advance(Phase::Closing);
        let mut report = Shutdown::default();
        let mut ended = shared.wait_for_exit(limit);
        if !ended {
            report.unfinished = self.running();
            shared.advance(Phase::Leaking);
            // Those that only waited are leaked at once.
            ended = shared.wait_for_exit(Some(Duration::from_millis(50)));
            if !ended {
                let still = self.running();
                report.unfinished.retain(|tasklet| still.iter().any(|other| other.id == tasklet.id));
            } else {
                report.unfinished.clear();
            }
        }
        report.unfinished.extend(shared.take_leaked());
        report.missing = shared.take_missing();
        report.leaked = shared.leaked.load(std::sync::atomic::Ordering::Relaxed);
        let limit = limit.map(|limit| limit.saturating_sub(start.elapsed()).max(Duration::from_millis(1)));
        report.blocking = shared.config.pool.close(limit);
        report.workers =
            shared.seats.iter().filter(|seat| seat.alive.load(std::sync::atomic::Ordering::Relaxed)).count();
        report
    }

    fn running(&self) -> Vec<Unfinished> {
        let of = |seat: &super::shared::Seat| {
            let (id, site) = seat.running()?;
            let named = self.shared.name(id);
            let site = named.as_ref().map(|(_, site)| *site).or(site);
            Some(Unfinished { id, name: named.map(|(name, _)| name), site })
        };
        self.shared.seats.iter().filter_map(|seat| of(seat)).collect()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

/// While it lives, code of this thread spawns into the runtime: see [`Handle::enter`].
pub struct Enter {
    runtime: Arc<dyn Any + Send + Sync>,
    _not_send: PhantomData<*mut ()>,
}

impl Drop for Enter {
    fn drop(&mut self) {
        current::leave(&self.runtime);
    }
}

impl fmt::Debug for Enter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enter")
    }
}

/// What a runtime's end has left behind.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// Tasklets that would not end: they ran on when the time was up, or caught every kill.
    pub unfinished: Vec<Unfinished>,
    /// How many were leaked, stack and all, since they would not end; the runtime's life long.
    pub leaked: u64,
    /// Workers whose thread has not come back.
    pub workers: usize,
    /// Calls of [`blocking`](super::blocking) that have not come back.
    pub blocking: usize,
    /// Why workers of a runtime that was [built without them](Builder::build_unstarted) have not started, which has ended it.
    pub missing: Vec<String>,
}

impl Shutdown {
    /// Whether everything has ended.
    pub fn is_clean(&self) -> bool {
        self.unfinished.is_empty()
            && self.leaked == 0
            && self.workers == 0
            && self.blocking == 0
            && self.missing.is_empty()
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("everything has ended");
        }
        write!(
            f,
            "{} tasklets were leaked, {} workers and {} blocking calls have not come back",
            self.leaked, self.workers, self.blocking
        )?;
        for tasklet in &self.unfinished {
            write!(f, "; {tasklet} would not end")?;
        }
        for why in &self.missing {
            write!(f, "; {why}")?;
        }
        Ok(())
    }
}

/// A tasklet that would not end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Its identity's number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: Option<&'static Location<'static>>,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tasklet {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        self.site.map_or(Ok(()), |site| write!(f, " spawned at {site}"))
    }
}

/// Runs `f` as a tasklet of a new runtime with the default settings, and returns what it returns. Tasklets that are left then are
/// killed.
///
/// # Panics
///
/// With what `f` panics with; if the workers could not be started; and if called by a tasklet whose worker would wait for it.
#[track_caller]
pub fn run_on<B: Backend, T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let runtime = Runtime::<B>::with_defaults().unwrap_or_else(|error| panic!("{error}"));
    let result = catch_unwind(AssertUnwindSafe(|| runtime.run(f)));
    drop(runtime);
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use tasklet_backend_corosensei::Corosensei;

    use super::*;

    #[test]
    fn nothing_of_a_runtime_is_left_after_its_end() {
        for shut_down in [false, true] {
            let runtime = Runtime::<Corosensei>::with_defaults().unwrap();
            let shared = Arc::downgrade(&runtime.handle.shared);
            runtime.run(|| {});
            if shut_down {
                assert!(runtime.shutdown(Duration::from_secs(60)).is_clean());
            } else {
                drop(runtime);
            }
            // The threads of the workers let go of it after they have said that they are done.
            let start = Instant::now();
            while shared.strong_count() != 0 {
                assert!(start.elapsed() < Duration::from_secs(10), "something still holds what its workers share");
                std::thread::yield_now();
            }
        }
    }
}
