//! Programs over the flavours in which a message is not for one alone: oneshot, broadcast, watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tasklet_bridge::futures::block_on;
use tasklet_channels::{
    BroadcastError, BroadcastReceiver, OneshotReceiver, WatchReceiver, broadcast, oneshot, select, watch,
};
use tasklet_core::backend::Backend;

use super::actor::moment;
use super::ledger::{Ledger, NONE_TAKEN, Token};
use super::running::{Form, Running};
use crate::channels::setup::{give_way, run};
use crate::random::{Dice, rounds};
use crate::stealing::Case;
use crate::stealing::setup::{Census, Counted};
use crate::who::Who;

/// Some oneshots at once, whose ends are used in every way and dropped at any time, by actors some of which are killed.
pub fn oneshots_lose_nothing<B: Backend>(case: Case) {
    run::<B>(case, || rounds("programs::news::oneshots", 4, oneshots));
}

/// Every receiver has all that was sent since it came, in order, but for what it was told it has missed.
pub fn broadcasts_reach_everybody<B: Backend>(case: Case) {
    run::<B>(case, || rounds("programs::news::broadcasts", 4, broadcasts));
}

/// Every receiver sees values that grow, and the last one.
pub fn the_last_value_is_seen<B: Backend>(case: Case) {
    run::<B>(case, || rounds("programs::news::watches", 4, watches));
}

fn oneshots(dice: &mut Dice) {
    let ledger = Ledger::new();
    let kills = dice.chance(50);
    let mut actors = Vec::new();
    for place in 0..1 + dice.below(4) {
        let (sender, receiver) = oneshot();
        let mut own = dice.fork();
        let book = ledger.clone();
        let form = Form::draw(dice, 70);
        let who = form.who();
        actors.push(Running::new(form, async move {
            for _ in 0..own.below(4) {
                who.give_way().await;
            }
            match own.below(8) {
                0 => drop(sender),
                // Until the receiver is gone; another one than this sees to that.
                1 if own.chance(50) => drop(sender.is_closed()),
                _ => {
                    let token = book.token(place, place, 1);
                    let sending = book.sending(&token);
                    match sender.send(token) {
                        Ok(()) => sending.done(true),
                        Err(error) => {
                            assert!(error.is_closed());
                            sending.came_back(&error.into_inner());
                        }
                    }
                }
            }
        }));
        // Several may share the receiver; one has the message, or it is dropped with the last of them.
        let receiver = Arc::new(receiver);
        for _ in 0..1 + dice.below(3) {
            let (receiver, mut own) = (receiver.clone(), dice.fork());
            let form = Form::draw(dice, 70);
            actors.push(Running::new(form, async move { ask(form.who(), receiver, &mut own).await }));
        }
    }
    (0..dice.below(20)).for_each(|_| {
        if kills && dice.chance(20) {
            actors[dice.below(actors.len())].kill();
        }
        give_way();
    });
    actors.into_iter().for_each(Running::join);
    // What was sent and not received was dropped with its receiver.
    ledger.check(true, NONE_TAKEN, &"oneshots");
}

async fn ask(who: Who, mut receiver: Arc<OneshotReceiver<Token>>, dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let received = match dice.below(7) {
            0 => receiver.try_recv(),
            1 => receiver.recv_timeout(moment(dice)),
            2 => select! { recv(receiver) -> message => message, default => continue },
            3 => select! { recv(receiver) -> message => message, recv(receiver) -> message => message },
            4 if dice.chance(20) => {
                receiver.close();
                continue;
            }
            // A future has the receiver for itself.
            5 => match Arc::try_unwrap(receiver) {
                Ok(receiver) => {
                    if let Ok(token) = who.oneshot(receiver).await {
                        token.received();
                    }
                    return;
                }
                Err(shared) => {
                    receiver = shared;
                    receiver.recv()
                }
            },
            _ => receiver.recv(),
        };
        match received {
            Ok(token) => token.received(),
            Err(error) if error.is_closed() => return,
            Err(_) => who.give_way().await,
        }
    }
}

/// A message of a broadcast, that counts itself.
struct News {
    sender: usize,
    sequence: u32,
    _counted: Counted,
}

/// What a listener has had.
struct Listener {
    receiver: BroadcastReceiver<News>,
    /// The last of each sender.
    last: HashMap<usize, u32>,
    received: u64,
    missed: u64,
}

impl Listener {
    fn take(&mut self, result: Result<Arc<News>, BroadcastError>) -> bool {
        match result {
            Ok(news) => {
                let last = self.last.insert(news.sender, news.sequence).unwrap_or(0);
                assert!(news.sequence > last, "{} of sender {} came after {last}", news.sequence, news.sender);
                assert!(self.missed > 0 || last == 0 || news.sequence == last + 1, "missed, and nobody has said so");
                self.received += 1;
            }
            Err(error) => match error.lagged() {
                Some(count) => self.missed += count,
                None if error.is_closed() => return false,
                None => {}
            },
        }
        true
    }

    async fn step(&mut self, who: Who, dice: &mut Dice) -> bool {
        let result = match dice.below(6) {
            0 => self.receiver.try_recv(),
            1 => self.receiver.recv_timeout(moment(dice)),
            2 => block_on(self.receiver.recv_async()),
            3 => select! { recv(self.receiver) -> news => news, recv(self.receiver) -> news => news },
            4 => {
                // A clone goes on where this one is.
                self.receiver = self.receiver.clone();
                self.receiver.try_recv()
            }
            _ => who.recv(&self.receiver).await,
        };
        self.take(result)
    }
}

