//! Select: what is ready, what is chosen, what those have that were not.

use tasklet_channels::{Select, TypedArm, bounded, never, rendezvous, select, select_biased, unbounded};
use tasklet_core::backend::Backend;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Arm, Found};
use tasklet_scheduler::stealing::CancelToken;

use super::Case;
use super::setup::{Census, Flag, run, spawn, until};

/// Operands are evaluated once, in the order they are written, whether their arm is chosen or not.
pub fn operands_are_evaluated_once_and_in_order<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = unbounded::<u8>();
        let (full, _kept) = rendezvous::<u8>();
        let nothing = never::<u8>();
        let mut evaluated = Vec::new();
        sender.send(1).unwrap();
        let chosen = select! {
            recv({ evaluated.push("first"); &nothing }) -> _ => 0,
            send({ evaluated.push("second"); &full }, { evaluated.push("message"); 5 }) -> _ => 1,
            recv({ evaluated.push("third"); &receiver }) -> message => message.unwrap() + 1,
        };
        assert_eq!(chosen, 2);
        assert_eq!(evaluated, ["first", "second", "message", "third"]);
    });
}

/// A closed channel is ready, in every kind of arm.
pub fn closed_channels_are_ready<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = bounded::<u8>(1);
        sender.close();
        select! { recv(receiver) -> message => assert!(message.unwrap_err().is_closed()) }
        select! { send(sender, 7) -> sent => assert_eq!(sent.unwrap_err().into_inner(), 7) }
        select! { closed(sender) -> closed => assert!(closed.is_ok()) }
        // Those who wait in a select hear of it too.
        let (sender, receiver) = rendezvous::<u8>();
        let waiting = {
            let receiver = receiver.clone();
            spawn(move || {
                select! {
                    recv(receiver) -> message => message.unwrap_err().is_closed(),
                    recv(never::<u8>()) -> _ => false,
                }
            })
        };
        until(|| sender.blocked_receivers() == 1);
        sender.close();
        assert!(waiting.join().unwrap());
    });
}

/// Nothing ready: the default. Without arms too.
pub fn a_default_is_for_when_nothing_is_ready<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = bounded(1);
        assert_eq!(select! { recv(receiver) -> _ => 1, default => 2 }, 2);
        sender.send(()).unwrap();
        assert_eq!(select! { send(sender, ()) -> _ => 0, recv(receiver) -> _ => 1, default => 2 }, 1);
        assert_eq!(select! { default => 3 }, 3);
        assert!(Select::empty().try_now().unwrap_err().is_would_block());
    });
}

/// One channel in several arms, and a select within a select's code.
pub fn a_channel_may_be_in_several_arms<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = rendezvous();
        let source = who.spawn(async move {
            for number in 0..300 {
                who.send(&sender, number).await.unwrap();
            }
        });
        let (mut next, mut chosen) = (0, [0; 3]);
        while next < 300 {
            select! {
                recv(receiver) -> message => { assert_eq!(message, Ok(next)); chosen[0] += 1; }
                recv(receiver) -> message => { assert_eq!(message, Ok(next)); chosen[1] += 1; }
                recv(never::<u8>()) -> _ => unreachable!(),
                recv(receiver) -> message => {
                    assert_eq!(message, Ok(next));
                    chosen[2] += 1;
                    next += 1;
                    if next == 300 { break; }
                    select! { recv(receiver) -> message => assert_eq!(message, Ok(next)) }
                }
            }
            next += 1;
        }
        assert!(chosen.iter().all(|count| *count > 0), "{chosen:?}");
        source.join().unwrap();
    });
}

/// An arm that sends and one that receives on the same channel wait for others, not for each other; two such selects meet.
pub fn a_select_never_meets_itself<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = rendezvous::<u8>();
        assert_eq!(select! { send(sender, 1) -> _ => 1, recv(receiver) -> _ => 2, default => 3 }, 3);
        for _ in 0..100 {
            let pair: Vec<_> = (0..2)
                .map(|number| {
                    let (sender, receiver) = (sender.clone(), receiver.clone());
                    who.spawn(async move {
                        select! {
                            send(sender, number) -> sent => { sent.unwrap(); None }
                            recv(receiver) -> message => Some(message.unwrap()),
                        }
                    })
                })
                .collect();
            let ends: Vec<_> = pair.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(ends == [None, Some(0)] || ends == [Some(1), None], "{ends:?}");
        }
        assert_eq!((sender.blocked_senders(), sender.blocked_receivers()), (0, 0));
    });
}

