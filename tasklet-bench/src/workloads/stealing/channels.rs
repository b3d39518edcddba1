//! Workloads of many senders: buffers, several receivers, select.

use std::thread;
use std::time::{Duration, Instant};

use tasklet_channels::{ReceiverBy, SenderBy, bounded_by, select, unbounded_by};
use tasklet_core::backend::Backend;
use tasklet_core::operation::On;
use tasklet_scheduler::stealing;

use super::{expect, join, rendezvous, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::parts::{BUFFER, CONSUMERS, PRODUCERS, THREADS, share, sum_below};

/// Nanoseconds per message.
pub(super) fn mpmc<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    many::<B>(setting, bounded_by(BUFFER), CONSUMERS)
}

/// Nanoseconds per message.
pub(super) fn mpsc_unbounded<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    many::<B>(setting, unbounded_by(), 1)
}

type Ends<B> = (SenderBy<u64, On<B>>, ReceiverBy<u64, On<B>>);

fn many<B: Backend>(setting: &Setting, (sender, receiver): Ends<B>, consumers: u64) -> Result<Vec<f64>> {
    let messages = setting.n;
    within::<B, _>(setting, move || {
        let start = Instant::now();
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|at| {
                let sender = sender.clone();
                stealing::spawn(move || {
                    share(messages, PRODUCERS, at).for_each(|number| sender.send(number).expect("somebody receives"));
                })
            })
            .collect();
        drop(sender);
        let sums: Vec<_> = (0..consumers)
            .map(|_| {
                let receiver = receiver.clone();
                stealing::spawn(move || receiver.iter().sum::<u64>())
            })
            .collect();
        producers.into_iter().try_for_each(join)?;
        let mut sum = 0;
        for consumer in sums {
            sum += join(consumer)?;
        }
        let time = start.elapsed();
        expect("sum of the messages", sum, sum_below(messages))?;
        Ok(vec![time.as_nanos() as f64 / messages as f64])
    })
}

/// Nanoseconds per message.
pub(super) fn select<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let messages = setting.n;
    within::<B, _>(setting, move || {
        // The senders stay until the end: a closed channel would be chosen too.
        let channels: [_; 4] = std::array::from_fn(|_| rendezvous::<u64, B>());
        let start = Instant::now();
        let producer = |(at, (sender, _)): (usize, &(SenderBy<u64, On<B>>, _))| {
            let sender = sender.clone();
            stealing::spawn(move || {
                share(messages, 4, at as u64).for_each(|number| sender.send(number).expect("the one who selects"));
            })
        };
        let producers: Vec<_> = channels.iter().enumerate().map(producer).collect();
        let [(_, a), (_, b), (_, c), (_, d)] = &channels;
        let mut sum = 0;
        for _ in 0..messages {
            sum += select! {
                recv(a) -> number => number?,
                recv(b) -> number => number?,
                recv(c) -> number => number?,
                recv(d) -> number => number?,
            };
        }
        producers.into_iter().try_for_each(join)?;
        let time = start.elapsed();
        expect("sum of the messages", sum, sum_below(messages))?;
        Ok(vec![time.as_nanos() as f64 / messages as f64])
    })
}

/// Nanoseconds per message with our channel, with crossbeam-channel's, and the ratio.
pub(super) fn threads_mpmc<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let messages = setting.n;
    let ours = {
        let (sender, receiver) = bounded_by::<u64, On<B>>(BUFFER);
        between_threads(messages, sender, receiver, |to, number| to.send(number).is_ok(), |from| from.recv().ok())?
    };
    let theirs = {
        let (sender, receiver) = crossbeam_channel::bounded::<u64>(BUFFER);
        between_threads(messages, sender, receiver, |to, number| to.send(number).is_ok(), |from| from.recv().ok())?
    };
    let each = |time: Duration| time.as_nanos() as f64 / messages as f64;
    Ok(vec![each(ours), each(theirs), ours.as_secs_f64() / theirs.as_secs_f64()])
}

fn between_threads<S: Clone + Send, R: Clone + Send>(
    messages: u64,
    sender: S,
    receiver: R,
    send: impl Fn(&S, u64) -> bool + Send + Copy,
    receive: impl Fn(&R) -> Option<u64> + Send + Copy,
) -> Result<Duration> {
    let start = Instant::now();
    let sum = thread::scope(|scope| {
        for at in 0..THREADS {
            let sender = sender.clone();
            scope.spawn(move || share(messages, THREADS, at).all(|number| send(&sender, number)));
        }
        drop(sender);
        let consume = |receiver: R| scope.spawn(move || std::iter::from_fn(|| receive(&receiver)).sum::<u64>());
        let consumers: Vec<_> = (0..THREADS).map(|_| consume(receiver.clone())).collect();
        consumers
            .into_iter()
            .map(|consumer| consumer.join().map_err(|_| "a consumer panicked"))
            .sum::<std::result::Result<u64, _>>()
    })?;
    let time = start.elapsed();
    expect("sum of the messages", sum, sum_below(messages))?;
    Ok(time)
}
