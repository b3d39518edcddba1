//! What happens to each message: who has it, who dropped it, and whether that adds up.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// `send` has returned without an error.
const SENT: u8 = 1;
/// It came back in an error, or with an arm that was not chosen.
const RETURNED: u8 = 2;
/// Somebody has received it.
const RECEIVED: u8 = 4;
const DROPPED: u8 = 8;
/// Whoever sent it was ended meanwhile: it was sent, or not.
const UNSURE: u8 = 16;

/// Messages of one program at most.
const CAPACITY: usize = 4096;

/// Messages that go with receivers that are killed: how many at most, and from which places.
pub(super) type Taken<'t> = (usize, &'t dyn Fn(u8) -> bool);

pub(super) const NONE_TAKEN: Taken<'static> = (0, &|_| false);

pub(super) struct Ledger {
    states: Box<[AtomicU8]>,
    /// Where each was sent.
    places: Box<[AtomicU8]>,
    made: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

/// A message that knows what has happened to it.
pub(super) struct Token {
    number: usize,
    /// Who has sent it, where, and how many that one had sent there before.
    pub(super) sender: usize,
    pub(super) place: usize,
    pub(super) sequence: u32,
    ledger: Arc<Ledger>,
}

/// What is known of a message while it is being sent: unsure unless something else is said.
pub(super) struct Sending<'l> {
    ledger: &'l Ledger,
    number: usize,
}

impl Ledger {
    pub(super) fn new() -> Arc<Ledger> {
        let zeros = || (0..CAPACITY).map(|_| AtomicU8::new(0)).collect();
        Arc::new(Ledger { states: zeros(), places: zeros(), made: AtomicUsize::new(0), faults: Mutex::default() })
    }

    pub(super) fn token(self: &Arc<Ledger>, sender: usize, place: usize, sequence: u32) -> Token {
        let number = self.made.fetch_add(1, Relaxed);
        assert!(number < CAPACITY, "programs are small");
        self.places[number].store(place as u8, Relaxed);
        Token { number, sender, place, sequence, ledger: self.clone() }
    }

    /// Begins to send it.
    pub(super) fn sending(&self, token: &Token) -> Sending<'_> {
        Sending { ledger: self, number: token.number }
    }

    pub(super) fn fault(&self, what: String) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn mark(&self, number: usize, what: u8, excludes: u8) {
        let before = self.states[number].fetch_or(what, Relaxed);
        if before & (what | excludes) != 0 {
            self.fault(format!("message {number}: {what} after {before}"));
        }
    }

    /// At the end, when everybody who might have a message is gone. `discards`: what nobody could receive any more was dropped. `what`: the
    /// places.
    #[track_caller]
    pub(super) fn check(&self, discards: bool, taken: Taken<'_>, what: &dyn std::fmt::Debug) {
        let (mut left_to_take, may_be_taken) = taken;
        for number in 0..self.made.load(Relaxed) {
            let place = self.places[number].load(Relaxed);
            let state = self.states[number].load(Relaxed);
            if state & DROPPED == 0 {
                self.fault(format!("message {number} at {place} was never dropped: {state}"));
            }
            if state & SENT != 0 && state & RECEIVED == 0 && !discards {
                if left_to_take > 0 && may_be_taken(place) {
                    left_to_take -= 1;
                    continue;
                }
                self.fault(format!("message {number} at {place} was sent and is lost: {state}"));
            }
            if state & (SENT | RETURNED | UNSURE) == 0 {
                self.fault(format!("message {number} at {place} was neither sent nor given back: {state}"));
            }
        }
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(faults.is_empty(), "{what:?}:\n{}", faults.join("\n"));
    }
}

impl Sending<'_> {
    /// The call has returned.
    pub(super) fn done(self, was_sent: bool) {
        let (what, excludes) = if was_sent { (SENT, RETURNED) } else { (RETURNED, SENT | RECEIVED) };
        self.ledger.mark(self.number, what, excludes);
        std::mem::forget(self);
    }

    /// The error has this message.
    pub(super) fn came_back(self, token: &Token) {
        if token.number != self.number {
            self.ledger.fault(format!("message {} came back instead of {}", token.number, self.number));
        }
        self.done(false);
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.ledger.mark(self.number, UNSURE, SENT | RETURNED);
    }
}

impl Token {
    pub(super) fn received(&self) {
        self.ledger.mark(self.number, RECEIVED, RETURNED | DROPPED);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.mark(self.number, DROPPED, 0);
    }
}
