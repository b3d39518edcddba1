//! Workloads that make tasklets and wait for them.

use std::time::Instant;

use tasklet_core::backend::Backend;

use super::scheduler;
use crate::Result;
use crate::subject::Setting;
use crate::workloads::expect;
use crate::workloads::parts::BATCH;

/// Nanoseconds per tasklet.
pub(super) fn spawn_join<B: Backend>(setting: &Setting) -> Result<f64> {
    let tasklets = setting.n;
    let scheduler = scheduler::<B>(setting.tasklets)?;
    let start = Instant::now();
    let (mut left, mut joined) = (tasklets, 0);
    while left != 0 {
        let batch = left.min(BATCH);
        let handles: Vec<_> = (0..batch).map(|_| scheduler.spawn_joinable(|| ())).collect();
        for handle in handles {
            handle.join()?;
            joined += 1;
        }
        left -= batch;
    }
    let time = start.elapsed();
    expect("tasklets joined", joined, tasklets)?;
    expect("tasklets left in the queue beside the host's", scheduler.run_count(), 1)?;
    Ok(time.as_nanos() as f64 / tasklets as f64)
}
