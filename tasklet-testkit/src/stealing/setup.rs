//! What every test of the work-stealing runtime begins with: runtimes, events in order, payloads that are counted, handshakes.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tasklet_channels::{Channel, SharedChannel};
use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::clock::VirtualClock;
use tasklet_core::driver::VirtualDriver;
use tasklet_core::tasklet::{JoinHandle, StackKind};
use tasklet_core::unwind::{Payload, message, raise};
use tasklet_scheduler::stealing::{self, Builder, Runtime};

use crate::child::{self, Ended};
use crate::kinds::{self, Mark};
use crate::who::Who;

/// How long something may take that has to happen: far more than it needs, since the machine may be busy with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How long a whole test may take: a hang ends the process, with the test's name.
const HANG: Duration = Duration::from_secs(180);

/// One run of a test.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// How many workers its runtimes have.
    pub workers: usize,
    /// What their tasklets with a stack sit on.
    pub kind: StackKind,
    /// Who does what is written for both: tasklets with a stack, or soft ones.
    pub who: Who,
    /// The test's module path and name, for a child process that runs the same test.
    pub test: &'static str,
}

/// The most workers with which tests run swapped, and with soft tasklets: what they do beside each other needs two.
const FEW: usize = 2;

/// Runs a test with each of these numbers of workers and with each [kind](crate::kinds) of tasklets that its marks allow.
#[doc(hidden)]
pub fn run_cases<B: Backend>(test: &'static str, workers: &[usize], marks: &[Mark], body: fn(Case)) {
    for &workers in workers {
        let case = |kind, who| run_case(Case { workers, kind, who, test }, body);
        let kinds = kinds::of::<B>(marks).iter().filter(|&&kind| kind == StackKind::Private || workers <= FEW);
        kinds.for_each(|&kind| case(kind, Who::Stackful));
        if marks.contains(&Mark::Soft) && workers <= FEW {
            case(StackKind::Private, Who::Soft);
        }
    }
}

