//! Standard input, output and errors, as in [`std::io`].
//!
//! Their descriptors are shared with other processes, the shell's among them, and are not made non-blocking. So each call goes through the scheduler's
//! pool of threads, while the tasklet parks, which costs what the [module of files](crate::fs) says. Write whole lines, best by a [`BufWriter`](std::io::BufWriter) or
//! [`LineWriter`](std::io::LineWriter) around it, and read through a [`BufReader`](std::io::BufReader) or by [`Stdin::read_line`].
//!
//! A call that has begun is not interrupted: a kill of a tasklet that reads takes effect when something has come, which is lost then. The buffers are
//! those of std: what is written here and by [`println!`] appears in that order.

use std::io::{self, Read, Write};

use tasklet_core::blocking::blocking_owned;

use crate::pool;

/// A handle of the standard input; see [`stdin`].
#[derive(Clone, Copy, Debug)]
pub struct Stdin(());

/// A handle of the standard output; see [`stdout`].
#[derive(Clone, Copy, Debug)]
pub struct Stdout(());

/// A handle of the standard error output; see [`stderr`].
#[derive(Clone, Copy, Debug)]
pub struct Stderr(());

/// The standard input of this process, with the buffer that [`std::io::stdin`] has.
pub fn stdin() -> Stdin {
    Stdin(())
}

/// The standard output of this process, with the buffer that [`std::io::stdout`] has: a line appears when it is whole, or flushed.
pub fn stdout() -> Stdout {
    Stdout(())
}

/// The standard error output of this process, without a buffer.
pub fn stderr() -> Stderr {
    Stderr(())
}

impl Stdin {
    /// Appends the next line, with its end, to `buf`. Gives its length in bytes; 0 at the end of the input.
    ///
    /// # Scheduling
    ///
    /// The caller parks until there is a line.
    ///
    /// # Errors
    ///
    /// As in std: it is not UTF-8.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller, when a line has come; that is lost.
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        pool::append_text(buf, |line| io::BufRead::read_until(&mut io::stdin().lock(), b'\n', line))
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        pool::fill(buf, |buf| io::stdin().read(buf))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        pool::append(buf, |buf| io::stdin().read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        pool::append_text(buf, |buf| io::stdin().read_to_end(buf))
    }
}

macro_rules! output {
    ($($name:ident: $std:expr;)*) => { $(
        impl Write for $name {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                pool::drain(buf, |buf| $std.write(buf))
            }

            fn flush(&mut self) -> io::Result<()> {
                blocking_owned(|| $std.flush())
            }
        }
    )* };
}

output! {
    Stdout: io::stdout();
    Stderr: io::stderr();
}
