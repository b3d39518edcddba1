//! Making a runtime: how many workers, on which threads, with which stacks.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crossbeam_deque::Worker as Deque;
use tasklet_core::backend::Backend;
use tasklet_core::clock::{Clock, RealClock};
use tasklet_core::driver::{Driver, ThreadDriver};
use tasklet_core::stack::{Depot, StackConfig, StackError, StackSize};
use tasklet_core::tasklet::StackKind;

use super::blocking::Pool;
use super::runtime::Runtime;
use super::shared::{Config, Shared};
use super::task::PackedTask;
use super::thread::{SeatGuard, WorkerThread};
use crate::swapped::{Slots, SwapError};
use crate::trim::TRIM_AFTER;

/// The most workers of a runtime: what two bytes of the sleep protocol's counters hold, and more than any machine has cores.
const MAX_WORKERS: usize = 1 << 12;

/// Idle fibers that a worker keeps for reuse, as the local scheduler does.
const MAX_IDLE_FIBERS: usize = 1024;

/// What becomes of the panic of a tasklet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// It goes to the join handle, and is dropped with it. The panic hook has printed it. As for threads.
    #[default]
    Keep,
    /// The process prints which tasklet it was and aborts.
    Abort,
}

pub(super) type Hook = Arc<dyn Fn(usize) + Send + Sync>;
pub(super) type MakeDriver = Arc<dyn Fn(usize) -> Box<dyn Driver> + Send + Sync>;
type NameThread = Box<dyn FnMut(usize) -> String>;
type SpawnHandler<B> = Box<dyn FnMut(WorkerThread<B>) -> io::Result<()>>;

/// Makes a [`Runtime`].
///
/// ```
/// use tasklet_backend_corosensei::Corosensei;
/// use tasklet_scheduler::stealing::Builder;
///
/// let runtime = Builder::<Corosensei>::new().workers(2).build()?;
/// assert_eq!(runtime.spawn(|| 6 * 7).join().unwrap(), 42);
/// # Ok::<(), tasklet_scheduler::stealing::BuildError>(())
/// ```
#[must_use = "a builder makes nothing until `build` is called"]
pub struct Builder<B: Backend> {
    workers: Option<usize>,
    stack_size: StackSize,
    stacks: StackConfig,
    depot: Option<Depot>,
    max_idle_fibers: usize,
    slots: Slots,
    kind: StackKind,
    thread_name: NameThread,
    spawn_handler: Option<SpawnHandler<B>>,
    on_start: Option<Hook>,
    on_stop: Option<Hook>,
    panic_policy: PanicPolicy,
    clock: Arc<dyn Clock + Send + Sync>,
    timer_slack: Duration,
    trim_after: Option<Duration>,
    driver: MakeDriver,
    max_blocking: usize,
    blocking_keep_alive: Duration,
    backend: PhantomData<fn() -> B>,
}

impl<B: Backend> Builder<B> {
    /// The defaults: a worker for each core that the process may use, threads of its own, real time.
    pub fn new() -> Builder<B> {
        Builder {
            workers: None,
            stack_size: StackSize::DEFAULT,
            stacks: StackConfig::new(),
            depot: None,
            max_idle_fibers: MAX_IDLE_FIBERS,
            slots: Slots::new(),
            kind: StackKind::Private,
            thread_name: Box::new(|index| format!("tasklet-{index}")),
            spawn_handler: None,
            on_start: None,
            on_stop: None,
            panic_policy: PanicPolicy::Keep,
            clock: Arc::new(RealClock::default()),
            timer_slack: Duration::from_millis(1),
            trim_after: Some(TRIM_AFTER),
            driver: Arc::new(|_| Box::new(ThreadDriver::default())),
            max_blocking: 512,
            blocking_keep_alive: Duration::from_secs(10),
            backend: PhantomData,
        }
    }

    /// How many workers there are. By default as many as [`std::thread::available_parallelism`] says, which knows about quotas.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The stack of a tasklet that does not ask for another.
    pub fn stack_size(mut self, size: StackSize) -> Self {
        self.stack_size = size;
        self
    }

