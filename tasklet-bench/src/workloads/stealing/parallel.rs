//! Workloads that only more workers make faster.

use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::{expect, join, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::parts::compute;

/// Milliseconds on one worker, on all, and the ratio.
pub(super) fn skew<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let expected = (0..setting.n).fold(0, |sum: u64, child| sum.wrapping_add(compute(child)));
    let once = |workers| -> Result<Duration> {
        let (time, sum) = produce::<B>(&Setting { workers, ..*setting })?;
        expect("sum of what the children computed", sum, expected)?;
        Ok(time)
    };
    let (one, all) = (once(1)?, once(setting.workers)?);
    Ok(vec![one.as_secs_f64() * 1e3, all.as_secs_f64() * 1e3, one.as_secs_f64() / all.as_secs_f64()])
}

fn produce<B: Backend>(setting: &Setting) -> Result<(Duration, u64)> {
    let children = setting.n;
    within::<B, _>(setting, move || {
        let start = Instant::now();
        let handles: Vec<_> = (0..children).map(|child| stealing::spawn(move || compute(child))).collect();
        let mut sum: u64 = 0;
        for handle in handles {
            sum = sum.wrapping_add(join(handle)?);
        }
        Ok((start.elapsed(), sum))
    })
}
