//! Selects that race with each other, with kills, limits and closes: what is sent is received once, or comes back.

use std::time::Duration;

use tasklet_channels::{
    Channel, Receiver, Select, Sender, SharedChannel, TypedArm, bounded, rendezvous, select, unbounded,
};
use tasklet_core::backend::Backend;

use super::Case;
use super::setup::{Census, give_way, run, spawn, until};
use crate::stealing::setup::Counted;

/// A select that waits has taken nothing when it is killed, when its time is up, and when one of its channels is closed meanwhile.
pub fn what_ends_a_select_loses_nothing<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        for how in 0..3 {
            for round in 0..60 {
                let before = census.dropped();
                let ((a, from_a), (b, from_b)) = (rendezvous(), bounded(1));
                let received = spawn({
                    let (from_a, from_b) = (from_a.clone(), from_b.clone());
                    move || {
                        let take = |message: Result<Counted, _>| usize::from(message.is_ok());
                        let limit = if how == 1 { Duration::from_micros(round) } else { Duration::from_secs(100) };
                        select! {
                            recv(from_a) -> message => take(message),
                            recv(from_b) -> message => take(message),
                            recv(from_a) -> message => take(message),
                            default(limit) => 0,
                        }
                    }
                });
                if round % 3 != 0 {
                    until(|| a.blocked_receivers() == 2 || received.is_finished());
                }
                let sending = spawn({
                    let (a, b, census) = (a.clone(), b.clone(), census.clone());
                    move || {
                        let sent = a.try_send(census.one()).is_ok();
                        usize::from(sent) + usize::from(b.try_send(census.one()).is_ok())
                    }
                });
                (0..round % 4).for_each(|_| give_way());
                match how {
                    0 => received.kill(),
                    1 => {}
                    _ => drop((a.close(), b.close())),
                }
                let sent = sending.join().unwrap();
                let took = received.join().unwrap_or_default();
                // Those that came back were dropped too. One that was killed when it had been served has dropped nothing.
                assert_eq!(census.dropped() - before, took + 2 - sent, "{how} {round}");
                let left = from_a.try_iter().count() + from_b.try_iter().count();
                assert_eq!(took + left, sent, "{how} {round}");
                assert_eq!((a.blocked_receivers(), b.blocked_receivers()), (0, 0));
            }
        }
    });
    counted.assert_all_dropped();
}

/// A select that sends and is ended has its messages, or one of them was received.
pub fn what_ends_a_sending_select_doubles_nothing<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        for round in 0..120 {
            let ((a, from_a), (b, from_b)) = (rendezvous(), rendezvous());
            let sent = spawn({
                let (a, b, census) = (a.clone(), b.clone(), census.clone());
                move || {
                    select! {
                        send(a, census.one()) -> sent => usize::from(sent.is_ok()),
                        send(b, census.one()) -> sent => usize::from(sent.is_ok()),
                        default(Duration::from_micros(20 + round)) => 0,
                    }
                }
            });
            (0..round % 5).for_each(|_| give_way());
            let took = usize::from(from_a.try_recv().is_ok());
            let took = took + usize::from(from_b.try_recv().is_ok());
            let was_killed = round % 2 == 0;
            if was_killed {
                sent.kill();
            }
            let result = sent.join();
            assert!(took <= 1, "one of the two was sent at most");
            match result {
                Ok(sent) => assert_eq!(sent, took),
                Err(error) => assert!(was_killed && error.is_killed()),
            }
            assert_eq!((a.blocked_senders(), b.blocked_senders()), (0, 0));
        }
    });
    counted.assert_all_dropped();
}

/// Selects that send and receive at the same channels meet each other in pairs, whoever comes first; tasklets and threads.
pub fn selects_meet_selects<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        const ROUNDS: usize = 40;
        let ends: Vec<(Sender<u64>, Receiver<u64>)> = (0..3).map(|_| rendezvous()).collect();
        let act = move |ends: Vec<(Sender<u64>, Receiver<u64>)>, number: u64| {
            let (mut sent, mut got) = (0_u64, 0_u64);
            for round in 0..ROUNDS {
                let own = round % 3;
                let mut sends: Vec<_> = ends.iter().map(|(tx, _)| tx.send_arm(number)).collect();
                let mut takes: Vec<_> = ends.iter().map(|(_, rx)| rx.recv_arm()).collect();
                let mut select = Select::empty();
                sends.iter_mut().skip(own).for_each(|arm| _ = select.arm(arm));
                takes.iter_mut().for_each(|arm| _ = select.arm(arm));
                let Ok(chosen) = select.wait_timeout(Duration::from_millis(2)) else { continue };
                match chosen.checked_sub(3 - own) {
                    None => {
                        sends[own + chosen].output().unwrap();
                        sent += number;
                    }
                    Some(at) => got += takes[at].output().unwrap(),
                }
            }
            (sent, got)
        };
        let thread = std::thread::spawn({
            let ends = ends.clone();
            move || act(ends, 1000)
        });
        let tasklets: Vec<_> = (1..5)
            .map(|number| {
                let ends = ends.clone();
                who.spawn(async move { act(ends, number) })
            })
            .collect();
        until(|| thread.is_finished() && tasklets.iter().all(|tasklet| tasklet.is_finished()));
        let results = tasklets.into_iter().map(|tasklet| tasklet.join().unwrap());
        let (sent, got) =
            results.chain([thread.join().unwrap()]).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(sent, got, "each that was sent was received");
        for (tx, rx) in &ends {
            assert_eq!((tx.blocked_senders(), rx.blocked_receivers()), (0, 0));
        }
    });
}

