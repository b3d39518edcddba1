//! Channels between tasklets, and between tasklets and plain threads.
//!
//! [`ChannelBy`] is Stackless's: a rendezvous that lets the receiver run on, unless it prefers otherwise.

mod channel;
mod error;
mod exchange;
mod message;

pub use channel::{Channel, ChannelBy, Iter, SharedChannel};
pub use error::{RecvError, SendAllError, SendError};
pub use tasklet_core::channel::{Direction, Preference};
pub use tasklet_core::handle::{Local, Reach, Shared};
