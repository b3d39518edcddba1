//! What a channel operation does to the queue of runnable tasklets, as four cases.
//!
//! A channel has no buffer. Tasklets that cannot be served wait in it, all in one direction, oldest first.
//!
//! - **Send, a receiver waits.** The oldest receiver gets the value and leaves the channel. Who goes on is decided by
//!   [`hand_over`]: with the default preference the receiver runs at once and the sender comes last in the queue.
//! - **Send, nobody receives.** The sender leaves the queue and waits in the channel with its value; the next runnable tasklet
//!   goes on.
//! - **Receive, a sender waits.** The oldest sender's value is taken and the sender leaves the channel. With the default
//!   preference the receiver goes on and the sender is appended to the queue.
//! - **Receive, nobody sends.** The receiver leaves the queue and waits in the channel; the next runnable tasklet goes on.
//!
//! A partner that belongs to another scheduler is put into that scheduler's inbox, and the caller always goes on.
//!
//! [`HandOver`] is what a channel asks of a scheduler; how an order of tasklets follows from it is the scheduler's: exact in
//! `local`, a hint elsewhere.

use crate::id::{ChannelId, TaskletId};
pub use crate::park::Direction;

/// Whom a channel lets go on after an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// The receiver, whoever came first. The default: a send returns after the receiver has had its turn.
    #[default]
    Receiver,
    /// The caller; the partner is appended to the queue.
    Neither,
    /// The sender, whoever came first.
    Sender,
}

/// What happens to caller and partner after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandOver {
    /// The partner runs at once; the caller becomes the last in the queue.
    Partner,
    /// The caller goes on; the partner becomes the last in the queue.
    Caller,
    /// The caller goes on; the partner is next where a scheduler has an ear for that, and the last in the queue of a local one.
    Next,
    /// The partner becomes the last in the queue, and the caller gives way to the next.
    Everybody,
}

/// Who goes on when a tasklet calling in `direction` finds a partner.
///
/// # Examples
///
/// ```
/// use tasklet_core::channel::{hand_over, Direction, HandOver, Preference};
///
/// assert_eq!(hand_over(Direction::Send, Preference::Receiver, false), HandOver::Partner);
/// assert_eq!(hand_over(Direction::Receive, Preference::Receiver, false), HandOver::Caller);
/// ```
pub fn hand_over(direction: Direction, preference: Preference, schedule_all: bool) -> HandOver {
    match (schedule_all, direction, preference) {
        (true, _, _) => HandOver::Everybody,
        (_, Direction::Send, Preference::Receiver) | (_, Direction::Receive, Preference::Sender) => HandOver::Partner,
        _ => HandOver::Caller,
    }
}

/// What a channel hook is told: before the operation, or after one that serves a tasklet of another scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelEvent {
    /// Which channel.
    pub channel: ChannelId,
    /// Who calls.
    pub tasklet: TaskletId,
    /// To give or to take a value.
    pub direction: Direction,
    /// Whether nobody waits in the other direction, so that the caller would park.
    pub will_block: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preference_favours_its_side_whoever_calls() {
        use Direction::{Receive, Send};
        use Preference::{Neither, Receiver, Sender};
        let table = [
            (Send, Receiver, HandOver::Partner),
            (Receive, Receiver, HandOver::Caller),
            (Send, Sender, HandOver::Caller),
            (Receive, Sender, HandOver::Partner),
            (Send, Neither, HandOver::Caller),
            (Receive, Neither, HandOver::Caller),
        ];
        for (direction, preference, expected) in table {
            assert_eq!(hand_over(direction, preference, false), expected);
            assert_eq!(hand_over(direction, preference, true), HandOver::Everybody);
        }
    }
}
