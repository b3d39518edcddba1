//! What the workers of one runtime and its handles share.

use std::collections::HashMap;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_deque::{Injector, Stealer};
use crossbeam_utils::CachePadded;
use tasklet_core::backend::Moves;
use tasklet_core::clock::Clock;
use tasklet_core::home::{Home, Remote};
use tasklet_core::id::{TaskletId, TaskletIds};
use tasklet_core::stack::{Depot, StackSize};
use tasklet_core::tasklet::{Site, StackKind};

use crate::swapped::SwapError;

use super::blocking::Pool;
use super::builder::PanicPolicy;
use super::crew::{Crew, Phase};
use super::runtime::Unfinished;
use super::sleep::Sleep;
use super::soft::Registry;
use super::task::{PackedTask, Task};
use super::worker::Grave;

/// One runtime, whatever its backend.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) injector: Injector<PackedTask>,
    pub(super) sleep: Sleep,
    pub(super) seats: Box<[CachePadded<Seat>]>,
    /// Names of the tasklets that have one and have started, for reports.
    names: Mutex<HashMap<u64, (String, &'static Location<'static>)>>,
    /// Soft tasklets that have not ended, for the end of the runtime.
    pub(super) softs: Registry,
    /// Those that were leaked.
    unfinished: Mutex<Vec<Unfinished>>,
    crew: Crew,
    /// Tasklets leaked because they would not end.
    pub(super) leaked: AtomicU64,
    /// Workers that have ended, and whose memory is in use.
    graves: Mutex<Vec<Grave>>,
    /// Why workers have not started that should have.
    missing: Mutex<Vec<String>>,
    /// Identities for tasklets that are spawned from outside.
    ids: Mutex<TaskletIds>,
    /// Spawned from outside.
    pub(super) spawned_outside: AtomicU64,
}

/// What others may see of one worker.
pub(super) struct Seat {
    pub(super) stealer: Stealer<PackedTask>,
    home: OnceLock<Arc<Home>>,
    /// Tasklets in the deque that have started and may move: they are there to be taken.
    pub(super) offered: AtomicU32,
    /// Moves whenever the worker goes on with another tasklet: whether it gets on.
    pub(super) ticks: AtomicU32,
    /// The tasklet that runs; zero if none does.
    running: AtomicU64,
    running_site: AtomicPtr<()>,
    pub(super) alive: AtomicBool,
    /// The worker was asked to give memory back, and has not come to it yet.
    pub(super) asked: AtomicBool,
    /// The worker sleeps for want of a stack, and was not told of one since.
    pub(super) starved: AtomicBool,
    pub(super) counters: Counters,
}

/// Counts of one worker: it alone writes, so each is a load and a store.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) spawned: Count,
    pub(super) started: Count,
    pub(super) finished: Count,
    pub(super) stolen: Count,
    pub(super) polled: Count,
    pub(super) slept: Count,
    /// What its slots held when it looked last.
    pub(super) slots: Count,
    pub(super) seats: Count,
    pub(super) copied: Count,
    pub(super) trimmed: Count,
}

