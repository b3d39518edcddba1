//! The workloads that wait: what a tasklet costs that does nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::{Channel, channel, countdown, expect, wait_for, within};
use crate::Result;
use crate::process::{cpu_time, resident};
use crate::subject::Setting;
use crate::workloads::chain::{self, CHAINS, Chain};
use crate::workloads::parts::{Bell, Countdown};

/// For how long the processor's time is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// Bytes of a waiting tasklet, nanoseconds to create one, milliseconds to wake all.
pub(super) fn idle_mem<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    within::<B, _>(setting, move || {
        let channel = channel::<(), B>();
        let before = resident()?;

        let start = Instant::now();
        let ended = wait_in(&channel, tasklets, is_closed)?;
        let created = start.elapsed();
        let after = resident()?;

        let start = Instant::now();
        channel.close();
        wait_for(&ended.ended)?;
        let woken = start.elapsed();
        Ok(figures(tasklets, after - before, created, woken))
    })
}

/// The same with soft tasklets, in the channel's async receive.
pub(super) fn idle_mem_soft<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    within::<B, _>(setting, move || {
        let channel = channel::<(), B>();
        let ended = countdown(tasklets);
        let before = resident()?;

        let start = Instant::now();
        for _ in 0..tasklets {
            let (channel, ended) = (channel.clone(), ended.clone());
            stealing::spawn_async(async move {
                if channel.recv_async().await.is_err_and(|error| error.is_closed()) {
                    ended.down();
                }
            });
        }
        let all = -isize::try_from(tasklets)?;
        while channel.balance() != all {
            stealing::yield_now();
        }
        let created = start.elapsed();
        let after = resident()?;

        let start = Instant::now();
        channel.close();
        wait_for(&ended)?;
        let woken = start.elapsed();
        Ok(figures(tasklets, after - before, created, woken))
    })
}

fn figures(tasklets: u64, bytes: i64, created: Duration, woken: Duration) -> Vec<f64> {
    let each = |total: f64| total / tasklets as f64;
    vec![each(bytes as f64), each(created.as_nanos() as f64), woken.as_secs_f64() * 1e3]
}

/// Waits in a receive until the channel is closed.
fn is_closed<B: Backend>(channel: &Channel<(), B>) -> bool {
    channel.recv().is_err_and(|error| error.is_closed())
}

/// Spawns tasklets that wait with `wait` until the channel is closed, and returns when all wait.
fn wait_in<B: Backend>(
    channel: &Channel<(), B>,
    tasklets: u64,
    wait: impl Fn(&Channel<(), B>) -> bool + Copy + Send + 'static,
) -> Result<Arc<Counts>> {
    // Together, so that a closure has three words, as in the local scheduler's workload, and lies in the tasklet's record.
    let counts = Arc::new(Counts { begun: countdown(tasklets), ended: countdown(tasklets) });
    for _ in 0..tasklets {
        let (channel, counts) = (channel.clone(), counts.clone());
        stealing::spawn(move || {
            counts.begun.down();
            if wait(&channel) {
                counts.ended.down();
            }
        });
    }
    wait_for(&counts.begun)?;
    // The last ones are on their way into the receive.
    let all = -isize::try_from(tasklets)?;
    while channel.balance() != all {
        stealing::yield_now();
    }
    Ok(counts)
}

/// How many tasklets have not begun to wait, and how many have not ended.
struct Counts {
    begun: Arc<Countdown>,
    ended: Arc<Countdown>,
}

/// Bytes of a tasklet that waits below some calls, for each chain of them.
pub(super) fn depth<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    within::<B, _>(setting, move || {
        let wait = |count, chain: Chain| {
            let channel = channel::<(), B>();
            let counts = wait_in(&channel, count, move |channel| chain.wait(&|| is_closed(channel)));
            counts.map(|counts| (channel, counts))
        };
        let (bytes, waiting) = each_chain(tasklets, wait)?;
        for (channel, counts) in waiting {
            channel.close();
            wait_for(&counts.ended)?;
        }
        Ok(bytes)
    })
}

/// The same with soft tasklets.
pub(super) fn depth_soft<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    within::<B, _>(setting, move || {
        let wait = |count, chain: Chain| {
            let (bell, ended) = (Bell::for_many(count), countdown(count));
            for _ in 0..count {
                let (bell, ended) = (bell.clone(), ended.clone());
                match chain {
                    Chain::Buffer => stealing::spawn_async(chain::rings_below_a_buffer(bell, ended)),
                    _ => stealing::spawn_async(chain::rings(chain, bell, ended)),
                };
            }
            while bell.waiting() != count {
                stealing::yield_now();
            }
            Ok((bell, ended))
        };
        let (bytes, waiting) = each_chain(tasklets, wait)?;
        for (bell, ended) in waiting {
            bell.ring();
            wait_for(&ended)?;
        }
        Ok(bytes)
    })
}

/// Has so many tasklets wait below each chain, all at the same time. Returns the bytes of one, and who waits.
fn each_chain<W>(tasklets: u64, wait: impl Fn(u64, Chain) -> Result<W>) -> Result<(Vec<f64>, Vec<W>)> {
    // What is made once is not theirs.
    let mut waiting = vec![wait(tasklets / 10 + 1, Chain::One)?];
    let mut bytes = Vec::new();
    for chain in CHAINS {
        let before = resident()?;
        waiting.push(wait(tasklets, chain)?);
        bytes.push((resident()? - before) as f64 / tasklets as f64);
    }
    Ok((bytes, waiting))
}

/// Per cent of one processor that is used while many tasklets wait.
pub(super) fn idle_cpu<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    let runtime = super::runtime::<B>(setting)?;
    let channel = channel::<(), B>();
    let told = channel.clone();
    let ended = runtime.run(move || wait_in(&told, tasklets, is_closed))?;
    // This thread is no worker.
    let (start, cpu) = (Instant::now(), cpu_time()?);
    std::thread::sleep(WATCHED);
    let (time, cpu) = (start.elapsed(), cpu_time()? - cpu);
    expect("waiting tasklets", channel.balance(), -isize::try_from(tasklets)?)?;
    channel.close();
    while ended.ended.left() != 0 {
        std::thread::yield_now();
    }
    super::end(runtime)?;
    Ok(vec![100.0 * cpu.as_secs_f64() / time.as_secs_f64()])
}
