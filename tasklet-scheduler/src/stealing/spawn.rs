//! Making tasklets: name, stack size, and where they may run.

use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tasklet_core::backend::Moves;
use tasklet_core::current;
use tasklet_core::id::TaskletId;
use tasklet_core::stack::StackSize;
use tasklet_core::tasklet::{JoinHandle, Record, Spec, StackKind, Unstarted};

use super::builder::PanicPolicy;
use super::runtime::Handle;
use super::shared::Shared;
use super::soft;
use super::task::Task;
use super::worker::Worker;
use crate::swapped::SwapError;

/// A tasklet to be made, with a name, a stack size or in a certain runtime.
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until it spawns"]
pub struct TaskletBuilder {
    runtime: Option<Handle>,
    name: Option<String>,
    stack_size: Option<StackSize>,
    kind: Option<StackKind>,
    site: &'static Location<'static>,
}

impl TaskletBuilder {
    /// A tasklet of the runtime that the calling code belongs to or has entered.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "the caller's place is part of it")]
    pub fn new() -> TaskletBuilder {
        TaskletBuilder::at(Location::caller())
    }

    pub(super) fn at(site: &'static Location<'static>) -> TaskletBuilder {
        TaskletBuilder { runtime: None, name: None, stack_size: None, kind: None, site }
    }

    /// A tasklet of this runtime.
    pub fn on(mut self, runtime: &Handle) -> Self {
        self.runtime = Some(runtime.clone());
        self
    }

    /// Its name in reports and in the message at a stack overflow.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The stack it needs, if not the runtime's default. If no such stack can be had when it starts, its handle
    /// [says so](tasklet_core::tasklet::JoinError::stack_error).
    pub fn stack_size(mut self, size: StackSize) -> Self {
        self.stack_size = Some(size);
        self
    }

    /// It shares a large stack with others of its worker, in turns: while it waits, what it has on the stack is copied away if another needs that, to
    /// memory that is as large as that. [Its stack's size](Self::stack_size) is that of a [slot](super::Builder::slots), whatever is asked for. A
    /// [soft](Self::spawn_async) tasklet has no stack, so it is none of these.
    ///
    /// # Safety
    ///
    /// The obligations of whoever makes a [swapped tasklet](crate::swapped), for all that the builder makes.
    pub unsafe fn swapped(mut self) -> Self {
        self.kind = Some(StackKind::Swapped);
        self
    }

    /// It has a stack of its own, also in a runtime whose tasklets are [swapped](super::Builder::swapped) otherwise.
    pub fn stackful(mut self) -> Self {
        self.kind = Some(StackKind::Private);
        self
    }

    fn spec(&mut self, shared: &Shared) -> Result<Spec, SpawnError> {
        let kind = self.kind.unwrap_or(shared.config.kind);
        if let (StackKind::Swapped, Some(error)) = (kind, shared.config.swap_error) {
            return Err(SpawnError { kind: Kind::CannotSwap(error) });
        }
        Ok(Spec {
            name: self.name.take(),
            site: self.site,
            stack_size: self.stack_size.unwrap_or(shared.config.stack_size),
            kind,
        })
    }

