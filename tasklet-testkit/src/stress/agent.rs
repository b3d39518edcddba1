//! Whoever acts in a world, tasklet or plain thread: what it sends and receives is marked, and a tasklet stays where it has begun.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::thread::ThreadId;

use tasklet_channels::SharedChannel;
use tasklet_core::tasklet::{JoinError, JoinHandle};
use tasklet_core::unwind::Payload;
use tasklet_scheduler::stealing::{self, Elapsed};
use tasklet_scheduler::tasklet_local;

use super::failure::violated;
use super::ledger::{Boom, Token, Unwound, What};
use super::world::World;

tasklet_local! {
    /// Which agent the tasklet is.
    static SELF: Cell<u64> = Cell::new(u64::MAX);
    /// A token of the tasklet's own, dropped at its end.
    static KEPT: RefCell<Option<Token>> = RefCell::new(None);
}

pub(super) struct Agent {
    pub(super) world: Arc<World>,
    pub(super) id: u64,
    /// The runtime whose tasklet it is.
    pub(super) place: Option<usize>,
    sequence: Cell<u64>,
    thread: ThreadId,
    worker: Option<usize>,
    /// Messages that it has received and keeps: dropped when it ends, whichever way.
    pocket: RefCell<Vec<Token>>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wait {
    Yes,
    No,
}

impl Agent {
    fn new(world: &Arc<World>, place: Option<usize>) -> Agent {
        Agent {
            world: world.clone(),
            id: world.next_agent(),
            place,
            sequence: Cell::new(0),
            thread: std::thread::current().id(),
            worker: stealing::worker_index(),
            pocket: RefCell::default(),
        }
    }

    /// The calling thread, which is nobody's worker.
    pub(super) fn thread(world: &Arc<World>) -> Agent {
        Agent::new(world, None)
    }

    /// The calling tasklet.
    pub(super) fn tasklet(world: &Arc<World>, place: usize) -> Agent {
        let agent = Agent::new(world, Some(place));
        SELF.with(|id| {
            if id.replace(agent.id) != u64::MAX {
                violated("a new tasklet has the local value of another");
            }
        });
        if let Some(token) = agent.token(What::Local) {
            KEPT.with(|kept| *kept.borrow_mut() = Some(token));
        }
        agent
    }

    /// A started tasklet never changes threads, and keeps what is its own.
    pub(super) fn check(&self) {
        if std::thread::current().id() != self.thread || stealing::worker_index() != self.worker {
            violated("a tasklet went on on another thread");
        }
        if self.place.is_some() && SELF.with(Cell::get) != self.id {
            violated("a tasklet has the local value of another");
        }
    }

    pub(super) fn token(&self, what: What) -> Option<Token> {
        self.world.ledger.token(what)
    }

    /// Sends a message. Returns whether it has gone.
    pub(super) fn send(&self, channel: &SharedChannel<Token>, wait: Wait) -> bool {
        let ledger = &self.world.ledger;
        self.sequence.set(self.sequence.get() + 1);
        let Some(token) = ledger.message(What::Message, self.id, self.sequence.get()) else { return false };
        let number = token.number();
        let unwound = Unwound(&ledger.send_unwound);
        let result = match wait {
            Wait::Yes => channel.send(token),
            Wait::No => channel.try_send(token),
        };
        unwound.disarm();
        self.check();
        match result {
            Ok(()) => ledger.sent(number),
            Err(error) => {
                error.into_inner().came_back(number);
                return false;
            }
        }
        true
    }

    /// Receives a message, and tells whose it is.
    pub(super) fn recv(&self, channel: &SharedChannel<Token>, wait: Wait) -> Option<(u64, u64)> {
        let unwound = Unwound(&self.world.ledger.recv_unwound);
        let result = match wait {
            Wait::Yes => channel.recv(),
            Wait::No => channel.try_recv(),
        };
        unwound.disarm();
        self.check();
        let token = result.ok()?;
        token.received();
        let from = (token.sender, token.sequence);
        let mut pocket = self.pocket.borrow_mut();
        pocket.push(token);
        let oldest = (pocket.len() > 3).then(|| pocket.remove(0));
        drop(pocket);
        drop(oldest);
        Some(from)
    }

    /// What a join returns is the tasklet's own token, or says why there is none.
    pub(super) fn joined(&self, result: Result<Option<Token>, JoinError>) {
        match result {
            Ok(token) => token.iter().for_each(Token::joined),
            Err(error) => {
                if error.is_panic() {
                    error.into_panic().iter().for_each(check_payload);
                } else if !error.is_killed() && error.park_error().is_none() {
                    violated(&format!("a join fails with {error}"));
                }
            }
        }
        self.check();
    }

    pub(super) fn join(&self, handle: JoinHandle<Option<Token>>) {
        self.joined(handle.join());
    }
}

/// What was raised is what may be: a panic of ours, a kill, a time limit, or what a scope says of its tasklets.
pub(super) fn check_payload(payload: &Payload) {
    let text = tasklet_core::unwind::message(payload);
    let is_known = payload.is::<Boom>() || tasklet_core::unwind::is_tasklet_exit(payload) || payload.is::<Elapsed>();
    if !is_known && text != "a scoped tasklet panicked" {
        violated(&format!("a tasklet was ended by {text:?}"));
    }
}

/// For what is done for its effects.
pub(super) fn ignore<T>(_: T) {}
