//! What travels through a Stackless channel.

use tasklet_core::unwind::{self, Payload};

/// What a sender gives: a value, or something to raise in the receiver.
pub(crate) enum Message<T> {
    Value(T),
    /// Boxed again, to be one word: a message with a value of one word then moves in two registers, while one that is written in
    /// parts and moved as a whole stalls the processor.
    Throw(Box<Payload>),
}

impl<T> Message<T> {
    /// The value of one that came back as it went in.
    pub(crate) fn into_value(self) -> T {
        match self {
            Message::Value(value) => value,
            Message::Throw(_) => unreachable!("a value does not become something to raise"),
        }
    }

    /// What a receiver gets: the value, or it unwinds.
    #[inline(always)]
    pub(crate) fn receive(self) -> T {
        match self {
            Message::Value(value) => value,
            Message::Throw(payload) => unwind::raise(*payload),
        }
    }

    /// As [`into_value`](Self::into_value), of one to raise.
    pub(crate) fn into_payload(self) -> Payload {
        match self {
            Message::Throw(payload) => *payload,
            Message::Value(_) => unreachable!("something to raise does not become a value"),
        }
    }
}
