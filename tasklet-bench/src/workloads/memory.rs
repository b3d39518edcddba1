//! The workload that waits: what a tasklet costs that does nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_scheduler::local::Scheduler;

use super::{Channel, expect};
use crate::Result;

/// Bytes of a waiting tasklet, nanoseconds to create one, milliseconds to wake all.
pub(super) fn idle_mem<B: Backend>(tasklets: u64) -> Result<[f64; 3]> {
    let scheduler = Scheduler::<B>::new();
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

/// Bytes of memory that this process occupies now, and of page tables for it.
fn resident() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("memory is measured by /proc/self/status, which could not be read: {error}"))?;
    // What /proc/self/statm calls resident, in bytes of any page size.
    Ok(kibibytes(&status, "VmRSS:")? + kibibytes(&status, "VmPTE:")?)
}

fn kibibytes(status: &str, field: &str) -> Result<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number =
        line.and_then(|rest| rest.trim().strip_suffix("kB")).and_then(|number| number.trim().parse::<i64>().ok());
    number.map(|kibibytes| kibibytes * 1024).ok_or_else(|| format!("no {field} in /proc/self/status").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_in_kibibytes() {
        let status = "Name:\ttasklet-bench\nVmRSS:\t    2048 kB\nVmPTE:\t      52 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:").unwrap(), 2048 * 1024);
        assert_eq!(kibibytes(status, "VmPTE:").unwrap(), 52 * 1024);
        assert!(kibibytes(status, "VmSwap:").is_err());
    }
}
