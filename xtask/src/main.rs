//! `cargo xtask`: the test matrix, the lints and what CI runs.
//!
//! This file only dispatches. [`flags`] reads the command line; each command is a function of its own. What is tested, and
//! with which flags and why, is data in [`matrix`] and [`crates`]; [`run`] carries it out and [`report`] says how it went.
//!
//! A new command is a variant of [`flags::Command`], its help text, and one line in `dispatch` below.

#![forbid(unsafe_code)]

mod checks;
mod crates;
mod flags;
mod matrix;
mod process;
mod report;
mod run;
mod select;
mod step;
mod workspace;

use std::process::ExitCode;

use flags::{Command, TestFlags};
use run::Setting;
use workspace::Workspace;

fn main() -> ExitCode {
    let command = match flags::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error:#}\n\nFor more, try `cargo xtask --help`.");
            return ExitCode::from(2);
        }
    };
    match dispatch(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Help(text) => {
            report::say(text);
            Ok(ExitCode::SUCCESS)
        }
        Command::Test(flags) => test(&flags, Setting::Developer),
        Command::Ci => test(&TestFlags::default(), Setting::Ci),
        Command::Lint { verbose } => {
            let cells = vec![matrix::LINT.to_owned()];
            test(&TestFlags { cells, verbose, ..TestFlags::default() }, Setting::Developer)
        }
        Command::Stress(flags) => {
            // Its output is what it is run for.
            let outcomes = run::run(&Workspace::load()?, &[matrix::stress(&flags)], Setting::Developer, true);
            Ok(report::summary(&outcomes))
        }
    }
}

/// Runs the cells that `flags` choose, or lists them.
fn test(flags: &TestFlags, setting: Setting) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::load()?;
    let all = matrix::cells(&workspace.test_files());
    let chosen = select::select(all, flags)?;
    if flags.list {
        report::list(&chosen);
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = run::run(&workspace, &chosen, setting, flags.verbose);
    Ok(report::summary(&outcomes))
}
