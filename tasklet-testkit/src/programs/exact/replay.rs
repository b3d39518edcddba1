//! The same program, done by tasklets at real channels.

use std::sync::{Arc, Mutex};

use tasklet_channels::{
    Receiver, RecvError, Select, SendError, Sender, TypedArm, WeakReceiverBy, WeakSenderBy, bounded, never, unbounded,
};
use tasklet_core::operation::AnyBackend;
use tasklet_scheduler::local;

use super::{ArmOp, Op, handles, shown};
use crate::stealing::setup::{Census, Counted};
use crate::who::Who;

/// A message: its number, and that it is counted.
struct Message(u32, #[expect(dead_code, reason = "it counts its drop")] Counted);

/// What happens, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// The handles of one channel that an actor has.
struct Ends {
    senders: Vec<Sender<Message>>,
    receivers: Vec<Receiver<Message>>,
}

struct Player {
    number: usize,
    who: Who,
    census: Census,
    log: Log,
}

/// The first of a player's locals to be dropped: says that it ends, however it does.
struct End<'p>(&'p Player);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.log("ends");
    }
}

pub(super) fn replay(who: Who, scripts: &[Vec<Op>], capacities: &[Option<usize>], census: &Census, log: &Log) {
    let channels: Vec<_> = capacities.iter().map(|capacity| capacity.map_or_else(unbounded, bounded)).collect();
    let weak: Vec<(WeakSenderBy<Message, AnyBackend>, WeakReceiverBy<Message, AnyBackend>)> =
        channels.iter().map(|(tx, rx)| (tx.downgrade(), rx.downgrade())).collect();
    let tasklets: Vec<_> = scripts
        .iter()
        .cloned()
        .enumerate()
        .skip(1)
        .map(|(number, script)| {
            let ends: Vec<_> = channels
                .iter()
                .map(|(tx, rx)| Ends { senders: vec![tx.clone()], receivers: vec![rx.clone()] })
                .collect();
            let player = Player { number, who, census: census.clone(), log: log.clone() };
            let play = async move {
                let mut ends = ends;
                let _end = End(&player);
                for op in &script {
                    player.play(op, &mut ends).await;
                }
            };
            local::spawn(move || who.run(play))
        })
        .collect();
    drop(channels);
    for op in &scripts[0] {
        match op {
            Op::Yield => local::schedule(),
            Op::Kill { whom } => tasklets[*whom - 1].kill_later().expect("it is alive"),
            Op::Close { which, .. } => {
                // What has no sender any more is closed.
                weak[*which].0.upgrade().iter().for_each(|tx| _ = tx.close());
                weak[*which].1.upgrade().iter().for_each(|rx| _ = rx.close());
            }
            _ => unreachable!("the leader does nothing else"),
        }
    }
    if let Some(left) = tasklets.iter().position(local::Tasklet::is_alive) {
        log.lock().unwrap().push(format!("{} is left", left + 1));
    }
}

