//! Millions of messages through each flavour of channel, with sums of them: what is lost, doubled or overtaken is seen.

use std::sync::Arc;
use std::time::Instant;

use tasklet_channels::{
    BroadcastReceiver, Channel, Receiver, ReceiverBy, Select, SenderBy, SharedChannel, TypedArm, bounded, bounded_by,
    broadcast, oneshot, rendezvous, unbounded_by, watch,
};
use tasklet_core::backend::Backend;
use tasklet_core::operation::On;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, Builder};

use super::failure::say;

/// Senders of each flavour that takes several, and as many receivers.
const CROWD: u64 = 4;

/// What an unbounded channel holds at most here, so that the machine's memory is not what is tested.
const AHEAD: usize = 1 << 18;

/// Oneshots that are under way between two tasklets.
const QUESTIONS: u64 = 64;

type Flood = fn(u64);

/// Sends `messages` through each flavour with one worker, two and four, unless the environment says otherwise, and prints how long it took.
///
/// # Panics
///
/// A variable of the environment makes no sense, or messages were lost, doubled or overtaken.
pub fn flood<B: Backend>(messages: u64) {
    let flavours: [(&str, Flood); 9] = [
        ("rendezvous", |count| queue(count, bounded_by::<_, On<B>>(0))),
        ("bounded-1", |count| queue(count, bounded_by::<_, On<B>>(1))),
        ("bounded-256", |count| queue(count, bounded_by::<_, On<B>>(256))),
        ("unbounded", |count| queue(count, unbounded_by::<_, On<B>>())),
        ("stackless", stackless),
        ("select", select),
        ("oneshot", answers),
        ("broadcast", news),
        ("watch", progress),
    ];
    let variable = |name: &str| std::env::var(name).ok();
    let messages = super::number("TASKLET_STRESS_MESSAGES").unwrap_or(messages);
    let workers = variable("TASKLET_STRESS_WORKERS").unwrap_or_else(|| "1,2,4".to_owned());
    let only = variable("TASKLET_STRESS_FLAVOUR");
    let mut floods = 0;
    for workers in workers.split(',') {
        let workers = workers.parse().unwrap_or_else(|_| panic!("TASKLET_STRESS_WORKERS are numbers, not {workers:?}"));
        for (name, flood) in flavours.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
            let runtime = Builder::<B>::new().workers(workers).build().expect("a runtime");
            let start = Instant::now();
            runtime.run(|| flood(messages));
            let took = start.elapsed();
            let each = took.as_nanos() as f64 / messages as f64;
            say(&format!(
                "{name:<12} {} W={workers}: {messages} messages in {:.2} s, {each:.1} ns each",
                B::NAME,
                took.as_secs_f64()
            ));
            floods += 1;
        }
    }
    assert!(floods > 0, "no flavour is called {only:?}");
}

/// The `sequence`th message of a sender.
fn message(sender: u64, sequence: u64) -> u64 {
    (sender << 48) | sequence
}

/// What a receiver has had, or a sender sent.
#[derive(Default)]
struct Tally {
    count: u64,
    sum: u64,
    /// A sum of the messages stirred, which is not right by chance if one is lost and another doubled.
    stirred: u64,
    /// The number of the next message of each sender, or a later one if others receive too.
    next: [u64; CROWD as usize],
}

impl Tally {
    fn count(&mut self, message: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(message);
        let stirred = (message ^ (message >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.stirred = self.stirred.wrapping_add(stirred ^ (stirred >> 32));
    }

    /// Counts one that was received: those of one sender come in the order in which it sent them.
    fn receive(&mut self, message: u64) {
        let (sender, sequence) = (message >> 48, message & 0xffff_ffff_ffff);
        let next = &mut self.next[sender as usize];
        assert!(sequence >= *next, "message {sequence} of sender {sender} came after {next}");
        *next = sequence + 1;
        self.count(message);
    }

    fn add(&mut self, other: &Tally) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.stirred = self.stirred.wrapping_add(other.stirred);
    }

    fn assert_same(&self, other: &Tally) {
        assert_eq!((self.count, self.sum, self.stirred), (other.count, other.sum, other.stirred), "sent, received");
    }
}

fn all<T: Send + 'static>(handles: Vec<JoinHandle<T>>) -> impl Iterator<Item = T> {
    handles.into_iter().map(|handle| handle.join().unwrap_or_else(|error| panic!("{error}")))
}

/// One tasklet for each sender and receiver. `end` is called when all is sent.
fn crowd(
    messages: u64,
    senders: Vec<impl FnMut(u64) + Send + 'static>,
    receivers: Vec<impl FnMut() -> Option<u64> + Send + 'static>,
    end: impl FnOnce(),
) {
    let (count, mut left) = (senders.len() as u64, messages);
    let mut sources = Vec::new();
    for (sender, mut send) in (0..count).zip(senders) {
        let share = left / (count - sender);
        left -= share;
        sources.push(stealing::spawn(move || {
            let mut sent = Tally::default();
            for sequence in 0..share {
                let message = message(sender, sequence);
                send(message);
                sent.count(message);
            }
            sent
        }));
    }
    let receive = |mut receive: Box<dyn FnMut() -> Option<u64> + Send>| {
        stealing::spawn(move || {
            let mut received = Tally::default();
            while let Some(message) = receive() {
                received.receive(message);
            }
            received
        })
    };
    let sinks: Vec<_> = receivers.into_iter().map(|receiver| receive(Box::new(receiver))).collect();
    let (mut sent, mut received) = (Tally::default(), Tally::default());
    all(sources).for_each(|tally| sent.add(&tally));
    end();
    all(sinks).for_each(|tally| received.add(&tally));
    assert_eq!(sent.count, messages);
    received.assert_same(&sent);
}

