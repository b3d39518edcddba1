//! The workloads: their definitions in words, and which function does one run of each.
//!
//! A new workload is an entry of [`WORKLOADS`], a variant of [`Kind`], a line in `run`, and a function generic over the backend
//! that checks its own result: a scheduler that loses a wake or a value must not produce a figure.

mod memory;
mod spawning;
mod switching;

use std::fmt::{self, Write};

use tasklet_backend_context::BoostContext;
use tasklet_backend_corosensei::Corosensei;
use tasklet_backend_generator::Generator;
use tasklet_channels::{ChannelBy, Local};
use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::operation::On;

use crate::Result;

/// A channel with the switch of `B` compiled in, as the facade's is for its default backend.
type Channel<T, B> = ChannelBy<T, Local<On<B>>>;

/// One workload.
#[derive(Debug)]
pub(crate) struct Workload {
    kind: Kind,
    pub(crate) name: &'static str,
    /// What is done and what is counted.
    definition: &'static str,
    /// What `--n` is.
    size: &'static str,
    /// What must not be concluded from the figures.
    not_evidence_for: &'static str,
    /// `--n` if it is not given.
    n: u64,
    /// `--n` under `--quick`.
    pub(crate) quick_n: u64,
    /// What must be fresh in each run.
    pub(crate) isolation: Isolation,
    pub(crate) figures: &'static [Figure],
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Yield,
    PingPong,
    Ring,
    SpawnJoin,
    IdleMem,
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
}

const NANOSECONDS: &[Figure] = &[Figure { suffix: "", unit: "ns" }];

/// All workloads.
pub(crate) static WORKLOADS: [Workload; 5] = [
    Workload {
        kind: Kind::Yield,
        name: "yield",
        definition: "1000 tasklets each yield N times; time from the start of the first to the end of the last, per yield",
        size: "yields of each tasklet",
        not_evidence_for: "programs whose tasklets do something between two yields: all stacks stay in the second-level cache",
        n: 10_000,
        quick_n: 10,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::PingPong,
        name: "pingpong",
        definition: "two tasklets send a number to and fro over two rendezvous channels; time per round trip (two sends, two receives, \
                     two switches)",
        size: "round trips",
        not_evidence_for: "channels between threads, or with many waiters: one tasklet waits, and all is in the first-level cache",
        n: 1_000_000,
        quick_n: 1000,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::Ring,
        name: "ring",
        definition: "503 tasklets in a ring pass one number on over rendezvous channels; time per hop (a send, a receive, a switch)",
        size: "hops",
        not_evidence_for: "throughput: there is one message, and every tasklet but one waits for it",
        n: 5_000_000,
        quick_n: 5000,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::SpawnJoin,
        name: "spawn_join",
        definition: "tasklets that do nothing are spawned in batches of 10,000, and each batch is joined; time per tasklet",
        size: "tasklets",
        not_evidence_for: "tasklets that wait: one that never gives way needs no stack of its own, and idle_mem shows what a stack costs",
        n: 1_000_000,
        quick_n: 1000,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::IdleMem,
        name: "idle_mem",
        definition: "N tasklets wait in a receive on one channel, on stacks of the default size; resident bytes of the process, page \
                     tables included, per tasklet; time to spawn one and run it until it waits; time to close the channel and let all end",
        size: "tasklets",
        not_evidence_for: "tasklets that have called deeply once: the pages they touched stay until they end",
        n: 100_000,
        quick_n: 100,
        isolation: Isolation::Process,
        figures: &[
            Figure { suffix: ".bytes", unit: "bytes" },
            Figure { suffix: ".create", unit: "ns" },
            Figure { suffix: ".wake_all", unit: "ms" },
        ],
    },
];

/// One backend.
pub(crate) struct BackendEntry {
    pub(crate) name: &'static str,
    /// Does one run with a size; returns the workload's figures.
    pub(crate) run: fn(&Workload, u64) -> Result<Vec<f64>>,
    stacks: StackProvision,
}

/// All backends, the default first.
pub(crate) static BACKENDS: [BackendEntry; 3] = [entry::<Corosensei>(), entry::<BoostContext>(), entry::<Generator>()];

const fn entry<B: Backend>() -> BackendEntry {
    BackendEntry { name: B::NAME, run: run::<B>, stacks: B::STACKS }
}

fn run<B: Backend>(workload: &Workload, n: u64) -> Result<Vec<f64>> {
    match workload.kind {
        Kind::Yield => switching::yields::<B>(n).map(|value| vec![value]),
        Kind::PingPong => switching::ping_pong::<B>(n).map(|value| vec![value]),
        Kind::Ring => switching::ring::<B>(n).map(|value| vec![value]),
        Kind::SpawnJoin => spawning::spawn_join::<B>(n).map(|value| vec![value]),
        Kind::IdleMem => memory::idle_mem::<B>(n).map(Vec::from),
    }
}

/// The size of a workload if it is not given.
pub(crate) fn default_n(workload: &Workload, backend: &BackendEntry) -> u64 {
    match (workload.kind, backend.stacks) {
        // A backend that brings its own stacks has fewer: generator ends near 32,000.
        (Kind::IdleMem, StackProvision::Backend) => workload.n / 10,
        _ => workload.n,
    }
}

/// All workloads, for `--list`.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for Workload { name, definition, size, not_evidence_for, n, figures, .. } in &WORKLOADS {
        let lines: Vec<String> =
            figures.iter().map(|figure| format!("{name}{} in {}", figure.suffix, figure.unit)).collect();
        let _ = writeln!(text, "{name}: {definition}.");
        let _ = writeln!(text, "    prints {}; --n: {size} (default: {n})", lines.join(", "));
        let _ = writeln!(text, "    not evidence for {not_evidence_for}");
    }
    text
}

/// An error unless a workload has done what it is for.
fn expect<T: PartialEq + fmt::Display>(what: &str, found: T, expected: T) -> Result<()> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found} instead of {expected}; no figure").into()) }
}

impl fmt::Debug for BackendEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BackendEntry").field(&self.name).finish()
    }
}
