//! Other processes, with the names of [`std::process`].
//!
//! The end of a child is waited for through a descriptor of the process (`pidfd`), and its pipes are read and written as any other. Only our ends
//! are non-blocking: the child knows nothing of it.
//!
//! # Children that are dropped
//!
//! As in std, a [`Child`] that is dropped goes on, and when it ends it remains a *zombie*, which takes a number of the system's, until this process
//! ends or waits for it. [`Command::output`] and [`Command::status`] leave none: when their caller is killed, so is the child.

mod child;
mod command;

pub use child::Child;
pub use command::Command;
pub use std::process::{ExitStatus, Output, Stdio};

use crate::pipe::{Reader, Writer};

/// What a child reads.
pub type ChildStdin = Writer;
/// What a child writes.
pub type ChildStdout = Reader;
/// What a child says of errors.
pub type ChildStderr = Reader;