    /// Makes the tasklet; any worker may start it. Never switches.
    ///
    /// If the runtime is ending, the tasklet counts as killed.
    ///
    /// # Panics
    ///
    /// The calling code belongs to no runtime and has entered none.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // SAFETY: nothing is borrowed.
        unsafe { self.spawn_unchecked(f) }.unwrap_or_else(|error| error.panic())
    }

    /// As [`spawn`](Self::spawn), but says why it could not.
    ///
    /// # Errors
    ///
    /// There is no runtime here, or it is ending.
    pub fn try_spawn<T: Send + 'static>(
        self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        if self.runtime_is_closed()? {
            return Err(SpawnError { kind: Kind::Closed });
        }
        // SAFETY: nothing is borrowed.
        unsafe { self.spawn_unchecked(f) }
    }

    fn runtime_is_closed(&self) -> Result<bool, SpawnError> {
        match &self.runtime {
            Some(runtime) => Ok(!runtime.is_open()),
            None => Handle::try_current().map(|runtime| !runtime.is_open()),
        }
    }

    /// As [`spawn`](Self::spawn), for a closure that borrows.
    ///
    /// # Safety
    ///
    /// What `f` and its result borrow stays valid until the tasklet has finished and the handle is gone.
    pub(super) unsafe fn spawn_unchecked<T: Send>(
        mut self,
        f: impl FnOnce() -> T + Send,
    ) -> Result<JoinHandle<T>, SpawnError> {
        let runtime = self.runtime.take();
        let wanted = runtime.as_ref().map(Handle::shared);
        if let Some(worker) = worker_here(wanted) {
            // SAFETY: the worker whose code runs lives, and this code does not give way.
            let worker = unsafe { worker.as_ref() };
            let spec = self.spec(&worker.shared)?;
            // SAFETY: the caller's promise.
            let (unstarted, handle) = unsafe { free(&worker.shared, worker.next_id(), spec, f) };
            worker.counters().spawned.add(1);
            worker.push(Task::Start(unstarted));
            return Ok(handle);
        }
        let entered = if runtime.is_none() { current::entered::<Shared>() } else { None };
        let Some(shared) = wanted.or(entered.as_ref()) else { return Err(SpawnError { kind: Kind::NoRuntime }) };
        let spec = self.spec(shared)?;
        // SAFETY: the caller's promise.
        let (unstarted, handle) = unsafe { free(shared, shared.next_id(), spec, f) };
        shared.spawned_outside.fetch_add(1, Ordering::Relaxed);
        shared.inject(Task::Start(unstarted));
        Ok(handle)
    }

    /// Makes a tasklet that may change its worker wherever it yields: see [`spawn_migratable`](super::spawn_migratable). Never switches.
    ///
    /// # Errors
    ///
    /// As [`spawn_migratable`](super::spawn_migratable).
    ///
    /// # Safety
    ///
    /// As [`spawn_migratable`](super::spawn_migratable).
    pub unsafe fn spawn_migratable<T: Send + 'static>(
        mut self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        let runtime = self.runtime.take().map_or_else(Handle::try_current, Ok)?;
        let shared = runtime.shared();
        if self.kind.unwrap_or(shared.config.kind) == StackKind::Swapped {
            return Err(SpawnError { kind: Kind::SwappedStays });
        }
        if shared.config.moves == Moves::No {
            return Err(SpawnError { kind: Kind::CannotMove });
        }
        if !runtime.is_open() {
            return Err(SpawnError { kind: Kind::Closed });
        }
        let spec = self.spec(shared)?;
        // SAFETY: nothing is borrowed.
        let (unstarted, handle) = unsafe { free(shared, shared.next_id(), spec, f) };
        // SAFETY: the caller's promise.
        unsafe { unstarted.set_movable() };
        shared.spawned_outside.fetch_add(1, Ordering::Relaxed);
        shared.inject(Task::Start(unstarted));
        Ok(handle)
    }

    /// Makes a tasklet that stays on the calling worker, so that it may hold what cannot be sent. Never switches.
    ///
    /// If the runtime is ending, the tasklet counts as killed.
    ///
    /// # Panics
    ///
    /// No tasklet of the stealing scheduler calls, or the builder is [for](Self::on) another runtime than its own.
    #[track_caller]
    pub fn spawn_local<T: 'static>(mut self, f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        let wanted = self.runtime.take();
        // SAFETY: as in `spawn_unchecked`.
        let spawned = unsafe {
            current::with_scheduler(|worker: &Worker| {
                if wanted.is_some_and(|wanted| !Arc::ptr_eq(wanted.shared(), &worker.shared)) {
                    return Err(SpawnError { kind: Kind::NotAWorker });
                }
                let spec = self.spec(&worker.shared)?;
                let id = worker.next_id();
                let (record, handle) = match worker.shared.config.panic_policy {
                    PanicPolicy::Keep => Record::joinable(id, spec, &worker.token, f),
                    PanicPolicy::Abort => Record::joinable(id, spec, &worker.token, || watched(f)),
                };
                worker.counters().spawned.add(1);
                worker.local(&record).admitted.set(true);
                if worker.closing.get() {
                    worker.discard(&record);
                } else {
                    worker.queue.push(record);
                }
                Ok(handle)
            })
        };
        spawned.unwrap_or(Err(SpawnError { kind: Kind::NotAWorker })).unwrap_or_else(|error| error.panic())
    }

    /// Makes a tasklet that runs on one certain worker. Never switches.
    ///
    /// # Errors
    ///
    /// There is no such worker or it has not started, no runtime here, or it is ending.
    pub fn spawn_on<T: Send + 'static>(
        mut self,
        worker: usize,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        let runtime = self.runtime.take().map_or_else(Handle::try_current, Ok)?;
        let shared = runtime.shared();
        let of = shared.seats.len();
        let seat = shared.seats.get(worker).ok_or(SpawnError { kind: Kind::NoSuchWorker { worker, of } })?;
        let home = seat.home().ok_or(SpawnError { kind: Kind::NotStarted { worker } })?;
        let spec = self.spec(shared)?;
        let id = shared.next_id();
        let (posted, handle) = match shared.config.panic_policy {
            PanicPolicy::Keep => Record::joinable_at(id, spec, home, f),
            PanicPolicy::Abort => Record::joinable_at(id, spec, home, || watched(f)),
        };
        shared.spawned_outside.fetch_add(1, Ordering::Relaxed);
        if posted.submit() {
            return Ok(handle);
        }
        Err(SpawnError { kind: Kind::Closed })
    }

    /// Makes a soft tasklet: a future that the workers poll, wherever one is free. Never switches.
    ///
    /// If the runtime is ending, the tasklet counts as killed.
    ///
    /// # Panics
    ///
    /// The calling code belongs to no runtime and has entered none.
    #[track_caller]
    pub fn spawn_async<F>(mut self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let runtime = self.runtime.take();
        let wanted = runtime.as_ref().map(Handle::shared);
        if let Some(worker) = worker_here(wanted) {
            // SAFETY: the worker whose code runs lives, and this code does not give way.
            let worker = unsafe { worker.as_ref() };
            let (soft, handle) = soft::make(&worker.shared, worker.next_id(), self.site, self.name, future);
            worker.counters().spawned.add(1);
            worker.push(Task::Poll(soft));
            return handle;
        }
        let entered = if runtime.is_none() { current::entered::<Shared>() } else { None };
        let shared = wanted.or(entered.as_ref());
        let shared = shared.unwrap_or_else(|| SpawnError { kind: Kind::NoRuntime }.panic());
        let (soft, handle) = soft::make(shared, shared.next_id(), self.site, self.name, future);
        shared.spawned_outside.fetch_add(1, Ordering::Relaxed);
        shared.inject(Task::Poll(soft));
        handle
    }
}

