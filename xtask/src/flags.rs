//! The command line: what can be asked for, and the help that says so.

use std::ffi::OsString;

use anyhow::{Context, bail};
use lexopt::prelude::*;

use crate::matrix::{BACKENDS, REFERENCE};
use crate::select::near;

const HELP: &str = "\
The test matrix, the lints and CI of this workspace.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  test    run the test matrix, or some cells of it
  lint    run the lint cells: format, clippy, rustdoc, unsafe code, tidiness
  ci      run what CI runs: the default matrix from a clean checkout
  stress  run random mixes of everything on the work-stealing runtime, or floods of messages

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

const STRESS_HELP: &str = "\
Run random mixes of everything on the work-stealing runtime and check that nothing is lost or doubled, that all
stacks come back and that the figures add up. What is found ends the run with the seed that repeats its programs.

Usage: cargo xtask stress [OPTIONS]

Options:
      --seconds S       how long (60)
      --seed N          which programs; a random seed is printed otherwise
      --workers N       workers of each runtime; at random 1, 2 or 4 otherwise
      --backend NAME    corosensei, context, generator, or threads, the reference backend (corosensei)
  -h, --help            print this

With --channels: send very many messages through each flavour of channel instead, and print what one takes.
      --messages N      how many through each flavour; also as 20k or 100M (100M)
      --workers LIST    one after the other (1,2,4)
      --flavour NAME    this one only: rendezvous, bounded-1, bounded-256, unbounded, stackless, select, oneshot,
                        broadcast or watch
";

/// The longest run of `stress`: what is still short of the limit of a step.
const MAX_SECONDS: u64 = 60 * 60;

/// The commands, for the message about an unknown one.
const COMMANDS: [&str; 4] = ["test", "lint", "ci", "stress"];

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
    /// Run the stress programme of the work-stealing runtime.
    Stress(StressFlags),
}

/// The options of `stress`.
#[derive(Debug, PartialEq)]
pub(crate) struct StressFlags {
    pub(crate) seconds: u64,
    /// None means a random one.
    pub(crate) seed: Option<u64>,
    /// Numbers of workers: at random if empty. Only a flood has several.
    pub(crate) workers: Vec<u64>,
    /// Not the mixes, but this.
    pub(crate) flood: Option<Flood>,
    /// As the matrix names it.
    pub(crate) backend: &'static str,
}

/// Messages through each flavour of channel.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Flood {
    /// None means as many as the programme says.
    pub(crate) messages: Option<u64>,
    /// None means all of them.
    pub(crate) flavour: Option<String>,
}

impl Default for StressFlags {
    fn default() -> StressFlags {
        StressFlags { seconds: 60, seed: None, workers: Vec::new(), flood: None, backend: BACKENDS[0] }
    }
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
            "stress" => stress(&mut parser),
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

fn stress(parser: &mut lexopt::Parser) -> anyhow::Result<Command> {
    let mut flags = StressFlags::default();
    let mut flood = Flood::default();
    let mut is_flood = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(STRESS_HELP)),
            Long("seconds") => {
                flags.seconds = number(parser, "--seconds")?;
                if flags.seconds == 0 || flags.seconds > MAX_SECONDS {
                    bail!("--seconds is between 1 and {MAX_SECONDS}, not {}", flags.seconds);
                }
            }
            Long("seed") => flags.seed = Some(number(parser, "--seed")?),
            Long("workers") => {
                let list = value(parser, "--workers needs a number")?;
                flags.workers = list.split(',').map(|workers| count(workers, "--workers")).collect::<Result<_, _>>()?;
                if flags.workers.contains(&0) {
                    bail!("--workers is at least 1: a runtime without workers runs nothing");
                }
            }
            Long("channels") => is_flood = true,
            Long("messages") => {
                let messages = count(&value(parser, "--messages needs a number")?, "--messages")?;
                if messages == 0 {
                    bail!("--messages is at least 1: nothing is tested otherwise");
                }
                flood.messages = Some(messages);
            }
            Long("flavour") => flood.flavour = Some(value(parser, "--flavour needs the name of a flavour")?),
            Long("backend") => {
                let name = value(parser, "--backend needs the name of a backend")?;
                let known = || BACKENDS.into_iter().chain([REFERENCE]);
                let Some(backend) = known().find(|known| *known == name) else {
                    bail!("no backend is called `{name}`{}", near(&name, known()));
                };
                flags.backend = backend;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if is_flood {
        flags.flood = Some(flood);
    } else if flood != Flood::default() || flags.workers.len() > 1 {
        bail!("--messages, --flavour and several --workers go with --channels");
    }
    Ok(Command::Stress(flags))
}

/// A number, or so many thousands or millions.
fn count(text: &str, option: &'static str) -> anyhow::Result<u64> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let number: u64 =
        digits.parse().with_context(|| format!("{option} needs a number that is not negative, not `{text}`"))?;
    number.checked_mul(unit).with_context(|| format!("{option} cannot be as large as `{text}`"))
}

fn number(parser: &mut lexopt::Parser, option: &'static str) -> anyhow::Result<u64> {
    let text = parser.value().with_context(|| format!("{option} needs a number"))?.string()?;
    text.parse().with_context(|| format!("{option} needs a number that is not negative, not `{text}`"))
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
    fn options_of_stress_are_numbers_and_a_backend() {
        let command = parse_words("stress --seconds 5 --seed=7 --workers 2 --backend threads").unwrap();
        let expected = StressFlags { seconds: 5, seed: Some(7), workers: vec![2], flood: None, backend: REFERENCE };
        assert_eq!(command, Command::Stress(expected));
        assert_eq!(parse_words("stress").unwrap(), Command::Stress(StressFlags::default()));
    }

    #[test]
    fn options_of_a_flood_are_a_number_a_list_and_a_flavour() {
        let command = parse_words("stress --channels --messages 3M --workers 1,4 --flavour watch").unwrap();
        let flood = Some(Flood { messages: Some(3_000_000), flavour: Some("watch".into()) });
        assert_eq!(command, Command::Stress(StressFlags { workers: vec![1, 4], flood, ..StressFlags::default() }));
        let command = parse_words("stress --channels").unwrap();
        assert_eq!(command, Command::Stress(StressFlags { flood: Some(Flood::default()), ..StressFlags::default() }));
    }

    #[test]
    fn options_of_stress_that_make_no_sense_are_errors() {
        for (line, named) in [
            ("stress --seconds", "--seconds"),
            ("stress --seconds 0", "--seconds"),
            ("stress --seconds 100000", "--seconds"),
            ("stress --seed minus", "minus"),
            ("stress --workers 0", "--workers"),
            ("stress --workers 1,x", "--workers"),
            ("stress --workers 1,2", "--channels"),
            ("stress --messages 5", "--channels"),
            ("stress --channels --messages 0", "--messages"),
            ("stress --channels --messages 99999999999999999M", "--messages"),
            ("stress --backend contxt", "context"),
        ] {
            let error = format!("{:#}", parse_words(line).unwrap_err());
            assert!(error.contains(named), "{line}: {error}");
        }
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
