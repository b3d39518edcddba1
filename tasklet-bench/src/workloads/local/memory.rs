//! The workloads that wait: what a tasklet costs that does nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use tasklet_core::backend::Backend;

use super::{Channel, scheduler};
use crate::Result;
use crate::process::resident;
use crate::subject::Setting;
use crate::workloads::chain::{CHAINS, Chain};
use crate::workloads::expect;

/// Bytes of a waiting tasklet, nanoseconds to create one, milliseconds to wake all.
pub(super) fn idle_mem<B: Backend>(setting: &Setting) -> Result<[f64; 3]> {
    let tasklets = setting.n;
    let scheduler = scheduler::<B>(setting.tasklets)?;
    let channel = Channel::<(), B>::new();
    let ended = Rc::new(Cell::new(0));
    let before = resident()?;

    let start = Instant::now();
    for _ in 0..tasklets {
        let (channel, ended) = (channel.clone(), ended.clone());
        scheduler.spawn(move || {
            let closed = channel.recv().expect_err("nobody sends").is_closed();
            ended.set(ended.get() + u64::from(closed));
        });
    }
    scheduler.run()?;
    let created = start.elapsed();
    let after = resident()?;
    expect("waiting tasklets", channel.balance(), -isize::try_from(tasklets)?)?;

    let start = Instant::now();
    channel.close();
    scheduler.run()?;
    let woken = start.elapsed();
    expect("tasklets ended by the close", ended.get(), tasklets)?;

    let each = |total: f64| total / tasklets as f64;
    Ok([each((after - before) as f64), each(created.as_nanos() as f64), woken.as_secs_f64() * 1e3])
}

/// Bytes of a tasklet that waits below some calls, for each chain of them.
pub(super) fn depth<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    let scheduler = scheduler::<B>(setting.tasklets)?;
    let channel = Channel::<(), B>::new();
    let ended = Rc::new(Cell::new(0));
    let spawn = |count, chain: Chain| {
        for _ in 0..count {
            let (channel, ended) = (channel.clone(), ended.clone());
            scheduler.spawn(move || {
                let is_closed = || channel.recv().is_err_and(|error| error.is_closed());
                let whole = chain.wait(&is_closed);
                ended.set(ended.get() + u64::from(whole));
            });
        }
        scheduler.run()
    };
    // What is made once is not these tasklets'.
    let others = tasklets / 10 + 1;
    spawn(others, Chain::One)?;
    let mut bytes = Vec::new();
    for chain in CHAINS {
        let before = resident()?;
        spawn(tasklets, chain)?;
        bytes.push((resident()? - before) as f64 / tasklets as f64);
    }
    let all = others + tasklets * CHAINS.len() as u64;
    expect("waiting tasklets", channel.balance(), -isize::try_from(all)?)?;
    channel.close();
    scheduler.run()?;
    expect("tasklets whose frames were whole at the close", ended.get(), all)?;
    Ok(bytes)
}