    /// The most bytes of address space for stacks, of all workers together. Tasklets for which there is none wait until others end.
    /// Of no effect with [`depot`](Self::depot), or with a backend that brings its own stacks.
    pub fn stack_ceiling(mut self, bytes: usize) -> Self {
        self.stacks = self.stacks.ceiling(bytes);
        self
    }

    /// The most memory for stacks, in bytes, of all workers together: see [`StackConfig::resident_ceiling`]. Tasklets for which there is none wait
    /// until others end, or give back what they do not need while they wait. What comes back from elsewhere, where several share a
    /// [`depot`](Self::depot), is found within a third of a second. Of no effect with [`depot`](Self::depot), or with a backend that brings its own stacks.
    pub fn resident_ceiling(mut self, bytes: usize) -> Self {
        self.stacks = self.stacks.resident_ceiling(bytes);
        self
    }

    /// Where stacks come from: share one between runtimes to limit them together.
    pub fn depot(mut self, depot: Depot) -> Self {
        self.depot = Some(depot);
        self
    }

    /// How many fibers without a tasklet a worker keeps for reuse, with their stacks. At least one is kept.
    pub fn max_idle_fibers(mut self, count: usize) -> Self {
        self.max_idle_fibers = count.max(1);
        self
    }

    /// The stacks on which the [swapped](crate::swapped) tasklets of each worker take turns.
    pub fn slots(mut self, slots: Slots) -> Self {
        self.slots = slots;
        self
    }

    /// All tasklets that ask for nothing else share large stacks, in turns: see [`swapped`](crate::swapped).
    ///
    /// # Errors
    ///
    /// The backend cannot do it.
    ///
    /// # Safety
    ///
    /// The obligations of whoever makes a [swapped tasklet](crate::swapped), for all that are made in the runtime and do not ask for a
    /// [stack of their own](super::TaskletBuilder::stackful).
    pub unsafe fn swapped(mut self) -> Result<Self, SwapError> {
        SwapError::of::<B>().map_or(Ok(()), Err)?;
        self.kind = StackKind::Swapped;
        Ok(self)
    }

    /// Names the workers' threads, by index. `tasklet-0` and so on by default.
    pub fn thread_name(mut self, name: impl FnMut(usize) -> String + 'static) -> Self {
        self.thread_name = Box::new(name);
        self
    }

    /// Supplies the workers' threads. It is called once for each worker, and starts a thread that calls [`WorkerThread::run`], which
    /// returns when the runtime has ended. [`build`](Self::build) waits until all have started, so none can be the thread that builds, nor one that
    /// the handler waits for: see [`build_unstarted`](Self::build_unstarted) for that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tasklet_backend_corosensei::Corosensei;
    /// # use tasklet_scheduler::stealing::Builder;
    /// use std::thread;
    ///
    /// let runtime = Builder::<Corosensei>::new()
    ///     .workers(2)
    ///     .spawn_handler(|worker| {
    ///         let named = thread::Builder::new().name(format!("game/{}", worker.index()));
    ///         named.spawn(move || worker.run()).map(drop)
    ///     })
    ///     .build()?;
    /// let name = runtime.run(|| thread::current().name().map(str::to_owned)).unwrap();
    /// assert!(name.starts_with("game/"));
    /// # Ok::<(), tasklet_scheduler::stealing::BuildError>(())
    /// ```
    pub fn spawn_handler(mut self, handler: impl FnMut(WorkerThread<B>) -> io::Result<()> + 'static) -> Self {
        self.spawn_handler = Some(Box::new(handler));
        self
    }

