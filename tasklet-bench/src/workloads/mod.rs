//! The workloads: their definitions in words, and which function does one run of each.
//!
//! A new workload is an entry of [`WORKLOADS`], a variant of [`Kind`], a line in the `run` of each scheduler that can do it, and a
//! function generic over the backend that checks its own result: a scheduler that loses a wake or a value must not produce a figure.
//!
//! | file | what it is |
//! |---|---|
//! | `table` | the definitions |
//! | `local` | one run of each on the local scheduler |
//! | `stealing` | one run of each on the work-stealing scheduler |
//! | `load` | the clients of servers |
//! | `chain` | chains of calls to wait at the end of |
//! | `parts` | what they and the rivals' share |

mod chain;
pub(crate) mod load;
pub(crate) mod local;
pub(crate) mod parts;
pub(crate) mod stealing;
mod table;

use std::fmt::{Display, Write};

use crate::Result;
use crate::subject;
use parts::{BROWSERS, CONNECTIONS, RING};

pub(crate) use table::WORKLOADS;

/// One workload.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    /// What is done and what is counted.
    definition: &'static str,
    /// What `--n` is.
    size: &'static str,
    /// What must not be concluded from the figures.
    not_evidence_for: &'static str,
    /// `--n` if it is not given.
    pub(crate) n: u64,
    /// `--n` under `--quick`.
    pub(crate) quick_n: u64,
    /// `--workers` if it is not given.
    pub(crate) workers: u64,
    /// What must be fresh in each run.
    pub(crate) isolation: Isolation,
    pub(crate) figures: &'static [Figure],
}

impl Workload {
    /// How many take part, where that can be chosen: the option that says so, and what it is if it is not given.
    pub(crate) fn members(&self) -> Option<(&'static str, u64)> {
        match self.kind {
            Kind::Ring => Some(("--tasklets", RING)),
            Kind::Echo => Some(("--connections", CONNECTIONS)),
            Kind::Http => Some(("--connections", BROWSERS)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Yield,
    PingPong,
    Ring,
    Sieve,
    Mpmc,
    MpscUnbounded,
    Select,
    ThreadsMpmc,
    Mutex,
    SpawnJoin,
    Skynet,
    Fib,
    FibSpawn,
    Skew,
    Sleep,
    WakeLatency,
    IdleCpu,
    IdleMem,
    Depth,
    Echo,
    Http,
    IdleSockets,
    AcceptStorm,
    Relay,
}

/// What each run of a workload has for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isolation {
    /// A scheduler, and with it all stacks.
    Scheduler,
    /// A process: memory that an earlier run has left behind would count, or would not.
    Process,
}

/// One line of output.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Appended to the workload's name.
    pub(crate) suffix: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) decimals: usize,
}

/// All workloads, for `--list`.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for workload in &WORKLOADS {
        let Workload { name, definition, size, not_evidence_for, n, workers, figures, .. } = workload;
        let lines: Vec<String> =
            figures.iter().map(|figure| format!("{name}{} in {}", figure.suffix, figure.unit)).collect();
        let _ = writeln!(text, "{name}: {definition}.");
        let _ = writeln!(text, "    prints {}; --n: {size} (default: {n})", lines.join(", "));
        let many = if *workers == 1 { String::new() } else { format!("; --workers: {workers} by default") };
        let members =
            workload.members().map_or(String::new(), |(option, members)| format!("; {option}: {members} by default"));
        let _ = writeln!(text, "    on {}{many}{members}", subject::who_runs(workload).join(", "));
        let _ = writeln!(text, "    not evidence for {not_evidence_for}");
    }
    text
}

/// An error unless a workload has done what it is for.
pub(crate) fn expect<T: PartialEq + Display>(what: &str, found: T, expected: T) -> Result<()> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found} instead of {expected}; no figure").into()) }
}
