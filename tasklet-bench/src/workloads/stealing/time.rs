//! Workloads that sleep.

use std::sync::Arc;
use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::{countdown, wait_for, within};
use crate::Result;
use crate::process::cpu_time;
use crate::subject::Setting;
use crate::workloads::parts::{Countdown, longest_nap, nap};

/// Milliseconds, and milliseconds of processor time.
pub(super) fn sleep<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    naps::<B>(setting, |number, ended| {
        stealing::spawn(move || {
            stealing::sleep(nap(number));
            ended.down();
        });
    })
}

/// The same with soft tasklets.
pub(super) fn sleep_soft<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    naps::<B>(setting, |number, ended| {
        stealing::spawn_async(async move {
            stealing::sleep_async(nap(number)).await;
            ended.down();
        });
    })
}

fn naps<B: Backend>(setting: &Setting, spawn: impl Fn(u64, Arc<Countdown>) + Send) -> Result<Vec<f64>> {
    let tasklets = setting.n;
    within::<B, _>(setting, move || {
        let (start, cpu) = (Instant::now(), cpu_time()?);
        let ended = countdown(tasklets);
        (0..tasklets).for_each(|number| spawn(number, ended.clone()));
        wait_for(&ended)?;
        let (time, cpu) = (start.elapsed(), cpu_time()? - cpu);
        if time < longest_nap(tasklets) {
            return Err(format!("all have slept in {time:?}, the longest for longer; no figure").into());
        }
        Ok(vec![time.as_secs_f64() * 1e3, cpu.as_secs_f64() * 1e3])
    })
}
