//! What is measured: one of our schedulers on a backend with some number of workers, or a rival.

use std::fmt;

use tasklet_backend_context::BoostContext;
use tasklet_backend_corosensei::Corosensei;
use tasklet_backend_generator::Generator;
use tasklet_core::backend::{Backend, StackProvision};

use crate::Result;
use crate::rivals;
use crate::workloads::{Kind, Workload, local, stealing};

/// One run of one workload: its figures.
pub(crate) type Run = fn(&Setting) -> Result<Vec<f64>>;

/// What a run is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// The workload's size.
    pub(crate) n: u64,
    /// How many tasklets take part, where that can be chosen.
    pub(crate) members: u64,
    pub(crate) workers: usize,
    pub(crate) tasklets: Tasklets,
}

/// Who runs a workload. The first that can is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    Local,
    Stealing,
    Tokio,
    May,
    Rayon,
    Threads,
    Go,
}

/// Our own, for `--scheduler`.
pub(crate) static SCHEDULERS: [Runner; 2] = [Runner::Local, Runner::Stealing];

/// Others', for `--rival`.
pub(crate) static RIVALS: [Runner; 5] = [Runner::Tokio, Runner::May, Runner::Rayon, Runner::Threads, Runner::Go];

impl Runner {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Runner::Local => "local",
            Runner::Stealing => "stealing",
            Runner::Tokio => "tokio",
            Runner::May => "may",
            Runner::Rayon => "rayon",
            Runner::Threads => "threads",
            Runner::Go => "go",
        }
    }

    pub(crate) fn is_rival(self) -> bool {
        RIVALS.contains(&self)
    }
}

/// What a tasklet suspends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tasklets {
    /// A stack of its own.
    Stackful,
    /// A stack that it shares with others.
    Swapped,
    /// A future.
    Soft,
}

/// For `--kind`.
pub(crate) static KINDS: [Tasklets; 3] = [Tasklets::Stackful, Tasklets::Swapped, Tasklets::Soft];

impl Tasklets {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Tasklets::Stackful => "stackful",
            Tasklets::Swapped => "swapped",
            Tasklets::Soft => "soft",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) runner: Runner,
    /// Of no meaning for a rival.
    pub(crate) backend: &'static BackendEntry,
    pub(crate) tasklets: Tasklets,
}

impl Subject {
    /// What does one run of `workload`, if the subject can.
    pub(crate) fn run(&self, workload: &Workload) -> Option<Run> {
        match self.runner {
            Runner::Local if self.tasklets == Tasklets::Soft => None,
            Runner::Local => (self.backend.local)(workload.kind),
            Runner::Stealing => (self.backend.stealing)(workload.kind, self.tasklets),
            Runner::Tokio => rivals::tokio::run(workload.kind),
            Runner::May => rivals::may::run(workload.kind),
            Runner::Rayon => rivals::rayon::run(workload.kind),
            Runner::Threads => rivals::threads::run(workload.kind),
            Runner::Go => rivals::go::run(workload.kind),
        }
    }

    /// The options that ask for it.
    pub(crate) fn options(&self) -> Vec<&'static str> {
        if self.runner.is_rival() {
            return vec!["--rival", self.runner.name()];
        }
        vec!["--scheduler", self.runner.name(), "--backend", self.backend.name, "--kind", self.tasklets.name()]
    }

    /// The size of `workload` if it is not given.
    pub(crate) fn default_n(&self, workload: &Workload) -> u64 {
        match (workload.kind, self.tasklets, self.backend.stacks) {
            // A backend that brings its own stacks has fewer: generator ends near 32,000.
            (
                Kind::IdleMem | Kind::IdleCpu | Kind::Sleep | Kind::Depth,
                Tasklets::Stackful,
                StackProvision::Backend,
            ) if !self.runner.is_rival() => workload.n / 10,
            _ => workload.n,
        }
    }
}

/// Everybody who can run `workload`, for messages and `--list`.
pub(crate) fn who_runs(workload: &Workload) -> Vec<String> {
    let mut names = Vec::new();
    for runner in SCHEDULERS.iter().chain(&RIVALS) {
        let can = |tasklets| Subject { runner: *runner, backend: &BACKENDS[0], tasklets }.run(workload).is_some();
        let kinds: Vec<_> = KINDS.iter().filter(|kind| can(**kind)).map(Tasklets::name).collect();
        match kinds.len() {
            0 => {}
            _ if runner.is_rival() => names.push(runner.name().to_owned()),
            _ => names.push(format!("{} ({})", runner.name(), kinds.join(", "))),
        }
    }
    names
}

/// One backend.
pub(crate) struct BackendEntry {
    pub(crate) name: &'static str,
    local: fn(Kind) -> Option<Run>,
    stealing: fn(Kind, Tasklets) -> Option<Run>,
    stacks: StackProvision,
}

/// All backends, the default first.
pub(crate) static BACKENDS: [BackendEntry; 3] = [entry::<Corosensei>(), entry::<BoostContext>(), entry::<Generator>()];

const fn entry<B: Backend>() -> BackendEntry {
    BackendEntry { name: B::NAME, local: local::run::<B>, stealing: stealing::run::<B>, stacks: B::STACKS }
}

impl fmt::Debug for BackendEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BackendEntry").field(&self.name).finish()
    }
}