/// Of arms that are always ready, each is chosen as often as the others. Seven standard deviations are allowed: of the 25 counts here, in
/// four cases on four backends, chance alone puts one further off once in some hundred million runs of them all.
pub fn ready_arms_are_chosen_alike<B: Backend>(case: Case) {
    run::<B>(case, || {
        const ROUNDS: usize = 12_000;
        for arms in [2, 3, 8, 12] {
            let channels: Vec<_> = (0..arms).map(|_| unbounded()).collect();
            channels.iter().for_each(|(sender, _)| sender.send(()).unwrap());
            let mut chosen = vec![0_usize; arms];
            for _ in 0..ROUNDS {
                let mut list: Vec<_> = channels.iter().map(|(_, receiver)| receiver.recv_arm()).collect();
                let arm = Select::new(&mut list).wait().unwrap();
                list[arm].output().unwrap();
                chosen[arm] += 1;
                channels[arm].0.send(()).unwrap();
            }
            let expected = ROUNDS as f64 / arms as f64;
            let allowed = 7.0 * (expected * (1.0 - 1.0 / arms as f64)).sqrt();
            for count in &chosen {
                assert!((*count as f64 - expected).abs() < allowed, "{chosen:?}");
            }
        }
    });
}

/// A biased select takes the first that is ready, always: those after it starve.
pub fn a_biased_select_takes_the_first<B: Backend>(case: Case) {
    run::<B>(case, || {
        let channels: Vec<_> = (0..3).map(|_| unbounded()).collect();
        (1..3).for_each(|at| (0..50).for_each(|_| channels[at].0.send(at).unwrap()));
        for _ in 0..50 {
            let mut list: Vec<_> = channels.iter().map(|(_, receiver)| receiver.recv_arm()).collect();
            assert_eq!(Select::new_biased(&mut list).wait(), Ok(1));
            assert_eq!(list[1].output(), Ok(1));
        }
        assert_eq!(select_biased! { recv(channels[0].1) -> _ => 0, recv(channels[2].1) -> _ => 2, default => 3 }, 2);
    });
}

/// Thousands of arms, of which the last is served while they wait.
pub fn thousands_of_arms_wait<B: Backend>(case: Case) {
    run::<B>(case, || {
        let channels: Vec<_> = (0..3_000).map(|_| rendezvous()).collect();
        let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
        let waiting = spawn(move || {
            let mut list: Vec<_> = channels.iter().map(|(_, receiver)| receiver.recv_arm()).collect();
            let arm = Select::new(&mut list).wait().unwrap();
            let message: usize = list[arm].output().unwrap();
            drop(list);
            let left = channels.iter().filter(|(sender, _)| sender.blocked_receivers() != 0).count();
            (arm, message, left)
        });
        until(|| senders.iter().all(|sender| sender.blocked_receivers() == 1));
        senders[2_998].try_send(7).unwrap();
        assert_eq!(waiting.join().unwrap(), (2_998, 7, 0));
    });
}

/// Messages of arms that were not chosen are dropped with the arm, those of chosen ones arrive, and none twice.
pub fn losing_arms_keep_their_messages<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let who = case.who;
        let pairs: Vec<_> = (0..3).map(|_| rendezvous()).collect();
        let sinks: Vec<_> = pairs
            .iter()
            .map(|(_, receiver)| {
                let receiver = receiver.clone();
                who.spawn(async move { who.count(&receiver).await })
            })
            .collect();
        let rounds = 200;
        for _ in 0..rounds {
            let before = census.made();
            let (a, b, c) = (&pairs[0].0, &pairs[1].0, &pairs[2].0);
            select! {
                send(a, census.one()) -> sent => sent.unwrap(),
                send(b, census.one()) -> sent => sent.unwrap(),
                send(c, census.one()) -> sent => sent.unwrap(),
            }
            assert_eq!(census.made() - before, 3);
        }
        drop(pairs);
        let received: usize = sinks.into_iter().map(|sink| sink.join().unwrap()).sum();
        assert_eq!(received, rounds);
    });
    counted.assert_all_dropped();
}

/// An arm that was not chosen may be selected again, with its message.
pub fn an_arm_may_be_selected_again<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (first, first_receiver) = bounded(1);
        let (second, second_receiver) = bounded(1);
        second.send("full").unwrap();
        let mut arms = [first.send_arm("one"), second.send_arm("two")];
        assert_eq!(Select::new(&mut arms).wait(), Ok(0));
        arms[0].output().unwrap();
        let (_, left) = arms.split_at_mut(1);
        assert!(Select::new(&mut *left).try_now().unwrap_err().is_would_block());
        assert_eq!(second_receiver.recv(), Ok("full"));
        assert_eq!(Select::new(&mut *left).wait(), Ok(0));
        left[0].output().unwrap();
        assert_eq!((first_receiver.recv(), second_receiver.recv()), (Ok("one"), Ok("two")));
    });
}

/// The end of a tasklet and that of a channel, both while the select waits and before.
pub fn joins_and_ends_are_arms<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for waits in [true, false] {
            let go = Flag::default();
            let gate = go.clone();
            let (sender, receiver) = rendezvous::<u8>();
            let child = who.spawn(async move {
                who.until(|| gate.is_set()).await;
                5
            });
            if waits {
                let other = who.spawn({
                    let sender = sender.clone();
                    async move {
                        who.until(|| sender.blocked_receivers() == 1).await;
                        go.set();
                    }
                });
                select! { recv(receiver) -> _ => unreachable!(), join(child) -> () => {} }
                other.join().unwrap();
            } else {
                go.set();
                until(|| child.is_finished());
                select! { recv(receiver) -> _ => unreachable!(), join(child) -> () => {} }
            }
            assert_eq!(child.join().unwrap(), 5);
            let watching = spawn({
                let sender = sender.clone();
                move || select! { closed(sender) -> closed => closed.is_ok(), recv(receiver) -> message => message.is_err() }
            });
            until(|| sender.blocked_receivers() == 1);
            sender.close();
            assert!(watching.join().unwrap());
        }
    });
}

