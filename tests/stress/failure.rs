//! The end of a run that found something: says with which seed, and aborts, since tasklets catch panics.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

static SEED: AtomicU64 = AtomicU64::new(0);
static WORLD: AtomicU64 = AtomicU64::new(0);
/// Worlds begun and ended: odd while there is one.
static TURN: AtomicU64 = AtomicU64::new(0);

/// Longest time one world may take: a thousand times what it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Past the test harness, which keeps what tests print until they end.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "stress: {text}");
}

pub(crate) fn violated(what: &str) -> ! {
    let (seed, world) = (SEED.load(Relaxed), WORLD.load(Relaxed));
    say(&format!("{what}\n{}", std::backtrace::Backtrace::force_capture()));
    say(&format!("failed in world {world}; run again with TASKLET_STRESS_SEED={seed} TASKLET_STRESS_WORLD={world}"));
    std::process::abort();
}

/// Every panic that reaches the hook is a violation: those of the tasklets do not.
pub(crate) fn watch(seed: u64) {
    SEED.store(seed, Relaxed);
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| violated(&info.to_string())));
        std::thread::spawn(|| {
            let mut seen = (0, std::time::Instant::now());
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let turn = TURN.load(Relaxed);
                if turn != seen.0 {
                    seen = (turn, std::time::Instant::now());
                } else if turn % 2 == 1 && seen.1.elapsed() > PATIENCE {
                    violated("nothing has happened for a minute");
                }
            }
        });
    });
}

/// A world begins.
pub(crate) fn enter(world: u64) {
    WORLD.store(world, Relaxed);
    TURN.fetch_add(1, Relaxed);
}

/// It has ended.
pub(crate) fn leave() {
    TURN.fetch_add(1, Relaxed);
}
