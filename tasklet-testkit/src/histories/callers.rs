//! Those who call: three actors with four operations each, and one who closes the channel when all of them wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use tasklet_channels::{
    OneshotReceiver, OneshotSender, Receiver, RecvError, SendError, Sender, bounded, oneshot, unbounded,
};
use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::{local, stealing};

use super::models::{Answer, Oneshot, Op, Queue};
use super::record::History;
use crate::channels::setup::{give_way, run, until};
use crate::random::{Dice, rounds};
use crate::stealing::Case;

const ACTORS: usize = 3;
const OPERATIONS: usize = 4;

/// How long a receiver waits for what can only be a moment away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who an actor is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Thread,
    Tasklet,
}

/// An actor that runs: a tasklet can be killed.
enum Running {
    Thread(thread::JoinHandle<()>),
    Tasklet(JoinHandle<()>),
}

impl Running {
    fn is_finished(&self) -> bool {
        match self {
            Running::Thread(thread) => thread.is_finished(),
            Running::Tasklet(tasklet) => tasklet.is_finished(),
        }
    }

    /// After it has finished.
    fn join(self) {
        match self {
            Running::Thread(thread) => thread.join().expect("no actor panics"),
            Running::Tasklet(tasklet) => match tasklet.join() {
                Err(error) if !error.is_killed() => panic!("{error}"),
                _ => {}
            },
        }
    }
}

/// Begins together with the others. A tasklet runs on this worker, if it has one.
fn spawn(kind: Kind, worker: usize, gate: &Arc<AtomicUsize>, act: impl FnOnce() + Send + 'static) -> Running {
    let gate = gate.clone();
    let work = move |wait: fn()| {
        gate.fetch_sub(1, SeqCst);
        // Not for ever: with fewer workers than actors, or one that was killed before it began, nobody would come.
        for _ in 0..1000 {
            if gate.load(SeqCst) == 0 {
                break;
            }
            wait();
        }
        act();
    };
    match kind {
        Kind::Thread => Running::Thread(thread::spawn(move || work(std::hint::spin_loop))),
        Kind::Tasklet => {
            let work = move || work(give_way);
            Running::Tasklet(match stealing::worker_index() {
                Some(_) => stealing::spawn_on(worker, work).expect("a worker"),
                None => local::spawn_joinable(work),
            })
        }
    }
}

fn sent(result: Result<(), SendError<u32>>, message: u32) -> Answer {
    match result {
        Ok(()) => Answer::Sent,
        Err(error) => {
            let answer = if error.is_closed() { Answer::Closed } else { Answer::WouldBlock };
            assert_eq!(error.into_inner(), message, "the message comes back");
            answer
        }
    }
}

fn received(result: Result<u32, RecvError>) -> Answer {
    match result {
        Ok(message) => Answer::Received(message),
        Err(error) if error.is_closed() => Answer::Closed,
        Err(error) if error.is_would_block() => Answer::WouldBlock,
        Err(_) => Answer::NotServed,
    }
}

fn do_at_queue(op: &Op, sender: &Sender<u32>, receiver: &Receiver<u32>) -> Answer {
    match op {
        Op::Send(message) => sent(sender.send(*message), *message),
        Op::TrySend(message) => sent(sender.try_send(*message), *message),
        Op::Recv => received(receiver.recv()),
        Op::TryRecv => received(receiver.try_recv()),
        Op::Close => Answer::Was(sender.close()),
        Op::Len => Answer::Count(receiver.len()),
        Op::Leave => unreachable!("senders of a queue stay"),
    }
}

fn op_of_queue(dice: &mut Dice, message: u32) -> Op {
    match dice.below(20) {
        0..6 => Op::Send(message),
        6..9 => Op::TrySend(message),
        9..15 => Op::Recv,
        15..17 => Op::TryRecv,
        17..19 => Op::Len,
        _ => Op::Close,
    }
}

