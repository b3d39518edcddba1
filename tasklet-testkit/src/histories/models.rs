//! Channels as they are when one operation follows the other.

use std::collections::VecDeque;

use super::search::{Did, Model};

/// What is asked of a channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Send this message.
    Send(u32),
    /// The same, without waiting.
    TrySend(u32),
    /// Receive.
    Recv,
    /// The same, without waiting.
    TryRecv,
    /// Close it. Of a oneshot, from the receiver's side.
    Close,
    /// How many messages are in the buffer.
    Len,
    /// Of a oneshot: the sender is dropped.
    Leave,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It was sent.
    Sent,
    /// This was received.
    Received(u32),
    /// The channel is closed.
    Closed,
    /// It would have had to wait.
    WouldBlock,
    /// So many.
    Count(usize),
    /// Whether it was open.
    Was(bool),
    /// It is done.
    Done,
    /// It has waited for longer than it can have had to.
    NotServed,
}

/// A channel of senders and receivers.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Messages that it has room for.
    pub capacity: Option<usize>,
}

/// What is in it, and whether it is closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    buffer: VecDeque<u32>,
    closed: bool,
}

impl Model for Queue {
    type State = Content;
    type Op = Op;
    type Answer = Answer;

    fn start(&self) -> Content {
        Content { buffer: VecDeque::new(), closed: false }
    }

    fn step(&self, state: &Content, op: &Op, answer: &Answer) -> Option<Content> {
        let mut after = state.clone();
        let has_room = self.capacity.is_none_or(|capacity| state.buffer.len() < capacity);
        let is_possible = match (op, answer) {
            (Op::Send(message) | Op::TrySend(message), Answer::Sent) => {
                after.buffer.push_back(*message);
                has_room && !state.closed
            }
            (Op::Send(_) | Op::TrySend(_), Answer::Closed) => state.closed,
            (Op::TrySend(_), Answer::WouldBlock) => !has_room && !state.closed,
            (Op::Recv | Op::TryRecv, Answer::Received(message)) => after.buffer.pop_front() == Some(*message),
            (Op::Recv | Op::TryRecv, Answer::Closed) => state.closed && state.buffer.is_empty(),
            (Op::TryRecv, Answer::WouldBlock) => state.buffer.is_empty() && !state.closed,
            (Op::Close, Answer::Was(open)) => {
                after.closed = true;
                *open != state.closed
            }
            (Op::Len, Answer::Count(count)) => *count == state.buffer.len(),
            _ => false,
        };
        is_possible.then_some(after)
    }

    /// Without a buffer. Two that do not wait never meet.
    fn meet(&self, state: &Content, one: &Did<Self>, other: &Did<Self>) -> Option<Content> {
        let may_meet = |send: &Did<Self>, recv: &Did<Self>| {
            let sent = match send {
                (Op::Send(message), Answer::Sent) => (*message, true),
                (Op::TrySend(message), Answer::Sent) => (*message, false),
                _ => return false,
            };
            match recv {
                (Op::Recv, Answer::Received(message)) => *message == sent.0,
                (Op::TryRecv, Answer::Received(message)) => *message == sent.0 && sent.1,
                _ => false,
            }
        };
        let meet = self.capacity == Some(0) && !state.closed && (may_meet(one, other) || may_meet(other, one));
        meet.then(|| state.clone())
    }

    fn answers(&self, op: &Op) -> Vec<Answer> {
        match op {
            Op::Send(_) | Op::TrySend(_) => vec![Answer::Sent],
            // Whoever was ended has not received: nothing is lost by a kill.
            Op::Close => vec![Answer::Was(true), Answer::Was(false)],
            _ => Vec::new(),
        }
    }
}

/// A channel for one message.
#[derive(Clone, Debug)]
pub struct Oneshot;

/// The message, whether one was sent or never will be, and whether one may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OneshotContent {
    message: Option<u32>,
    sent: bool,
    closed: bool,
}

impl Model for Oneshot {
    type State = OneshotContent;
    type Op = Op;
    type Answer = Answer;

    fn start(&self) -> OneshotContent {
        OneshotContent { message: None, sent: false, closed: false }
    }

