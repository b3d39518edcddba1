//! The command line: what can be asked for, and the help that says so.

use std::ffi::OsString;

use anyhow::{Context, bail};
use lexopt::prelude::*;

use crate::select::near;

const HELP: &str = "\
The test matrix, the lints and CI of this workspace.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  test    run the test matrix, or some cells of it
  lint    run the lint cells: format, clippy, rustdoc, unsafe code, tidiness
  ci      run what CI runs: the default matrix from a clean checkout

Options:
  -h, --help    print this, or the help of a command
";

const TEST_HELP: &str = "\
Run the test matrix: one or more cargo calls per cell, one line per cell, a table at the end.
A cell that should run tests and ran none fails.

Usage: cargo xtask test [OPTIONS]

Options:
      --list            print the cells with tier and reason, and run nothing
      --cell NAME       run this cell, or this whole group (repeatable; of any tier)
      --backend NAME    run the cells of this backend only (repeatable)
      --full            add the slow tier: sanitizers, a million tasklets, long stress
  -v, --verbose         show each cell's output as it comes, not only a failed one's
  -h, --help            print this

The last line of the output is `N passed, M failed, K skipped`, counted in tests. A cell that failed without
a failing test counts as one failed, and a cell that could not run here as one skipped.
";

const LINT_HELP: &str = "\
Run the lint cells of the matrix; the same as `cargo xtask test --cell lint`.

Usage: cargo xtask lint [OPTIONS]

Options:
  -v, --verbose    show each cell's output as it comes, not only a failed one's
  -h, --help       print this
";

const CI_HELP: &str = "\
Run what CI runs: every cell of the default tier, without incremental compilation.

Usage: cargo xtask ci
";

/// The commands, for the message about an unknown one.
const COMMANDS: [&str; 3] = ["test", "lint", "ci"];

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Print this text.
    Help(&'static str),
    /// Run cells of the matrix.
    Test(TestFlags),
    /// Run the lint group.
    Lint { verbose: bool },
    /// Run the default tier as CI does.
    Ci,
}

/// The options of `test`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TestFlags {
    /// Print the cells and run nothing.
    pub(crate) list: bool,
    /// Names of cells or groups; empty means all.
    pub(crate) cells: Vec<String>,
    /// Names of backends; empty means all.
    pub(crate) backends: Vec<String>,
    /// Include the slow tier.
    pub(crate) full: bool,
    /// Show output as it comes.
    pub(crate) verbose: bool,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<Command> {
    let mut parser = lexopt::Parser::from_args(args);
    match parser.next()? {
        None | Some(Short('h') | Long("help")) => Ok(Command::Help(HELP)),
        Some(Value(name)) => match name.string()?.as_str() {
            "test" => test(&mut parser),
            "lint" => lint(&mut parser),
            "ci" => ci(&mut parser),
            other => bail!("no command is called `{other}`{}", near(other, COMMANDS)),
        },
        Some(other) => Err(other.unexpected().into()),
    }
}

fn test(parser: &mut lexopt::Parser) -> anyhow::Result<Command> {
    let mut flags = TestFlags::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(TEST_HELP)),
            Long("list") => flags.list = true,
            Long("full") => flags.full = true,
            Short('v') | Long("verbose") => flags.verbose = true,
            Long("cell") => flags.cells.push(value(parser, "--cell needs the name of a cell, see --list")?),
            Long("backend") => flags.backends.push(value(parser, "--backend needs the name of a backend")?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Test(flags))
}

fn lint(parser: &mut lexopt::Parser) -> anyhow::Result<Command> {
    let mut verbose = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(LINT_HELP)),
            Short('v') | Long("verbose") => verbose = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Lint { verbose })
}

fn ci(parser: &mut lexopt::Parser) -> anyhow::Result<Command> {
    match parser.next()? {
        None => Ok(Command::Ci),
        Some(Short('h') | Long("help")) => Ok(Command::Help(CI_HELP)),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn value(parser: &mut lexopt::Parser, missing: &'static str) -> anyhow::Result<String> {
    Ok(parser.value().context(missing)?.string()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> anyhow::Result<Command> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_of_test_may_repeat() {
        let command = parse_words("test --cell lint --cell no-backend --backend=context --full -v").unwrap();
        let expected = TestFlags {
            list: false,
            cells: vec!["lint".into(), "no-backend".into()],
            backends: vec!["context".into()],
            full: true,
            verbose: true,
        };
        assert_eq!(command, Command::Test(expected));
    }

    #[test]
    fn no_argument_prints_the_help() {
        assert_eq!(parse_words("").unwrap(), Command::Help(HELP));
    }

    #[test]
    fn unknown_command_names_the_near_one() {
        let error = parse_words("tset").unwrap_err().to_string();
        assert!(error.contains("`tset`") && error.contains("test"), "{error}");
    }

    #[test]
    fn unknown_option_and_missing_value_are_errors() {
        assert!(parse_words("test --frobnicate").unwrap_err().to_string().contains("--frobnicate"));
        assert!(parse_words("test --cell").unwrap_err().to_string().contains("--cell"));
        assert!(parse_words("ci --full").is_err());
    }
}
