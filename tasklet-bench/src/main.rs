//! `tasklet-bench WORKLOAD`: measures one workload on one backend and prints a line for each figure.
//!
//! A line is `workload<TAB>value<TAB>unit`; the value is the median of at least five runs after a warm-up, each in a fresh
//! scheduler. This file only dispatches. [`flags`] reads the command line, [`workloads`] says what is measured and does one run,
//! [`measure`] repeats it.
//!
//! What is measured is what a user of the facade gets whose default backend is the one under test: the facade's channels and
//! `schedule` have the default backend's switch compiled in, and so have the channels and yields here, with `On<B>`.

#![forbid(unsafe_code)]

mod flags;
mod measure;
mod workloads;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use flags::Command;

/// What can go wrong while measuring: the text is for the person at the terminal, nobody matches on it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let command = match flags::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}\n\nFor more, try `tasklet-bench --help`.");
            return ExitCode::from(2);
        }
    };
    match dispatch(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Help => print(flags::HELP),
        Command::List => print(&workloads::list()),
        Command::Measure(job) => {
            let values = measure::measure(&job)?;
            let line = |(figure, value): (&workloads::Figure, &f64)| {
                format!("{}{}\t{value:.1}\t{}\n", job.workload.name, figure.suffix, figure.unit)
            };
            print(&job.workload.figures.iter().zip(&values).map(line).collect::<String>())
        }
    }
}

/// Prints, and ends quietly if nobody reads: `| head` is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
