//! Checks that no cargo call makes. One file each; an error is a list of what to change, one finding per line.

mod edges;
mod no_backend;
mod tidy;
mod tree;
mod unsafe_code;

use anyhow::bail;

use crate::workspace::Workspace;

/// Which check.
#[derive(Debug)]
pub(crate) enum Check {
    /// Dependencies between our crates are those of the table.
    Edges,
    /// Files are short, introduce themselves and hold no leftovers.
    Tidy,
    /// The lints on unsafe code reach every crate.
    UnsafeCode,
    /// The facade with one backend depends on no other.
    Tree { backend: &'static str },
    /// Without a backend the compiler says to select one.
    NoBackend,
}

impl Check {
    pub(crate) fn run(&self, workspace: &Workspace) -> anyhow::Result<()> {
        match self {
            Check::Edges => edges::check(workspace),
            Check::Tidy => tidy::check(workspace),
            Check::UnsafeCode => unsafe_code::check(workspace),
            Check::Tree { backend } => tree::check(workspace, backend),
            Check::NoBackend => no_backend::check(workspace),
        }
    }
}

/// No findings are success.
fn verdict(findings: &[String]) -> anyhow::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{}", findings.join("\n"))
}