#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// One more. On the thread that owns it.
    #[inline]
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// So many. On the thread that owns it.
    pub(super) fn set(&self, n: usize) {
        self.0.store(n as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Seat {
    pub(super) fn new(stealer: Stealer<PackedTask>) -> Seat {
        Seat {
            stealer,
            home: OnceLock::new(),
            offered: AtomicU32::new(0),
            ticks: AtomicU32::new(0),
            running: AtomicU64::new(0),
            running_site: AtomicPtr::new(ptr::null_mut()),
            alive: AtomicBool::new(true),
            asked: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// The worker's address, once it has started.
    pub(super) fn home(&self) -> Option<&Arc<Home>> {
        self.home.get()
    }

    /// The worker goes on with this tasklet, or with none.
    #[inline]
    pub(super) fn set_running(&self, id: u64, site: Option<Site>) {
        self.running.store(id, Ordering::Relaxed);
        self.running_site.store(site.map_or(ptr::null_mut(), Site::into_raw), Ordering::Relaxed);
        self.tick();
    }

    /// The worker gets on.
    #[inline]
    pub(super) fn tick(&self) {
        self.ticks.store(self.ticks.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Which tasklet runs there and where it was spawned, unless it has a name; the two may be of different ones for a moment.
    pub(super) fn running(&self) -> Option<(u64, Option<&'static Location<'static>>)> {
        let id = self.running.load(Ordering::Relaxed);
        let site = NonNull::new(self.running_site.load(Ordering::Relaxed));
        // SAFETY: what is not null was stored by `set_running`.
        (id != 0).then_some((id, site.and_then(|site| unsafe { Site::from_raw(site) }.get())))
    }
}

/// What a runtime was made with.
pub(super) struct Config {
    /// What sleeping and time limits follow.
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    /// How late a timer may be.
    pub(super) timer_slack: Duration,
    pub(super) depot: Depot,
    /// Of tasklets that ask for no other.
    pub(super) stack_size: StackSize,
    /// How long a tasklet waits before its stack is looked at.
    pub(super) trim_after: Option<Duration>,
    pub(super) panic_policy: PanicPolicy,
    pub(super) pool: Pool,
    /// Whether the backend's coroutines may change their thread.
    pub(super) moves: Moves,
    /// Of tasklets that ask for no other.
    pub(super) kind: StackKind,
    /// Why its tasklets cannot be swapped, if they cannot.
    pub(super) swap_error: Option<SwapError>,
}

impl Shared {
    pub(super) fn new(stealers: impl ExactSizeIterator<Item = Stealer<PackedTask>>, config: Config) -> Shared {
        let workers = stealers.len();
        Shared {
            config,
            injector: Injector::new(),
            sleep: Sleep::new(workers),
            seats: stealers.map(|stealer| CachePadded::new(Seat::new(stealer))).collect(),
            names: Mutex::default(),
            softs: Registry::default(),
            unfinished: Mutex::default(),
            crew: Crew::new(workers),
            leaked: AtomicU64::new(0),
            graves: Mutex::default(),
            missing: Mutex::default(),
            ids: Mutex::default(),
            spawned_outside: AtomicU64::new(0),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.crew.phase()
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.crew.is_open()
    }

    /// Moves the end on, and tells every worker. Those that no thread has come for are not waited for.
    pub(super) fn advance(&self, to: Phase) {
        self.leave(&self.crew.advance(to));
        for seat in &self.seats {
            if let Some(home) = seat.home() {
                let _ = home.submit(Remote::Recheck);
            }
        }
    }

    /// Puts work into the injector, and calls a worker for it.
    pub(super) fn inject(&self, task: Task) {
        self.injector.push(task.pack());
        self.notify(self.sleep.call_for_injected());
        // The last worker empties the injector: if that was before the push, we do (C3 of `crew`, with the fence of `call_for_injected`).
        if !self.is_open() {
            self.discard_injected();
        }
    }

    /// Drops what is in the injector: its tasklets end as killed.
    pub(super) fn discard_injected(&self) {
        loop {
            match self.injector.steal() {
                crossbeam_deque::Steal::Success(task) => drop(task),
                crossbeam_deque::Steal::Retry => {}
                crossbeam_deque::Steal::Empty => return,
            }
        }
    }

    /// Ends a worker's wait.
    pub(super) fn notify(&self, worker: Option<usize>) {
        if let Some(home) = worker.and_then(|worker| self.seats[worker].home()) {
            home.notify();
        }
    }

    /// An identity for a tasklet that is spawned from outside.
    pub(super) fn next_id(&self) -> TaskletId {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).next_id()
    }

    /// A tasklet with a name begins to run, for reports.
    pub(super) fn add_name(&self, id: TaskletId, name: &str, site: &'static Location<'static>) {
        self.names().insert(id.get(), (name.to_owned(), site));
    }

    pub(super) fn remove_name(&self, id: TaskletId) {
        self.names().remove(&id.get());
    }

    /// The name of a tasklet that has started and has one, and where it was spawned.
    pub(super) fn name(&self, id: u64) -> Option<(String, &'static Location<'static>)> {
        self.names().get(&id).cloned()
    }

    fn names(&self) -> MutexGuard<'_, HashMap<u64, (String, &'static Location<'static>)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker has leaked a tasklet that would not end.
    pub(super) fn add_leaked(&self, tasklet: Unfinished) {
        self.leaked.fetch_add(1, Ordering::Relaxed);
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).push(tasklet);
    }

    pub(super) fn take_leaked(&self) -> Vec<Unfinished> {
        std::mem::take(&mut self.unfinished.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps an ended worker until all have ended.
    pub(super) fn bury(&self, worker: Grave) {
        self.graves.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    /// A thread comes for a worker. False if it is too late: the runtime ends.
    pub(super) fn worker_starts(&self, index: usize) -> bool {
        self.crew.start(index)
    }

    /// A worker that runs has an address. Returns whether it is to end at once: then nobody may have told it.
    pub(super) fn set_home(&self, index: usize, home: &Arc<Home>) -> bool {
        self.crew.enter(|| drop(self.seats[index].home.set(home.clone())))
    }

    /// Whether a worker is waited for. If so, it is until it has [exited](Self::worker_exited).
    pub(super) fn awaits(&self, index: usize) -> bool {
        self.crew.awaits(index)
    }

    /// A worker has exited, or will not start. The runtime is closed, or others work on.
    pub(super) fn worker_exited(&self, index: usize) {
        if self.crew.exit(index) {
            self.leave(&[index]);
        }
    }

    /// Nobody waits for these any more.
    fn leave(&self, workers: &[usize]) {
        for &index in workers {
            self.seats[index].alive.store(false, Ordering::Relaxed);
        }
        self.crew.leave(workers.len(), || {
            // Nobody comes for these any more.
            self.discard_injected();
            self.softs.discard_all();
            let graves = std::mem::take(&mut *self.graves.lock().unwrap_or_else(PoisonError::into_inner));
            drop(graves);
        });
    }

    /// A worker has not started, for this reason.
    pub(super) fn add_missing(&self, why: String) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }

    pub(super) fn take_missing(&self) -> Vec<String> {
        std::mem::take(&mut self.missing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until all workers have exited, or for `limit`. Returns whether they have.
    pub(super) fn wait_for_exit(&self, limit: Option<Duration>) -> bool {
        self.crew.wait(limit)
    }
}
