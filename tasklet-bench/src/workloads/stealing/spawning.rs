//! Workloads that make tasklets and wait for them.

use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing;

use super::{Channel, channel, expect, join, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::parts::{BATCH, branches, sum_below};

/// Nanoseconds per tasklet.
pub(super) fn spawn_join<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    in_batches::<B>(setting, || stealing::spawn(|| ()))
}

/// The same with soft tasklets.
pub(super) fn spawn_join_soft<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    in_batches::<B>(setting, || stealing::spawn_async(async {}))
}

fn in_batches<B: Backend>(setting: &Setting, spawn: impl Fn() -> JoinHandle<()> + Send) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    within::<B, _>(setting, move || {
        let start = Instant::now();
        let (mut left, mut joined) = (tasklets, 0);
        while left != 0 {
            let batch = left.min(BATCH);
            let handles: Vec<_> = (0..batch).map(|_| spawn()).collect();
            for handle in handles {
                join(handle)?;
                joined += 1;
            }
            left -= batch;
        }
        let time = start.elapsed();
        expect("tasklets joined", joined, tasklets)?;
        Ok(vec![time.as_nanos() as f64 / tasklets as f64])
    })
}

/// Milliseconds until the sum is there.
pub(super) fn skynet<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let leaves = setting.n;
    within::<B, _>(setting, move || {
        let start = Instant::now();
        let up = channel::<u64, B>();
        let root = up.clone();
        stealing::spawn(move || node::<B>(0, leaves, &root));
        let sum = up.recv()?;
        let time = start.elapsed();
        expect("sum of the leaves", sum, sum_below(leaves))?;
        Ok(vec![time.as_secs_f64() * 1e3])
    })
}

fn node<B: Backend>(from: u64, to: u64, up: &Channel<u64, B>) {
    if to - from == 1 {
        return up.send(from).expect("the parent receives");
    }
    let sums = channel::<u64, B>();
    let mut children = 0;
    for (from, to) in branches(from, to) {
        let up = sums.clone();
        stealing::spawn(move || node::<B>(from, to, &up));
        children += 1;
    }
    let sum = (0..children).map(|_| sums.recv().expect("each child sends")).sum();
    up.send(sum).expect("the parent receives");
}
