//! Keys and what they stand for, and when they expire.
//!
//! One lock is over all of them. With 16 parts and a lock for each, `redis-benchmark -c 50 -P 16`, on two cores that it shared with the server, got at
//! best 948 thousand replies a second to SET, 1005 to GET and 905 to INCR; with one lock 837, 901 and 826, and without pipelining a tenth of that, as
//! then system calls are what counts. For a tenth more, commands with several keys would need several locks, in an order. The lock is one for tasklets:
//! whoever finds it taken parks, and the worker goes on with others.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tasklet::sync::{Condvar, Mutex, MutexGuard};
use tasklet::time::now;
use tasklet::yield_now;

use crate::command::Refusal;

/// Expired keys that are removed while the lock is held once.
const BATCH: usize = 256;

/// What a key stands for.
pub(crate) enum Value {
    Text(Box<[u8]>),
    List(VecDeque<Box<[u8]>>),
}

struct Entry {
    value: Value,
    /// When it is gone, on the clock of the runtime.
    expires: Option<Duration>,
}

/// All keys. Those that have expired are gone for whoever looks, removed or not.
#[derive(Default)]
pub(crate) struct Keys {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// When each key expires that does, in the order of that.
    deadlines: BTreeSet<(Duration, Arc<[u8]>)>,
}

/// Whether a key is set that is there, or is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// NX
    IfMissing,
    /// XX
    IfThere,
}

/// When the time is set at which a key expires.
#[derive(Clone, Copy)]
pub(crate) struct ExpiryCondition {
    /// Whether it has one already: XX, or not: NX.
    pub(crate) expires: Option<bool>,
    /// How the new one is beside the one that it has: GT, LT.
    pub(crate) order: Option<Ordering>,
}

impl ExpiryCondition {
    fn holds(self, before: Option<Duration>, at: Duration) -> bool {
        // What does not expire does so later than anything.
        let order = before.map_or(Ordering::Less, |before| at.cmp(&before));
        self.expires.is_none_or(|expires| expires == before.is_some()) && self.order.is_none_or(|other| other == order)
    }
}

#[derive(Default)]
pub(crate) struct Store {
    keys: Mutex<Keys>,
    /// A key expires before those that did so far.
    sooner: Condvar,
}

impl Store {
    /// For the time of one command.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Keys> {
        // What a panic leaves behind is keys: each change is made by one call.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a key. False if the condition does not hold.
    pub(crate) fn set(&self, key: &[u8], value: Value, expires: Option<Duration>, condition: Condition) -> bool {
        let mut keys = self.lock();
        let holds = match condition {
            Condition::Always => true,
            Condition::IfMissing => keys.get(key).is_none(),
            Condition::IfThere => keys.get(key).is_some(),
        };
        if holds && keys.insert(key, value, expires) {
            self.sooner.notify_one();
        }
        holds
    }

    /// Sets when a key expires, and removes it if that is not to come. False if there is no such key, or the condition does not hold.
    pub(crate) fn expire(&self, key: &[u8], at: Duration, condition: ExpiryCondition) -> bool {
        let mut keys = self.lock();
        match keys.expires(key) {
            Some(before) if condition.holds(before, at) => {}
            _ => return false,
        }
        if at <= now() {
            return keys.remove(key);
        }
        if keys.set_deadline(key, Some(at)) {
            self.sooner.notify_one();
        }
        true
    }

    /// Removes keys when they have expired, so that those go too which nobody asks for. Does not return.
    pub(crate) fn sweep(&self) {
        let mut keys = self.lock();
        loop {
            let now = now();
            for _ in 0..BATCH {
                match keys.deadlines.first() {
                    Some((at, key)) if *at <= now => {
                        let key = key.clone();
                        keys.remove(&key);
                    }
                    _ => break,
                }
            }
            keys = match keys.deadlines.first() {
                None => self.sooner.wait(keys).unwrap_or_else(PoisonError::into_inner),
                Some((at, _)) if *at > now => {
                    let left = *at - now;
                    self.sooner.wait_timeout(keys, left).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    drop(keys);
                    yield_now();
                    self.lock()
                }
            };
        }
    }
}

impl Keys {
    /// How many keys there are, and how many of them expire. Some may have already.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.entries.len(), self.deadlines.len())
    }

    fn entry(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let expires = self.entries.get(key)?.expires;
        if expires.is_some_and(|at| at <= now()) {
            self.remove(key);
            return None;
        }
        self.entries.get_mut(key)
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Option<&mut Value> {
        self.entry(key).map(|entry| &mut entry.value)
    }

    pub(crate) fn text(&mut self, key: &[u8]) -> Result<Option<&mut Box<[u8]>>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::List(_)) => Err(Refusal::WRONG_TYPE),
        }
    }

    pub(crate) fn list(&mut self, key: &[u8]) -> Result<Option<&mut VecDeque<Box<[u8]>>>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(Value::Text(_)) => Err(Refusal::WRONG_TYPE),
        }
    }

    /// Sets a key that does not expire.
    pub(crate) fn set(&mut self, key: &[u8], value: Value) {
        self.insert(key, value, None);
    }

    /// Sets a key. Whether none expires before it.
    fn insert(&mut self, key: &[u8], value: Value, expires: Option<Duration>) -> bool {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = value;
        } else {
            self.entries.insert(Arc::from(key), Entry { value, expires: None });
        }
        self.set_deadline(key, expires)
    }

    /// False if there is no such key.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return false };
        match entry.expires {
            None => true,
            Some(at) => {
                self.deadlines.remove(&(at, key));
                // The one that had expired was not there any more.
                at > now()
            }
        }
    }

    /// When a key expires, if it does; None if there is no such key.
    pub(crate) fn expires(&mut self, key: &[u8]) -> Option<Option<Duration>> {
        self.entry(key).map(|entry| entry.expires)
    }

    /// Of a key that is there. Whether none expires before it.
    fn set_deadline(&mut self, key: &[u8], expires: Option<Duration>) -> bool {
        let before = self.entries.get(key).and_then(|entry| entry.expires);
        if before == expires {
            return false;
        }
        let (shared, _) = self.entries.get_key_value(key).expect("it is there");
        let shared = shared.clone();
        if let Some(before) = before {
            self.deadlines.remove(&(before, shared.clone()));
        }
        if let Some(at) = expires {
            self.deadlines.insert((at, shared));
        }
        self.entries.get_mut(key).expect("it is there").expires = expires;
        expires.is_some_and(|at| self.deadlines.first().is_some_and(|(first, _)| *first == at))
    }
}