/// Sometimes lets others go first, so that the actors meet in many orders.
fn dawdle(dice: &mut Dice) {
    match dice.below(8) {
        0 => give_way(),
        1 => thread::yield_now(),
        2 => (0..dice.below(200)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}

/// One history of a channel of senders and receivers.
fn queue(dice: &mut Dice, workers: usize, kinds: [Kind; ACTORS], with_kills: bool) {
    let capacity = [Some(0), Some(1), Some(2), None][dice.below(4)];
    let (sender, receiver) = capacity.map_or_else(unbounded, bounded);
    let history = History::<Queue>::new();
    let gate = Arc::new(AtomicUsize::new(ACTORS));
    let actors: Vec<_> = (0..ACTORS)
        .map(|actor| {
            let (sender, receiver, history) = (sender.clone(), receiver.clone(), history.clone());
            let mut dice = dice.fork();
            spawn(kinds[actor], actor % workers.max(1), &gate, move || {
                for number in 0..OPERATIONS {
                    let op = op_of_queue(&mut dice, (10 * actor + number) as u32);
                    history.record(actor, op, |op| do_at_queue(op, &sender, &receiver));
                    dawdle(&mut dice);
                }
            })
        })
        .collect();
    // On the local scheduler, what a killed receiver was given comes back as the next, which no queue does.
    if with_kills && workers > 0 && dice.chance(50) {
        (0..dice.below(20)).for_each(|_| give_way());
        if let Running::Tasklet(victim) = &actors[dice.below(ACTORS)] {
            victim.kill();
        }
    }
    // Until those who are left wait for each other, and nobody will come.
    until(|| {
        let left = actors.iter().filter(|actor| !actor.is_finished()).count();
        left == sender.blocked_senders() + sender.blocked_receivers()
    });
    history.record(ACTORS, Op::Close, |op| do_at_queue(op, &sender, &receiver));
    until(|| actors.iter().all(Running::is_finished));
    actors.into_iter().for_each(Running::join);
    assert_eq!((sender.blocked_senders(), sender.blocked_receivers()), (0, 0));
    let model = Queue { capacity };
    // What is left is part of the history.
    while history.last_answer(ACTORS) != Some(Answer::Closed) {
        history.record(ACTORS, Op::TryRecv, |op| do_at_queue(op, &sender, &receiver));
    }
    history.check(&model);
}

/// Plain threads, without a runtime.
pub fn queues_of_threads<B: Backend>(_: Case) {
    rounds("histories::queues_of_threads", 1, |dice| queue(dice, 1, [Kind::Thread; ACTORS], false));
}

/// Tasklets of several workers, some of which are killed.
pub fn queues_of_tasklets<B: Backend>(case: Case) {
    run::<B>(case, move || {
        rounds("histories::queues_of_tasklets", 2, |dice| queue(dice, case.workers, [Kind::Tasklet; ACTORS], true));
    });
}

/// Threads and tasklets at one channel.
pub fn queues_of_both<B: Backend>(case: Case) {
    run::<B>(case, move || {
        rounds("histories::queues_of_both", 2, |dice| {
            let mut kinds = [Kind::Thread, Kind::Tasklet, Kind::Tasklet];
            kinds[1] = [Kind::Thread, Kind::Tasklet][dice.below(2)];
            queue(dice, case.workers, kinds, true);
        });
    });
}

/// One sender and two who receive, of any kind.
pub fn oneshots<B: Backend>(case: Case) {
    run::<B>(case, move || {
        rounds("histories::oneshots", 2, |dice| one(dice, case.workers));
    });
}

fn one(dice: &mut Dice, workers: usize) {
    let (sender, receiver) = oneshot();
    let receiver = Arc::new(receiver);
    let history = History::<Oneshot>::new();
    let gate = Arc::new(AtomicUsize::new(ACTORS));
    let mut kind = || [Kind::Thread, Kind::Tasklet][dice.below(2)];
    let kinds = [kind(), kind(), kind()];
    let mut actors = Vec::new();
    actors.push(spawn(kinds[0], 0, &gate, {
        let (history, mut dice) = (history.clone(), dice.fork());
        move || {
            (0..dice.below(4)).for_each(|_| dawdle(&mut dice));
            let op = if dice.chance(80) { Op::Send(7) } else { Op::Leave };
            history.record(0, op, |op| give(op, sender));
        }
    }));
    for (actor, kind) in kinds.into_iter().enumerate().skip(1) {
        let (history, receiver, mut dice) = (history.clone(), receiver.clone(), dice.fork());
        actors.push(spawn(kind, actor % workers.max(1), &gate, move || {
            for _ in 0..OPERATIONS {
                let op = match dice.below(10) {
                    0..5 => Op::Recv,
                    5..9 => Op::TryRecv,
                    _ => Op::Close,
                };
                history.record(actor, op, |op| take(op, &receiver));
                dawdle(&mut dice);
            }
        }));
    }
    until(|| actors.iter().all(Running::is_finished));
    actors.into_iter().for_each(Running::join);
    history.check(&Oneshot);
}

fn give(op: &Op, sender: OneshotSender<u32>) -> Answer {
    match op {
        Op::Send(message) => sent(sender.send(*message), *message),
        _ => {
            drop(sender);
            Answer::Done
        }
    }
}

fn take(op: &Op, receiver: &OneshotReceiver<u32>) -> Answer {
    match op {
        Op::TryRecv => received(receiver.try_recv()),
        Op::Close => {
            receiver.close();
            Answer::Done
        }
        _ => received(receiver.recv_timeout(PATIENCE)),
    }
}
