//! What the system says that this process takes: memory and processor time. From Linux's `/proc`, which needs no `unsafe`.

use std::fs;
use std::time::Duration;

use crate::Result;

/// Bytes of memory that this process occupies now, and of page tables for it.
pub(crate) fn resident() -> Result<i64> {
    let status = fs::read_to_string("/proc/self/status")
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

/// The processor time that the threads of this process have used that live now.
///
/// Of the caller and of a thread that sleeps it is exact, which the ticks of `/proc/self/stat` are not; of another that runs, it may be
/// a tick late.
pub(crate) fn cpu_time() -> Result<Duration> {
    let refused = |error| format!("processor time is measured by /proc/self/task, which could not be read: {error}");
    // The kernel counts when a thread gives way.
    std::thread::yield_now();
    let (mut sum, mut counted) = (Duration::ZERO, false);
    for thread in fs::read_dir("/proc/self/task").map_err(refused)? {
        // A thread that has ended since the directory was read has no file any more.
        if let Ok(text) = fs::read_to_string(thread.map_err(refused)?.path().join("schedstat")) {
            sum += nanoseconds(&text)?;
            counted = true;
        }
    }
    if counted { Ok(sum) } else { Err("the kernel keeps no schedstat".into()) }
}

/// The first number: time on a processor.
fn nanoseconds(schedstat: &str) -> Result<Duration> {
    let number = schedstat.split_whitespace().next().and_then(|number| number.parse().ok());
    number.map(Duration::from_nanos).ok_or_else(|| format!("no time in a schedstat: {schedstat:?}").into())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn status_is_in_kibibytes() {
        let status = "Name:\ttasklet-bench\nVmRSS:\t    2048 kB\nVmPTE:\t      52 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:").unwrap(), 2048 * 1024);
        assert_eq!(kibibytes(status, "VmPTE:").unwrap(), 52 * 1024);
        assert!(kibibytes(status, "VmSwap:").is_err());
    }

    #[test]
    fn processor_time_grows_while_a_thread_computes() {
        let (start, before) = (Instant::now(), cpu_time().unwrap());
        while cpu_time().unwrap() < before + Duration::from_millis(5) {
            assert!(start.elapsed() < Duration::from_secs(30), "it computes, and nothing is counted");
        }
    }

    #[test]
    fn schedstat_begins_with_nanoseconds() {
        assert_eq!(nanoseconds("571129 79528 3\n").unwrap(), Duration::from_nanos(571_129));
        assert!(nanoseconds("").is_err());
    }
}
