//! The command line: what can be asked for, and the help that says so.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::Result;
use crate::series::{SERIES, Series};
use crate::subject::{self, BACKENDS, KINDS, RIVALS, Run, Runner, SCHEDULERS, Setting, Subject, Tasklets};
use crate::workloads::{Kind, WORKLOADS, Workload};

pub(crate) const HELP: &str = "\
Measure one workload; print a line `workload<TAB>value<TAB>unit` for each of its figures.

Usage: tasklet-bench WORKLOAD [OPTIONS]
       tasklet-bench --series NAME [--runs N] [--quick]
       tasklet-bench --table FILE | --plot FILE
       tasklet-bench --hold ADDRESS --connections N

Options:
      --list               print the workloads with their definitions, and measure nothing
      --scheduler NAME     local or stealing (default: local, if it runs the workload)
      --workers N          threads of the stealing scheduler, or of a rival (default: 1, or what --list says)
      --kind KIND          what suspends: stackful (the default), swapped or soft
      --backend NAME       corosensei (the default), context or generator
      --rival NAME         the same workload in tokio, may, rayon, plain threads or Go instead
      --n N                the workload's own size; see --list
      --tasklets N         of `ring`: how many there are (default: 503)
      --connections N      of `echo` (default: 50) and `http` (default: 64): how many there are
      --runs N             runs to take the median of, after one that does not count (default: 5)
      --once               one run, in this process, none before it: for profilers
      --quick              small sizes and one run: tells that a workload works, not how fast
      --series NAME        measure many workloads: kinds (what each kind of tasklets costs); the lines name their options
      --table FILE         print a table in Markdown of such lines, which an earlier run has printed into FILE
      --plot FILE          print a drawing of them, as SVG
      --hold ADDRESS       open so many connections to a server, and do nothing until the standard input ends
  -h, --help               print this
";

/// The runs to take the median of.
const RUNS: usize = 5;

/// The most threads that make sense to ask for.
const MAX_WORKERS: u64 = 1024;

/// Tasklets in a ring: one alone would wait for itself, and more than that for ever.
const MEMBERS: RangeInclusive<u64> = 2..=10_000_000;

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Print the workloads.
    List,
    /// Measure.
    Measure(Job),
    /// Measure each, and say of which options a figure is.
    Series(Vec<(String, Job)>),
    /// Print a table of the figures in a file.
    Table(PathBuf),
    /// Draw them.
    Plot(PathBuf),
    /// Hold so many connections.
    Hold(SocketAddr, u64),
}

