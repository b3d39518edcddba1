//! Random rounds of a test for a short time, with a seed that repeats them.
//!
//! | variable | meaning |
//! |---|---|
//! | `TASKLET_RANDOM_SEED` | the seed; by default a random one |
//! | `TASKLET_RANDOM_MILLIS` | how long a test runs in all its cases together, swapped and soft ones besides; by default a second |
//! | `TASKLET_RANDOM_ROUND` | this round only, again and again |
//!
//! What fails or hangs prints the seed and the round. With more than one thread they repeat the program and not its interleaving.

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

pub(crate) use crate::stress::dice::Dice;

/// How long a round may take.
const HANG: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Says where a round has failed: dropped when the test panics.
struct Report<'r> {
    test: &'r str,
    seed: u64,
    round: Arc<AtomicU64>,
}

impl Report<'_> {
    fn print(&self, what: &str) {
        let Report { test, seed, round } = self;
        let round = round.load(Relaxed);
        // Past the harness, which would lose it when the process is aborted.
        let _ = writeln!(
            std::io::stderr(),
            "{test} {what}; run it again with TASKLET_RANDOM_SEED={seed} TASKLET_RANDOM_ROUND={round}"
        );
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print("has failed");
        }
    }
}

/// Calls `round` again and again, with other dice each time, for one of `parts` of the test's time.
pub(crate) fn rounds(test: &'static str, parts: u32, mut round: impl FnMut(&mut Dice)) {
    let seed = number("TASKLET_RANDOM_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let time = Duration::from_millis(number("TASKLET_RANDOM_MILLIS").unwrap_or(1000)) / parts;
    let only = number("TASKLET_RANDOM_ROUND");
    let current = Arc::new(AtomicU64::new(0));
    let report = Report { test, seed, round: current.clone() };
    let (ended, watch) = mpsc::channel::<()>();
    let dog = std::thread::spawn({
        let report = Report { test, seed, round: current.clone() };
        move || {
            let mut seen = (0, Instant::now());
            while watch.recv_timeout(Duration::from_millis(500)) == Err(RecvTimeoutError::Timeout) {
                let round = report.round.load(Relaxed);
                if round != seen.0 {
                    seen = (round, Instant::now());
                } else if only.is_none() && seen.1.elapsed() > HANG {
                    report.print("hangs");
                    std::process::abort();
                }
            }
        }
    });
    let start = Instant::now();
    // Some rounds in any case, however slow the machine is.
    for number in 1.. {
        if number > 10 && start.elapsed() >= time {
            break;
        }
        let number = only.unwrap_or(number);
        current.store(number, Relaxed);
        round(&mut Dice::new(Dice::new(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d)).next()));
    }
    drop((ended, report));
    dog.join().expect("it ends when the rounds have");
}