/// The worker that calls, if it is of the runtime that is wanted, or of any if none is.
#[inline]
fn worker_here(wanted: Option<&Arc<Shared>>) -> Option<NonNull<Worker>> {
    // As a pointer, since what is to be spawned is used in one of two places.
    let here = |worker: &Worker| {
        wanted.is_none_or(|wanted| Arc::ptr_eq(wanted, &worker.shared)).then_some(NonNull::from(worker))
    };
    // SAFETY: what of the user's code runs in a spawn moves a closure, and cannot end the worker it runs on.
    unsafe { current::with_scheduler(here) }.flatten()
}

impl Handle {
    /// The runtime that the calling code belongs to or has entered.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn try_current() -> Result<Handle, SpawnError> {
        // SAFETY: the worker is used for a clone.
        let of_worker = unsafe { current::with_scheduler(|worker: &Worker| worker.shared.clone()) };
        let shared = of_worker.or_else(current::entered::<Shared>);
        shared.map(Handle::from_shared).ok_or(SpawnError { kind: Kind::NoRuntime })
    }
}

impl Worker {
    /// Makes a tasklet without anything special. `None` if the runtime's panic policy is.
    #[inline]
    pub(super) fn spawn_plain<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        site: &'static Location<'static>,
        f: &mut Option<F>,
    ) -> Option<JoinHandle<T>> {
        if self.shared.config.panic_policy != PanicPolicy::Keep {
            return None;
        }
        let spec = Spec { name: None, site, stack_size: self.shared.config.stack_size, kind: self.shared.config.kind };
        let (unstarted, handle) = Record::free(self.next_id(), spec, f.take()?);
        self.counters().spawned.add(1);
        self.push(Task::Start(unstarted));
        Some(handle)
    }

    /// Puts work into the worker's own deque, and calls another worker for it.
    #[inline]
    pub(super) fn push(&self, task: Task) {
        let task = task.pack();
        if self.closing.get() {
            drop(task);
            return;
        }
        self.deque.push(task);
        self.call_others();
    }

    /// Calls another worker for what is in the deque.
    #[inline]
    pub(super) fn call_others(&self) {
        if let Some(other) = self.shared.sleep.call() {
            self.shared.notify(Some(other));
        }
    }
}