/// A workload, who runs it, and how often.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) workload: &'static Workload,
    pub(crate) subject: Subject,
    /// Does one run.
    pub(crate) run: Run,
    pub(crate) setting: Setting,
    pub(crate) runs: usize,
    /// One run in this process, none before it.
    pub(crate) once: bool,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut workload, mut scheduler, mut rival) = (None, None, None);
    let (mut backend, mut tasklets) = (None, None);
    let (mut workers, mut n, mut members, mut runs) = (None, None, None, None);
    let (mut series, mut hold) = (None, None);
    let (mut once, mut quick) = (false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("list") => return Ok(Command::List),
            Long("once") => once = true,
            Long("quick") => quick = true,
            Long("n") => n = Some(positive(&mut parser, "--n")?),
            Long("connections") => members = Some(("--connections", positive(&mut parser, "--connections")?)),
            Long("tasklets") => members = Some(("--tasklets", positive(&mut parser, "--tasklets")?)),
            Long("hold") => hold = Some(address(&mut parser)?),
            Long("series") => series = Some(named(&mut parser, &SERIES, |series| series.name, "series")?),
            Long("table") => return Ok(Command::Table(parser.value().map_err(|_| "--table needs a file")?.into())),
            Long("plot") => return Ok(Command::Plot(parser.value().map_err(|_| "--plot needs a file")?.into())),
            Long("runs") => runs = Some(usize::try_from(positive(&mut parser, "--runs")?)?),
            Long("workers") => workers = Some(positive(&mut parser, "--workers")?),
            Long("backend") => backend = Some(named(&mut parser, &BACKENDS, |backend| backend.name, "backend")?),
            Long("scheduler") => {
                scheduler = Some(*named(&mut parser, &SCHEDULERS, |runner| runner.name(), "scheduler")?)
            }
            Long("rival") => rival = Some(*named(&mut parser, &RIVALS, |runner| runner.name(), "rival")?),
            Long("kind") => tasklets = Some(*named(&mut parser, &KINDS, |kind| kind.name(), "kind")?),
            Value(name) if workload.is_none() => {
                workload = Some(find(&WORKLOADS, |workload| workload.name, &name.string()?, "workload")?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(addr) = hold {
        return match members {
            Some(("--connections", connections)) if workload.is_none() => Ok(Command::Hold(addr, connections)),
            _ => Err("--hold needs --connections, and no workload".into()),
        };
    }
    if let Some(series) = series {
        let others = [workload.is_some(), scheduler.is_some(), rival.is_some(), backend.is_some(), tasklets.is_some()];
        if others.contains(&true) || [workers, n].iter().any(Option::is_some) || members.is_some() || once {
            return Err("--series says what is measured: only --runs and --quick go with it".into());
        }
        return jobs(series, runs, quick);
    }
    let Some(workload) = workload else {
        return Err(format!("which workload? There are: {}", names(&WORKLOADS, |workload| workload.name)).into());
    };
    if rival.is_some() && (scheduler.is_some() || backend.is_some() || tasklets.is_some()) {
        return Err("--rival stands instead of --scheduler, --backend and --kind".into());
    }
    let (subject, run) =
        choose(workload, rival.or(scheduler), backend.unwrap_or(&BACKENDS[0]), tasklets.unwrap_or(Tasklets::Stackful))?;
    let workers = match (subject.runner, workers) {
        (Runner::Local | Runner::Threads, Some(2..)) => {
            return Err(format!("--workers: {} is one thread", subject.runner.name()).into());
        }
        (_, Some(MAX_WORKERS..)) => return Err(format!("--workers: fewer than {MAX_WORKERS}").into()),
        (_, workers) => usize::try_from(workers.unwrap_or(workload.workers))?,
    };
    let members = match (members, workload.members()) {
        (Some((given, _)), usual) if usual.is_none_or(|(option, _)| option != given) => {
            return Err(format!("{given} is not for {}", workload.name).into());
        }
        (Some((option, members)), _) if matches!(workload.kind, Kind::Ring) && !MEMBERS.contains(&members) => {
            let (least, most) = (MEMBERS.start(), MEMBERS.end());
            return Err(format!("{option} {members}: a ring has from {least} to {most}").into());
        }
        (given, usual) => given.or(usual).map_or(0, |(_, members)| members),
    };
    let n = n.unwrap_or(if quick { workload.quick_n } else { subject.default_n(workload) });
    let runs = runs.unwrap_or(if quick { 1 } else { RUNS });
    Ok(Command::Measure(Job {
        workload,
        subject,
        run,
        setting: Setting { n, members, workers, tasklets: subject.tasklets },
        runs,
        once,
    }))
}

/// What a series measures.
fn jobs(series: &Series, runs: Option<usize>, quick: bool) -> Result<Command> {
    let runs = runs.map(|runs| format!("--runs={runs}"));
    let options: Vec<String> = runs.into_iter().chain(quick.then(|| "--quick".to_owned())).collect();
    Ok(Command::Series(series.jobs(quick, &options)?))
}

/// The runner that was asked for, or the first that can.
fn choose(
    workload: &Workload,
    runner: Option<Runner>,
    backend: &'static subject::BackendEntry,
    tasklets: Tasklets,
) -> Result<(Subject, Run)> {
    let candidates = runner.as_ref().map_or(&SCHEDULERS[..], std::slice::from_ref);
    let subjects = candidates.iter().map(|runner| Subject { runner: *runner, backend, tasklets });
    let found = subjects.into_iter().find_map(|subject| Some((subject, subject.run(workload)?)));
    found.ok_or_else(|| {
        let kind = match tasklets {
            Tasklets::Stackful => String::new(),
            kind => format!(" --kind {}", kind.name()),
        };
        let who = runner.as_ref().map_or("the schedulers", Runner::name);
        format!("{}{kind} is not for {who}; it is for: {}", workload.name, subject::who_runs(workload).join(", "))
            .into()
    })
}

fn text(parser: &mut lexopt::Parser, missing: &str) -> Result<String> {
    Ok(parser.value().map_err(|_| missing)?.string()?)
}

fn address(parser: &mut lexopt::Parser) -> Result<SocketAddr> {
    let text = text(parser, "--hold needs an address")?;
    Ok(text.parse().map_err(|_| format!("--hold {text}: needs an address and a port, as in 127.0.0.1:8080"))?)
}

fn positive(parser: &mut lexopt::Parser, option: &str) -> Result<u64> {
    let text = text(parser, &format!("{option} needs a number"))?;
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{option} {text}: needs a whole number above zero").into()),
        Ok(number) => Ok(number),
    }
}

/// The item that an option names.
fn named<T>(
    parser: &mut lexopt::Parser,
    items: &'static [T],
    of: impl Fn(&T) -> &str,
    what: &str,
) -> Result<&'static T> {
    let name = text(parser, &format!("--{what} needs a name"))?;
    find(items, of, &name, what)
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
        let sizes = |line| (job(line).setting.n, job(line).runs);
        assert_eq!(sizes("yield"), (10_000, 5));
        assert_eq!(sizes("idle_mem --workers 1 --scheduler local"), (100_000, 5));
        assert_eq!(sizes("idle_mem --backend generator"), (10_000, 5));
        assert_eq!(sizes("idle_mem --backend generator --scheduler stealing --kind soft"), (100_000, 5));
        assert_eq!(sizes("idle_mem --n 7 --quick"), (7, 1));
        assert_eq!(sizes("--runs=9 ring --n=3"), (3, 9));
        assert_eq!(job("ring --backend context").subject.backend.name, "context");
        assert_eq!(job("ring").setting.members, 503);
        assert_eq!(job("ring --tasklets 2 --n 7").setting.members, 2);
        assert_eq!(job("echo").setting.members, 50);
        assert_eq!(job("echo --connections 7 --rival may").setting.members, 7);
    }

    #[test]
    fn the_first_scheduler_that_can_is_the_default() {
        for (line, runner, workers) in [
            ("yield", Runner::Local, 1),
            ("yield --scheduler stealing", Runner::Stealing, 1),
            ("fib", Runner::Stealing, 1),
            ("spawn_join --kind soft", Runner::Stealing, 1),
            ("ring --kind soft --tasklets 2", Runner::Stealing, 1),
            ("skew", Runner::Stealing, 2),
            ("skew --workers 4", Runner::Stealing, 4),
            ("fib --rival rayon --workers 2", Runner::Rayon, 2),
        ] {
            let job = job(line);
            assert_eq!((job.subject.runner, job.setting.workers), (runner, workers), "{line}");
        }
    }

    #[test]
    fn a_subject_is_found_again_by_its_options() {
        for line in
            ["idle_mem", "idle_mem --scheduler stealing --kind soft --backend context", "idle_mem --rival tokio"]
        {
            let first = job(line).subject;
            let again = job(&format!("idle_mem {}", first.options().join(" "))).subject;
            assert_eq!(format!("{first:?}"), format!("{again:?}"));
        }
    }

    #[test]
    fn unknown_names_say_what_there_is() {
        for (line, says) in [
            ("", "spawn_join"),
            ("yeild", "yield, pingpong"),
            ("yield --backend boost", "corosensei, context, generator"),
            ("yield --scheduler global", "there is: local, stealing"),
            ("yield --kind hard", "there is: stackful, swapped, soft"),
            ("fib --kind swapped", "it is for: stealing (stackful), rayon"),
            ("yield --rival rust", "there is: tokio, may, rayon, threads, go"),
            ("yield --rival rayon", "it is for: local (stackful, swapped), stealing (stackful, swapped, soft), tokio"),
            ("fib --scheduler local", "it is for: stealing (stackful), rayon"),
            ("mpmc --kind soft", "it is for: stealing (stackful, swapped), tokio"),
            (
                "yield --kind soft --scheduler local",
                "it is for: local (stackful, swapped), stealing (stackful, swapped, soft)",
            ),
            ("fib --rival rayon --backend context", "instead of"),
            ("yield --workers 2", "local is one thread"),
            ("fib --workers 100000", "fewer than"),
            ("yield --workers 0", "above zero"),
            ("yield --tasklets 3", "--tasklets is not for yield"),
            ("ring --connections 3", "--connections is not for ring"),
            ("ring --tasklets 1", "--tasklets 1: a ring has from 2 to 10000000"),
            ("ring --tasklets 10000001", "a ring has from 2"),
            ("ring --tasklets many", "--tasklets many"),
            ("--series kind", "there is: kinds"),
            ("yield --series kinds", "only --runs and --quick"),
            ("--series kinds --n 3", "only --runs and --quick"),
            ("--hold here --connections 3", "--hold here"),
            ("--hold 127.0.0.1:1", "--hold needs --connections"),
            ("echo --hold 127.0.0.1:1 --connections 3", "no workload"),
            ("--plot", "--plot needs a file"),
            ("--table", "--table needs a file"),
            ("yield --n x", "--n x"),
            ("yield --n", "--n needs a number"),
            ("yield ring", "ring"),
            ("yield --frobnicate", "--frobnicate"),
        ] {
            let error = words(line).expect_err(line).0;
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
