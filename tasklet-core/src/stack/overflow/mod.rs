//! The opt-in handler that names the tasklet whose stack overflowed.
//!
//! The guard alone already stops an overflow: the process dies of SIGSEGV. The handler adds the tasklet's name, the size of its
//! stack and how to raise it, and then aborts. It never recovers, and a fault that is not an overflow of the running tasklet's
//! stack goes to whoever handled the signal before.
//!
//! # What is async-signal-safe here
//!
//! The handler allocates nothing, takes no lock, and calls `write`, `abort`, `sigaction`, `raise` and the query given at
//! installation, nothing else. It needs less than 2 KiB of the signal stack besides the kernel's frame.

mod handler;
mod message;
mod signal_stack;

pub use handler::{Query, RunningTasklet, install_overflow_handler};
pub use signal_stack::{SignalStack, ensure_signal_stack};
