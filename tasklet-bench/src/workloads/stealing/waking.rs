//! Wakes that come from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing::{self, Handle};

use super::{end, join, runtime};
use crate::Result;
use crate::measure::median;
use crate::subject::Setting;

/// For how long the workers must have slept.
const ASLEEP: Duration = Duration::from_millis(2);

/// Nanoseconds from the call on this thread, which is no worker, to the tasklet's next instruction.
pub(super) fn wake_latency<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let wakes = setting.n;
    let runtime = runtime::<B>(setting)?;
    let calls = Arc::new(AtomicU64::new(0));
    let ((told_who, who), (told, awake)) = (mpsc::channel(), mpsc::channel());
    let called = calls.clone();
    let sleeper = runtime.spawn(move || {
        told_who.send(stealing::unparker()).expect("the thread waits for it");
        for call in 1..=wakes {
            while called.load(Ordering::Acquire) < call {
                stealing::park().expect("a tasklet may park");
            }
            told.send(Instant::now()).expect("the thread waits for it");
        }
    });
    let who = who.recv()?;
    let mut times = Vec::new();
    for call in 1..=wakes {
        wait_until_asleep(&runtime);
        let start = Instant::now();
        calls.store(call, Ordering::Release);
        who.unpark();
        times.push(awake.recv()?.duration_since(start).as_nanos() as f64);
    }
    join(sleeper)?;
    end(runtime)?;
    Ok(vec![median(times)])
}

/// Returns when no worker has stirred for a while.
fn wait_until_asleep(runtime: &Handle) {
    loop {
        let before = runtime.metrics();
        std::thread::sleep(ASLEEP);
        let after = runtime.metrics();
        // A worker sleeps for a moment first, looks once more, and sleeps for good.
        if after.sleeping == runtime.workers() && before.sleeping == after.sleeping && before.slept == after.slept {
            return;
        }
    }
}
