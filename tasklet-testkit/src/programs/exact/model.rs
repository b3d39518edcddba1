//! Actors, and the queue of the local scheduler: draws what they do, does it, and writes down what comes of it.

use std::collections::VecDeque;

use super::lists::Channel;
use super::{ArmOp, Op, Program, handles, pick, shown};
use crate::random::Dice;

/// Operations of one actor at most, and of whoever leads.
const LENGTH: usize = 14;
const LEADS: usize = 40;

/// How a wait has ended, or an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Done,
    Received(u32),
    Closed,
    Killed,
}

/// A wait: what it is for, and how it has ended.
pub(super) struct Wait {
    pub(super) ticket: u64,
    pub(super) op: Op,
    pub(super) outcome: Option<(usize, Outcome)>,
}

#[derive(Default)]
pub(super) struct Actor {
    pub(super) script: Vec<Op>,
    pub(super) wait: Option<Wait>,
    /// A permit for this channel, and what will be done with it when it runs again.
    pub(super) permit: Option<(usize, u32, bool)>,
    /// Handles of each channel.
    pub(super) senders: Vec<usize>,
    pub(super) receivers: Vec<usize>,
    pub(super) ended: bool,
}

pub(super) struct Model<'d> {
    pub(super) dice: &'d mut Dice,
    pub(super) channels: Vec<Channel>,
    pub(super) actors: Vec<Actor>,
    /// Who goes on after whoever runs.
    pub(super) queue: VecDeque<usize>,
    pub(super) tickets: u64,
    pub(super) messages: u32,
    pub(super) log: Vec<String>,
    /// Selects do not go together with reservations here: whose turn it is between senders and reservers is not promised when a sender has
    /// just been served elsewhere.
    pub(super) has_selects: bool,
    has_kills: bool,
}

/// Draws a program, in which the leader may kill others or does not.
pub(super) fn make(dice: &mut Dice, has_kills: bool) -> Program {
    let capacities: Vec<_> =
        (0..1 + dice.below(3)).map(|_| [Some(0), Some(1), Some(2), Some(3), None][dice.below(5)]).collect();
    let count = 1 + dice.below(8);
    let channels =
        capacities.iter().map(|capacity| Channel { capacity: capacity.unwrap_or(usize::MAX), ..Channel::default() });
    let mut channels: Vec<_> = channels.collect();
    let mut actors = vec![Actor::default()];
    for channel in &mut channels {
        (channel.sender_count, channel.receiver_count) = (count, count);
    }
    for _ in 0..count {
        let ones = vec![1; channels.len()];
        actors.push(Actor { senders: ones.clone(), receivers: ones, ..Actor::default() });
    }
    let has_selects = dice.chance(60);
    let mut model = Model {
        dice,
        channels,
        actors,
        queue: (1..=count).collect(),
        tickets: 0,
        messages: 0,
        log: Vec::new(),
        has_selects,
        has_kills,
    };
    model.lead();
    let Model { actors, log, .. } = model;
    Program { capacities, scripts: actors.into_iter().map(|actor| actor.script).collect(), log }
}

