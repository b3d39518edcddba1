//! Channels between tasklets, and between tasklets and plain threads.
//!
//! # Which channel when
//!
//! | you have | take |
//! |---|---|
//! | work for several tasklets, and senders that shall not run ahead | [`bounded`] |
//! | a hand-over that both sides take part in | [`rendezvous`] |
//! | senders that must never wait, and memory for what they send | [`unbounded`] |
//! | one answer to one question | [`oneshot`] |
//! | a state of which only the latest counts: configuration, progress, shutdown | [`watch`] |
//! | news for everybody who listens | [`broadcast`] |
//! | a point in time among other things | [`after`], [`tick`] |
//! | an arm of a select that is switched off | [`never`](fn@never) |
//! | tasklets of one thread whose order is part of the program, values that are not `Send`, generators | [`ChannelBy`], Stackless's |
//!
//! # What each can
//!
//! | | [`bounded`] and its kind | [`oneshot`] | [`watch`] | [`broadcast`] | [`ChannelBy`] |
//! |---|---|---|---|---|---|
//! | wait, try, with a limit, until a point in time | both ends | receiver: a sender never waits | as oneshot | as oneshot | both ends |
//! | arms of a select, futures | both ends, its end | receiver, its end | a change | receiver | both ends |
//! | streams and sinks (feature `futures`) | both | is a future | | | |
//! | closed by | either end, the last handle of a side | either end, dropping one | a sender, the last of them | a sender, the last of them | any handle; never by itself |
//! | several at once, reserve, weak handles | yes | | | | |
//! | shown in dumps: a number, and | a name | | | | a name, a balance |
//!
//! All of them are used in the same way from tasklets of any scheduler, plain threads, and async code, and are arms of [`select!`].
//!
//! An operation returns or unwinds; none is dropped half way. A message is in the channel, was received once, or comes back in the error:
//! also when a wait is ended by a kill, a time limit or another arm of a select. A future that is dropped has received nothing. What goes back
//! to a channel in such a way is the next to be received, also if the channel was closed meanwhile and others were told that it is at its end.
//!
//! Who waits at one of these channels may be served by any thread. So on the local scheduler, too, such a wait is never a deadlock: the
//! thread sleeps. [`ChannelBy`] knows whether anybody else can come, and says so.
//!
//! # Differences
//!
//! | from | what is different here |
//! |---|---|
//! | `std::sync::mpsc` | any number of receivers; `close` from both ends; select; one error type for each direction, which says why |
//! | crossbeam | tasklets park, the caller is recognised; a select's message is evaluated before the choice; times are on the scheduler's clock; `Select` has arms with types; `reserve`, `recv_many`, weak handles; `bounded` takes memory as it is filled |
//! | Go | sending on a closed channel is an error with the message in it, no panic; receiving from one is an error, no zero value; closing twice is allowed; dropping the last handle of a side closes; select operands are evaluated once, in order, as in Go |
//! | Stackless | [`ChannelBy`] is its channel; buffers, select, time limits and other threads are new; there is no balance or preference on the others |

mod broadcast;
mod channel;
mod error;
mod exchange;
mod message;
#[cfg(all(test, loom))]
mod models;
mod mpmc;
mod oneshot;
mod primitive;
mod select;
mod timer;
mod wake;
mod watch;

pub use broadcast::{BroadcastError, BroadcastReceiver, BroadcastSender, broadcast};
pub use channel::{Channel, ChannelBy, Iter, SharedChannel};
pub use error::{RecvError, SendAllError, SendError};
pub use mpmc::{
    CapacityError, Drain, EndsBy, IntoIter, Iter as ReceiverIter, PermitBy, Receiver, ReceiverBy, Sender, SenderBy,
    TryIter, WeakReceiverBy, WeakSenderBy, bounded, bounded_by, never, never_by, rendezvous, try_bounded,
    try_bounded_by, unbounded, unbounded_by,
};
#[cfg(feature = "futures")]
pub use mpmc::{RecvStream, SendSink};
pub use oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use select::{Arm, Order, Select, SelectError, TypedArm};
#[doc(hidden)]
pub use select::{Limit, chosen, select_in};
pub use tasklet_core::channel::{Direction, Preference};
pub use tasklet_core::handle::{Local, Reach, Shared};
pub use timer::{Timer, after, at, tick};
pub use watch::{WatchReceiver, WatchSender, watch};
