//! Channels as plain lists: who waits, what is there, who is served.

use std::collections::VecDeque;

use super::model::{Model, Outcome, Wait};
use super::{ArmOp, Op};

/// Somebody who waits in a list. One who selects is in several, with one ticket.
pub(super) struct Waiter {
    pub(super) actor: usize,
    pub(super) ticket: u64,
    pub(super) arm: usize,
    pub(super) message: u32,
}

#[derive(Default)]
pub(super) struct Channel {
    /// As large as there is without a limit.
    pub(super) capacity: usize,
    pub(super) buffer: VecDeque<u32>,
    pub(super) reserved: usize,
    pub(super) senders: VecDeque<Waiter>,
    pub(super) reservers: VecDeque<Waiter>,
    pub(super) receivers: VecDeque<Waiter>,
    pub(super) watchers: VecDeque<Waiter>,
    pub(super) closed: bool,
    pub(super) reserver_is_next: bool,
    /// Handles.
    pub(super) sender_count: usize,
    pub(super) receiver_count: usize,
}

impl Model<'_> {
    /// Enters the lists.
    pub(super) fn wait(&mut self, who: usize, op: Op) -> bool {
        self.tickets += 1;
        let waiter = |arm: usize, message: u32| Waiter { actor: who, ticket: self.tickets, arm, message };
        match &op {
            Op::Send { to, message, .. } => self.channels[*to].senders.push_back(waiter(0, *message)),
            Op::Recv { from, .. } | Op::RecvMany { from, .. } => self.channels[*from].receivers.push_back(waiter(0, 0)),
            Op::Reserve { to, .. } => self.channels[*to].reservers.push_back(waiter(0, 0)),
            Op::WaitClosed { which } => self.channels[*which].watchers.push_back(waiter(0, 0)),
            Op::Select { arms, .. } => {
                for (at, arm) in arms.iter().enumerate() {
                    match arm {
                        ArmOp::Send { to, message } => self.channels[*to].senders.push_back(waiter(at, *message)),
                        ArmOp::Recv { from } => self.channels[*from].receivers.push_back(waiter(at, 0)),
                        ArmOp::Closed { which } => self.channels[*which].watchers.push_back(waiter(at, 0)),
                    }
                }
            }
            _ => unreachable!("nothing else waits"),
        }
        self.actors[who].wait = Some(Wait { ticket: self.tickets, op, outcome: None });
        true
    }

    pub(super) fn end_wait(&mut self, who: usize, arm: usize, outcome: Outcome) {
        let wait = self.actors[who].wait.as_mut().expect("it waits");
        wait.outcome = Some((arm, outcome));
        self.queue.push_back(who);
    }

    /// The oldest in a list who waits still.
    pub(super) fn claim(&mut self, which: usize, list: fn(&mut Channel) -> &mut VecDeque<Waiter>) -> Option<Waiter> {
        loop {
            let waiter = list(&mut self.channels[which]).pop_front()?;
            let wait = self.actors[waiter.actor].wait.as_ref();
            if wait.is_some_and(|wait| wait.ticket == waiter.ticket && wait.outcome.is_none()) {
                return Some(waiter);
            }
        }
    }

    pub(super) fn has_room(&self, which: usize) -> bool {
        let Channel { buffer, reserved, capacity, .. } = &self.channels[which];
        buffer.len() + reserved < *capacity
    }

    pub(super) fn has_ended(&self, which: usize) -> bool {
        let Channel { buffer, reserved, closed, .. } = &self.channels[which];
        *closed && buffer.is_empty() && *reserved == 0
    }

    pub(super) fn give(&mut self, which: usize, message: u32) -> bool {
        let Some(receiver) = self.claim(which, |channel| &mut channel.receivers) else { return false };
        self.end_wait(receiver.actor, receiver.arm, Outcome::Received(message));
        true
    }

    pub(super) fn send(&mut self, to: usize, message: u32) -> Option<Outcome> {
        if self.channels[to].closed {
            return Some(Outcome::Closed);
        }
        if self.give(to, message) {
            return Some(Outcome::Done);
        }
        if !self.has_room(to) {
            return None;
        }
        self.channels[to].buffer.push_back(message);
        Some(Outcome::Done)
    }

    pub(super) fn receive(&mut self, from: usize) -> Option<u32> {
        if let Some(message) = self.channels[from].buffer.pop_front() {
            self.admit(from);
            return Some(message);
        }
        let sender = self.claim(from, |channel| &mut channel.senders)?;
        self.end_wait(sender.actor, sender.arm, Outcome::Done);
        Some(sender.message)
    }

    pub(super) fn receive_or_end(&mut self, from: usize) -> Option<Outcome> {
        match self.receive(from) {
            Some(message) => Some(Outcome::Received(message)),
            None => self.has_ended(from).then_some(Outcome::Closed),
        }
    }

    pub(super) fn take_many(&mut self, from: usize, limit: usize) -> Vec<u32> {
        let mut got = Vec::new();
        while got.len() < limit
            && let Some(message) = self.receive(from)
        {
            got.push(message);
        }
        got
    }

    pub(super) fn reserve(&mut self, to: usize) -> Option<Result<(), &'static str>> {
        if self.channels[to].closed {
            Some(Err("reserves where it is closed"))
        } else if self.channels[to].capacity == 0 {
            Some(Err("reserves where there is no buffer"))
        } else if self.has_room(to) {
            self.channels[to].reserved += 1;
            Some(Ok(()))
        } else {
            None
        }
    }

    /// Room has become free, perhaps: lets one in who waits for it. Senders and reservers take turns.
    pub(super) fn admit(&mut self, which: usize) -> bool {
        let channel = &mut self.channels[which];
        if channel.senders.is_empty() && channel.reservers.is_empty() || !self.has_room(which) {
            return false;
        }
        let channel = &mut self.channels[which];
        let reserver_is_next = channel.reserver_is_next;
        channel.reserver_is_next = !reserver_is_next;
        let turns = if reserver_is_next {
            [Self::admit_reserver, Self::admit_sender]
        } else {
            [Self::admit_sender, Self::admit_reserver]
        };
        turns.into_iter().any(|admit| admit(self, which))
    }

    pub(super) fn admit_sender(&mut self, which: usize) -> bool {
        let Some(sender) = self.claim(which, |channel| &mut channel.senders) else { return false };
        self.channels[which].buffer.push_back(sender.message);
        self.end_wait(sender.actor, sender.arm, Outcome::Done);
        true
    }

    pub(super) fn admit_reserver(&mut self, which: usize) -> bool {
        let Some(reserver) = self.claim(which, |channel| &mut channel.reservers) else { return false };
        self.channels[which].reserved += 1;
        self.end_wait(reserver.actor, reserver.arm, Outcome::Done);
        true
    }

    pub(super) fn use_permit(&mut self, who: usize, to: usize, message: u32, sends: bool) {
        self.channels[to].reserved -= 1;
        if sends && self.channels[to].receiver_count > 0 {
            if self.give(to, message) {
                self.admit(to);
            } else {
                self.channels[to].buffer.push_back(message);
            }
        } else if !self.has_ended(to) {
            self.admit(to);
        }
        if self.channels[to].closed {
            self.wake_closed(to);
        }
        let lost = sends && self.channels[to].receiver_count == 0;
        self.log(who, if lost { "permit closed" } else { "permit used" });
    }

    pub(super) fn close(&mut self, which: usize) -> bool {
        let was_open = !std::mem::replace(&mut self.channels[which].closed, true);
        self.wake_closed(which);
        was_open
    }

    pub(super) fn wake_closed(&mut self, which: usize) {
        while let Some(sender) = self.claim(which, |channel| &mut channel.senders) {
            self.end_wait(sender.actor, sender.arm, Outcome::Closed);
        }
        while let Some(reserver) = self.claim(which, |channel| &mut channel.reservers) {
            self.end_wait(reserver.actor, reserver.arm, Outcome::Closed);
        }
        while let Some(watcher) = self.claim(which, |channel| &mut channel.watchers) {
            self.end_wait(watcher.actor, watcher.arm, Outcome::Done);
        }
        while self.has_ended(which)
            && let Some(receiver) = self.claim(which, |channel| &mut channel.receivers)
        {
            self.end_wait(receiver.actor, receiver.arm, Outcome::Closed);
        }
    }

    pub(super) fn drop_sender(&mut self, who: usize, which: usize) {
        self.actors[who].senders[which] -= 1;
        self.channels[which].sender_count -= 1;
        if self.channels[which].sender_count == 0 {
            self.close(which);
        }
    }

    pub(super) fn drop_receiver(&mut self, who: usize, which: usize) {
        self.actors[who].receivers[which] -= 1;
        self.channels[which].receiver_count -= 1;
        if self.channels[which].receiver_count == 0 {
            self.close(which);
            self.channels[which].buffer.clear();
        }
    }
}
