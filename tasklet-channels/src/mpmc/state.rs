//! What the lock of a channel guards, whether it has a buffer or not: one set of rules for every capacity.
//!
//! # Invariants
//!
//! - **C1** Receivers wait only while the buffer is empty. Who puts something there gives it to a waiting receiver instead.
//! - **C2** `buffer` and `reserved` together are at most `capacity`, but for messages that came back from a receiver which was given them
//!   and went away without looking.
//! - **C3** Senders, and those who reserve, wait only while there is no room.
//! - **C4** Once it is closed, nobody who waits to send or to reserve is served: a close is one step, though its waiters are woken one by one.

use std::collections::VecDeque;

use tasklet_core::channel::HandOver;
use tasklet_core::id::ChannelId;
use tasklet_core::wait::{Claimed, Found, Waiters, Woken};

use crate::exchange::put;

/// The capacity of a channel without a limit.
pub(super) const UNBOUNDED: usize = usize::MAX;

pub(crate) struct State<T> {
    pub(super) id: ChannelId,
    pub(super) name: Option<Box<str>>,
    pub(super) capacity: usize,
    pub(super) buffer: VecDeque<T>,
    /// Places in the buffer that permits stand for.
    pub(super) reserved: usize,
    pub(super) senders: Waiters<T>,
    pub(super) reservers: Waiters<()>,
    pub(super) receivers: Waiters<T>,
    /// Those who wait for the channel to be closed.
    pub(super) watchers: Waiters<()>,
    /// Nothing can be sent any more.
    pub(super) closed: bool,
    /// Who gets the next room if both senders and reservers wait.
    reserver_is_next: bool,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> State<T> {
        State {
            id: ChannelId::next(),
            name: None,
            capacity,
            buffer: VecDeque::new(),
            reserved: 0,
            senders: Waiters::new(),
            reservers: Waiters::new(),
            receivers: Waiters::new(),
            watchers: Waiters::new(),
            closed: false,
            reserver_is_next: false,
        }
    }

    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() + self.reserved < self.capacity
    }

    /// Whether nothing can be received any more.
    pub(super) fn has_ended(&self) -> bool {
        self.closed && self.buffer.is_empty() && self.reserved == 0
    }

    /// Gives a message to a waiting receiver.
    #[inline(always)]
    pub(super) fn give(&mut self, cell: &mut Option<T>) -> Option<Woken> {
        let mut receiver = self.receivers.claim()?;
        put(receiver.cell(), cell.take());
        Some(receiver.serve())
    }

    /// Sends what is in `cell`.
    #[inline(always)]
    pub(super) fn send(&mut self, cell: &mut Option<T>) -> Found {
        if !self.receivers.is_empty()
            && let Some(woken) = self.give(cell)
        {
            return Found::Woke(woken, HandOver::Next);
        }
        if self.has_room() {
            // Not `extend`: it is for many, and costs more for one.
            if let Some(message) = cell.take() {
                self.buffer.push_back(message);
            }
            return Found::Done;
        }
        Found::Wait
    }

    /// Receives into `cell`.
    #[inline(always)]
    pub(super) fn receive(&mut self, cell: &mut Option<T>) -> Found {
        if let Some(message) = self.buffer.pop_front() {
            put(cell, Some(message));
            return match self.admit() {
                Some(woken) => Found::Woke(woken, HandOver::Caller),
                None => Found::Done,
            };
        }
        // Without room to put it in, a sender's message goes from hand to hand.
        if !self.closed
            && !self.senders.is_empty()
            && let Some(mut sender) = self.senders.claim()
        {
            put(cell, sender.cell().take());
            return Found::Woke(sender.serve(), HandOver::Caller);
        }
        Found::Wait
    }

    /// Room has become free, perhaps: lets one of those in who wait for it.
    #[inline(always)]
    pub(super) fn admit(&mut self) -> Option<Woken> {
        if (self.senders.is_empty() && self.reservers.is_empty()) || self.closed || !self.has_room() {
            return None;
        }
        self.admit_one()
    }

    #[inline(never)]
    fn admit_one(&mut self) -> Option<Woken> {
        let reserver_is_next = self.reserver_is_next;
        self.reserver_is_next = !reserver_is_next;
        if reserver_is_next {
            self.admit_reserver().or_else(|| self.admit_sender())
        } else {
            self.admit_sender().or_else(|| self.admit_reserver())
        }
    }

    fn admit_sender(&mut self) -> Option<Woken> {
        let mut sender = self.senders.claim()?;
        self.buffer.extend(sender.cell().take());
        Some(sender.serve())
    }

    fn admit_reserver(&mut self) -> Option<Woken> {
        let reserver = self.reservers.claim()?;
        self.reserved += 1;
        Some(reserver.serve())
    }

    /// A message comes back from a receiver that has not looked at it: it is the next to be received.
    pub(super) fn take_back(&mut self, cell: &mut Option<T>) -> Option<Woken> {
        if cell.is_none() {
            return None;
        }
        let woken = self.give(cell);
        if let Some(message) = cell.take() {
            self.buffer.push_front(message);
        }
        woken
    }

    /// A permit was given up. If the channel is closed, it was perhaps the last thing that receivers waited for.
    pub(super) fn give_up(&mut self) -> Option<Woken> {
        self.reserved -= 1;
        self.admit()
    }

    /// The channel is closed: ends one of the waits that have become hopeless.
    pub(super) fn close_one(&mut self) -> Option<Woken> {
        if let Some(sender) = self.senders.claim() {
            return Some(sender.close());
        }
        if let Some(reserver) = self.reservers.claim() {
            return Some(reserver.close());
        }
        if let Some(watcher) = self.watchers.claim() {
            return Some(watcher.serve());
        }
        if self.has_ended() { self.receivers.claim().map(Claimed::close) } else { None }
    }
}
