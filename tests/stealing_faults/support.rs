//! What these tests share: runtimes, a destructor with a closure, numbers without order, and a guard against hanging.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tasklet::stealing::{Builder, Runtime, park, yield_now};

/// Longer than anything here takes without getting on, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().unwrap()
}

/// Waits for a permit, and is content with anything.
pub(crate) fn parks() {
    let _ = park();
}

/// Lets others run until it is so.
pub(crate) fn yield_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        yield_now();
    }
}

/// Does something when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Counts a drop.
pub(crate) struct Dropped(pub(crate) Arc<AtomicU64>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Rounds of a test: slow builds and instrumented ones do less.
pub(crate) fn rounds(in_release: u64) -> u64 {
    let part = if cfg!(debug_assertions) { 10 } else { 1 };
    let quick = if std::env::var_os("TASKLET_TEST_QUICK").is_some() { 100 } else { 1 };
    (in_release / part / quick).max(10)
}

/// Numbers without an apparent order, the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Burns up to so many turns of a loop.
    pub(crate) fn spin(&mut self, end: u64) {
        (0..self.below(end)).for_each(|_| std::hint::spin_loop());
    }
}

/// Ends the process with a report if nothing moves for [`PATIENCE`] while this lives: a test that hangs says where.
pub(crate) struct Watchdog {
    _alive: mpsc::Sender<()>,
    moves: Arc<AtomicU64>,
}

impl Watchdog {
    /// `state` is printed when nothing moves.
    pub(crate) fn new(state: impl Fn() -> String + Send + 'static) -> Watchdog {
        let (alive, ended) = mpsc::channel::<()>();
        let moves = Arc::new(AtomicU64::new(0));
        let seen = moves.clone();
        let test = thread::current().name().unwrap_or("a test").to_owned();
        // A small stack, also where other threads of the process have large ones.
        let dog = thread::Builder::new().stack_size(256 << 10).spawn(move || {
            let mut last = 0;
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PATIENCE) {
                let now = seen.load(Ordering::Relaxed);
                if now == last {
                    eprintln!("{test}: nothing has moved for {PATIENCE:?}, after {now} moves; {}", state());
                    std::process::abort();
                }
                last = now;
            }
        });
        dog.expect("there is room for a small thread");
        Watchdog { _alive: alive, moves }
    }

    /// Of a test that is over in a moment.
    pub(crate) fn of_runtime(runtime: &Runtime) -> Watchdog {
        let handle = runtime.handle();
        Watchdog::new(move || format!("{:?}", handle.metrics()))
    }

    pub(crate) fn move_on(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }
}
