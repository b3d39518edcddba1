//! What the command lines of the servers have in common: how a program begins and ends, and numbers and times with their limits.

use std::env::ArgsOs;
use std::ffi::OsString;
use std::fmt::Display;
use std::iter::Skip;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// Of any limit of time: one of nothing would be over before what it is for has begun.
const LEAST: Duration = Duration::from_millis(1);
/// As well: a day is as good as for ever.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the arguments and does what they ask for. Says what is wrong, with the arguments (status 2) or with what was done (status 1); prints the usage
/// if `read` gives nothing.
pub(crate) fn main<A, E: Display>(
    name: &str,
    usage: &str,
    read: impl FnOnce(&mut Arguments) -> Result<Option<A>, String>,
    run: impl FnOnce(A) -> Result<(), E>,
) -> ExitCode {
    let mut arguments = Arguments { rest: std::env::args_os().skip(1), option: String::new() };
    let arguments = match read(&mut arguments) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{usage}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{name}: {error}\n{usage}");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments that were not read yet.
pub(crate) struct Arguments {
    rest: Skip<ArgsOs>,
    /// The one that was read last, for errors about its value.
    option: String,
}

impl Arguments {
    /// The next one, an option or not.
    pub(crate) fn next(&mut self) -> Option<OsString> {
        let next = self.rest.next()?;
        self.option = next.to_string_lossy().into_owned();
        Some(next)
    }

    /// The value of the option that was read last.
    pub(crate) fn value(&mut self) -> Result<String, String> {
        let value = self.rest.next().ok_or_else(|| format!("{} needs a value", self.option))?;
        value.into_string().map_err(|value| format!("{} {}: is no text", self.option, value.display()))
    }

    /// As above, a number.
    pub(crate) fn number<N: FromStr + PartialOrd + Display>(&mut self, within: RangeInclusive<N>) -> Result<N, String> {
        let value = self.value()?;
        let number = value.parse().ok().filter(|number| within.contains(number));
        number.ok_or_else(|| {
            let (option, least, most) = (&self.option, within.start(), within.end());
            format!("{option} {value}: needs a number from {least} to {most}")
        })
    }

    /// As above, a number of seconds, which may be a fraction; nothing is a millisecond.
    pub(crate) fn time(&mut self) -> Result<Duration, String> {
        let value = self.value()?;
        let time = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        time.filter(|time| *time <= MOST)
            .map(|time| time.max(LEAST))
            .ok_or_else(|| format!("{} {value}: needs a number of seconds from 0 to {}", self.option, MOST.as_secs()))
    }

    /// What is wrong with the one that was read last, if nobody knows it.
    pub(crate) fn unknown(&self) -> String {
        format!("there is no argument {}", self.option)
    }
}