impl Model<'_> {
    pub(super) fn log(&mut self, who: usize, what: &str) {
        self.log.push(format!("{who} {what}"));
    }

    /// The one who leads: gives way, kills, and closes everything in the end.
    fn lead(&mut self) {
        for _ in 0..LEADS {
            let waiting = |(at, actor): (usize, &Actor)| {
                actor.wait.as_ref().is_some_and(|wait| wait.outcome.is_none()).then_some(at)
            };
            let victims: Vec<_> = self.actors.iter().enumerate().filter_map(waiting).collect();
            if self.has_kills
                && self.dice.chance(8)
                && let Some(whom) = pick(self.dice, &victims)
            {
                self.actors[0].script.push(Op::Kill { whom });
                self.kill(whom);
            }
            self.give_way();
        }
        for which in 0..self.channels.len() {
            self.actors[0].script.push(Op::Close { which, by_sender: true });
            self.close(which);
        }
        while self.actors[1..].iter().any(|actor| !actor.ended) {
            self.give_way();
        }
    }

    /// Takes a waiter out of all lists. It unwinds when its turn comes.
    fn kill(&mut self, whom: usize) {
        for channel in &mut self.channels {
            for list in [&mut channel.senders, &mut channel.reservers, &mut channel.receivers, &mut channel.watchers] {
                list.retain(|waiter| waiter.actor != whom);
            }
        }
        self.end_wait(whom, 0, Outcome::Killed);
    }

    /// Everybody who is in the queue now, until it is the leader's turn.
    fn give_way(&mut self) {
        self.actors[0].script.push(Op::Yield);
        self.queue.push_back(0);
        while let Some(who) = self.queue.pop_front() {
            if who == 0 {
                return;
            }
            self.run(who);
        }
    }

    /// One actor, until it waits, yields or ends.
    fn run(&mut self, who: usize) {
        if let Some(wait) = self.actors[who].wait.take() {
            let (arm, outcome) = wait.outcome.expect("who runs waits no more");
            if outcome == Outcome::Killed {
                return self.end(who);
            }
            if self.finish(who, &wait.op, arm, outcome) {
                return;
            }
        }
        if let Some((to, message, sends)) = self.actors[who].permit.take() {
            self.use_permit(who, to, message, sends);
        }
        while self.actors[who].script.len() < LENGTH {
            let Some(op) = self.draw(who) else { break };
            self.actors[who].script.push(op.clone());
            if self.begin(who, op) {
                return;
            }
        }
        self.end(who);
    }

    /// Its handles go, channel by channel.
    fn end(&mut self, who: usize) {
        self.log(who, "ends");
        self.actors[who].ended = true;
        for which in 0..self.channels.len() {
            while self.actors[who].senders[which] > 0 {
                self.drop_sender(who, which);
            }
            while self.actors[who].receivers[which] > 0 {
                self.drop_receiver(who, which);
            }
        }
    }

    fn message(&mut self) -> u32 {
        self.messages += 1;
        self.messages
    }

    fn draw(&mut self, who: usize) -> Option<Op> {
        let having = |counts: &[usize]| (0..counts.len()).filter(|which| counts[*which] > 0).collect::<Vec<_>>();
        let (senders, receivers) = (having(&self.actors[who].senders), having(&self.actors[who].receivers));
        let waits = self.dice.chance(65);
        let (sender, receiver) = (pick(self.dice, &senders), pick(self.dice, &receivers));
        let which = sender.or(receiver)?;
        Some(match (self.dice.below(24), sender, receiver) {
            (0..5, Some(to), _) => Op::Send { to, message: self.message(), waits },
            (5..9, _, Some(from)) => Op::Recv { from, waits },
            (9, _, Some(from)) => Op::RecvMany { from, limit: 1 + self.dice.below(4) },
            (10, _, Some(from)) => Op::Drain { from },
            (11 | 12, Some(to), _) if !self.has_selects => {
                Op::Reserve { to, message: self.message(), waits, sends: self.dice.chance(60) }
            }
            (11..15, ..) if self.has_selects => {
                let arms = (0..1 + self.dice.below(4)).filter_map(|_| {
                    Some(match self.dice.below(8) {
                        0..4 => ArmOp::Recv { from: pick(self.dice, &receivers)? },
                        4..7 => ArmOp::Send { to: pick(self.dice, &senders)?, message: self.message() },
                        _ => ArmOp::Closed { which: pick(self.dice, &senders)? },
                    })
                });
                let arms: Vec<_> = arms.collect();
                // Without an arm it would wait for ever.
                if arms.is_empty() { Op::Yield } else { Op::Select { arms, waits } }
            }
            (15, Some(which), _) if self.dice.chance(15) => Op::Close { which, by_sender: true },
            (15, _, Some(which)) if self.dice.chance(15) => Op::Close { which, by_sender: false },
            (16, Some(which), _) if self.dice.chance(20) => Op::WaitClosed { which },
            (17, Some(which), _) => Op::CloneSender { which },
            (18, _, Some(which)) => Op::CloneReceiver { which },
            (19, Some(which), _) => Op::DropSender { which },
            (20, _, Some(which)) if self.dice.chance(50) => Op::DropReceiver { which },
            (21, Some(which), _) => Op::Upgrade { which },
            (22, ..) => Op::Len { which },
            _ => Op::Yield,
        })
    }

    /// Does it. Returns whether the actor does not go on now.
    fn begin(&mut self, who: usize, op: Op) -> bool {
        match &op {
            Op::Send { to, message, waits } => match (self.send(*to, *message), waits) {
                (None, true) => return self.wait(who, op),
                (outcome, _) => self.say_sent(who, *message, outcome),
            },
            Op::Recv { from, waits } => match (self.receive_or_end(*from), waits) {
                (None, true) => return self.wait(who, op),
                (outcome, _) => self.say_received(who, outcome),
            },
            Op::RecvMany { from, limit } => {
                let mut got = self.take_many(*from, *limit);
                if got.is_empty() {
                    if !self.has_ended(*from) {
                        return self.wait(who, op);
                    }
                    self.log(who, "many closed");
                } else {
                    if got.len() == 1 && *limit > 1 {
                        got.extend(self.take_many(*from, *limit - 1));
                    }
                    self.log(who, &format!("many {got:?}"));
                }
            }
            Op::Drain { from } => {
                let got: Vec<_> = std::mem::take(&mut self.channels[*from].buffer).into();
                while self.admit(*from) {}
                self.log(who, &format!("drained {got:?}"));
            }
            Op::Reserve { to, message, waits, sends } => match (self.reserve(*to), waits) {
                (None, true) => return self.wait(who, op),
                (None, false) => self.log(who, "reserves nothing"),
                (Some(Ok(())), _) => {
                    self.actors[who].permit = Some((*to, *message, *sends));
                    self.queue.push_back(who);
                    return true;
                }
                (Some(Err(cause)), _) => self.log(who, cause),
            },
            Op::Select { arms, waits } => {
                for (at, arm) in arms.iter().enumerate() {
                    let outcome = match arm {
                        ArmOp::Send { to, message } => self.send(*to, *message),
                        ArmOp::Recv { from } => self.receive_or_end(*from),
                        ArmOp::Closed { which } => self.channels[*which].closed.then_some(Outcome::Done),
                    };
                    if let Some(outcome) = outcome {
                        self.say_chosen(who, at, outcome);
                        return false;
                    }
                }
                if *waits {
                    return self.wait(who, op);
                }
                self.log(who, "default");
            }
            Op::Close { which, .. } => {
                let was_open = self.close(*which);
                self.log(who, &format!("closed {was_open}"));
            }
            Op::WaitClosed { which } => {
                if !self.channels[*which].closed {
                    return self.wait(who, op);
                }
                self.log(who, "saw the end");
            }
            Op::CloneSender { which } => {
                self.actors[who].senders[*which] += 1;
                self.channels[*which].sender_count += 1;
            }
            Op::CloneReceiver { which } => {
                self.actors[who].receivers[*which] += 1;
                self.channels[*which].receiver_count += 1;
            }
            Op::DropSender { which } => self.drop_sender(who, *which),
            Op::DropReceiver { which } => self.drop_receiver(who, *which),
            Op::Upgrade { which } => {
                self.log(who, &handles(self.channels[*which].sender_count + 1, self.channels[*which].receiver_count))
            }
            Op::Len { which } => {
                let Channel { buffer, closed, sender_count, receiver_count, .. } = &self.channels[*which];
                let lines = [format!("{} {closed}", buffer.len()), handles(*sender_count, *receiver_count)];
                lines.iter().for_each(|line| self.log(who, line));
            }
            Op::Yield => {
                self.queue.push_back(who);
                return true;
            }
            Op::Kill { .. } => unreachable!("only the leader kills"),
        }
        false
    }

    /// What it waited for has come, or will not. Returns whether the actor does not go on now.
    fn finish(&mut self, who: usize, op: &Op, arm: usize, outcome: Outcome) -> bool {
        match op {
            Op::Send { message, .. } => self.say_sent(who, *message, Some(outcome)),
            Op::Recv { .. } => self.say_received(who, Some(outcome)),
            Op::RecvMany { from, limit } => match outcome {
                Outcome::Received(message) => {
                    let mut got = vec![message];
                    got.extend(self.take_many(*from, *limit - 1));
                    self.log(who, &format!("many {got:?}"));
                }
                _ => self.log(who, "many closed"),
            },
            Op::Reserve { to, message, sends, .. } => {
                if outcome == Outcome::Done {
                    self.actors[who].permit = Some((*to, *message, *sends));
                    self.queue.push_back(who);
                    return true;
                }
                self.log(who, "reserves where it is closed");
            }
            Op::Select { .. } => self.say_chosen(who, arm, outcome),
            _ => self.log(who, "saw the end"),
        }
        false
    }

    fn say_sent(&mut self, who: usize, message: u32, outcome: Option<Outcome>) {
        let how = match outcome {
            None => "full",
            Some(Outcome::Closed) => "closed",
            Some(_) => "sent",
        };
        self.log(who, &format!("{message} {how}"));
    }

    fn say_received(&mut self, who: usize, outcome: Option<Outcome>) {
        let line = shown(match outcome {
            Some(Outcome::Received(message)) => Ok(message),
            Some(_) => Err("closed"),
            None => Err("empty"),
        });
        self.log(who, &format!("got {line}"));
    }

    fn say_chosen(&mut self, who: usize, arm: usize, outcome: Outcome) {
        let line = match outcome {
            Outcome::Received(message) => message.to_string(),
            Outcome::Closed => "closed".to_owned(),
            _ => "done".to_owned(),
        };
        self.log(who, &format!("arm {arm} {line}"));
    }
}
