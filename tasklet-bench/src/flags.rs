//! The command line: what can be asked for, and the help that says so.

use std::ffi::OsString;

use lexopt::prelude::*;

use crate::Result;
use crate::workloads::{self, BACKENDS, BackendEntry, WORKLOADS, Workload};

pub(crate) const HELP: &str = "\
Measure one workload; print a line `workload<TAB>value<TAB>unit` for each of its figures.

Usage: tasklet-bench WORKLOAD [OPTIONS]

Options:
      --list               print the workloads with their definitions, and measure nothing
      --backend NAME       corosensei (the default), context or generator
      --scheduler NAME     local (the default, and so far the only one)
      --workers N          1: the local scheduler is one thread
      --n N                the workload's own size; see --list
      --runs N             runs to take the median of, after one that does not count (default: 5)
      --once               one run, in this process, none before it: for profilers
      --quick              small sizes and one run: tells that a workload works, not how fast
  -h, --help               print this
";

/// The runs to take the median of.
const RUNS: usize = 5;

/// The only scheduler so far.
const SCHEDULERS: [&str; 1] = ["local"];

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Print the workloads.
    List,
    /// Measure.
    Measure(Job),
}

/// A workload on a backend, and how often.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) workload: &'static Workload,
    pub(crate) backend: &'static BackendEntry,
    pub(crate) n: u64,
    pub(crate) runs: usize,
    /// One run in this process, none before it.
    pub(crate) once: bool,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut workload, mut backend, mut n, mut runs) = (None, &BACKENDS[0], None, None);
    let (mut once, mut quick) = (false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("list") => return Ok(Command::List),
            Long("once") => once = true,
            Long("quick") => quick = true,
            Long("n") => n = Some(positive(&mut parser, "--n")?),
            Long("runs") => runs = Some(usize::try_from(positive(&mut parser, "--runs")?)?),
            Long("backend") => {
                let name = text(&mut parser, "--backend needs a name")?;
                backend = find(&BACKENDS, |backend| backend.name, &name, "backend")?;
            }
            Long("scheduler") => {
                find(&SCHEDULERS, |name| name, &text(&mut parser, "--scheduler needs a name")?, "scheduler")?;
            }
            Long("workers") => {
                let workers = positive(&mut parser, "--workers")?;
                if workers != 1 {
                    return Err(format!("--workers {workers}: the local scheduler is one thread").into());
                }
            }
            Value(name) if workload.is_none() => {
                workload = Some(find(&WORKLOADS, |workload| workload.name, &name.string()?, "workload")?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(workload) = workload else {
        return Err(format!("which workload? There are: {}", names(&WORKLOADS, |workload| workload.name)).into());
    };
    let n = n.unwrap_or(if quick { workload.quick_n } else { workloads::default_n(workload, backend) });
    let runs = runs.unwrap_or(if quick { 1 } else { RUNS });
    Ok(Command::Measure(Job { workload, backend, n, runs, once }))
}

fn text(parser: &mut lexopt::Parser, missing: &str) -> Result<String> {
    Ok(parser.value().map_err(|_| missing)?.string()?)
}

fn positive(parser: &mut lexopt::Parser, option: &str) -> Result<u64> {
    let text = text(parser, &format!("{option} needs a number"))?;
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{option} {text}: needs a whole number above zero").into()),
        Ok(number) => Ok(number),
    }
}

/// The item called `name`, or an error that says what there is.
fn find<T>(items: &'static [T], of: impl Fn(&T) -> &str, name: &str, what: &str) -> Result<&'static T> {
    let unknown = || format!("no {what} is called `{name}`; there is: {}", names(items, &of)).into();
    items.iter().find(|item| of(item) == name).ok_or_else(unknown)
}

fn names<T>(items: &[T], of: impl Fn(&T) -> &str) -> String {
    items.iter().map(of).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn job(line: &str) -> Job {
        match words(line) {
            Ok(Command::Measure(job)) => job,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn sizes_follow_workload_backend_and_options() {
        let sizes = |line| (job(line).n, job(line).runs);
        assert_eq!(sizes("yield"), (10_000, 5));
        assert_eq!(sizes("idle_mem --workers 1 --scheduler local"), (100_000, 5));
        assert_eq!(sizes("idle_mem --backend generator"), (10_000, 5));
        assert_eq!(sizes("idle_mem --n 7 --quick"), (7, 1));
        assert_eq!(sizes("--runs=9 ring --n=3"), (3, 9));
        assert_eq!(job("ring --backend context").backend.name, "context");
    }

    #[test]
    fn unknown_names_say_what_there_is() {
        for (line, says) in [
            ("", "spawn_join"),
            ("yeild", "yield, pingpong"),
            ("yield --backend boost", "corosensei, context, generator"),
            ("yield --scheduler stealing", "there is: local"),
            ("yield --workers 2", "one thread"),
            ("yield --workers 0", "above zero"),
            ("yield --n x", "--n x"),
            ("yield --n", "--n needs a number"),
            ("yield ring", "ring"),
            ("yield --frobnicate", "--frobnicate"),
        ] {
            let error = words(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
