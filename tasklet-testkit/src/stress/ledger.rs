//! What happens to every message and every closure: who has it, who dropped it, and whether that adds up.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::failure::violated;

/// `send` has returned without an error.
const SENT: u8 = 1;
/// `send` gave it back in an error.
const RETURNED: u8 = 2;
/// `recv` returned it.
const RECEIVED: u8 = 4;
const DROPPED: u8 = 8;
/// The closure that holds it was called.
const BEGUN: u8 = 16;
/// It was the result of a join.
const JOINED: u8 = 32;

/// Tokens of one world at most; nobody makes more then.
const CAPACITY: usize = 1 << 15;

/// What a token is part of, for reports.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum What {
    Message,
    Body,
    LocalBody,
    BodyOnWorker,
    ScopedBody,
    Future,
    Panic,
    Local,
}

const WHATS: [What; 8] = [
    What::Message,
    What::Body,
    What::LocalBody,
    What::BodyOnWorker,
    What::ScopedBody,
    What::Future,
    What::Panic,
    What::Local,
];

pub(super) struct Ledger {
    states: Box<[AtomicU8]>,
    whats: Box<[AtomicU8]>,
    made: AtomicU64,
    /// Calls of `send` that unwound: the message may be anywhere.
    pub(super) send_unwound: AtomicU64,
    /// Calls of `recv` that unwound: a message may have been dropped with the receiver.
    pub(super) recv_unwound: AtomicU64,
}

/// A value that knows what has happened to it.
#[derive(Debug)]
pub(super) struct Token {
    number: usize,
    /// Who sent it, and how many messages that one had sent before.
    pub(super) sender: u64,
    pub(super) sequence: u64,
    ledger: Arc<Ledger>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

/// What a tasklet panics with. Counted like a message.
pub(super) struct Boom(pub(super) Token);

/// Panics when it is dropped, unless its thread panics already.
pub(super) struct Bang(pub(super) Option<Token>);

impl Drop for Bang {
    fn drop(&mut self) {
        if let Some(token) = self.0.take()
            && !std::thread::panicking()
        {
            resume_unwind(Box::new(Boom(token)));
        }
    }
}

/// Counts what is not disarmed.
pub(super) struct Unwound<'a>(pub(super) &'a AtomicU64);

impl Unwound<'_> {
    pub(super) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Ledger {
    pub(super) fn new() -> Arc<Ledger> {
        Arc::new(Ledger {
            states: (0..CAPACITY).map(|_| AtomicU8::new(0)).collect(),
            whats: (0..CAPACITY).map(|_| AtomicU8::new(0)).collect(),
            made: AtomicU64::new(0),
            send_unwound: AtomicU64::new(0),
            recv_unwound: AtomicU64::new(0),
        })
    }

    /// A token that is no message.
    pub(super) fn token(self: &Arc<Ledger>, what: What) -> Option<Token> {
        self.message(what, 0, 0)
    }

    pub(super) fn message(self: &Arc<Ledger>, what: What, sender: u64, sequence: u64) -> Option<Token> {
        let number = self.made.fetch_add(1, Relaxed) as usize;
        self.whats.get(number)?.store(what as u8, Relaxed);
        Some(Token { number, sender, sequence, ledger: self.clone() })
    }

    fn what(&self, number: usize) -> What {
        WHATS[usize::from(self.whats[number].load(Relaxed))]
    }

    fn mark(&self, number: usize, what: u8, excludes: u8) {
        let before = self.states[number].fetch_or(what, Relaxed);
        if before & (what | excludes) != 0 {
            violated(&format!("token {number}, {:?}: {what} after {before}", self.what(number)));
        }
    }

    pub(super) fn sent(&self, number: usize) {
        self.mark(number, SENT, RETURNED);
    }

    pub(super) fn made(&self) -> u64 {
        self.made.load(Relaxed).min(CAPACITY as u64)
    }

    /// After the world's end.
    pub(super) fn check(&self) {
        let made = self.made() as usize;
        let (mut lost, mut unsure) = (0, 0);
        for (number, state) in self.states[..made].iter().enumerate() {
            let state = state.load(Relaxed);
            if state & DROPPED == 0 {
                violated(&format!("token {number}, {:?}, was never dropped; state {state}", self.what(number)));
            }
            match state & (SENT | RECEIVED) {
                SENT => lost += 1,
                RECEIVED => unsure += 1,
                _ => {}
            }
        }
        let (senders, receivers) = (self.send_unwound.load(Relaxed), self.recv_unwound.load(Relaxed));
        if lost > receivers {
            violated(&format!("{lost} messages were sent and not received, {receivers} receivers were ended by force"));
        }
        if unsure > senders {
            violated(&format!("{unsure} messages were received and not sent, {senders} senders were ended by force"));
        }
    }
}

impl Token {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn came_back(&self, number: usize) {
        if self.number != number {
            violated(&format!("message {} came back instead of {number}", self.number));
        }
        self.ledger.mark(number, RETURNED, SENT | RECEIVED);
    }

    pub(super) fn received(&self) {
        self.ledger.mark(self.number, RECEIVED, RETURNED | DROPPED);
    }

    /// The closure that holds it runs.
    pub(super) fn begun(&self) {
        self.ledger.mark(self.number, BEGUN, DROPPED);
    }

    /// A join has returned it.
    pub(super) fn joined(&self) {
        self.ledger.mark(self.number, JOINED, DROPPED);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.mark(self.number, DROPPED, 0);
    }
}
