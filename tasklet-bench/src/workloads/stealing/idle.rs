//! The workloads that wait: what a tasklet costs that does nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::{Channel, channel, countdown, expect, wait_for, within};
use crate::Result;
use crate::process::{cpu_time, resident};
use crate::subject::Setting;
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
        let ended = wait_in(&channel, tasklets)?;
        let created = start.elapsed();
        let after = resident()?;

        let start = Instant::now();
        channel.close();
        wait_for(&ended.ended)?;
        let woken = start.elapsed();
        Ok(figures(tasklets, after - before, created, woken))
    })
}

/// The same with soft tasklets.
pub(super) fn idle_mem_soft<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    within::<B, _>(setting, move || {
        let before = resident()?;

        let start = Instant::now();
        let bell = Bell::for_many(tasklets);
        let ended = countdown(tasklets);
        for _ in 0..tasklets {
            let (rings, ended) = (bell.clone().rings(), ended.clone());
            stealing::spawn_async(async move {
                rings.await;
                ended.down();
            });
        }
        while bell.waiting() != tasklets {
            stealing::yield_now();
        }
        let created = start.elapsed();
        let after = resident()?;

        let start = Instant::now();
        bell.ring();
        wait_for(&ended)?;
        let woken = start.elapsed();
        Ok(figures(tasklets, after - before, created, woken))
    })
}

fn figures(tasklets: u64, bytes: i64, created: Duration, woken: Duration) -> Vec<f64> {
    let each = |total: f64| total / tasklets as f64;
    vec![each(bytes as f64), each(created.as_nanos() as f64), woken.as_secs_f64() * 1e3]
}

/// Spawns tasklets that wait in a receive until the channel is closed, and returns when all wait.
fn wait_in<B: Backend>(channel: &Channel<(), B>, tasklets: u64) -> Result<Arc<Counts>> {
    // Together, so that a closure has three words, as in the local scheduler's workload, and lies in the tasklet's record.
    let counts = Arc::new(Counts { begun: countdown(tasklets), ended: countdown(tasklets) });
    for _ in 0..tasklets {
        let (channel, counts) = (channel.clone(), counts.clone());
        stealing::spawn(move || {
            counts.begun.down();
            if channel.recv().is_err_and(|error| error.is_closed()) {
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

/// Per cent of one processor that is used while many tasklets wait.
pub(super) fn idle_cpu<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    let runtime = super::runtime::<B>(setting)?;
    let channel = channel::<(), B>();
    let told = channel.clone();
    let ended = runtime.run(move || wait_in(&told, tasklets))?;
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