/// Channels of senders and receivers.
fn queue<B: Backend>(messages: u64, (sender, receiver): (SenderBy<u64, On<B>>, ReceiverBy<u64, On<B>>)) {
    let is_unbounded = sender.capacity().is_none();
    let senders = (0..CROWD).map(|_| {
        let sender = sender.clone();
        let mut sent = 0_usize;
        move |message| {
            sent += 1;
            while is_unbounded && sent.is_multiple_of(1024) && sender.len() > AHEAD {
                stealing::yield_now();
            }
            sender.send(message).expect("a receiver is there");
        }
    });
    let receivers = (0..CROWD).map(|_| {
        let receiver = receiver.clone();
        move || receiver.recv().ok()
    });
    let (senders, receivers) = (senders.collect(), receivers.collect());
    let left = receiver.downgrade();
    drop((sender, receiver));
    crowd(messages, senders, receivers, || {});
    assert!(left.upgrade().is_none(), "every receiver is gone");
}

/// Stackless's channel.
fn stackless(messages: u64) {
    let channel: SharedChannel<u64> = Channel::new().share();
    let sender = || {
        let channel = channel.clone();
        move |message| channel.send(message).expect("it is open")
    };
    let receiver = || {
        let channel = channel.clone();
        move || channel.recv().ok()
    };
    let senders = (0..CROWD).map(|_| sender()).collect();
    crowd(messages, senders, (0..CROWD).map(|_| receiver()).collect(), || channel.close());
    assert_eq!(channel.balance(), 0);
}

/// Two receivers, each of which selects over all of four rendezvous.
fn select(messages: u64) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..CROWD).map(|_| rendezvous()).unzip();
    let senders = senders.into_iter().map(|sender| move |message| sender.send(message).expect("a receiver is there"));
    let choosers = (0..2).map(|_| {
        let mut left: Vec<Receiver<u64>> = receivers.clone();
        move || {
            loop {
                if left.is_empty() {
                    return None;
                }
                let received = {
                    let mut arms: Vec<_> = left.iter().map(Receiver::recv_arm).collect();
                    let arm = Select::new(&mut arms).wait().expect("a tasklet may park");
                    arms[arm].output().map_err(|_| arm)
                };
                match received {
                    Ok(message) => return Some(message),
                    Err(closed) => drop(left.swap_remove(closed)),
                }
            }
        }
    });
    crowd(messages, senders.collect(), choosers.collect(), || {});
}

/// Oneshots: one tasklet asks, the other answers.
fn answers(messages: u64) {
    let (questions, asked) = bounded(QUESTIONS as usize);
    let source = stealing::spawn(move || {
        let mut sent = Tally::default();
        for sequence in 0..messages {
            let answer: tasklet_channels::OneshotSender<u64> = asked.recv().expect("one more is asked");
            sent.count(message(0, sequence));
            answer.send(message(0, sequence)).expect("it is waited for");
        }
        sent
    });
    let mut received = Tally::default();
    let mut waiting = Vec::new();
    for sequence in 0..messages {
        let (sender, receiver) = oneshot();
        questions.send(sender).expect("somebody answers");
        waiting.push(receiver);
        if waiting.len() as u64 == QUESTIONS || sequence + 1 == messages {
            waiting.drain(..).for_each(|receiver| received.receive(receiver.recv().expect("an answer")));
        }
    }
    all(vec![source]).for_each(|sent| received.assert_same(&sent));
}

/// A broadcast to two receivers. Who is too slow is told how many it has missed.
fn news(messages: u64) {
    let (sender, first) = broadcast(1024);
    let listen = |receiver: BroadcastReceiver<u64>| {
        stealing::spawn(move || {
            let (mut received, mut missed) = (Tally::default(), 0);
            loop {
                match receiver.recv() {
                    Ok(message) => {
                        assert_eq!(*message, received.count + missed, "the next that was not missed");
                        received.receive(*message);
                    }
                    Err(error) => match error.lagged() {
                        Some(count) => missed += count,
                        None => return (received.count, missed),
                    },
                }
            }
        })
    };
    let sinks = vec![listen(sender.subscribe()), listen(first)];
    for sequence in 0..messages {
        assert_eq!(sender.send(message(0, sequence)), Ok(2));
        if sequence % 256 == 255 {
            stealing::yield_now();
        }
    }
    drop(sender);
    for (received, missed) in all(sinks) {
        assert_eq!(received + missed, messages);
        assert!(received > 0);
    }
}

/// A value that rises, watched by two.
fn progress(messages: u64) {
    let (sender, first) = watch(0);
    let sinks: Vec<_> = [sender.subscribe(), first]
        .into_iter()
        .map(|mut receiver| {
            stealing::spawn(move || {
                let (mut last, mut changes) = (0, 0_u64);
                while receiver.changed().is_ok() {
                    let value: Arc<u64> = receiver.get();
                    assert!(*value > last, "{value} after {last}");
                    last = *value;
                    changes += 1;
                }
                (last, changes)
            })
        })
        .collect();
    for value in 1..=messages {
        sender.send(value).expect("somebody watches");
        if value % 256 == 0 {
            stealing::yield_now();
        }
    }
    drop(sender);
    for (last, changes) in all(sinks) {
        assert_eq!(last, messages, "the latest value is seen");
        assert!((1..=messages).contains(&changes));
    }
}