/// # Safety
///
/// As [`Record::free_unchecked`].
unsafe fn free<T: Send>(
    shared: &Shared,
    id: TaskletId,
    spec: Spec,
    f: impl FnOnce() -> T + Send,
) -> (Unstarted, JoinHandle<T>) {
    match shared.config.panic_policy {
        // SAFETY: the caller's promise.
        PanicPolicy::Keep => unsafe { Record::free_unchecked(id, spec, f) },
        // SAFETY: as above.
        PanicPolicy::Abort => unsafe { Record::free_unchecked(id, spec, || watched(f)) },
    }
}

/// Calls `f` where a panic is looked at before it goes to the handle.
fn watched<T>(f: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => value,
        Err(payload) => {
            // SAFETY: the worker prints a message.
            unsafe { current::with_scheduler(|worker: &Worker| worker.on_panic(&payload)) };
            resume_unwind(payload)
        }
    }
}

/// A tasklet could not be made.
#[derive(Clone, Debug)]
pub struct SpawnError {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    NoRuntime,
    NotAWorker,
    CannotMove,
    CannotSwap(SwapError),
    SwappedStays,
    Closed,
    NoSuchWorker { worker: usize, of: usize },
    NotStarted { worker: usize },
}

impl SpawnError {
    /// The calling code belongs to no runtime.
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.kind, Kind::NoRuntime | Kind::NotAWorker)
    }

    /// The tasklet cannot change its worker: the backend's coroutines cannot change their thread, or it is swapped.
    pub fn is_cannot_move(&self) -> bool {
        matches!(self.kind, Kind::CannotMove | Kind::SwappedStays)
    }

    /// The runtime's backend does not let stacks be copied away.
    pub fn is_cannot_swap(&self) -> bool {
        matches!(self.kind, Kind::CannotSwap(_))
    }

    /// The runtime is ending.
    pub fn is_closed(&self) -> bool {
        matches!(self.kind, Kind::Closed)
    }

    #[track_caller]
    fn panic(&self) -> ! {
        panic!("could not spawn a tasklet: {self}")
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::NoRuntime => f.write_str(
                "there is no runtime here: spawn from a tasklet of one, or make one and use Runtime::spawn, Runtime::run or Runtime::enter",
            ),
            Kind::NotAWorker => f.write_str(
                "no tasklet of a runtime calls, so there is no worker to stay on: use spawn, or spawn_on with a worker's number",
            ),
            Kind::CannotMove => f.write_str(
                "the runtime's backend cannot resume a tasklet on another thread: use spawn, or the backend corosensei or context",
            ),
            Kind::CannotSwap(error) => error.fmt(f),
            Kind::SwappedStays => f.write_str(
                "a swapped tasklet stays at its worker's slot and cannot move: use spawn, or TaskletBuilder::stackful to give it a stack of its own",
            ),
            Kind::Closed => f.write_str("the runtime is ending and takes no more tasklets"),
            Kind::NoSuchWorker { worker, of } => {
                write!(f, "there is no worker {worker}: the runtime has {of}, numbered from 0")
            }
            Kind::NotStarted { worker } => {
                write!(f, "worker {worker} has not started: see Builder::build_unstarted, or use spawn, for any worker")
            }
        }
    }
}

impl std::error::Error for SpawnError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use tasklet_backend_corosensei::Corosensei;

    use crate::stealing::{Runtime, TaskletBuilder};

    #[test]
    fn closure_for_a_worker_that_has_gone_is_dropped_by_the_caller() {
        let runtime = Runtime::<Corosensei>::with_defaults().unwrap();
        let handle = runtime.handle();
        drop(runtime);
        let held = Arc::new(());
        let inside = held.clone();
        let error = TaskletBuilder::new().on(&handle).name("late").spawn_on(0, move || drop(inside)).unwrap_err();
        assert!(error.is_closed());
        assert_eq!(Arc::strong_count(&held), 1, "the closure is gone, and what it held");
    }
}