    fn step(&self, state: &OneshotContent, op: &Op, answer: &Answer) -> Option<OneshotContent> {
        let mut after = state.clone();
        let is_possible = match (op, answer) {
            (Op::Send(message), Answer::Sent) => {
                after.message = Some(*message);
                after.sent = true;
                !state.closed && !state.sent
            }
            (Op::Send(_), Answer::Closed) => {
                after.sent = true;
                state.closed && !state.sent
            }
            (Op::Leave, Answer::Done) => {
                after.sent = true;
                true
            }
            (Op::Recv | Op::TryRecv, Answer::Received(message)) => after.message.take() == Some(*message),
            (Op::Recv | Op::TryRecv, Answer::Closed) => (state.sent || state.closed) && state.message.is_none(),
            (Op::TryRecv, Answer::WouldBlock) => !state.sent && !state.closed,
            (Op::Close, Answer::Done) => {
                after.closed = true;
                true
            }
            _ => false,
        };
        is_possible.then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::search::{Event, is_linearizable};
    use super::*;

    fn event<M: Model>(op: M::Op, called: u64, answered: u64, answer: M::Answer) -> Event<M> {
        Event { op, called, answered: Some((answered, answer)) }
    }

    fn pending<M: Model>(op: M::Op, called: u64) -> Event<M> {
        Event { op, called, answered: None }
    }

    const ROOMY: Queue = Queue { capacity: None };
    const SINGLE: Queue = Queue { capacity: Some(1) };
    const NONE: Queue = Queue { capacity: Some(0) };

    /// Each with whether it is linearizable, and why.
    #[test]
    fn histories_of_queues_are_judged() {
        use Answer::{Closed, Count, Received, Sent, Was, WouldBlock};
        use Op::{Close, Len, Recv, Send, TryRecv, TrySend};
        let table: Vec<(&str, Queue, Vec<Event<Queue>>, bool)> = vec![
            (
                "first in, first out",
                ROOMY,
                vec![
                    event(Send(1), 0, 1, Sent),
                    event(Send(2), 2, 3, Sent),
                    event(Recv, 4, 5, Received(1)),
                    event(Recv, 6, 7, Received(2)),
                ],
                true,
            ),
            (
                "the second before the first",
                ROOMY,
                vec![
                    event(Send(1), 0, 1, Sent),
                    event(Send(2), 2, 3, Sent),
                    event(Recv, 4, 5, Received(2)),
                    event(Recv, 6, 7, Received(1)),
                ],
                false,
            ),
            (
                "the sends overlap, so either may be first",
                ROOMY,
                vec![
                    event(Send(1), 0, 3, Sent),
                    event(Send(2), 1, 2, Sent),
                    event(Recv, 4, 5, Received(2)),
                    event(Recv, 6, 7, Received(1)),
                ],
                true,
            ),
            (
                "received twice",
                ROOMY,
                vec![event(Send(1), 0, 1, Sent), event(Recv, 2, 5, Received(1)), event(Recv, 3, 4, Received(1))],
                false,
            ),
            (
                "received before it was sent",
                ROOMY,
                vec![event(Recv, 0, 1, Received(1)), event(Send(1), 2, 3, Sent)],
                false,
            ),
            ("lost", ROOMY, vec![event(Send(1), 0, 1, Sent), event(TryRecv, 2, 3, WouldBlock)], false),
            (
                "more than it has room for",
                SINGLE,
                vec![event(Send(1), 0, 1, Sent), event(TrySend(2), 2, 3, Sent)],
                false,
            ),
            ("full when it was empty", SINGLE, vec![event(TrySend(1), 0, 1, WouldBlock)], false),
            (
                "a send that waits is done when there is room",
                SINGLE,
                vec![
                    event(Send(1), 0, 1, Sent),
                    event(Send(2), 2, 6, Sent),
                    event(Recv, 3, 4, Received(1)),
                    event(Len, 5, 7, Count(1)),
                ],
                true,
            ),
            (
                "sent after the end was told",
                SINGLE,
                vec![event(Close, 0, 1, Was(true)), event(Send(1), 2, 3, Sent)],
                false,
            ),
            (
                "the end before the last message",
                ROOMY,
                vec![
                    event(Send(1), 0, 1, Sent),
                    event(Close, 2, 3, Was(true)),
                    event(Recv, 4, 5, Closed),
                    event(Recv, 6, 7, Received(1)),
                ],
                false,
            ),
            ("a send and a receive meet", NONE, vec![event(Send(1), 0, 3, Sent), event(Recv, 1, 2, Received(1))], true),
            (
                "a rendezvous whose send was over before the receive was called",
                NONE,
                vec![event(Send(1), 0, 1, Sent), event(Recv, 2, 3, Received(1))],
                false,
            ),
            (
                "two that do not wait have met",
                NONE,
                vec![event(TrySend(1), 0, 3, Sent), event(TryRecv, 1, 2, Received(1))],
                false,
            ),
            (
                "a send of one that was ended has happened",
                ROOMY,
                vec![pending(Send(1), 0), event(Recv, 1, 2, Received(1))],
                true,
            ),
            (
                "a send of one that was ended has not happened",
                ROOMY,
                vec![pending(Send(1), 0), event(TryRecv, 1, 2, WouldBlock)],
                true,
            ),
            (
                "a receiver that was ended has taken a message with it",
                ROOMY,
                vec![event(Send(1), 0, 1, Sent), pending(Recv, 2), event(TryRecv, 3, 4, WouldBlock)],
                false,
            ),
        ];
        for (what, model, history, expected) in table {
            assert_eq!(is_linearizable(&model, &history), expected, "{what}");
        }
    }

    #[test]
    fn histories_of_oneshots_are_judged() {
        use Answer::{Closed, Done, NotServed, Received, Sent, WouldBlock};
        use Op::{Close, Leave, Recv, Send, TryRecv};
        let table: Vec<(&str, Vec<Event<Oneshot>>, bool)> = vec![
            (
                "one of two receivers has it, the other hears of the end",
                vec![event(Recv, 0, 5, Received(1)), event(Recv, 1, 4, Closed), event(Send(1), 2, 3, Sent)],
                true,
            ),
            (
                "the other waits for ever",
                vec![event(Recv, 0, 5, Received(1)), event(Recv, 1, 9, NotServed), event(Send(1), 2, 3, Sent)],
                false,
            ),
            ("sent after the close", vec![event(Close, 0, 1, Done), event(Send(1), 2, 3, Sent)], false),
            ("nothing can come", vec![event(Close, 0, 1, Done), event(TryRecv, 2, 3, WouldBlock)], false),
            ("nothing will come", vec![event(Leave, 0, 1, Done), event(TryRecv, 2, 3, WouldBlock)], false),
        ];
        for (what, history, expected) in table {
            assert_eq!(is_linearizable(&Oneshot, &history), expected, "{what}");
        }
    }
}
