//! I/O for tasklets: sockets and any other descriptor that can be waited for, with std's names and traits.
//!
//! A tasklet that reads a socket parks until there is something to read; its worker goes on with others. On a plain thread the same call
//! blocks the thread. What works with std's [`TcpStream`](std::net::TcpStream) through [`Read`](std::io::Read) and [`Write`](std::io::Write)
//! works with [`net::TcpStream`].
//!
//! | file | what it is |
//! |---|---|
//! | `reactor` | what a worker sleeps on: tells the sources it watches what has happened to them |
//! | `source` | what can be waited for: what is known of it, the place where tasklets wait, who watches it; the protocol is in `README.md` |
//! | `descriptor` | [`Async`]: any descriptor as a source |
//! | `net` | sockets |
//! | `pipe` | pipes |
//! | `process` | other processes: their ends, and pipes to them |
//! | `signal` | signals |
//! | `pool` | calls that nothing tells the end of, in threads of the scheduler |
//! | `fs` | files, through `pool` |
//! | `stdio` | standard input, output and errors, through `pool` |
//! | `copy` | copies from one descriptor to another without a way through the process |
//! | `transfer` | reads and writes of any descriptor |
//! | `arm` | readiness as what a select waits for |
//! | `futures` | readiness, connections and bytes for async code |
//! | `net` | sockets of networks |
//! | `unix` | sockets with paths for addresses |
//! | `socket` | what sockets of all kinds have in common |
//! | `accept` | what listeners do besides listening: pause when there are no descriptors left, and close |
//!
//! # Differences from std
//!
//! - Time limits belong to the handle and its clones, not to the socket, and are on the clock of the caller's scheduler. A read or write
//!   that takes too long gives [`TimedOut`](std::io::ErrorKind::TimedOut) on every system.
//! - A kill, a [`timeout`](https://docs.rs/tasklet) or a cancellation ends a wait. Nothing is lost by that: what has been read was returned.
//! - A listener can be closed, which ends the waits in `accept`. After an error of `accept` that says that something is used up, such as
//!   descriptors, the next `accept` pauses first: a loop that goes on after errors does not take a processor for itself.
//! - `try_clone` makes another handle of the same descriptor, not another descriptor.
//! - A descriptor is made non-blocking, which all processes see that share it. So standard input and output are not watched, but used through
//!   threads of the scheduler, as files are.

#[macro_use]
mod socket;

mod accept;
mod arm;
mod copy;
mod descriptor;
pub mod fs;
#[cfg(feature = "futures")]
pub mod futures;
pub mod net;
pub mod pipe;
mod pool;
mod primitive;
pub mod process;
mod reactor;
pub mod signal;
mod source;
pub mod stdio;
mod transfer;
pub mod unix;

pub use copy::{CopyFrom, CopyTo, Relay, copy};
pub use descriptor::Async;

/// A poller for a scheduler whose host waits in its stead, on a descriptor that has to be there before any tasklet has waited for I/O. A scheduler that
/// waits by itself makes its own.
///
/// # Errors
///
/// There are no descriptors left.
pub fn reactor() -> std::io::Result<Box<dyn tasklet_core::driver::Reactor>> {
    reactor::Reactor::make()
}
