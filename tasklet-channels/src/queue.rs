//! The tasklets that wait in a channel, oldest first: a linked list in a vector.
//!
//! # Invariants
//!
//! - **Q1** All linked nodes wait in one direction.
//! - **Q2** A node belongs to the tasklet in `owner` from `push` until that tasklet takes or frees it; a receiver that takes a
//!   sender's message frees the node on its behalf. So what a waiter left here is dropped by whoever owns it, never under the lock.
//! - **Q3** A node has its waiter's `Parked` while it is linked, and only then; whoever takes that has claimed the waiter.

use tasklet_core::id::TaskletId;
use tasklet_core::park::{Direction, Parked};
use tasklet_core::unwind::Payload;

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

    /// As [`into_value`](Self::into_value), of one to raise.
    pub(crate) fn into_payload(self) -> Payload {
        match self {
            Message::Throw(payload) => *payload,
            Message::Value(_) => unreachable!("something to raise does not become a value"),
        }
    }
}

/// Moves a message to a place that has none, without looking there for one to drop.
#[inline(always)]
fn put<T>(place: &mut Option<Message<T>>, message: Option<Message<T>>) {
    let before = std::mem::replace(place, message);
    debug_assert!(before.is_none(), "a message is not overwritten");
    std::mem::forget(before);
}

const NONE: u32 = u32::MAX;

struct Node<T> {
    next: u32,
    prev: u32,
    owner: Option<TaskletId>,
    waiter: Option<Parked>,
    message: Option<Message<T>>,
    shared: bool,
}

pub(crate) struct Queue<T> {
    nodes: Vec<Node<T>>,
    /// First free node; free nodes are linked by `next`.
    free: u32,
    head: u32,
    tail: u32,
    len: u32,
    direction: Direction,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Queue<T> {
        Queue { nodes: Vec::new(), free: NONE, head: NONE, tail: NONE, len: 0, direction: Direction::Send }
    }

    /// Senders count up, receivers down.
    pub(crate) fn balance(&self) -> isize {
        match self.direction {
            Direction::Send => self.len as isize,
            Direction::Receive => -(self.len as isize),
        }
    }

    /// Whether somebody waits in the direction opposite to the caller's.
    #[inline]
    pub(crate) fn serves(&self, caller: Direction) -> bool {
        self.len != 0 && self.direction != caller
    }

    /// The oldest waiter.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Parked> {
        self.nodes.get(self.head as usize).and_then(|node| node.waiter.as_ref())
    }

    /// All waiters, oldest first.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = &Parked> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            at = node.next;
            node.waiter.as_ref()
        })
    }

    /// Appends a waiter with its message, if it has one; returns its key.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        direction: Direction,
        waiter: Parked,
        message: &mut Option<Message<T>>,
        shared: bool,
    ) -> usize {
        debug_assert!(self.len == 0 || self.direction == direction, "Q1: waiters of one direction");
        self.direction = direction;
        let key = if self.free == NONE { self.grow() } else { self.free };
        let node = &mut self.nodes[key as usize];
        // Field by field, since a whole node would be put together elsewhere and moved.
        self.free = node.next;
        node.next = NONE;
        node.prev = self.tail;
        node.owner = Some(waiter.record().id());
        debug_assert!(node.waiter.is_none(), "Q3: a free node has no waiter");
        node.waiter = Some(waiter);
        put(&mut node.message, message.take());
        node.shared = shared;
        match self.tail {
            NONE => self.head = key,
            tail => self.nodes[tail as usize].next = key,
        }
        self.tail = key;
        self.len += 1;
        key as usize
    }

    /// Adds a free node.
    #[cold]
    fn grow(&mut self) -> u32 {
        let key = u32::try_from(self.nodes.len()).ok().filter(|key| *key != NONE);
        let key = key.expect("a channel holds at most 4,294,967,295 waiting tasklets");
        self.nodes.push(Node { next: self.free, prev: NONE, owner: None, waiter: None, message: None, shared: false });
        key
    }

    #[inline(always)]
    fn unlink(&mut self, key: u32) {
        let (next, prev) = (self.nodes[key as usize].next, self.nodes[key as usize].prev);
        match prev {
            NONE => self.head = next,
            prev => self.nodes[prev as usize].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => self.nodes[next as usize].prev = prev,
        }
        self.len -= 1;
    }

    #[inline(always)]
    fn release(&mut self, key: u32) -> Option<Message<T>> {
        let free = self.free;
        let node = &mut self.nodes[key as usize];
        node.owner = None;
        node.next = free;
        self.free = key;
        node.message.take()
    }

    /// Claims the oldest waiter and serves it: the message goes to it, or comes from it.
    #[inline(always)]
    pub(crate) fn take_partner(&mut self, caller: Direction, message: &mut Option<Message<T>>) -> Option<Parked> {
        match caller {
            Direction::Send => self.take_receiver(message),
            Direction::Receive => self.take_sender(message),
        }
    }

    /// Claims the oldest sender and takes its message; its node is freed.
    #[inline(always)]
    fn take_sender(&mut self, message: &mut Option<Message<T>>) -> Option<Parked> {
        let key = self.head;
        let waiter = self.nodes.get_mut(key as usize)?.waiter.take()?;
        self.unlink(key);
        put(message, self.release(key));
        Some(waiter)
    }

    /// Claims the oldest receiver and leaves a message with it.
    #[inline(always)]
    fn take_receiver(&mut self, message: &mut Option<Message<T>>) -> Option<Parked> {
        let key = self.head;
        let node = self.nodes.get_mut(key as usize)?;
        let waiter = node.waiter.take()?;
        put(&mut node.message, message.take());
        self.unlink(key);
        Some(waiter)
    }

    /// Claims the oldest waiter without serving it.
    pub(crate) fn take_first(&mut self) -> Option<Parked> {
        let key = self.head;
        let waiter = self.nodes.get_mut(key as usize)?.waiter.take()?;
        self.unlink(key);
        Some(waiter)
    }

    /// Claims a certain waiter without serving it, if it was not claimed.
    pub(crate) fn take_waiter(&mut self, who: TaskletId, key: usize) -> Option<Parked> {
        let node = self.nodes.get_mut(key).filter(|node| node.owner == Some(who))?;
        let waiter = node.waiter.take()?;
        self.unlink(key as u32);
        Some(waiter)
    }

    /// A waiter that goes on takes what is left in its node and frees it. `None` if a receiver has freed it already.
    #[inline(always)]
    pub(crate) fn reclaim(&mut self, who: TaskletId, key: usize) -> Option<Option<Message<T>>> {
        let node = self.nodes.get_mut(key).filter(|node| node.owner == Some(who))?;
        if node.waiter.is_some() {
            self.abandon(key as u32);
        }
        Some(self.release(key as u32))
    }

    /// A waiter goes on although nobody has claimed it: it never gave way, and unwinds.
    #[cold]
    fn abandon(&mut self, key: u32) {
        // Who runs is not to be woken.
        let _waiter = self.nodes[key as usize].waiter.take();
        self.unlink(key);
    }

    /// Whether the waiter came through a handle that other threads may hold.
    pub(crate) fn is_shared(&self, key: usize) -> bool {
        self.nodes.get(key).is_some_and(|node| node.shared)
    }
}
