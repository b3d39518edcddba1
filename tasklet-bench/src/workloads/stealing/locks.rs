//! Workloads that wait for locks.

use std::sync::Arc;
use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;
use tasklet_sync::Mutex;

use super::{expect, join, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::parts::LOCKERS;

/// Nanoseconds per increment.
pub(super) fn mutex<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let each = setting.n;
    within::<B, _>(setting, move || {
        let total = Arc::new(Mutex::new(0));
        let start = Instant::now();
        let adds = || {
            let total = total.clone();
            stealing::spawn(move || {
                for _ in 0..each {
                    *total.lock().expect("nobody panics") += 1;
                }
            })
        };
        let handles: Vec<_> = (0..LOCKERS).map(|_| adds()).collect();
        handles.into_iter().try_for_each(join)?;
        let time = start.elapsed();
        expect("increments", *total.lock().expect("nobody panics"), LOCKERS * each)?;
        Ok(vec![time.as_nanos() as f64 / (LOCKERS * each) as f64])
    })
}
