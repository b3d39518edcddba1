//! Selects that are copied away while they wait.

use std::time::Duration;

use tasklet_channels::{Receiver, Select, Sender, TypedArm, bounded, never, rendezvous, select, unbounded};
use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing::CancelToken;

use super::Case;
use super::setup::{Census, evict, ignore, run, spawn, spawn_here, spawn_waiting, until};

/// Every kind of arm beside every other, each chosen once; then each is used again.
pub fn every_arm_is_chosen<B: Backend>(case: Case) {
    run::<B>(case, || {
        for chosen in 0..6 {
            let (sender, receiver) = rendezvous::<u32>();
            let (to, from) = rendezvous::<[u64; 5]>();
            let (ends, ended) = bounded::<u8>(1);
            let token = CancelToken::new();
            let (gate, opened) = rendezvous::<()>();
            let child = spawn_here(move || opened.recv());
            let own = token.clone();
            let (again, kept) = (receiver.clone(), ended.clone());
            let waiting = spawn_waiting(move |ready| {
                let mine = std::hint::black_box([0x1234_u16; 40]);
                ready();
                let which = select! {
                    recv(receiver) -> got => { assert_eq!(got, Ok(9)); 0 },
                    send(to, [3; 5]) -> sent => { sent.unwrap(); 1 },
                    closed(ends) -> closed => { closed.unwrap(); 2 },
                    join(child) -> () => 3,
                    cancelled(own) -> () => 4,
                    recv(never::<u8>()) -> _ => unreachable!(),
                    default(Duration::from_millis(if chosen == 5 { 1 } else { 100_000 })) => 5,
                };
                assert!(std::hint::black_box(mine).iter().all(|word| *word == 0x1234));
                which
            });
            match chosen {
                0 => sender.send(9).unwrap(),
                1 => assert_eq!(from.recv(), Ok([3; 5])),
                2 => drop((ended, kept)),
                3 => gate.send(()).unwrap(),
                4 => token.cancel(),
                _ => {}
            }
            evict();
            assert_eq!(waiting.join().unwrap(), chosen);
            assert_eq!((sender.blocked_receivers(), from.blocked_senders()), (0, 0), "it has left all lists");
            drop(again);
        }
    });
}

/// Arms in variables, in an array, in a list on the heap, boxed; more of them than a select has room for on the stack.
pub fn arms_lie_anywhere<B: Backend>(case: Case) {
    fn in_variables(receivers: &[Receiver<usize>], ready: &dyn Fn()) -> (usize, usize) {
        let (mut first, mut second, mut third) =
            (receivers[0].recv_arm(), receivers[1].recv_arm(), receivers[2].recv_arm());
        ready();
        match Select::new([&mut first, &mut second, &mut third]).wait().unwrap() {
            0 => (0, first.output().unwrap()),
            1 => (1, second.output().unwrap()),
            _ => (2, third.output().unwrap()),
        }
    }

    fn in_a_list(receivers: &[Receiver<usize>], ready: &dyn Fn()) -> (usize, usize) {
        let mut list: Vec<_> = receivers.iter().map(Receiver::recv_arm).collect();
        ready();
        let arm = Select::new(&mut list).wait().unwrap();
        (arm, list[arm].output().unwrap())
    }

    fn in_an_array(receivers: &[Receiver<usize>], ready: &dyn Fn()) -> (usize, usize) {
        let mut array = [0, 1, 2].map(|at: usize| receivers[at].recv_arm());
        ready();
        let arm = Select::new(&mut array).wait().unwrap();
        (arm, array[arm].output().unwrap())
    }

    fn boxed(receivers: &[Receiver<usize>], ready: &dyn Fn()) -> (usize, usize) {
        let (mut first, mut second, mut third) =
            (Box::new(receivers[0].recv_arm()), receivers[1].recv_arm(), Box::new(receivers[2].recv_arm()));
        ready();
        match Select::new([&mut *first, &mut second, &mut *third]).wait().unwrap() {
            0 => (0, first.output().unwrap()),
            1 => (1, second.output().unwrap()),
            _ => (2, third.output().unwrap()),
        }
    }

    type Wait = fn(&[Receiver<usize>], &dyn Fn()) -> (usize, usize);
    run::<B>(case, || {
        let ways: [(Wait, usize); 5] =
            [(in_variables, 3), (in_a_list, 3), (in_a_list, 40), (in_an_array, 3), (boxed, 3)];
        for (wait, count) in ways {
            for chosen in [0, 1, 2, count - 1] {
                let channels: Vec<(Sender<usize>, Receiver<usize>)> = (0..count).map(|_| rendezvous()).collect();
                let receivers: Vec<_> = channels.iter().map(|(_, receiver)| receiver.clone()).collect();
                let waiting = spawn_waiting(move |ready| wait(&receivers, ready));
                assert!(channels.iter().all(|(sender, _)| sender.blocked_receivers() == 1));
                channels[chosen].0.send(chosen + 100).unwrap();
                evict();
                assert_eq!(waiting.join().unwrap(), (chosen, chosen + 100));
                assert!(channels.iter().all(|(sender, _)| sender.blocked_receivers() == 0));
            }
        }
    });
}

