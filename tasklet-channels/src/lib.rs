//! Channels between tasklets, and between tasklets and plain threads.
//!
//! [`ChannelBy`] is Stackless's: a rendezvous that lets the receiver run on, unless it prefers otherwise.

mod channel;
mod error;
mod exchange;
mod message;
mod mpmc;
mod select;
mod timer;

pub use channel::{Channel, ChannelBy, Iter, SharedChannel};
pub use error::{RecvError, SendAllError, SendError};
pub use mpmc::{
    CapacityError, Drain, IntoIter, Iter as ReceiverIter, PermitBy, Receiver, ReceiverBy, Sender, SenderBy, TryIter,
    WeakReceiverBy, WeakSenderBy, bounded, bounded_by, never, never_by, rendezvous, try_bounded, try_bounded_by,
    unbounded, unbounded_by,
};
pub use select::{Arm, Order, Select, SelectError, TypedArm};
#[doc(hidden)]
pub use select::{Limit, chosen, select_in};
pub use tasklet_core::channel::{Direction, Preference};
pub use tasklet_core::handle::{Local, Reach, Shared};
pub use timer::{Timer, after, at, tick};
