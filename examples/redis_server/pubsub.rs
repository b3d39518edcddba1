//! Who listens to which channel, and what is on the way to them.
//!
//! A subscriber has a queue, which its own connection's tasklet empties; whoever publishes puts the message into all queues and waits for none. A
//! queue that is full is the end of its connection: a message cannot be left out, and to wait would be to let one slow client stop everybody.

use std::collections::{HashMap, HashSet};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use tasklet::net::TcpStream;
use tasklet::sync::{Mutex, MutexGuard};
use tasklet::{Receiver, Sender, bounded};

use crate::resp::Replies;

/// Messages on the way to one subscriber.
const MESSAGES: usize = 4096;
/// Their bytes.
const BYTES: usize = 8 << 20;
/// Channels that one client listens to.
pub(crate) const CHANNELS: usize = 1024;
/// Bytes of their names.
pub(crate) const NAMES: usize = 64 << 10;

/// A message as it is sent, once for all who get it.
pub(crate) type Message = Arc<[u8]>;

/// Who listens to each channel that has somebody.
type Channels = HashMap<Arc<[u8]>, Vec<Arc<Subscriber>>>;

/// All channels that somebody listens to.
#[derive(Default)]
pub(crate) struct Hub {
    channels: Mutex<Channels>,
}

/// The publishers' end of a queue.
struct Subscriber {
    queue: Sender<Message>,
    /// Of the messages in the queue.
    bytes: AtomicUsize,
    /// To cut it off, also while it is written to.
    stream: TcpStream,
}

/// What a client listens to, and what has come for it. It listens until this is dropped.
pub(crate) struct Subscription<'h> {
    hub: &'h Hub,
    subscriber: Arc<Subscriber>,
    messages: Receiver<Message>,
    channels: HashSet<Arc<[u8]>>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Channels> {
        // Whoever is interrupted leaves lists behind that are right.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many channels there are.
    pub(crate) fn channels(&self) -> usize {
        self.lock().len()
    }

    /// Puts a message into the queues of all who listen. Returns how many.
    ///
    /// With the lock held, so that all get the messages of all publishers in the same order.
    pub(crate) fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let mut channels = self.lock();
        let Some(subscribers) = channels.get_mut(channel) else { return 0 };
        let mut message = Replies::default();
        message.array(3);
        [b"message", channel, payload].into_iter().for_each(|part| message.bulk(part));
        let message: Message = message.take().into();
        subscribers.retain(|subscriber| subscriber.offer(&message));
        subscribers.len()
    }
}

impl Subscriber {
    /// False if there was no room: then its connection ends.
    fn offer(&self, message: &Message) -> bool {
        // Only publishers add, one at a time.
        let bytes = self.bytes.fetch_add(message.len(), Ordering::Relaxed) + message.len();
        if bytes <= BYTES && self.queue.try_send(message.clone()).is_ok() {
            return true;
        }
        // Who has gone already is not connected.
        let _ = self.stream.shutdown(Shutdown::Both);
        false
    }
}

impl<'h> Subscription<'h> {
    /// Of a client that does not listen to anything yet.
    pub(crate) fn new(hub: &'h Hub, stream: TcpStream) -> Subscription<'h> {
        let (queue, messages) = bounded(MESSAGES);
        let subscriber = Arc::new(Subscriber { queue, bytes: AtomicUsize::new(0), stream });
        Subscription { hub, subscriber, messages, channels: HashSet::new() }
    }

    /// How many channels it listens to.
    pub(crate) fn count(&self) -> usize {
        self.channels.len()
    }

    /// Whether it listens to this one.
    pub(crate) fn has(&self, channel: &[u8]) -> bool {
        self.channels.contains(channel)
    }

    /// The names of those that it listens to.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.channels.iter()
    }

    pub(crate) fn add(&mut self, channel: &[u8]) {
        if self.has(channel) {
            return;
        }
        let mut channels = self.hub.lock();
        // One name for all who listen.
        let name = channels.get_key_value(channel).map_or_else(|| Arc::from(channel), |(name, _)| name.clone());
        channels.entry(name.clone()).or_default().push(self.subscriber.clone());
        self.channels.insert(name);
    }

    /// What has come before is in the queue, and nothing more comes of this channel.
    pub(crate) fn remove(&mut self, channel: &[u8]) {
        if self.channels.remove(channel) {
            self.leave(channel);
        }
    }

    /// As [`remove`](Self::remove), of all channels.
    pub(crate) fn clear(&mut self) {
        for channel in std::mem::take(&mut self.channels) {
            self.leave(&channel);
        }
    }

    fn leave(&self, channel: &[u8]) {
        let mut channels = self.hub.lock();
        if let Some(subscribers) = channels.get_mut(channel) {
            subscribers.retain(|other| !Arc::ptr_eq(other, &self.subscriber));
            if subscribers.is_empty() {
                channels.remove(channel);
            }
        }
    }

    /// A message, if there is one.
    pub(crate) fn next(&self) -> Option<Message> {
        let message = self.messages.try_recv().ok()?;
        self.taken(&message);
        Some(message)
    }

    /// Where messages come, to wait for one. Each that is received from it has to be [`taken`](Self::taken).
    pub(crate) fn messages(&self) -> &Receiver<Message> {
        &self.messages
    }

    /// A message is in the queue no more.
    pub(crate) fn taken(&self, message: &Message) {
        self.subscriber.bytes.fetch_sub(message.len(), Ordering::Relaxed);
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