/// Several arms at one place are neighbours in its list, among those of others; all are copied away and back, in any order, and the list is
/// what it was.
pub fn neighbours_at_one_place_stay_in_order<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = rendezvous::<usize>();
        let (other, kept) = rendezvous::<usize>();
        let waiting: Vec<_> = (0..4)
            .map(|number| {
                let (receiver, other) = (receiver.clone(), kept.clone());
                let waiting = spawn_waiting(move |ready| {
                    ready();
                    if number % 2 == 0 {
                        return receiver.recv().unwrap();
                    }
                    select! {
                        recv(receiver) -> got => got.unwrap(),
                        recv(other) -> got => got.unwrap(),
                        recv(receiver) -> got => got.unwrap(),
                        recv(other) -> got => got.unwrap(),
                        recv(receiver) -> got => got.unwrap(),
                    }
                });
                evict();
                waiting
            })
            .collect();
        assert_eq!((sender.blocked_receivers(), other.blocked_receivers()), (2 + 2 * 3, 2 * 2));
        for number in 0..4 {
            sender.send(number).unwrap();
            evict();
        }
        let got: Vec<_> = waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect();
        assert_eq!(got, [0, 1, 2, 3], "oldest first");
        assert_eq!((sender.blocked_receivers(), other.blocked_receivers()), (0, 0));
    });
}

/// A select in the code of another's arm, in a call, both copied away.
pub fn selects_nest<B: Backend>(case: Case) {
    fn inner(receiver: &Receiver<u32>, outer: &[u64; 16]) -> u32 {
        let nothing = never::<u8>();
        let got = select! { recv(receiver) -> got => got.unwrap(), recv(nothing) -> _ => unreachable!() };
        assert!(outer.iter().all(|word| *word == 5));
        got
    }

    run::<B>(case, || {
        let (sender, receiver) = unbounded::<u32>();
        let (last, end) = rendezvous::<u8>();
        let waiting = spawn_waiting(move |ready| {
            let words = std::hint::black_box([5_u64; 16]);
            ready();
            let mut sum = 0;
            loop {
                select! {
                    recv(receiver) -> got => sum += got.unwrap() + inner(&receiver, &words),
                    recv(end) -> _ => break sum,
                }
            }
        });
        for number in 0..10 {
            sender.send(number).unwrap();
            evict();
        }
        last.send(0).unwrap();
        evict();
        assert_eq!(waiting.join().unwrap(), 45);
    });
}

/// What ends a select while it is away: its arms' messages are dropped once, and it is in no list afterwards.
pub fn a_select_is_killed_and_closed<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        for is_killed in [true, false] {
            let (sender, receiver) = rendezvous();
            let (other, from) = rendezvous();
            let messages = [census.one(), census.one()];
            let before = census.dropped();
            let waiting = spawn_waiting({
                let (sender, other) = (sender.clone(), other.clone());
                move |ready| {
                    let [first, second] = messages;
                    ready();
                    select! {
                        send(sender, first) -> sent => sent.is_err(),
                        send(other, second) -> sent => sent.is_err(),
                    }
                }
            });
            assert_eq!((receiver.blocked_senders(), from.blocked_senders()), (1, 1));
            if is_killed {
                waiting.kill();
            } else {
                receiver.close();
            }
            evict();
            match waiting.join() {
                Ok(failed) => assert!(failed && !is_killed),
                Err(error) => assert!(error.is_killed() && is_killed),
            }
            assert_eq!((receiver.blocked_senders(), from.blocked_senders()), (0, 0));
            assert_eq!(census.dropped(), before + 2);
        }
    });
    counted.assert_all_dropped();
}

/// Threads serve selects that are copied away and back all the time: nothing is lost or doubled.
pub fn threads_choose_an_arm<B: Backend>(case: Case) {
    const ROUNDS: usize = 400;
    run::<B>(case, || {
        let channels = [rendezvous::<usize>(), rendezvous(), bounded(1)];
        let threads: Vec<_> = channels
            .iter()
            .map(|(sender, _)| {
                let sender = sender.clone();
                std::thread::spawn(move || (0..ROUNDS).for_each(|number| sender.send(number).unwrap()))
            })
            .collect();
        // With senders that stay, so that all end together.
        let (_senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let receivers = receivers.clone();
                spawn(move || {
                    let [first, second, third] = &receivers[..] else { unreachable!() };
                    let (mut sum, mut count, mut open) = (0, 0, 3);
                    while open > 0 {
                        let got = select! { recv(first) -> got => got, recv(second) -> got => got, recv(third) -> got => got };
                        match got {
                            Ok(number) => (sum, count) = (sum + number, count + 1),
                            // All are closed together, by the test.
                            Err(_) => open = 0,
                        }
                    }
                    (sum, count)
                })
            })
            .collect();
        until(|| threads.iter().all(std::thread::JoinHandle::is_finished));
        // What is in the buffer is still received.
        receivers.iter().for_each(|receiver| until(|| receiver.is_empty()));
        receivers.iter().for_each(|receiver| ignore(receiver.close()));
        let all = waiting.into_iter().map(|waiting| waiting.join().unwrap());
        let (sum, count) = all.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        assert_eq!((sum, count), (3 * ROUNDS * (ROUNDS - 1) / 2, 3 * ROUNDS));
    });
}
