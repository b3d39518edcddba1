//! One who sends and receives at random, in every way that there is.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tasklet_bridge::futures::block_on;
use tasklet_channels::{Arm, Receiver, RecvError, Select, SendError, Sender, SharedChannel, TypedArm, after};

use super::ledger::{Ledger, Sending, Token};
use super::running::Form;
use crate::channels::setup::{give_way, spawn};
use crate::random::Dice;

/// What sends into a place.
#[derive(Clone)]
pub(super) enum Tx {
    Queue(Sender<Token>),
    Stackless(SharedChannel<Token>),
}

/// What receives from it.
#[derive(Clone)]
pub(super) enum Rx {
    Queue(Receiver<Token>),
    Stackless(SharedChannel<Token>),
}

/// A short time: some waits are over before it, some are not.
pub(super) fn moment(dice: &mut Dice) -> Duration {
    Duration::from_micros(dice.below(150) as u64)
}

/// Polls once, and drops it. What it has given or taken is known afterwards.
fn glance<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

pub(super) struct Actor {
    pub(super) number: usize,
    pub(super) form: Form,
    pub(super) ledger: Arc<Ledger>,
    pub(super) dice: Dice,
    /// Those it has, with the number of the place.
    pub(super) senders: Vec<(usize, Tx)>,
    pub(super) receivers: Vec<(usize, Rx)>,
    /// Whether messages of one sender come in order, even if somebody gives one back that was served.
    pub(super) is_ordered: bool,
    pub(super) sequence: u32,
    /// The last message of each sender in each place.
    pub(super) last: HashMap<(usize, usize), u32>,
}

impl Actor {
    fn token(&mut self, place: usize) -> Token {
        self.sequence += 1;
        self.ledger.token(self.number, place, self.sequence)
    }

    fn take(&mut self, place: usize, token: &Token) {
        token.received();
        if token.place != place {
            self.ledger.fault(format!("a message for {} came to {place}", token.place));
        }
        let last = self.last.entry((place, token.sender)).or_default();
        if self.is_ordered && token.sequence <= *last {
            let (sender, sequence) = (token.sender, token.sequence);
            self.ledger.fault(format!("message {sequence} of {sender} at {place} came after {last}"));
        }
        *last = token.sequence;
    }

    fn took(&mut self, place: usize, result: Result<Token, RecvError>) -> Got {
        match result {
            Ok(token) => {
                self.take(place, &token);
                Got::Something
            }
            Err(error) if error.is_closed() => Got::End,
            Err(_) => Got::Nothing,
        }
    }

    /// Sends one message, somehow. Returns whether it was.
    pub(super) async fn send(&mut self, at: usize) -> bool {
        let who = self.form.who();
        let (place, tx) = self.senders[at].clone();
        let token = self.token(place);
        let ledger = self.ledger.clone();
        let sending = ledger.sending(&token);
        let limit = moment(&mut self.dice);
        let result = match (tx, self.dice.below(8)) {
            (Tx::Queue(tx), 0..3) => who.send(&tx, token).await,
            (Tx::Queue(tx), 3) => tx.try_send(token),
            (Tx::Queue(tx), 4) => tx.send_timeout(token, limit),
            (Tx::Queue(tx), 5) => block_on(tx.send_async(token)),
            (Tx::Queue(tx), 6) => match glance(tx.send_async(token)) {
                Some(result) => result,
                None => {
                    // Served in between, perhaps: its drop does not say.
                    drop(sending);
                    return false;
                }
            },
            (Tx::Queue(tx), _) => match if self.dice.chance(50) { tx.reserve() } else { tx.reserve_timeout(limit) } {
                Ok(permit) if self.dice.chance(80) => permit.send(token),
                Ok(_) => return unsent(sending, token),
                // A rendezvous has no room that could be reserved.
                Err(error) if error.is_no_buffer() => who.send(&tx, token).await,
                Err(_) => return unsent(sending, token),
            },
            (Tx::Stackless(channel), 0..6) => who.send(&channel, token).await,
            (Tx::Stackless(channel), _) => channel.try_send(token),
        };
        sent(sending, result)
    }