impl Player {
    fn log(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.number));
    }

    fn message(&self, number: u32) -> Message {
        Message(number, self.census.one())
    }

    fn sent(&self, number: u32, result: Result<(), SendError<Message>>) {
        let how = match result {
            Ok(()) => "sent".to_owned(),
            Err(error) if error.is_closed() => format!("closed{}", came_back(error, number)),
            Err(error) => format!("full{}", came_back(error, number)),
        };
        self.log(&format!("{number} {how}"));
    }

    fn got(&self, result: Result<Message, RecvError>) {
        let line = shown(match &result {
            Ok(message) => Ok(message.0),
            Err(error) if error.is_closed() => Err("closed"),
            Err(_) => Err("empty"),
        });
        self.log(&format!("got {line}"));
    }

    async fn play(&self, op: &Op, ends: &mut [Ends]) {
        let who = self.who;
        match op {
            Op::Send { to, message, waits } => {
                let (sender, value) = (&ends[*to].senders[0], self.message(*message));
                self.sent(*message, if *waits { who.send(sender, value).await } else { sender.try_send(value) });
            }
            Op::Recv { from, waits } => {
                let receiver = &ends[*from].receivers[0];
                self.got(if *waits { who.recv(receiver).await } else { receiver.try_recv() });
            }
            Op::RecvMany { from, limit } => {
                let mut got = Vec::new();
                match ends[*from].receivers[0].recv_many(&mut got, *limit) {
                    Ok(count) => {
                        assert_eq!(count, got.len());
                        self.log(&format!("many {:?}", numbers(got)));
                    }
                    Err(error) => self.log(if error.is_closed() { "many closed" } else { "many refused" }),
                }
            }
            Op::Drain { from } => {
                let got = ends[*from].receivers[0].drain().collect();
                self.log(&format!("drained {:?}", numbers(got)));
            }
            Op::Reserve { to, message, waits, sends } => self.reserve(&ends[*to].senders[0], *message, *waits, *sends),
            Op::Select { arms, waits } => self.select(ends, arms, *waits),
            Op::Close { which, by_sender } => {
                let was_open =
                    if *by_sender { ends[*which].senders[0].close() } else { ends[*which].receivers[0].close() };
                self.log(&format!("closed {was_open}"));
            }
            Op::WaitClosed { which } => {
                let seen = ends[*which].senders[0].wait_closed();
                self.log(if seen.is_ok() { "saw the end" } else { "saw nothing" });
            }
            Op::CloneSender { which } => {
                let clone = ends[*which].senders[0].clone();
                ends[*which].senders.push(clone);
            }
            Op::CloneReceiver { which } => {
                let clone = ends[*which].receivers[0].clone();
                ends[*which].receivers.push(clone);
            }
            Op::DropSender { which } => drop(ends[*which].senders.pop()),
            Op::DropReceiver { which } => drop(ends[*which].receivers.pop()),
            Op::Upgrade { which } => {
                let sender = ends[*which].senders[0].downgrade().upgrade().expect("there is one");
                self.log(&handles(sender.sender_count(), sender.receiver_count()));
            }
            Op::Len { which } => {
                let Ends { senders, receivers } = &ends[*which];
                let (len, closed, line) = match (senders.first(), receivers.first()) {
                    (Some(tx), _) => (tx.len(), tx.is_closed(), handles(tx.sender_count(), tx.receiver_count())),
                    (None, Some(rx)) => (rx.len(), rx.is_closed(), handles(rx.sender_count(), rx.receiver_count())),
                    (None, None) => unreachable!("it has an end of it"),
                };
                self.log(&format!("{len} {closed}"));
                self.log(&line);
            }
            Op::Yield => local::schedule(),
            Op::Kill { .. } => unreachable!("only the leader kills"),
        }
    }

    fn reserve(&self, sender: &Sender<Message>, message: u32, waits: bool, sends: bool) {
        let permit = match if waits { sender.reserve() } else { sender.try_reserve() } {
            Ok(permit) => permit,
            Err(error) if error.is_closed() => return self.log("reserves where it is closed"),
            Err(error) if error.is_no_buffer() => return self.log("reserves where there is no buffer"),
            Err(_) => return self.log("reserves nothing"),
        };
        local::schedule();
        if !sends {
            drop(permit);
        } else if let Err(error) = permit.send(self.message(message)) {
            assert!(error.is_closed());
            return self.log("permit closed");
        }
        self.log("permit used");
    }

    fn select(&self, ends: &[Ends], arms: &[ArmOp], waits: bool) {
        let (mut sends, mut recvs, mut closeds) = (Vec::new(), Vec::new(), Vec::new());
        for (at, arm) in arms.iter().enumerate() {
            match arm {
                ArmOp::Send { to, message } => sends.push((at, ends[*to].senders[0].send_arm(self.message(*message)))),
                ArmOp::Recv { from } => recvs.push((at, ends[*from].receivers[0].recv_arm())),
                ArmOp::Closed { which } => closeds.push((at, ends[*which].senders[0].closed_arm())),
            }
        }
        let nothing = never::<Message>();
        let mut none = [nothing.recv_arm()];
        let chosen = {
            let mut list: Vec<(usize, &mut dyn tasklet_channels::Arm)> = Vec::new();
            list.extend(sends.iter_mut().map(|(at, arm)| (*at, arm as _)));
            list.extend(recvs.iter_mut().map(|(at, arm)| (*at, arm as _)));
            list.extend(closeds.iter_mut().map(|(at, arm)| (*at, arm as _)));
            list.sort_by_key(|(at, _)| *at);
            // Arms of several types are added to one that has none.
            let mut select = Select::new_biased(&mut none[..0]);
            list.into_iter().for_each(|(_, arm)| _ = select.arm(arm));
            if waits { select.wait() } else { select.try_now() }
        };
        let Ok(chosen) = chosen else { return self.log("default") };
        let of = |at: &usize| *at == chosen;
        let line = if let Some((_, arm)) = sends.iter_mut().find(|(at, _)| of(at)) {
            arm.output().map_or_else(
                |error| if error.is_closed() { "closed" } else { "full" }.to_owned(),
                |()| "done".to_owned(),
            )
        } else if let Some((_, arm)) = recvs.iter_mut().find(|(at, _)| of(at)) {
            shown(arm.output().map(|message| message.0).map_err(|_| "closed"))
        } else {
            "done".to_owned()
        };
        // The messages of arms that were not chosen go before anybody else runs.
        drop((sends, recvs, closeds));
        self.log(&format!("arm {chosen} {line}"));
    }
}

fn numbers(messages: Vec<Message>) -> Vec<u32> {
    messages.into_iter().map(|message| message.0).collect()
}

/// Nothing if the message is the one that was to be sent.
fn came_back(error: SendError<Message>, number: u32) -> String {
    let message = error.into_inner();
    if message.0 == number { String::new() } else { format!(" with {}", message.0) }
}