    /// Called on each worker's thread before its first tasklet, with the worker's index. What it panics with is printed by the panic
    /// hook and disturbs nothing.
    pub fn on_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(hook));
        self
    }

    /// Called on each worker's thread after its last tasklet; otherwise as [`on_start`](Self::on_start).
    pub fn on_stop(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_stop = Some(Arc::new(hook));
        self
    }

    /// What becomes of the panic of a tasklet.
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.panic_policy = policy;
        self
    }

    /// The clock that sleeping tasklets and time limits follow. Their times are exact on it, and stacks are not looked at any more, unless
    /// [`timer_slack`](Self::timer_slack) and [`trim_after`](Self::trim_after) are called after this.
    pub fn clock(mut self, clock: impl Clock + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self.timer_slack = Duration::ZERO;
        self.trim_after = None;
        self
    }

    /// How long a tasklet waits before what its stack has in memory and does not need is given back to the system; after at most twice that, it
    /// has been, if its worker gets to it. `None`: never, but [when asked](super::Handle::trim). Default: 10 seconds.
    ///
    /// Workers look when they have nothing to run, and now and then when they have, for 2 percent of the time at most. Of no effect with a backend
    /// that brings its own stacks.
    pub fn trim_after(mut self, time: Option<Duration>) -> Self {
        self.trim_after = time;
        self
    }

    /// How much later than asked for a sleep or a time limit may end, so that many end together and the workers wake less often: a
    /// 32nd of its length, and this at most. A millisecond by default; zero for exact times.
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        self.timer_slack = slack;
        self
    }

    /// What each worker sleeps on, by its index; called on the worker's thread.
    pub fn driver(mut self, driver: impl Fn(usize) -> Box<dyn Driver> + Send + Sync + 'static) -> Self {
        self.driver = Arc::new(driver);
        self
    }

    /// The most threads for [`blocking`](super::blocking); 512 by default. What comes beyond waits its turn.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.max_blocking = threads;
        self
    }

    /// How long a thread for [`blocking`](super::blocking) waits for more work before it ends; 10 seconds by default.
    pub fn blocking_keep_alive(mut self, time: Duration) -> Self {
        self.blocking_keep_alive = time;
        self
    }

    /// Makes the runtime and starts its workers. Returns when all of them have started.
    ///
    /// # Errors
    ///
    /// A number that makes no sense, a thread that could not be started, or no memory for the first stacks. Nothing is left behind.
    pub fn build(mut self) -> Result<Runtime<B>, BuildError> {
        let mut handler = self.spawn_handler.take().unwrap_or_else(|| Box::new(WorkerThread::spawn));
        let (ready, told) = mpsc::channel();
        // Dropped last, it ends the workers that have started, also if the handler panics.
        let (runtime, workers) = self.make(Some(ready))?;
        let mut failure = None;
        for worker in workers {
            let index = worker.index();
            if failure.is_some() {
                // Its seat is given up.
                drop(worker);
                continue;
            }
            if let Err(error) = handler(worker) {
                failure = Some(Kind::Thread { index, error });
            }
        }
        // Each says one thing, also one that was given up, and its end of the channel is gone.
        for told in &told {
            failure = failure.or(told.err());
        }
        match failure {
            None => Ok(runtime),
            Some(kind) => Err(kind.into()),
        }
    }

    /// Makes the runtime and hands its workers out: the application [runs](WorkerThread::run) each, where and when it likes, on scoped threads, or on
    /// the thread that has built it. Of no effect is a [handler](Self::spawn_handler).
    ///
    /// The runtime takes tasklets at once; they run when a worker does. Of a worker that has not started, other workers steal nothing, and
    /// [`spawn_on`](super::spawn_on) refuses it. One that is dropped without being run, or that has no memory for a first stack, ends the
    /// runtime: what is left counts as killed, and [`Shutdown::missing`](super::Shutdown::missing) says why. When the runtime ends, it does not wait for
    /// those that have not started; to run such a one later does nothing.
    ///
    /// # Errors
    ///
    /// A number that makes no sense.
    ///
    /// # Examples
    ///
    /// The main thread works too, and so do scoped threads. Someone else ends the runtime.
    ///
    /// ```
    /// # use tasklet_backend_corosensei::Corosensei;
    /// # use tasklet_scheduler::stealing::Builder;
    /// use std::thread;
    ///
    /// let (runtime, mut workers) = Builder::<Corosensei>::new().workers(2).build_unstarted()?;
    /// let here = workers.remove(0);
    /// let sum = thread::scope(|scope| {
    ///     for worker in workers {
    ///         scope.spawn(|| worker.run());
    ///     }
    ///     // Drops the runtime when it is done.
    ///     let sum = scope.spawn(move || runtime.run(|| 1 + 2));
    ///     here.run();
    ///     sum.join().unwrap()
    /// });
    /// assert_eq!(sum, 3);
    /// # Ok::<(), tasklet_scheduler::stealing::BuildError>(())
    /// ```
    pub fn build_unstarted(self) -> Result<(Runtime<B>, Vec<WorkerThread<B>>), BuildError> {
        self.make(None)
    }

    /// Makes the runtime and its workers, which tell `ready` whether they have started.
    fn make(
        mut self,
        ready: Option<mpsc::Sender<Result<(), Kind>>>,
    ) -> Result<(Runtime<B>, Vec<WorkerThread<B>>), BuildError> {
        let available = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = self.workers.unwrap_or_else(available);
        if workers == 0 || workers > MAX_WORKERS {
            return Err(Kind::Workers { asked: workers }.into());
        }
        if self.max_blocking == 0 {
            return Err(Kind::BlockingThreads.into());
        }
        let deques: Vec<Deque<PackedTask>> = (0..workers).map(|_| Deque::new_lifo()).collect();
        let stealers: Vec<_> = deques.iter().map(Deque::stealer).collect();
        let config = Config {
            clock: self.clock,
            timer_slack: self.timer_slack,
            trim_after: self.trim_after,
            depot: self.depot.unwrap_or_else(|| Depot::new(self.stacks)),
            stack_size: self.stack_size,
            panic_policy: self.panic_policy,
            pool: Pool::new(self.max_blocking, self.blocking_keep_alive),
            moves: B::MOVES,
            kind: self.kind,
            swap_error: SwapError::of::<B>(),
        };
        let shared = Arc::new(Shared::new(stealers.into_iter(), config));
        let runtime = Runtime::new(shared.clone());
        let worker = |(index, deque)| WorkerThread {
            seat: Some(SeatGuard { shared: shared.clone(), index, ready: ready.clone(), has_started: false }),
            deque,
            name: (self.thread_name)(index),
            driver: self.driver.clone(),
            on_start: self.on_start.clone(),
            on_stop: self.on_stop.clone(),
            max_idle_fibers: self.max_idle_fibers,
            slots: self.slots,
            backend: PhantomData,
        };
        Ok((runtime, deques.into_iter().enumerate().map(worker).collect()))
    }
}