/// Stackless's channel among the others: an exchange with it is one arm of many.
pub fn a_stackless_channel_is_an_arm<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let channel: SharedChannel<u32> = Channel::new().share();
        let (sender, receiver) = unbounded::<u32>();
        let waiting = who.spawn({
            let (channel, receiver) = (channel.clone(), receiver.clone());
            async move {
                select! { recv(channel) -> value => value.unwrap(), recv(receiver) -> value => value.unwrap() + 100 }
            }
        });
        until(|| channel.balance() == -1);
        channel.send(5).unwrap();
        assert_eq!((waiting.join().unwrap(), sender.blocked_receivers(), channel.balance()), (5, 0, 0));
        let giving = who.spawn({
            let (channel, receiver) = (channel.clone(), receiver.clone());
            async move {
                select! { send(channel, 7) -> sent => sent.is_ok(), recv(receiver) -> _ => false }
            }
        });
        until(|| channel.balance() == 1);
        assert_eq!(channel.recv().unwrap(), 7);
        assert!(giving.join().unwrap());
        channel.close();
        assert!(select! { recv(channel) -> value => value.unwrap_err().is_closed(), recv(receiver) -> _ => false });
        let mut arm = channel.send_arm(9);
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        assert_eq!(arm.output().unwrap_err().into_inner(), 9);
    });
}

/// In the code of an arm everything may be done again, five levels deep, also with the channels of the outer ones.
pub fn selects_nest_in_the_code_of_arms<B: Backend>(case: Case) {
    fn dive(receiver: &Receiver<u32>, back: &Sender<u32>, depth: u32) -> u32 {
        select! {
            recv(receiver) -> number => {
                let number = number.unwrap();
                if depth > 0 {
                    select! {
                        send(back, number) -> sent => sent.unwrap(),
                        recv(receiver) -> early => back.send(early.unwrap()).unwrap(),
                    }
                    return number + dive(receiver, back, depth - 1);
                }
                number
            }
        }
    }

    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = rendezvous();
        let (back, at_end) = unbounded();
        let source = who.spawn(async move {
            let mut sent = 0;
            while sent < 20 && who.send(&sender, sent).await.is_ok() {
                sent += 1;
            }
            sent
        });
        let sum = dive(&receiver, &back, 5);
        drop(receiver);
        let sent = source.join().unwrap();
        drop(back);
        let passed: Vec<_> = at_end.iter().collect();
        assert_eq!(passed.len(), 5);
        // Each was kept here, or passed on, or both; none is invented.
        assert!(sum <= (0..sent).sum() && passed.iter().all(|number| *number < sent));
    });
}

/// Of arms that send and arms that receive, all ready, each is chosen as often as the others.
pub fn arms_of_both_kinds_are_chosen_alike<B: Backend>(case: Case) {
    run::<B>(case, || {
        const ROUNDS: usize = 8_000;
        let ((full, from_full), (room, in_room)) = (unbounded(), unbounded());
        (0..ROUNDS).for_each(|number| full.send(number).unwrap());
        let closed = rendezvous::<usize>().0;
        let mut chosen = [0_usize; 4];
        for number in 0..ROUNDS {
            let arm = select! {
                recv(from_full) -> _ => 0,
                send(room, number) -> _ => 1,
                recv(from_full) -> _ => 2,
                closed(closed) -> _ => 3,
            };
            chosen[arm] += 1;
        }
        assert_eq!(in_room.len(), chosen[1]);
        assert_eq!(from_full.len(), ROUNDS - chosen[0] - chosen[2]);
        // Chi-square with three degrees of freedom: above 30 once in a million.
        let expected = ROUNDS as f64 / 4.0;
        let square: f64 = chosen.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        assert!(square < 30.0, "{chosen:?}");
    });
}

/// Those who wait in a select wait as long as others: a channel serves its oldest waiter, however that waits.
pub fn a_select_waits_in_turn<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = rendezvous();
        let mut waiting = Vec::new();
        for number in 0..6_usize {
            let receiver = receiver.clone();
            waiting.push(who.spawn(async move {
                let never = tasklet_channels::never::<usize>();
                let message = if number % 2 == 0 {
                    select! { recv(receiver) -> message => message, recv(never) -> message => message }
                } else {
                    who.recv(&receiver).await
                };
                message.unwrap()
            }));
            until(|| sender.blocked_receivers() == number + 1);
        }
        (0..6).for_each(|number| sender.try_send(number).unwrap());
        let got: Vec<_> = waiting.into_iter().map(|one| one.join().unwrap()).collect();
        assert_eq!(got, [0, 1, 2, 3, 4, 5]);
    });
}
