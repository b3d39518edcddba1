//! One worker: a thread's queue, deque, timers and fibers, and what channels and joins ask of it.
//!
//! | file | what it does |
//! |---|---|
//! | `switch` | giving way |
//! | `choose` | who goes on next |
//! | `lifecycle` | beginnings and ends of tasklets, requests of others, the worker's end |
//! | `idle` | the root: stealing, searching, sleeping |
//!
//! # Invariants
//!
//! - **W1** The right to run a started tasklet is one count of its record, in one place: `own` while it runs, the queue while it can
//!   go on, a [`Parked`] while it waits.
//! - **W2** `running` is the tasklet whose code runs, or `idle` on the root. Its record is alive: its count is in `own`, or in the
//!   `Parked` that was made of that, which frees nothing when it is dropped.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_deque::Worker as Deque;
use tasklet_core::backend::Backend;
use tasklet_core::clock::Clock as _;
use tasklet_core::driver::Driver;
use tasklet_core::home::{Home, HomeToken};
use tasklet_core::id::{TaskletId, TaskletIds};
use tasklet_core::operation::{On, Switch};
use tasklet_core::random::Random;
use tasklet_core::scheduler::TimerKey;
use tasklet_core::tasklet::{Local, Record, Spec};
use tasklet_core::unwind::AbortOnUnwind;

use super::idle::first_patience;
use super::queue::Queue;
use super::shared::{Counters, Shared};
use super::starved::Hunger;
use super::task::PackedTask;
use super::timers::{Timer, coalesced};
use crate::engine::{Engine, FiberHead, Fibers};
use crate::timers::Timers;
use crate::trim::Looks;

/// Operations that a tasklet may do at a stretch before it gives way to others that can go on.
pub(super) const BUDGET: u32 = 128;

/// One worker of a runtime. It lives on its thread's stack for as long as the thread runs tasklets.
pub(crate) struct Worker {
    pub(super) token: HomeToken,
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) engine: Box<dyn Engine<Worker>>,
    /// The type of the backend that `engine` is made for.
    pub(super) backend: &'static TypeId,
    driver: RefCell<Option<Box<dyn Driver>>>,
    pub(super) running: Cell<NonNull<Record>>,
    pub(super) own: Cell<Option<Arc<Record>>>,
    /// Stands for the worker's own code.
    pub(super) idle: Arc<Record>,
    pub(super) queue: Queue,
    pub(super) deque: Deque<PackedTask>,
    pub(super) timers: Timers<Timer>,
    pub(super) tick: Cell<u32>,
    /// Depth of sections in which the user's code runs in the middle of the worker's: nothing switches there.
    pub(super) quiet: Cell<u32>,
    /// A new tasklet could not start for want of a stack, and none has become free since.
    pub(super) starved: Cell<bool>,
    /// When it is looked for one again.
    pub(super) hunger: Hunger,
    /// Tasklets of this worker alone that wait for a stack.
    pub(super) waiting_for_stack: RefCell<VecDeque<Arc<Record>>>,
    /// What polls soft tasklets, when none is being polled.
    pub(super) spare_runner: Cell<Option<Arc<Record>>>,
    /// The tasklet that waits with its thread blocked, and whether its wait is over.
    pub(super) blocked: Cell<Option<NonNull<Record>>>,
    pub(super) closing: Cell<bool>,
    /// Slots at which nobody sits are to be ended, on the root.
    pub(super) slots_to_trim: Cell<bool>,
    /// When the runtime ends: how often in a row all tasklets were killed although none has ended since, and how many there were.
    pub(super) kills: Cell<(u32, usize)>,
    /// A tasklet has left for another worker.
    pub(super) has_given_up: Cell<bool>,
    /// A tasklet that may move, and has just been suspended: the root offers it to all workers. A count of it, as a pointer, since it is
    /// looked at for every switch.
    pub(super) departing: Cell<Option<NonNull<Record>>>,
    /// Rounds of the next search for work before the worker sleeps: see `idle`.
    pub(super) patience: Cell<u32>,
    /// When stacks are looked at.
    pub(super) looks: Looks,
    pub(super) random: Random,
    ids: RefCell<TaskletIds>,
    _not_send: PhantomData<*mut ()>,
}

/// Whether a yield may be the point where a tasklet goes to another worker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MayMove {
    Yes,
    /// Frames of ours on its stack know the worker.
    No,
}

/// What a worker is made of, on its thread.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) deque: Deque<PackedTask>,
    pub(super) driver: Box<dyn Driver>,
}