/// A token that is cancelled, before and while the select waits.
pub fn a_cancellation_is_an_arm<B: Backend>(case: Case) {
    run::<B>(case, || {
        for waits in [true, false] {
            let token = CancelToken::new();
            let (sender, receiver) = rendezvous::<u8>();
            if !waits {
                token.cancel();
            }
            let waiting = spawn({
                let token = token.clone();
                move || select! { recv(receiver) -> _ => false, cancelled(token) -> () => true }
            });
            if waits {
                until(|| sender.blocked_receivers() == 1);
                token.cancel();
            }
            assert!(waiting.join().unwrap());
        }
    });
}

/// An arm for the caller's own token is chosen whenever that is cancelled: before the select, while it looks, while it waits.
pub fn the_callers_own_cancellation_is_an_arm<B: Backend>(case: Case) {
    /// An arm that does something when it is looked at, and is never ready.
    struct Act<F>(F);

    // SAFETY: it has no place and enters no list.
    unsafe impl<F: FnMut()> Arm for Act<F> {
        fn look(&mut self, _: &dyn Scheduler) -> Found {
            (self.0)();
            Found::Wait
        }

        fn delist(&mut self) {}

        fn is_shared(&self) -> bool {
            true
        }
    }

    impl<F: FnMut()> TypedArm for Act<F> {
        type Output = ();

        fn output(&mut self) {}
    }

    case.run::<B, _>(|| {
        for when in 0..3 {
            let token = CancelToken::new();
            let (sender, receiver) = rendezvous::<u8>();
            let waiting = spawn({
                let token = token.clone();
                move || {
                    token.run(|| {
                        if when == 0 {
                            token.cancel();
                        }
                        let while_looking = || {
                            if when == 1 {
                                token.cancel()
                            }
                        };
                        select_biased! {
                            cancelled(token) -> () => true,
                            recv(receiver) -> _ => false,
                            arm(Act(while_looking)) -> () => false,
                        }
                    })
                }
            });
            if when == 2 {
                until(|| sender.blocked_receivers() == 1);
                token.cancel();
            }
            assert!(waiting.join().unwrap(), "{when}");
        }
    });
}

/// Names of the caller mean the same within the macro, and its forms may be mixed with others.
pub fn names_of_the_caller_are_left_alone<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (arm, arms, chosen, operand, result, number, output, select) = (1, 2, 3, 4, 5, 6, 7, 8);
        let sum = || arm + arms + chosen + operand + result + number + output + select;
        let (sender, receiver) = bounded(1);
        let sent = select! {
            send(sender, arm + arms + chosen + operand + result + number + output + select) -> sent => {
                sent.unwrap();
                arm + arms + chosen + operand + result + number + output + select
            }
            recv(receiver) -> _ => 0
        };
        assert_eq!((sent, receiver.recv()), (sum(), Ok(sum())));
        sender.send(1).unwrap();
        let mut rounds = 0;
        loop {
            rounds += 1;
            select! { recv(receiver) -> Ok(_) | Err(_) => continue, default => break }
        }
        assert_eq!(rounds, 2);
    });
}

/// Selects that could serve each other in a circle all go on, and as much is received as sent.
pub fn selects_in_a_circle_go_on<B: Backend>(case: Case) {
    run::<B>(case, || {
        const ROUNDS: usize = 150;
        let places: Vec<_> = (0..3).map(|_| rendezvous::<usize>()).collect();
        let all: Vec<_> = (0..3)
            .map(|at| {
                let (to, from) = (places[at].0.clone(), places[(at + 1) % 3].1.clone());
                let work = move || {
                    let (mut sent, mut received) = (0, 0);
                    while sent < ROUNDS || received < ROUNDS {
                        // Sends as long as it has to, receives as long as it may.
                        match (sent < ROUNDS, received < ROUNDS) {
                            (true, true) => select! {
                                send(to, sent) -> done => { done.unwrap(); sent += 1; }
                                recv(from) -> message => { assert_eq!(message, Ok(received)); received += 1; }
                            },
                            (true, false) => {
                                to.send(sent).unwrap();
                                sent += 1;
                            }
                            _ => {
                                assert_eq!(from.recv(), Ok(received));
                                received += 1;
                            }
                        }
                    }
                };
                if at == 0 { Err(std::thread::spawn(work)) } else { Ok(spawn(work)) }
            })
            .collect();
        for one in all {
            match one {
                Ok(tasklet) => tasklet.join().unwrap(),
                Err(thread) => {
                    until(|| thread.is_finished());
                    thread.join().unwrap();
                }
            }
        }
    });
}
