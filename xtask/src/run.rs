//! Runs cells one after another and judges each.
//!
//! One at a time: cargo uses every core by itself, and two of them wait for each other's lock on the target directory.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::process::{self, Echo, End};
use crate::report::{self, Counts};
use crate::step::{Cargo, Cell, Expects, Needs, SANITIZER_TARGET, Step, Tier};
use crate::workspace::Workspace;

/// What became of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Passed,
    /// Why, in a few words; the output has the rest.
    Failed(String),
    /// What this machine lacks.
    Skipped(String),
}

/// The result of a cell.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) counts: Counts,
    pub(crate) elapsed: Duration,
    /// All that its steps printed.
    pub(crate) output: String,
}

/// Who the run is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Setting {
    /// Somebody who will change a line and run it again: settings are left as they are, so that the artifacts of a cargo
    /// call by hand and of the matrix are the same.
    Developer,
    /// A clean checkout that is thrown away.
    Ci,
}

impl Setting {
    /// Environment variables of every cargo call.
    fn env(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Setting::Developer => &[],
            // Nothing is compiled twice, so what incremental compilation writes, nobody reads.
            Setting::Ci => &[("CARGO_INCREMENTAL", "0")],
        }
    }
}

/// How long a step may take before it is taken for hung. A guess: several times what any step needs from a clean checkout,
/// and still short of what CI allows a job.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The same for the slow tier, where half an hour of stress is meant.
const FULL_LIMIT: Duration = Duration::from_secs(90 * 60);

/// Runs `cells`, printing one line for each as it ends, and the output of those that fail.
pub(crate) fn run(workspace: &Workspace, cells: &[Cell], setting: Setting, verbose: bool) -> Vec<Outcome> {
    let echo = if verbose { Echo::Live } else { Echo::Silent };
    let runner = Runner { workspace, setting, echo };
    cells
        .iter()
        .enumerate()
        .map(|(index, cell)| {
            let place = format!("[{}/{}] {}", index + 1, cells.len(), cell.name);
            let ticker = Ticker::start(place, echo);
            let outcome = runner.cell(cell);
            drop(ticker);
            report::finished(&outcome, echo);
            outcome
        })
        .collect()
}

struct Runner<'a> {
    workspace: &'a Workspace,
    setting: Setting,
    echo: Echo,
}

impl Runner<'_> {
    fn cell(&self, cell: &Cell) -> Outcome {
        let started = Instant::now();
        let mut output = String::new();
        let verdict = match missing(cell.needs) {
            Some(what) => Verdict::Skipped(what),
            None => {
                let failure = cell.steps.iter().find_map(|step| self.step(step, cell.tier, &mut output).err());
                judge(cell.expects, report::parse(&output), failure)
            }
        };
        let counts = report::parse(&output);
        Outcome { name: cell.name.clone(), verdict, counts, elapsed: started.elapsed(), output }
    }

    /// Carries out one step; an error is the reason in a few words.
    fn step(&self, step: &Step, tier: Tier, output: &mut String) -> Result<(), String> {
        match step {
            Step::Cargo(call) => self.cargo(call, tier, output),
            Step::Check(check) => check.run(self.workspace).map_err(|error| {
                let text = format!("{error:#}\n");
                self.note(&text, output);
                text.lines().next().unwrap_or_default().to_owned()
            }),
        }
    }

    /// Adds to the output what no process of the step prints.
    fn note(&self, text: &str, output: &mut String) {
        if self.echo == Echo::Live {
            report::say(text);
        }
        output.push_str(text);
    }

    fn cargo(&self, call: &Cargo, tier: Tier, output: &mut String) -> Result<(), String> {
        let heading = format!("$ {}\n", call.shown());
        self.note(&heading, output);
        let mut command = call.command(self.workspace);
        command.envs(self.setting.env().iter().copied());
        let limit = match tier {
            Tier::Default => DEFAULT_LIMIT,
            Tier::Full => FULL_LIMIT,
        };
        let finished = process::run(command, limit, self.echo).map_err(|error| format!("{error:#}"))?;
        output.push_str(&finished.output);
        match finished.end {
            End::Exited(status) if status.success() => Ok(()),
            End::Exited(status) => Err(format!("cargo {}: {status}", call.verb())),
            End::TimedOut => Err(format!("cargo {}: killed after {} minutes", call.verb(), limit.as_secs() / 60)),
        }
    }
}

/// The verdict on a cell that was run: `failure` is the reason of its first failed step.
fn judge(expects: Expects, counts: Counts, failure: Option<String>) -> Verdict {
    match (failure, expects) {
        // With or without a failed step: should cargo not notice, the text counts.
        (_, _) if counts.failed > 0 => Verdict::Failed(format!("{} tests failed", counts.failed)),
        (Some(reason), _) => Verdict::Failed(reason),
        (None, Expects::Tests) if counts.passed == 0 => Verdict::Failed("ran no test".to_owned()),
        (None, _) => Verdict::Passed,
    }
}

/// What this machine lacks for such a cell.
fn missing(needs: Needs) -> Option<String> {
    match needs {
        Needs::Nothing => None,
        Needs::Sanitizer if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) => {
            Some(format!("host is not {SANITIZER_TARGET}"))
        }
        Needs::Sanitizer => {
            let status = Command::new("rustup")
                .args(["run", "nightly", "rustc", "-V"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            let there = status.is_ok_and(|status| status.success());
            (!there).then(|| "no nightly toolchain".to_owned())
        }
    }
}

/// On a terminal, a line with the running cell and its time, rewritten every second and gone when dropped.
///
/// In a pipe or beside live output it shows nothing.
struct Ticker(Option<(Sender<()>, JoinHandle<()>)>);

impl Ticker {
    fn start(place: String, echo: Echo) -> Ticker {
        if echo == Echo::Live || !std::io::stderr().is_terminal() {
            return Ticker(None);
        }
        let (stop, stopped) = mpsc::channel();
        let started = Instant::now();
        let thread = thread::spawn(move || {
            loop {
                let mut stderr = std::io::stderr().lock();
                // A terminal that went away must not end the run.
                let _ = write!(stderr, "\r\x1b[K{place} {}s", started.elapsed().as_secs());
                let _ = stderr.flush();
                drop(stderr);
                if stopped.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
                    let _ = write!(std::io::stderr(), "\r\x1b[K");
                    return;
                }
            }
        });
        Ticker(Some((stop, thread)))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, ignored: u64) -> Counts {
        Counts { passed, failed, ignored }
    }

    #[test]
    fn cell_that_ran_no_test_fails() {
        let failed = Verdict::Failed("ran no test".to_owned());
        assert_eq!(judge(Expects::Tests, counts(0, 0, 0), None), failed);
        assert_eq!(judge(Expects::Tests, counts(0, 0, 7), None), failed);
        assert_eq!(judge(Expects::NoTests, counts(0, 0, 0), None), Verdict::Passed);
        assert_eq!(judge(Expects::Tests, counts(1, 0, 0), None), Verdict::Passed);
    }

    #[test]
    fn failed_test_or_step_fails_the_cell() {
        assert!(matches!(judge(Expects::Tests, counts(5, 1, 0), None), Verdict::Failed(_)));
        let reason = Some("exit status: 101".to_owned());
        assert_eq!(judge(Expects::Tests, counts(5, 0, 0), reason), Verdict::Failed("exit status: 101".to_owned()));
    }
}