    /// Receives, somehow.
    pub(super) async fn receive(&mut self, at: usize) -> Got {
        let who = self.form.who();
        let (place, rx) = self.receivers[at].clone();
        let result = match rx {
            Rx::Stackless(channel) => {
                if self.dice.chance(80) {
                    who.recv(&channel).await
                } else {
                    channel.try_recv()
                }
            }
            Rx::Queue(rx) => match self.dice.below(9) {
                0..3 => who.recv(&rx).await,
                3 => rx.try_recv(),
                4 => rx.recv_timeout(moment(&mut self.dice)),
                5 => block_on(rx.recv_async()),
                // What it was given meanwhile comes back, behind what others have got since.
                6 if !self.is_ordered => glance(rx.recv_async()).unwrap_or_else(|| rx.try_recv()),
                7 => {
                    // What it has appended when it unwinds is the caller's.
                    let mut tokens = Appended(Vec::new());
                    let result = rx.recv_many(&mut tokens.0, 1 + self.dice.below(4));
                    let tokens = std::mem::take(&mut tokens.0);
                    return self.took_many(place, &tokens, result.is_err_and(|error| error.is_closed()));
                }
                _ => {
                    let tokens: Vec<_> = rx.drain().collect();
                    return self.took_many(place, &tokens, false);
                }
            },
        };
        self.took(place, result)
    }

    fn took_many(&mut self, place: usize, tokens: &[Token], is_end: bool) -> Got {
        tokens.iter().for_each(|token| self.take(place, token));
        if is_end { Got::End } else { Got::Something }
    }

    /// A select over some of these receivers and senders. Returns the number of a receiver that has ended.
    pub(super) fn select(&mut self, receivers: &[usize], senders: &[usize]) -> Option<usize> {
        let (rxs, txs): (Vec<_>, Vec<_>) = (
            receivers.iter().map(|at| (*at, self.receivers[*at].clone())).collect(),
            senders.iter().map(|at| self.senders[*at].clone()).collect(),
        );
        let tokens: Vec<_> = txs.iter().map(|(place, _)| self.token(*place)).collect();
        let ledger = self.ledger.clone();
        let mut sending: Vec<_> = tokens.iter().map(|token| Some(ledger.sending(token))).collect();
        let chosen = self.choose(&rxs, &txs, tokens);
        let mut ended = None;
        for (at, sending) in sending.iter_mut().enumerate().filter_map(|(at, sending)| Some((at, sending.take()?))) {
            match &chosen {
                Chosen::Sent(arm, result) if *arm == at => sending.done(*result),
                _ => sending.done(false),
            }
        }
        if let Chosen::Received(at, result) = chosen
            && matches!(self.took(self.receivers[at].0, result), Got::End)
        {
            ended = Some(at);
        }
        ended
    }

    fn choose(&mut self, rxs: &[(usize, (usize, Rx))], txs: &[(usize, Tx)], tokens: Vec<Token>) -> Chosen {
        let (mut takes, mut stackless_takes) = (Vec::new(), Vec::new());
        for (at, (_, rx)) in rxs {
            match rx {
                Rx::Queue(rx) => takes.push((*at, rx.recv_arm())),
                Rx::Stackless(channel) => stackless_takes.push((*at, channel.recv_arm())),
            }
        }
        let (mut gives, mut stackless_gives) = (Vec::new(), Vec::new());
        for (at, ((_, tx), token)) in txs.iter().zip(tokens).enumerate() {
            match tx {
                Tx::Queue(tx) => gives.push((at, tx.send_arm(token))),
                Tx::Stackless(channel) => stackless_gives.push((at, channel.send_arm(token))),
            }
        }
        let timer = after(moment(&mut self.dice));
        let child = (self.form != Form::Thread && self.dice.chance(10)).then(|| spawn(give_way));
        let mut timer_arm = timer.recv_arm();
        let mut join_arm = child.as_ref().map(|child| child.join_arm());
        // Which list an arm is in, and where.
        let mut arms: Vec<((usize, usize), &mut dyn Arm)> = Vec::new();
        arms.extend(takes.iter_mut().enumerate().map(|(at, (_, arm))| ((0, at), arm as &mut dyn Arm)));
        arms.extend(stackless_takes.iter_mut().enumerate().map(|(at, (_, arm))| ((1, at), arm as &mut dyn Arm)));
        arms.extend(gives.iter_mut().enumerate().map(|(at, (_, arm))| ((2, at), arm as &mut dyn Arm)));
        arms.extend(stackless_gives.iter_mut().enumerate().map(|(at, (_, arm))| ((3, at), arm as &mut dyn Arm)));
        arms.extend(join_arm.iter_mut().map(|arm| ((4, 0), arm as &mut dyn Arm)));
        if self.dice.chance(10) {
            arms.push(((4, 1), &mut timer_arm));
        }
        for at in (1..arms.len()).rev() {
            arms.swap(at, self.dice.below(at + 1));
        }
        let order: Vec<_> = arms.iter().map(|(which, _)| *which).collect();
        let arms = arms.into_iter().map(|(_, arm)| arm);
        let mut select = Select::empty();
        arms.for_each(|arm| {
            select.arm(arm);
        });
        let chosen = match self.dice.below(4) {
            0 => select.try_now(),
            1 => select.wait_timeout(moment(&mut self.dice)),
            _ => select.wait(),
        };
        match chosen.map(|arm| order[arm]) {
            Ok((0, at)) => Chosen::Received(takes[at].0, takes[at].1.output()),
            Ok((1, at)) => Chosen::Received(stackless_takes[at].0, stackless_takes[at].1.output()),
            Ok((2, at)) => Chosen::Sent(gives[at].0, gives[at].1.output().is_ok()),
            Ok((3, at)) => Chosen::Sent(stackless_gives[at].0, stackless_gives[at].1.output().is_ok()),
            _ => Chosen::Other,
        }
    }

