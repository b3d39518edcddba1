//! What the system says that this process takes, memory and processor time, and how busy cores are. From Linux's `/proc`, which needs no `unsafe`.

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

/// What the first two cores have done since the system began.
pub(crate) struct BusyCores([Ticks; 2]);

/// Of the clock by which the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl BusyCores {
    pub(crate) fn now() -> Result<BusyCores> {
        let stat = fs::read_to_string("/proc/stat")
            .map_err(|error| format!("how busy cores are is told by /proc/stat, which could not be read: {error}"))?;
        Ok(BusyCores([ticks(&stat, 0)?, ticks(&stat, 1)?]))
    }

    /// The percentage of the time since then that each was busy, for whatever process.
    pub(crate) fn since(&self, before: &BusyCores) -> [f64; 2] {
        [0, 1].map(|core| {
            let (now, before) = (self.0[core], before.0[core]);
            let (idle, all) = (now.idle.saturating_sub(before.idle), now.all.saturating_sub(before.all));
            100.0 * (1.0 - idle as f64 / all.max(1) as f64)
        })
    }
}

fn ticks(stat: &str, core: usize) -> Result<Ticks> {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    let numbers: Option<Vec<u64>> =
        line.map(|line| line.split_whitespace().map_while(|number| number.parse().ok()).collect());
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice already.
    match numbers.as_deref() {
        Some([user, nice, system, idle, waits, interrupts, softly, stolen, ..]) => {
            let idle = idle + waits;
            Ok(Ticks { idle, all: user + nice + system + idle + interrupts + softly + stolen })
        }
        _ => Err(format!("no times of core {core} in /proc/stat: the server and its client need a core each").into()),
    }
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
    fn cores_are_idle_or_busy() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 40 50 6 7 8 1 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(ticks(stat, 0).unwrap(), Ticks { idle: 90, all: 117 });
        assert!(ticks(stat, 2).unwrap_err().0.contains("core 2"));
        let then = BusyCores([Ticks { idle: 90, all: 117 }, Ticks { idle: 0, all: 0 }]);
        let now = BusyCores([Ticks { idle: 100, all: 157 }, Ticks { idle: 0, all: 50 }]);
        assert_eq!(now.since(&then), [75.0, 100.0]);
    }

    #[test]
    fn schedstat_begins_with_nanoseconds() {
        assert_eq!(nanoseconds("571129 79528 3\n").unwrap(), Duration::from_nanos(571_129));
        assert!(nanoseconds("").is_err());
    }
}