/// A worker that has ended.
pub(super) struct Grave(#[expect(dead_code, reason = "kept for its memory")] Box<Worker>);

// SAFETY: `finish` has dropped what belongs to the thread. What is left holds no tasklet, and is dropped as a whole.
unsafe impl Send for Grave {}

/// A quiet section: lasts while this lives.
pub(super) struct Quiet<'a>(&'a Cell<u32>);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Worker {
    pub(super) fn new<B: Backend>(parts: Parts, engine: Fibers<B, Worker>) -> Worker {
        let token = Home::new(parts.driver.notifier());
        let mut ids = TaskletIds::default();
        let spec = Spec { name: Some(format!("worker {}", parts.index)), ..Spec::here() };
        let (workers, looks) = (parts.shared.seats.len(), Looks::new(parts.shared.config.trim_after));
        let idle = Record::main(ids.next_id(), spec, &token);
        // Nobody can have it queued as a new one.
        idle.local(&token).admitted.set(true);
        Worker {
            token,
            shared: parts.shared,
            index: parts.index,
            engine: Box::new(engine),
            backend: On::<B>::BACKEND,
            driver: RefCell::new(Some(parts.driver)),
            running: Cell::new(NonNull::from(&*idle)),
            own: Cell::new(None),
            idle,
            queue: Queue::default(),
            deque: parts.deque,
            timers: Timers::default(),
            random: Random::unforeseen(),
            tick: Cell::new(0),
            // The root is the worker's own code.
            quiet: Cell::new(0),
            starved: Cell::new(false),
            hunger: Hunger::default(),
            waiting_for_stack: RefCell::default(),
            spare_runner: Cell::new(None),
            blocked: Cell::new(None),
            closing: Cell::new(false),
            slots_to_trim: Cell::new(false),
            kills: Cell::new((0, 0)),
            departing: Cell::new(None),
            has_given_up: Cell::new(false),
            patience: Cell::new(first_patience(workers)),
            looks,
            ids: RefCell::new(ids),
            _not_send: PhantomData,
        }
    }

    #[inline]
    pub(super) fn counters(&self) -> &Counters {
        &self.shared.seats[self.index].counters
    }

    #[inline]
    pub(super) fn next_id(&self) -> TaskletId {
        self.ids.borrow_mut().next_id()
    }

    #[inline]
    pub(super) fn local<'a>(&self, record: &'a Record) -> &'a Local {
        record.local(&self.token)
    }

    #[inline]
    pub(super) fn fiber_of(&self, record: &Record) -> Option<NonNull<FiberHead>> {
        self.local(record).fiber.get().map(NonNull::cast)
    }

    /// The tasklet that runs, or the worker's own record.
    #[inline]
    pub(super) fn current(&self) -> &Record {
        // SAFETY: W2, and the borrow ends before the tasklet gives way or ends.
        unsafe { self.running.get().as_ref() }
    }

    #[inline]
    pub(super) fn current_local(&self) -> &Local {
        // SAFETY: the running tasklet belongs to this worker, which has compared it when it began.
        unsafe { self.current().local_unchecked() }
    }

    /// The fiber of the tasklet that runs.
    pub(super) fn current_head(&self) -> Option<&FiberHead> {
        // SAFETY: F1 and F2, the fiber that a tasklet sits on is alive.
        self.fiber_of(self.current()).map(|head| unsafe { head.as_ref() })
    }

    #[inline]
    pub(super) fn is_on_root(&self) -> bool {
        std::ptr::eq(self.running.get().as_ptr(), Arc::as_ptr(&self.idle))
    }

    /// Begins a quiet section.
    pub(super) fn quiet(&self) -> Quiet<'_> {
        self.quiet.set(self.quiet.get() + 1);
        Quiet(&self.quiet)
    }

    /// Whether a tasklet's own code runs, which may give way.
    #[inline]
    pub(super) fn is_in_tasklet(&self) -> bool {
        self.quiet.get() == 0 && !self.is_on_root()
    }

    pub(super) fn now(&self) -> Duration {
        let _quiet = self.quiet();
        let guard = AbortOnUnwind::new("a runtime's clock");
        let now = self.shared.config.clock.now();
        guard.disarm();
        now
    }

    /// Starts a timer, which may go off together with others a little later.
    pub(super) fn start(&self, at: Duration, timer: Timer) -> TimerKey {
        self.start_from(|| self.now(), at, timer)
    }

    /// As [`start`](Self::start), for a caller who may know what the clock shows.
    pub(super) fn start_from(&self, now: impl FnOnce() -> Duration, at: Duration, timer: Timer) -> TimerKey {
        let slack = self.shared.config.timer_slack;
        let at = if slack.is_zero() { at } else { coalesced(at, now(), slack) };
        self.timers.start(at, timer)
    }

    /// Makes a tasklet the one that runs, for the root to resume.
    #[inline]
    pub(super) fn set_running(&self, next: Arc<Record>) {
        self.running.set(NonNull::from(&*next));
        self.token.grant(BUDGET);
        self.shared.seats[self.index].set_running(next.id().get(), Some(next.site_at_hand()));
        self.own.set(Some(next));
    }

    /// Nobody can go on: the root looks for work.
    #[inline]
    pub(super) fn set_idle(&self) {
        self.running.set(NonNull::from(&*self.idle));
        self.shared.seats[self.index].set_running(0, None);
    }

    /// Waits on the driver. In a quiet section, since that is the user's code.
    pub(super) fn wait_on_driver(&self, limit: Option<Duration>) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wait(limit);
        }
    }

    /// Takes note of what has happened outside.
    pub(super) fn poll_driver(&self) {
        let _quiet = self.quiet();
        let guard = AbortOnUnwind::new("a worker's driver");
        if let Some(driver) = &*self.driver.borrow() {
            driver.poll();
        }
        guard.disarm();
    }

    pub(super) fn use_driver(&self, f: &mut dyn FnMut(&dyn Driver)) {
        if let Some(driver) = &*self.driver.borrow() {
            f(&**driver);
        }
    }

    /// Ends a worker, on its thread. If a tasklet has gone to another worker with functions of this one on its stack, the memory stays until
    /// no worker runs any more.
    pub(super) fn finish(self: Box<Self>) {
        // It belongs to this thread.
        drop(self.driver.take());
        if self.has_given_up.get() {
            let shared = self.shared.clone();
            shared.bury(Grave(self));
        }
    }
}
