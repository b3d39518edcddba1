//! What happens to every message: who has it, who dropped it, and whether that adds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::failure::violated;

/// `send` has returned without an error.
const SENT: u8 = 1;
/// `send` gave it back in an error.
const RETURNED: u8 = 2;
/// `recv` returned it.
const RECEIVED: u8 = 4;
const DROPPED: u8 = 8;

/// Messages of one world at most; its tasklets stop sending after so many.
const CAPACITY: usize = 1 << 15;

pub(crate) struct Ledger {
    states: Box<[AtomicU8]>,
    made: AtomicU64,
    /// Calls of `send` that unwound: the message may be anywhere.
    pub(crate) send_unwound: AtomicU64,
    /// Calls of `recv` that unwound: a message may have been dropped with the receiver.
    pub(crate) recv_unwound: AtomicU64,
}

/// A message that knows what has happened to it.
pub(crate) struct Token {
    number: usize,
    /// Who sent it, and how many messages that one had sent before.
    pub(crate) sender: u64,
    pub(crate) sequence: u64,
    ledger: Arc<Ledger>,
}

/// What a tasklet panics with or is thrown. Counted like a message.
pub(crate) struct Boom(#[expect(dead_code, reason = "it is there to be dropped")] pub Token);

impl Ledger {
    pub(crate) fn new() -> Arc<Ledger> {
        Arc::new(Ledger {
            states: (0..CAPACITY).map(|_| AtomicU8::new(0)).collect(),
            made: AtomicU64::new(0),
            send_unwound: AtomicU64::new(0),
            recv_unwound: AtomicU64::new(0),
        })
    }

    pub(crate) fn token(self: &Arc<Ledger>, sender: u64, sequence: u64) -> Option<Token> {
        let number = self.made.fetch_add(1, Relaxed) as usize;
        (number < CAPACITY).then(|| Token { number, sender, sequence, ledger: self.clone() })
    }

    fn mark(&self, number: usize, what: u8, excludes: u8) {
        let before = self.states[number].fetch_or(what, Relaxed);
        if before & (what | excludes) != 0 {
            violated(&format!("message {number}: {what} after {before}"));
        }
    }

    pub(crate) fn sent(&self, number: usize) {
        self.mark(number, SENT, RETURNED);
    }

    pub(crate) fn messages(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// After the world's end.
    pub(crate) fn check(&self) {
        let made = (self.made.load(Relaxed) as usize).min(CAPACITY);
        let (mut lost, mut unsure) = (0, 0);
        for (number, state) in self.states[..made].iter().enumerate() {
            let state = state.load(Relaxed);
            if state & DROPPED == 0 {
                violated(&format!("message {number} was never dropped; state {state}"));
            }
            match state & !DROPPED {
                SENT => lost += 1,
                RECEIVED => unsure += 1,
                _ => {}
            }
        }
        let receivers = self.recv_unwound.load(Relaxed);
        if lost > receivers {
            violated(&format!(
                "{lost} messages were sent and not received, and {receivers} receivers were ended by force"
            ));
        }
        let senders = self.send_unwound.load(Relaxed);
        if unsure > senders {
            violated(&format!(
                "{unsure} messages were received and not sent, and {senders} senders were ended by force"
            ));
        }
    }
}

impl Token {
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn came_back(&self, number: usize) {
        if self.number != number {
            violated(&format!("message {} came back instead of {number}", self.number));
        }
        self.ledger.mark(number, RETURNED, SENT | RECEIVED);
    }

    pub(crate) fn received(&self) {
        self.ledger.mark(self.number, RECEIVED, RETURNED);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.mark(self.number, DROPPED, 0);
    }
}