fn broadcasts(dice: &mut Dice) {
    let census = Census::default();
    let counted = census.clone();
    let capacity = 1 + dice.below(5);
    let (sender, first) = broadcast::<News>(capacity);
    let kills = dice.chance(40);
    let sources = 1 + dice.below(3);
    let total = Arc::new(AtomicU32::new(0));
    let listeners = 1 + dice.below(4);
    let receivers: Vec<_> = (1..listeners).map(|_| sender.subscribe()).chain([first]).collect();
    assert_eq!(sender.receiver_count(), listeners);
    let mut actors = Vec::new();
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    for receiver in receivers {
        let (mut own, ends) = (dice.fork(), ends.clone());
        let form = Form::draw(dice, 70);
        let who = form.who();
        actors.push(Running::new(form, async move {
            let mut listener = Listener { receiver, last: HashMap::new(), received: 0, missed: 0 };
            let patience = if own.chance(20) { own.below(10) } else { usize::MAX };
            let mut steps = 0;
            while steps < patience && listener.step(who, &mut own).await {
                steps += 1;
            }
            if steps < patience {
                assert!(listener.receiver.is_empty());
                ends.lock().unwrap().push(listener.received + listener.missed);
            }
        }));
    }
    for number in 0..sources {
        let (sender, mut own, total, census) = (sender.clone(), dice.fork(), total.clone(), census.clone());
        let form = Form::draw(dice, 70);
        let who = form.who();
        actors.push(Running::new(form, async move {
            for sequence in 1..=own.below(20) as u32 {
                match sender.send(News { sender: number, sequence, _counted: census.one() }) {
                    Ok(count) => assert!(count <= listeners + sources),
                    // Nobody listens any more; somebody may come again.
                    Err(error) => {
                        assert!(error.is_closed());
                        return;
                    }
                }
                total.fetch_add(1, SeqCst);
                assert!(sender.len() <= capacity);
                if own.chance(20) {
                    who.give_way().await;
                }
                if own.chance(10) {
                    drop(sender.subscribe());
                }
            }
        }));
    }
    drop(sender);
    (0..dice.below(20)).for_each(|_| {
        if kills && dice.chance(20) {
            actors[dice.below(actors.len())].kill();
        }
        give_way();
    });
    actors.into_iter().for_each(Running::join);
    let total = u64::from(total.load(SeqCst));
    for seen in ends.lock().unwrap().iter() {
        // A sender that was ended may have sent one that it has not counted.
        let at_most = total + if kills { sources as u64 } else { 0 };
        assert!((total..=at_most).contains(seen), "{seen} of {total} messages were received or said to be missed");
    }
    counted.assert_all_dropped();
}

fn watches(dice: &mut Dice) {
    let census = Census::default();
    let counted = census.clone();
    let (sender, first) = watch((0_u32, census.one()));
    let kills = dice.chance(40);
    let (watchers, changes) = (1 + dice.below(4), dice.below(30) as u32);
    let receivers: Vec<_> = (1..watchers).map(|_| sender.subscribe()).chain([first]).collect();
    assert_eq!(sender.receiver_count(), watchers);
    let mut actors = Vec::new();
    for receiver in receivers {
        let mut own = dice.fork();
        let form = Form::draw(dice, 70);
        let who = form.who();
        actors.push(Running::new(form, async move {
            let mut last = 0;
            let mut receiver: WatchReceiver<(u32, Counted)> = receiver;
            loop {
                let changed = match own.below(5) {
                    0 => receiver.changed_timeout(moment(&mut own)),
                    1 => block_on(receiver.changed_async()),
                    2 => select! { changed(receiver) -> changed => changed, changed(receiver) -> changed => changed },
                    3 => {
                        receiver = receiver.clone();
                        who.changed(&receiver).await
                    }
                    _ => who.changed(&receiver).await,
                };
                match changed {
                    Ok(()) => {
                        assert!(receiver.has_changed());
                        let value = receiver.get();
                        assert!(value.0 > last, "{} after {last}", value.0);
                        last = value.0;
                    }
                    Err(error) if error.is_closed() => break,
                    Err(error) => assert!(error.is_timeout()),
                }
            }
            assert!(receiver.is_closed() && !receiver.has_changed());
            // It was the sender's last unless the sender was ended.
            assert_eq!(receiver.peek().0, last, "the last value is seen");
            assert!(kills || last == changes, "{last} of {changes}");
        }));
    }
    let mut own = dice.fork();
    let form = Form::draw(dice, 70);
    let who = form.who();
    actors.push(Running::new(form, async move {
        for value in 1..=changes {
            // Those who were killed do not watch any more.
            drop(sender.send((value, census.one())));
            assert!(kills || sender.get().0 == value);
            if own.chance(20) {
                who.give_way().await;
            }
        }
    }));
    (0..dice.below(20)).for_each(|_| {
        if kills && dice.chance(20) {
            actors[dice.below(actors.len())].kill();
        }
        give_way();
    });
    actors.into_iter().for_each(Running::join);
    counted.assert_all_dropped();
}
