//! Programs over channels of senders and receivers and Stackless's, by one to eight actors.
//!
//! - An **orderly** program ends by itself: some send and go, others receive until nothing more comes. All that was sent was received.
//! - In a **wild** one everybody does anything to everything, tasklets are killed, and the channels are closed in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tasklet_channels::{Channel, bounded, unbounded};
use tasklet_core::backend::Backend;

use super::actor::{Actor, Got, Rx, Tx};
use super::ledger::{Ledger, NONE_TAKEN};
use super::running::{Form, Running};
use crate::channels::setup::{give_way, run};
use crate::random::{Dice, rounds};
use crate::stealing::Case;

/// One channel of each flavour.
fn place(flavour: Flavour) -> (Tx, Rx) {
    let (sender, receiver) = match flavour {
        Flavour::Bounded(capacity) => bounded(capacity),
        Flavour::Unbounded => unbounded(),
        Flavour::Stackless => {
            let channel = Channel::new().share();
            return (Tx::Stackless(channel.clone()), Rx::Stackless(channel));
        }
    };
    (Tx::Queue(sender), Rx::Queue(receiver))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flavour {
    Bounded(usize),
    Unbounded,
    Stackless,
}

const FLAVOURS: [Flavour; 6] = [
    Flavour::Bounded(0),
    Flavour::Bounded(1),
    Flavour::Bounded(2),
    Flavour::Bounded(5),
    Flavour::Unbounded,
    Flavour::Stackless,
];

/// Programs with everything mixed, under one scheduler.
pub fn orderly_programs_lose_nothing<B: Backend>(case: Case) {
    run::<B>(case, || rounds("programs::queues::orderly", 4, orderly));
}

/// The same with kills, closes and handles that come and go.
pub fn wild_programs_lose_nothing<B: Backend>(case: Case) {
    run::<B>(case, || rounds("programs::queues::wild", 4, wild));
}

/// Every channel has a sender and a receiver at least. Stackless's is closed when all is sent.
fn orderly(dice: &mut Dice) {
    let ledger = Ledger::new();
    let flavours: Vec<_> = (0..1 + dice.below(3)).map(|_| FLAVOURS[dice.below(6)]).collect();
    let places: Vec<_> = flavours.iter().map(|flavour| place(*flavour)).collect();
    let is_ordered = dice.chance(60);
    let (sources, sinks) = (1 + dice.below(4), 1 + dice.below(4));
    let mut actors: Vec<Actor> = (0..sources + sinks)
        .map(|number| Actor {
            number,
            form: Form::draw(dice, 70),
            ledger: ledger.clone(),
            dice: dice.fork(),
            senders: Vec::new(),
            receivers: Vec::new(),
            is_ordered,
            sequence: 0,
            last: HashMap::new(),
        })
        .collect();
    for (at, (tx, rx)) in places.iter().enumerate() {
        for _ in 0..1 + dice.below(sources) {
            actors[dice.below(sources)].senders.push((at, tx.clone()));
        }
        for _ in 0..1 + dice.below(sinks) {
            actors[sources + dice.below(sinks)].receivers.push((at, rx.clone()));
        }
    }
    let stackless: Vec<_> = places
        .iter()
        .filter_map(|(tx, _)| match tx {
            Tx::Stackless(channel) => Some(channel.clone()),
            Tx::Queue(_) => None,
        })
        .collect();
    let weak: Vec<_> = places
        .iter()
        .filter_map(|(tx, rx)| match (tx, rx) {
            (Tx::Queue(tx), Rx::Queue(rx)) => Some((tx.downgrade(), rx.downgrade())),
            _ => None,
        })
        .collect();
    drop(places);
    let receiving = actors.split_off(sources);
    let senders: Vec<_> = actors.into_iter().map(|actor| Running::new(actor.form, source(actor))).collect();
    let receivers: Vec<_> = receiving.into_iter().map(|actor| Running::new(actor.form, sink(actor))).collect();
    senders.into_iter().for_each(Running::join);
    stackless.iter().for_each(|channel| channel.close());
    receivers.into_iter().for_each(Running::join);
    for (tx, rx) in weak {
        assert!(tx.upgrade().is_none() && rx.upgrade().is_none(), "all handles are gone");
    }
    stackless.iter().for_each(|channel| assert_eq!(channel.balance(), 0));
    ledger.check(false, NONE_TAKEN, &flavours);
}

/// Sends for a while, to receivers that are there until the end.
async fn source(mut actor: Actor) {
    let who = actor.form.who();
    for _ in 0..actor.dice.below(30) {
        if actor.senders.is_empty() {
            return;
        }
        let at = actor.dice.below(actor.senders.len());
        if actor.dice.chance(20) {
            let all: Vec<_> = (0..actor.senders.len()).collect();
            actor.select(&[], &all);
        } else {
            actor.send(at).await;
        }
        if actor.dice.chance(10) {
            who.give_way().await;
        }
    }
}

/// Receives until nothing comes any more. From several it receives by select, so that none of them waits for another.
async fn sink(mut actor: Actor) {
    while !actor.receivers.is_empty() {
        let ended = if actor.receivers.len() > 1 || actor.dice.chance(30) {
            let all: Vec<_> = (0..actor.receivers.len()).collect();
            actor.select(&all, &[])
        } else {
            (actor.receive(0).await == Got::End).then_some(0)
        };
        if let Some(ended) = ended {
            actor.receivers.swap_remove(ended);
        }
    }
}

fn wild(dice: &mut Dice) {
    let ledger = Ledger::new();
    let flavours: Vec<_> = (0..1 + dice.below(3)).map(|_| FLAVOURS[dice.below(6)]).collect();
    let places: Vec<_> = flavours.iter().map(|flavour| place(*flavour)).collect();
    // A kill may come when a message was served and give it back, behind those that others have got since.
    let (kills, is_ordered) = if dice.chance(50) { (true, false) } else { (false, dice.chance(50)) };
    let may_close = dice.chance(30);
    let progress = Arc::new(AtomicU32::new(0));
    let count = 1 + dice.below(8);
    let mut steps = 0;
    let actors: Vec<_> = (0..count)
        .map(|number| {
            let (mut senders, mut receivers) = (Vec::new(), Vec::new());
            for (at, (tx, rx)) in places.iter().enumerate() {
                if dice.chance(60) {
                    senders.push((at, tx.clone()));
                }
                if dice.chance(60) {
                    receivers.push((at, rx.clone()));
                }
            }
            let form = Form::draw(dice, 70);
            let actor = Actor {
                number,
                form,
                ledger: ledger.clone(),
                dice: dice.fork(),
                senders,
                receivers,
                is_ordered,
                sequence: 0,
                last: HashMap::new(),
            };
            let (length, progress) = (dice.below(25) as u32, progress.clone());
            steps += length;
            Running::new(form, anything(actor, length, may_close, progress))
        })
        .collect();
    // Those that nobody is kept for are discarded with their last receiver.
    let discards = dice.chance(30);
    let ends: Vec<_> = places
        .iter()
        .map(|(tx, rx)| match (tx, rx) {
            (Tx::Queue(tx), Rx::Queue(rx)) => Err((tx.downgrade(), rx.downgrade())),
            (tx, _) => Ok(tx.clone()),
        })
        .collect();
    let kept = places.into_iter().filter(|_| !discards).collect::<Vec<_>>();
    // Until they do not go on by themselves, or for a while.
    let (mut last, mut idle, mut killed) = (0, 0, 0);
    while idle < 20 && !actors.iter().all(Running::is_finished) {
        let now = progress.load(Relaxed);
        (idle, last) = if now == last { (idle + 1, now) } else { (0, now) };
        if kills && dice.chance(5) {
            actors[dice.below(count)].kill();
            killed += 1;
        }
        give_way();
    }
    for end in &ends {
        match end {
            Ok(Tx::Stackless(channel)) => channel.close(),
            Ok(Tx::Queue(_)) => unreachable!("those are weak"),
            Err((tx, rx)) => match (tx.upgrade(), rx.upgrade()) {
                (Some(tx), _) => drop(tx.close()),
                (None, Some(rx)) => drop(rx.close()),
                (None, None) => {}
            },
        }
    }
    actors.into_iter().for_each(Running::join);
    for (tx, rx) in &kept {
        match (tx, rx) {
            (Tx::Queue(tx), Rx::Queue(rx)) => {
                assert_eq!((tx.blocked_senders(), tx.blocked_receivers()), (0, 0));
                assert_eq!((tx.sender_count(), tx.receiver_count()), (1, 1));
                let left = rx.len();
                let tokens: Vec<_> = rx.try_iter().collect();
                assert_eq!((tokens.len(), rx.len()), (left, 0));
                tokens.iter().for_each(super::ledger::Token::received);
                assert!(rx.recv().is_err_and(|error| error.is_closed()));
            }
            (Tx::Stackless(channel), _) => {
                assert_eq!(channel.balance(), 0);
                // What a future was given that was dropped with a kill came back.
                channel.try_iter().for_each(|token| token.received());
                assert!(channel.is_closed());
            }
            _ => unreachable!("both ends are of one kind"),
        }
    }
    drop((kept, ends));
    // Under the local scheduler, what a receiver of Stackless's channel was given goes with it if it is killed before it runs, as there.
    let taken = if tasklet_scheduler::stealing::worker_index().is_none() { killed } else { 0 };
    let is_stackless = |place: u8| matches!(flavours[usize::from(place)], Flavour::Stackless);
    ledger.check(discards, (taken, &is_stackless), &flavours);
}

async fn anything(mut actor: Actor, length: u32, may_close: bool, progress: Arc<AtomicU32>) {
    let who = actor.form.who();
    for _ in 0..length {
        progress.fetch_add(1, Relaxed);
        match actor.dice.below(10) {
            0..3 if !actor.senders.is_empty() => {
                let at = actor.dice.below(actor.senders.len());
                actor.send(at).await;
            }
            3..6 if !actor.receivers.is_empty() => {
                let at = actor.dice.below(actor.receivers.len());
                actor.receive(at).await;
            }
            6 | 7 if !actor.receivers.is_empty() || !actor.senders.is_empty() => {
                // The same channel may be in it several times, and in both directions.
                let mut some = |count: usize| -> Vec<usize> {
                    (0..if count == 0 { 0 } else { actor.dice.below(4) }).map(|_| actor.dice.below(count)).collect()
                };
                let (receivers, senders) = (some(actor.receivers.len()), some(actor.senders.len()));
                if !receivers.is_empty() || !senders.is_empty() {
                    actor.select(&receivers, &senders);
                }
            }
            8 => actor.tamper(may_close),
            _ => who.give_way().await,
        }
    }
}
