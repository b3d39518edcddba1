//! Plain threads: the floor of what waking costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::measure::median;
use crate::subject::{Run, Setting};
use crate::workloads::Kind;

/// What does one run, if threads can.
pub(crate) fn run(kind: Kind) -> Option<Run> {
    match kind {
        Kind::WakeLatency => Some(wake_latency),
        _ => None,
    }
}

fn wake_latency(setting: &Setting) -> Result<Vec<f64>> {
    let wakes = setting.n;
    let calls = Arc::new(AtomicU64::new(0));
    let (told, awake) = mpsc::channel();
    let called = calls.clone();
    let sleeper = thread::spawn(move || {
        for call in 1..=wakes {
            while called.load(Ordering::Acquire) < call {
                thread::park();
            }
            told.send(Instant::now()).expect("the other thread waits for it");
        }
    });
    let mut times = Vec::new();
    for call in 1..=wakes {
        // It parks at once, and is asleep long before this is over.
        thread::sleep(Duration::from_millis(4));
        let start = Instant::now();
        calls.store(call, Ordering::Release);
        sleeper.thread().unpark();
        times.push(awake.recv()?.duration_since(start).as_nanos() as f64);
    }
    sleeper.join().map_err(|_| "the sleeping thread panicked")?;
    Ok(vec![median(times)])
}
