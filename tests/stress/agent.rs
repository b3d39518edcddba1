//! Whoever sends and receives, tasklet, main tasklet or plain thread: every message is marked, and no thread is left.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::ThreadId;

use tasklet::{Channel, SharedChannel};

use crate::dice::Dice;
use crate::failure::violated;
use crate::ledger::{Boom, Token};
use crate::world::{self, World};

pub(crate) struct Agent {
    pub(crate) world: Arc<World>,
    id: u64,
    sequence: Cell<u64>,
    thread: ThreadId,
    /// Messages it has received and keeps: dropped when it ends, whichever way.
    pocket: RefCell<Vec<Token>>,
    /// The last message of each sender, for the one receiver of a channel.
    last: RefCell<HashMap<u64, u64>>,
}

/// A channel of either kind.
#[derive(Clone)]
pub(crate) enum Port {
    Local(Channel<Token>),
    Shared(SharedChannel<Token>),
}

macro_rules! on {
    ($port:expr, $channel:ident => $body:expr) => {
        match $port {
            Port::Local($channel) => $body,
            Port::Shared($channel) => $body,
        }
    };
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wait {
    Yes,
    No,
}

/// Counts a call that does not return.
struct Unwound<'a>(&'a AtomicU64);

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Agent {
    pub(crate) fn new(world: &Arc<World>) -> Agent {
        Agent {
            world: world.clone(),
            id: world.next_agent(),
            sequence: Cell::new(0),
            thread: std::thread::current().id(),
            pocket: RefCell::default(),
            last: RefCell::default(),
        }
    }

    /// A started tasklet never changes threads.
    pub(crate) fn check_thread(&self) {
        if std::thread::current().id() != self.thread {
            violated("a tasklet went on on another thread");
        }
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.sequence.set(self.sequence.get() + 1);
        self.world.ledger.token(self.id, self.sequence.get())
    }

    pub(crate) fn boom(&self) -> Option<Boom> {
        self.token().map(Boom)
    }

    pub(crate) fn send(&self, port: &Port, wait: Wait) {
        let ledger = &self.world.ledger;
        let Some(token) = self.token() else { return };
        let number = token.number();
        let unwound = Unwound(&ledger.send_unwound);
        let result = match wait {
            Wait::Yes => on!(port, channel => channel.send(token)),
            Wait::No => on!(port, channel => channel.try_send(token)),
        };
        mem::forget(unwound);
        match result {
            Ok(()) => ledger.sent(number),
            Err(error) => error.into_inner().came_back(number),
        }
        self.check_thread();
    }

    /// Something that is raised in the receiver.
    pub(crate) fn send_throw(&self, port: &Port) {
        let Some(boom) = self.boom() else { return };
        drop(on!(port, channel => channel.send_throw(Box::new(boom))));
        self.check_thread();
    }

    pub(crate) fn recv(&self, port: &Port, wait: Wait) -> Option<(u64, u64)> {
        let unwound = Unwound(&self.world.ledger.recv_unwound);
        let result = match wait {
            Wait::Yes => on!(port, channel => channel.recv()),
            Wait::No => on!(port, channel => channel.try_recv()),
        };
        mem::forget(unwound);
        self.check_thread();
        let token = result.ok()?;
        token.received();
        let from = (token.sender, token.sequence);
        let mut pocket = self.pocket.borrow_mut();
        pocket.push(token);
        if pocket.len() > 3 {
            pocket.remove(0);
        }
        Some(from)
    }

    /// Receives as the only one: the messages of each sender come in its order.
    pub(crate) fn recv_in_order(&self, port: &Port, wait: Wait) -> bool {
        let Some((sender, sequence)) = self.recv(port, wait) else { return false };
        let before = self.last.borrow_mut().insert(sender, sequence);
        if before.is_some_and(|before| before >= sequence) {
            violated(&format!("message {sequence} of sender {sender} came after {before:?}"));
        }
        true
    }
}

impl Port {
    /// Changes what an operation may find.
    pub(crate) fn tamper(&self, dice: &mut Dice, world: &World) {
        match dice.below(8) {
            0 => on!(self, channel => channel.close()),
            1 => on!(self, channel => channel.close_soft()),
            2 => {
                let _ = on!(self, channel => (channel.balance(), channel.waiters(), channel.is_closed()));
            }
            3 => on!(self, channel => channel.set_schedule_all(dice.chance(20))),
            4 => on!(self, channel => channel.set_preference(world::preference(dice))),
            _ if !world.is_over() => on!(self, channel => channel.reopen()),
            _ => {}
        }
    }
}
