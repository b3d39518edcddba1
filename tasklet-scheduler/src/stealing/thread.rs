//! A worker from when its runtime is made: waiting for a thread, on one, and given up.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, mpsc};
use std::thread;

use crossbeam_deque::Worker as Deque;
use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_core::home::Remote;
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::{AbortOnUnwind, drop_quietly};

use super::builder::{BuildError, Hook, Kind, MakeDriver};
use super::crew::Phase;
use super::shared::Shared;
use super::task::PackedTask;
use super::worker::{Parts, Worker};
use crate::engine::{Fibers, Host as _};
use crate::swapped::Slots;

/// A worker's place, until its thread ends: the runtime's end waits for that.
pub(super) struct SeatGuard {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    /// Where `build` waits for all of them, until this has told it.
    pub(super) ready: Option<mpsc::Sender<Result<(), Kind>>>,
    pub(super) has_started: bool,
}

impl SeatGuard {
    fn started(&mut self) {
        self.has_started = true;
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(()));
        }
    }

    /// The worker does not start, and the runtime does not go on without it.
    fn fail(&mut self, why: Kind) {
        self.has_started = true;
        match self.ready.take() {
            Some(ready) => drop(ready.send(Err(why))),
            None => self.shared.add_missing(BuildError::from(why).to_string()),
        }
        // After that was said, since others that come too late now say so too.
        self.shared.advance(Phase::Closing);
    }
}

impl Drop for SeatGuard {
    fn drop(&mut self) {
        // Before it leaves: whoever spawns after the last one has emptied the injector must find the runtime closed.
        if !self.has_started && (self.shared.awaits(self.index) || self.ready.is_some()) {
            self.fail(Kind::Gone { index: self.index });
        }
        self.shared.worker_exited(self.index);
    }
}

/// One worker, to be run on a thread of its own: see [`Builder::spawn_handler`](super::Builder::spawn_handler) and [`Builder::build_unstarted`](super::Builder::build_unstarted).
///
/// Dropping it gives the worker up: [`Builder::build`](super::Builder::build) then fails, and a runtime that was [built](super::Builder::build_unstarted) without it ends.
pub struct WorkerThread<B: Backend> {
    pub(super) seat: Option<SeatGuard>,
    pub(super) deque: Deque<PackedTask>,
    pub(super) name: String,
    pub(super) driver: MakeDriver,
    pub(super) on_start: Option<Hook>,
    pub(super) on_stop: Option<Hook>,
    pub(super) max_idle_fibers: usize,
    pub(super) slots: Slots,
    pub(super) backend: PhantomData<fn() -> B>,
}

impl<B: Backend> WorkerThread<B> {
    /// Which worker it is, from zero.
    pub fn index(&self) -> usize {
        self.seat.as_ref().map_or(0, |seat| seat.index)
    }

    /// The name that its thread should have.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn spawn(self) -> io::Result<()> {
        thread::Builder::new().name(self.name.clone()).spawn(move || self.run()).map(drop)
    }

    /// Runs tasklets on this thread until the runtime has ended; if it has already, does nothing.
    ///
    /// # Panics
    ///
    /// A tasklet calls, or the host of a local scheduler.
    pub fn run(mut self) {
        assert!(
            current::id().is_none(),
            "a worker needs a thread of its own: a tasklet, or the host of a scheduler, calls"
        );
        let Some(mut seat) = self.seat.take() else { return };
        let (shared, index) = (seat.shared.clone(), seat.index);
        if !shared.worker_starts(index) {
            return;
        }
        let driver = (self.driver)(index);
        let engine = Fibers::<B, Worker>::new(shared.config.depot.pool(), self.max_idle_fibers, self.slots);
        let worker =
            Box::new(Worker::new::<B>(Parts { shared: shared.clone(), index, deque: self.deque, driver }, engine));
        // One stack for each worker, whatever others use up: it can always go on.
        let first = match worker.engine().take_fiber(&*worker, shared.config.stack_size, StackKind::Private) {
            Ok(fiber) => {
                worker.engine().give_back(fiber);
                Ok(())
            }
            Err(error) => Err(Kind::Stack(error)),
        };
        let failed = match first {
            Ok(()) => {
                let home = tasklet_core::scheduler::Scheduler::home(&*worker);
                if shared.set_home(index, home) {
                    let _ = home.submit(Remote::Recheck);
                }
                seat.started();
                false
            }
            Err(why) => {
                seat.fail(why);
                true
            }
        };
        // Records of tasklets that wait lead to the worker's home, which has to outlive them: `finish_up` sees to that.
        let guard = AbortOnUnwind::new("the root of a worker");
        worker.as_active(&mut || {
            if failed {
                return;
            }
            let call = |hook: &Option<Hook>| {
                if let Some(hook) = hook {
                    let _quiet = worker.quiet();
                    // What it returns is nothing, and what it panics with is printed.
                    drop_quietly(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(index))));
                }
            };
            call(&self.on_start);
            worker.engine().run_fibers(&*worker);
            worker.finish_up();
            call(&self.on_stop);
        });
        guard.disarm();
        worker.finish();
        debug_assert!(failed || shared.phase() != Phase::Open, "a worker exits when its runtime ends");
        drop(seat);
    }
}

impl<B: Backend> fmt::Debug for WorkerThread<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerThread").field("index", &self.index()).field("name", &self.name).finish_non_exhaustive()
    }
}
