//! What to run.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{self, ExitStatus, Output, Stdio};

use super::child::{Child, Owned};

/// What to run, and how, as [`std::process::Command`]. What is not here is set through [`as_std_mut`](Self::as_std_mut).
///
/// # Examples
///
/// ```
/// use tasklet_io::process::Command;
///
/// let output = Command::new("echo").arg("hello").output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    command: process::Command,
    /// Input, output and errors: whether it was said what they are.
    set: [bool; 3],
}

impl Command {
    /// A program, found as in std.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.command.env(key, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, vars: impl IntoIterator<Item = (K, V)>) -> &mut Command {
        self.command.envs(vars);
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.command.env_remove(key);
        self
    }

    /// Gives it no variables but those that are set from here on.
    pub fn env_clear(&mut self) -> &mut Command {
        self.command.env_clear();
        self
    }

    /// Where it runs.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Command {
        self.command.current_dir(dir);
        self
    }

    /// What it reads: by default ours, and nothing in [`output`](Self::output).
    pub fn stdin(&mut self, from: impl Into<Stdio>) -> &mut Command {
        self.command.stdin(from);
        self.set[0] = true;
        self
    }

    /// Where it writes to: by default where we do, and into a pipe in [`output`](Self::output).
    pub fn stdout(&mut self, to: impl Into<Stdio>) -> &mut Command {
        self.command.stdout(to);
        self.set[1] = true;
        self
    }

    /// Where its errors go: by default where ours do, and into a pipe in [`output`](Self::output).
    pub fn stderr(&mut self, to: impl Into<Stdio>) -> &mut Command {
        self.command.stderr(to);
        self.set[2] = true;
        self
    }

    /// Starts it.
    ///
    /// # Scheduling
    ///
    /// Keeps the thread until the program is loaded, as in std: a millisecond or less. Not in the pool of threads, since some settings
    /// of a child are about the thread that has started it.
    ///
    /// # Errors
    ///
    /// As in std: no such program.
    pub fn spawn(&mut self) -> io::Result<Child> {
        Child::of(self.command.spawn()?)
    }

    /// Runs it, and collects what it writes.
    ///
    /// # Scheduling
    ///
    /// As [`spawn`](Self::spawn); then the caller parks until the child has ended. On a plain thread it blocks.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then the child is killed.
    pub fn output(&mut self) -> io::Result<Output> {
        self.unless_set(Stdio::null(), Stdio::piped(), Stdio::piped());
        let child = self.spawn();
        // As before, for the next.
        self.unless_set(Stdio::inherit(), Stdio::inherit(), Stdio::inherit());
        Owned(child?).0.collect()
    }

    fn unless_set(&mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) {
        let [has_stdin, has_stdout, has_stderr] = self.set;
        if !has_stdin {
            self.command.stdin(stdin);
        }
        if !has_stdout {
            self.command.stdout(stdout);
        }
        if !has_stderr {
            self.command.stderr(stderr);
        }
    }

    /// Runs it.
    ///
    /// # Scheduling
    ///
    /// As [`output`](Self::output).
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Panics
    ///
    /// As [`output`](Self::output).
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        Owned(self.spawn()?).0.wait()
    }

    /// What std makes of it.
    pub fn as_std(&self) -> &process::Command {
        &self.command
    }

    /// For settings that are not here. Those of input, output and errors are not seen by [`output`](Self::output) if they are made this way.
    pub fn as_std_mut(&mut self) -> &mut process::Command {
        &mut self.command
    }
}

impl From<process::Command> for Command {
    /// Its input, output and errors count as not set.
    fn from(command: process::Command) -> Command {
        Command { command, set: [false; 3] }
    }
}
