//! `tasklet-bench WORKLOAD`: measures one workload on one scheduler and backend, and prints a line for each figure.
//!
//! A line is `workload<TAB>value<TAB>unit`; the value is the median of at least five runs after a warm-up, each in a fresh
//! scheduler. This file only dispatches.
//!
//! | file | what it is |
//! |---|---|
//! | `flags` | the command line |
//! | `subject` | what is measured: a scheduler on a backend, or a rival |
//! | `workloads` | what is done, in words and on our schedulers |
//! | `rivals` | the same in other people's runtimes |
//! | `measure` | repeats it |
//! | `series` | many of them, one after the other; their figures as a table |
//! | `plot` | draws what a series has printed |
//! | `process` | what the system says that this process takes |
//!
//! What is measured is what a user of the facade gets whose default backend is the one under test: the facade's channels and
//! yields have the default backend's switch compiled in, and so have the channels and yields here, with `On<B>`.

#![deny(unsafe_code)]

mod flags;
mod measure;
mod plot;
mod process;
mod rivals;
mod series;
mod subject;
mod workloads;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use flags::{Command, Job};

/// What went wrong while measuring: the text is for the person at the terminal, nobody matches on it. It may come from any thread,
/// which not every error may.
#[derive(Debug)]
struct Failure(String);

type Result<T> = std::result::Result<T, Failure>;

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

fn main() -> ExitCode {
    let command = match flags::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(Failure(error)) => {
            eprintln!("error: {error}\n\nFor more, try `tasklet-bench --help`.");
            return ExitCode::from(2);
        }
    };
    match dispatch(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Help => print(flags::HELP),
        Command::List => print(&workloads::list()),
        Command::Measure(job) => print(&lines(&job, "")?),
        // Each as soon as it is there: a series takes minutes.
        Command::Series(jobs) => jobs.iter().try_for_each(|(options, job)| print(&lines(job, options)?)),
        Command::Table(file) => print(&series::table(&series::read(&file)?)),
        Command::Hold(addr, connections) => workloads::load::hold::hold(addr, connections),
        Command::Plot(file) => print(&plot::plot(&series::read(&file)?)?),
    }
}

/// Measures, and says so in a line for each figure, which is of these options.
fn lines(job: &Job, options: &str) -> Result<String> {
    let values = measure::measure(job)?;
    let line = |(figure, value): (&workloads::Figure, &f64)| {
        let decimals = figure.decimals;
        format!("{}{}{options}\t{value:.decimals$}\t{}\n", job.workload.name, figure.suffix, figure.unit)
    };
    Ok(job.workload.figures.iter().zip(&values).map(line).collect())
}

/// Prints, and ends quietly if nobody reads: `| head` is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
