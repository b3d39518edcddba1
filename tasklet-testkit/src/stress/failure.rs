//! The end of a run that found something: says with which seed, and aborts, since tasklets catch panics.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use tasklet_scheduler::stealing::Handle;

static SEED: AtomicU64 = AtomicU64::new(0);
static WORLD: AtomicU64 = AtomicU64::new(0);
/// Worlds begun and ended: odd while there is one.
static TURN: AtomicU64 = AtomicU64::new(0);
/// The runtimes of this world, and what the world is doing.
static SUBJECTS: Mutex<(Vec<Handle>, &str)> = Mutex::new((Vec::new(), ""));

/// Past the test harness, which keeps what tests print until they end.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "stress: {text}");
}

pub(super) fn violated(what: &str) -> ! {
    let (seed, world) = (SEED.load(Relaxed), WORLD.load(Relaxed));
    say(what);
    say(&format!("failed in world {world}; run again with TASKLET_STRESS_SEED={seed} TASKLET_STRESS_WORLD={world}"));
    if let Ok(subjects) = SUBJECTS.try_lock() {
        say(&format!("the world was at: {}", subjects.1));
        for runtime in &subjects.0 {
            say(&format!("{:#?}", runtime.metrics()));
        }
    }
    // Last, since it needs a stack that a tasklet may not have.
    say(&std::backtrace::Backtrace::force_capture().to_string());
    std::process::abort();
}

/// Every panic that reaches the hook is a violation: those that tasklets make do not, but for what a scope says of them.
pub(super) fn watch(seed: u64, patience: Duration) {
    SEED.store(seed, Relaxed);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let text = info.to_string();
            if !text.contains("a scoped tasklet panicked") {
                violated(&text);
            }
        }));
        std::thread::spawn(move || {
            let mut seen = (0, Instant::now());
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let turn = TURN.load(Relaxed);
                if turn != seen.0 {
                    seen = (turn, Instant::now());
                } else if turn % 2 == 1 && seen.1.elapsed() > patience {
                    violated(&format!("nothing has moved for {} seconds", patience.as_secs()));
                }
            }
        });
    });
}

/// A world begins.
pub(super) fn enter(world: u64) {
    WORLD.store(world, Relaxed);
    TURN.fetch_add(1, Relaxed);
}

/// It has ended.
pub(super) fn leave() {
    *SUBJECTS.lock().unwrap_or_else(PoisonError::into_inner) = (Vec::new(), "");
    TURN.fetch_add(1, Relaxed);
}

/// A runtime of the world, for the report.
pub(super) fn subject(runtime: &Handle) {
    SUBJECTS.lock().unwrap_or_else(PoisonError::into_inner).0.push(runtime.clone());
}

/// What the world is doing, for the report.
pub(super) fn at(what: &'static str) {
    SUBJECTS.lock().unwrap_or_else(PoisonError::into_inner).1 = what;
}