impl<B: Backend> Default for Builder<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> fmt::Debug for Builder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("backend", &B::NAME).field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// A runtime could not be made.
pub struct BuildError {
    kind: Kind,
}

pub(super) enum Kind {
    Workers { asked: usize },
    BlockingThreads,
    Thread { index: usize, error: io::Error },
    Stack(StackError),
    Gone { index: usize },
}

impl From<Kind> for BuildError {
    fn from(kind: Kind) -> BuildError {
        BuildError { kind }
    }
}

impl BuildError {
    /// A number that was asked for makes no sense.
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, Kind::Workers { .. } | Kind::BlockingThreads)
    }

    /// The system refused a thread, or a worker's thread ended before it had started.
    pub fn is_thread(&self) -> bool {
        matches!(self.kind, Kind::Thread { .. } | Kind::Gone { .. })
    }

    /// There is no memory for a stack for each worker, or the ceiling is too low for it.
    pub fn is_stack(&self) -> bool {
        matches!(self.kind, Kind::Stack(_))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Workers { asked: 0 } => f.write_str("a runtime needs at least one worker"),
            Kind::Workers { asked } => write!(f, "a runtime has at most {MAX_WORKERS} workers, not {asked}"),
            Kind::BlockingThreads => f.write_str("blocking calls need at least one thread"),
            Kind::Thread { index, error } => {
                write!(
                    f,
                    "the thread of worker {index} could not be started: {error}; use fewer workers, or raise the limit"
                )
            }
            Kind::Gone { index } => {
                write!(f, "worker {index} was dropped, or panicked, before it had started; see WorkerThread")
            }
            Kind::Stack(error) => write!(f, "a worker has no stack to run tasklets on: {error}"),
        }
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildError({self})")
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Thread { error, .. } => Some(error),
            Kind::Stack(error) => Some(error),
            _ => None,
        }
    }
}