    /// What changes who has what, and what can be asked without changing anything.
    pub(super) fn tamper(&mut self, may_close: bool) {
        if !self.senders.is_empty() {
            let at = self.dice.below(self.senders.len());
            match (&self.senders[at], self.dice.below(6)) {
                ((_, Tx::Queue(tx)), 0) => drop((tx.clone(), tx.downgrade())),
                ((place, Tx::Queue(tx)), 1) => {
                    let (place, weak) = (*place, tx.downgrade());
                    drop(self.senders.swap_remove(at));
                    self.senders.extend(weak.upgrade().map(|tx| (place, Tx::Queue(tx))));
                }
                ((_, Tx::Queue(tx)), 2) if may_close => {
                    tx.close();
                }
                ((_, Tx::Stackless(channel)), 2) if may_close => channel.close(),
                ((_, Tx::Queue(tx)), 3) => {
                    let full = tx.capacity().is_some_and(|capacity| tx.len() > capacity) && self.is_ordered;
                    assert!(!full, "there is more in it than it has room for");
                }
                (_, 4) => drop(self.senders.swap_remove(at)),
                _ => {}
            }
        }
        if !self.receivers.is_empty() {
            let at = self.dice.below(self.receivers.len());
            match (&self.receivers[at], self.dice.below(6)) {
                ((_, Rx::Queue(rx)), 0) => drop((rx.clone(), rx.downgrade())),
                ((place, Rx::Queue(rx)), 1) => {
                    let (place, weak) = (*place, rx.downgrade());
                    drop(self.receivers.swap_remove(at));
                    self.receivers.extend(weak.upgrade().map(|rx| (place, Rx::Queue(rx))));
                }
                ((_, Rx::Queue(rx)), 2) if may_close => {
                    rx.close();
                }
                (_, 3) => drop(self.receivers.swap_remove(at)),
                _ => {}
            }
        }
    }
}

/// What came of receiving.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Got {
    Something,
    Nothing,
    /// Nothing will come any more.
    End,
}

enum Chosen {
    Received(usize, Result<Token, RecvError>),
    /// The sender of this number, and whether the message was sent.
    Sent(usize, bool),
    Other,
}

struct Appended(Vec<Token>);

impl Drop for Appended {
    fn drop(&mut self) {
        self.0.iter().for_each(Token::received);
    }
}

fn sent(sending: Sending<'_>, result: Result<(), SendError<Token>>) -> bool {
    match result {
        Ok(()) => sending.done(true),
        Err(error) => {
            sending.came_back(&error.into_inner());
            return false;
        }
    }
    true
}

fn unsent(sending: Sending<'_>, token: Token) -> bool {
    sending.came_back(&token);
    false
}