/// Runs one case of a test. If it hangs, the process says where and aborts.
pub(crate) fn run_case(case: Case, body: fn(Case)) {
    let (test, which) = (case.test, case.which());
    if child::is_of_another(test, &which) {
        return;
    }
    // Shown if it fails.
    println!("with {which}");
    let (ended, watch) = mpsc::channel::<()>();
    let dog = std::thread::spawn(move || {
        if watch.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln`, which the harness would capture and lose.
            let _ = writeln!(std::io::stderr(), "{test} hangs with {which}");
            std::process::abort();
        }
    });
    body(case);
    drop(ended);
    dog.join().expect("the watchdog sleeps until the test has ended");
}

impl Case {
    fn which(self) -> String {
        let Case { workers, kind, who, .. } = self;
        format!("{workers} workers, {kind:?} stacks and {who:?} tasklets")
    }

    /// Runs `body` in a process of its own, which does nothing else of the test.
    pub(crate) fn in_child(self, body: impl FnOnce()) -> Ended {
        self.in_child_with("", body)
    }

    /// As [`in_child`](Self::in_child), with something to read.
    pub(crate) fn in_child_with(self, input: &str, body: impl FnOnce()) -> Ended {
        child::run(self.test, &self.which(), input, body)
    }

    pub(crate) fn builder<B: Backend>(self) -> Builder<B> {
        kinds::stealing(self.kind, self.workers)
    }

    pub(crate) fn runtime<B: Backend>(self) -> Runtime<B> {
        self.builder().build().expect("a runtime")
    }

    /// Runs `f` as a tasklet of a new runtime and looks whether everything has ended well.
    #[track_caller]
    pub(crate) fn run<B: Backend, T: Send>(self, f: impl FnOnce() -> T + Send) -> T {
        let runtime = self.runtime::<B>();
        let result = runtime.run(f);
        end(runtime);
        result
    }

    /// As [`run`](Self::run), in virtual time.
    #[track_caller]
    pub(crate) fn run_virtual<B: Backend, T: Send>(self, f: impl FnOnce(&VirtualClock) -> T + Send) -> T {
        self.run_virtual_with::<B, T>(|builder| builder, f)
    }

    /// As [`run_virtual`](Self::run_virtual), in a runtime with other settings than the default ones.
    #[track_caller]
    pub(crate) fn run_virtual_with<B: Backend, T: Send>(
        self,
        settings: impl FnOnce(Builder<B>) -> Builder<B>,
        f: impl FnOnce(&VirtualClock) -> T + Send,
    ) -> T {
        let clock = Arc::new(VirtualClock::default());
        let driven = clock.clone();
        let driver = move |_| -> Box<dyn tasklet_core::driver::Driver> { Box::new(VirtualDriver::new(driven.clone())) };
        let builder = self.builder::<B>().clock(clock.clone()).driver(driver);
        let runtime = settings(builder).build().expect("a runtime");
        let result = runtime.run(|| f(&clock));
        end(runtime);
        result
    }
}

/// Ends a runtime: everything ends, and every stack comes back.
#[track_caller]
pub(crate) fn end<B: Backend>(runtime: Runtime<B>) {
    let handle = runtime.handle();
    let report = runtime.shutdown(LIMIT);
    assert!(report.is_clean(), "{report}");
    let metrics = handle.metrics();
    assert_eq!((metrics.stacks.live, metrics.stacks.leaked, metrics.queued), (0, 0, 0), "{metrics:?}");
}

/// Whether stacks come from the runtime's depot, so that they can be counted and limited.
pub(crate) fn has_our_stacks<B: Backend>() -> bool {
    B::STACKS == StackProvision::Ours
}

/// A channel for every thread.
pub(crate) fn channel<T: Send>() -> SharedChannel<T> {
    Channel::new().share()
}

/// Ends the tasklet with an error, without the panic hook's words.
pub(crate) fn fail(text: &'static str) -> ! {
    raise(Box::new(text))
}

/// Takes a result that nobody looks at.
pub(crate) fn ignore<T>(_: T) {}

/// Calls `f` and catches what unwinds out of it.
pub(crate) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// The text of what unwinds out of `f`.
#[track_caller]
pub(crate) fn caught_text<R>(f: impl FnOnce() -> R) -> String {
    match caught(f) {
        Ok(_) => panic!("nothing was raised"),
        Err(payload) => message(&payload).to_owned(),
    }
}

/// Events in order, of all threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.into());
    }

    /// The events so far; the list is empty afterwards.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[track_caller]
    pub(crate) fn assert(&self, expected: &str) {
        assert_eq!(self.take().join(" "), expected);
    }

    /// A value that adds this event when it is dropped.
    pub(crate) fn on_drop(&self, event: &'static str) -> OnDrop {
        OnDrop { log: self.clone(), event }
    }
}

/// Adds an event when it is dropped.
#[derive(Debug)]
pub(crate) struct OnDrop {
    log: Log,
    event: &'static str,
}

impl OnDrop {
    /// Adds another event.
    pub(crate) fn add(&self, event: &'static str) {
        self.log.add(event);
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.log.add(self.event);
    }
}

/// Counts what it has made, and what of that was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census(Arc<[AtomicUsize; 2]>);

/// One of a [`Census`].
#[derive(Debug)]
pub(crate) struct Counted(Census);

impl Census {
    pub(crate) fn one(&self) -> Counted {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }

    pub(crate) fn made(&self) -> usize {
        self.0[0].load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }

    /// Everything was dropped, and nothing twice.
    #[track_caller]
    pub(crate) fn assert_all_dropped(&self) {
        assert_eq!(self.dropped(), self.made(), "of all that was made, each is dropped once");
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

/// Something that happens once, seen from every thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Keeps the thread until it is set.
    #[track_caller]
    pub(crate) fn spin(&self) {
        spin_until(|| self.is_set());
    }

    /// Lets other tasklets run until it is set.
    #[track_caller]
    pub(crate) fn wait(&self) {
        yield_until(|| self.is_set());
    }
}

/// Keeps the thread, and the worker if it is one's, until something has happened.
#[track_caller]
pub(crate) fn spin_until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LIMIT, "what is waited for does not happen");
        std::thread::yield_now();
    }
}

/// Lets other tasklets run until something has happened.
#[track_caller]
pub(crate) fn yield_until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LIMIT, "what is waited for does not happen");
        stealing::yield_now();
        // So that a worker which waits for another's thread does not take the core from it.
        std::thread::yield_now();
    }
}

/// A tasklet of the calling tasklet's worker that has come to where `f` calls its argument and, if that follows, to its next wait.
#[track_caller]
pub(crate) fn spawn_parked<T: 'static>(f: impl FnOnce(&Flag) -> T + 'static) -> JoinHandle<T> {
    let flag = Flag::default();
    let seen = flag.clone();
    let handle = stealing::spawn_local(move || f(&seen));
    // On one worker: it has given way since, or this would not run.
    flag.wait();
    handle
}

/// Waits for ever.
pub(crate) fn park_for_ever<T>() -> T {
    loop {
        let _ = stealing::park();
    }
}
