//! A runtime that has nothing to do costs nothing, however many tasklets wait in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tasklet::backend::{self, Backend, StackProvision};
use tasklet::stealing::park;

use crate::child;
use crate::support::{Watchdog, runtime};

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// A thousandth of a core, and what the measuring costs.
const ALLOWED: Duration = Duration::from_millis(2 + 2);

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is live for the call.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_runtime_with_a_hundred_thousand_parked_tasklets_uses_no_cpu() {
    // In a process of its own: other tests of this one use CPU time.
    if child::role().is_none() {
        let (output, text) = child::run("idle::a_runtime_with_a_hundred_thousand_parked_tasklets_uses_no_cpu", "child");
        assert!(output.status.success(), "{text}");
        return;
    }
    let count = match backend::Default::STACKS {
        StackProvision::Ours => 100_000,
        StackProvision::Backend => 10_000,
    };
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let _watchdog = Watchdog::of_runtime(&runtime);
        let parked = Arc::new(AtomicU64::new(0));
        for _ in 0..count / workers * workers {
            let parked = parked.clone();
            let _detached = runtime.spawn(move || {
                parked.fetch_add(1, Ordering::Relaxed);
                let _ = park();
            });
        }
        while parked.load(Ordering::Relaxed) != (count / workers * workers) as u64
            || runtime.metrics().sleeping != workers
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Sleepers look once more after a moment, then sleep for good.
        std::thread::sleep(Duration::from_millis(100));
        let (start, before, slept) = (Instant::now(), cpu_time(), runtime.metrics().slept);
        std::thread::sleep(WATCHED);
        let used = cpu_time() - before;
        let metrics = runtime.metrics();
        eprintln!("{workers} workers: {used:?} in {:?}", start.elapsed());
        assert!(used < ALLOWED, "{workers} workers have used {used:?}; {metrics:?}");
        assert_eq!((metrics.sleeping, metrics.slept), (workers, slept), "nobody wakes up for nothing");
    }
}
