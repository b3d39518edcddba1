//! Channels between tasklets, and between tasklets and plain threads.
//!
//! [`Channel`] is Stackless's: a rendezvous that lets the receiver run on, unless it prefers otherwise.

#![forbid(unsafe_code)]

mod channel;
mod error;
mod queue;

pub use channel::{Channel, Iter, Local, Reach, Shared, SharedChannel};
pub use error::{RecvError, SendAllError, SendError, TryRecvError};
pub use tasklet_core::channel::{Direction, Preference};
