//! Broadcast and watch: messages that are for everybody who listens.

use std::sync::Arc;
use std::time::Duration;

use tasklet_channels::{WatchSender, broadcast, rendezvous, select, unbounded, watch};
use tasklet_core::backend::Backend;

use super::Case;
use super::executor::block_on_alone;
use super::setup::{Census, give_way, run, until};

/// Everybody who listens has every message, in order; who comes later has the later ones.
pub fn everybody_has_every_message<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, first) = broadcast(8);
        let second = sender.subscribe();
        assert_eq!((sender.receiver_count(), sender.send(1), sender.send(2)), (2, Ok(2), Ok(2)));
        let late = sender.subscribe();
        let copy = first.clone();
        assert_eq!(sender.send(3), Ok(4));
        for receiver in [&first, &second, &copy] {
            assert_eq!(receiver.len(), 3);
            for expected in 1..=3 {
                assert_eq!(*receiver.recv().unwrap(), expected);
            }
            assert!(receiver.is_empty() && receiver.try_recv().unwrap_err().is_would_block());
        }
        assert_eq!(*late.recv().unwrap(), 3);
        let (other, _receiver) = broadcast::<i32>(8);
        assert!(sender.same_channel(&sender.clone()) && !sender.same_channel(&other));
    });
}

/// Those who wait are woken by the next message, all of them, and by the end.
pub fn a_message_wakes_all_listeners<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, first) = broadcast(2);
        let listeners: Vec<_> = (0..4)
            .map(|number| {
                let receiver = first.clone();
                who.spawn(async move {
                    let news = match number {
                        0 => who.recv(&receiver).await.unwrap(),
                        1 => block_on_alone(receiver.recv_async()).unwrap(),
                        2 => select! { recv(receiver) -> news => news.unwrap() },
                        _ => receiver.recv_timeout(Duration::from_secs(60)).unwrap(),
                    };
                    let end = who.recv(&receiver).await.unwrap_err();
                    (*news, end.is_closed())
                })
            })
            .collect();
        (0..20).for_each(|_| give_way());
        assert_eq!(sender.send(5), Ok(5));
        drop(sender);
        for listener in listeners {
            assert_eq!(listener.join().unwrap(), (5, true));
        }
        assert_eq!(*first.recv().unwrap(), 5);
        assert!(first.recv().unwrap_err().is_closed());
    });
}

/// Who is too slow is told how many messages were missed, and goes on with the oldest that is kept.
pub fn a_slow_listener_is_told_what_it_missed<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = broadcast(3);
        (0..10).for_each(|number| _ = sender.send(number));
        assert_eq!((sender.len(), receiver.len()), (3, 3));
        let error = receiver.recv().unwrap_err();
        assert_eq!(error.lagged(), Some(7));
        assert!(!error.is_closed() && !error.is_timeout() && error.park_error().is_none());
        assert_eq!([7, 8, 9].map(|_| *receiver.recv().unwrap()), [7, 8, 9]);
        drop(sender);
        assert!(receiver.recv().unwrap_err().is_closed());
    });
}

/// Without a listener a message comes back; one that nobody can have any more is dropped, each once.
pub fn messages_for_nobody_come_back<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let (sender, receiver) = broadcast(2);
        (0..3).for_each(|_| drop(sender.send(census.one())));
        assert_eq!(census.dropped(), 1, "the oldest has no room");
        drop(receiver);
        assert_eq!(census.dropped(), 3, "nobody is left to have the others");
        let error = sender.send(census.one()).unwrap_err();
        assert!(error.is_closed());
        drop(error.into_inner());
        // Somebody comes again.
        let receiver = sender.subscribe();
        assert!(receiver.is_empty());
        assert_eq!(sender.send(census.one()).map_err(drop), Ok(1));
        assert!(receiver.recv().is_ok());
    });
    counted.assert_all_dropped();
}

/// A value that is watched: what it is counts, not what it was.
pub fn a_watcher_sees_the_latest_value<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, mut first) = watch(0);
        assert!(!first.has_changed());
        let second = first.clone();
        for value in 1..=3 {
            sender.send(value).unwrap();
        }
        assert!(first.has_changed() && second.has_changed());
        first.changed().unwrap();
        assert_eq!((*first.peek(), first.has_changed()), (3, true));
        assert_eq!((*first.get(), first.has_changed()), (3, false));
        assert!(second.has_changed(), "each has seen what it has seen");
        assert_eq!(*sender.replace(4), 3);
        let late = sender.subscribe();
        assert!(!late.has_changed() && *late.peek() == 4);
        assert_eq!(sender.receiver_count(), 3);
        assert!(first.changed_timeout(Duration::ZERO).is_ok());
        first.get();
        assert!(first.changed_timeout(Duration::from_micros(10)).unwrap_err().is_timeout());
        drop((first, second, late));
        assert_eq!(sender.send(5).unwrap_err().into_inner(), 5);
        assert_eq!((*sender.get(), sender.receiver_count()), (4, 0));
    });
}

/// Those who wait for a change are all woken by one, in every form of waiting, and by the end of the last sender.
pub fn a_change_wakes_all_watchers<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, first) = watch(0);
        let (ready, is_ready) = rendezvous();
        let watchers: Vec<_> = (0..4)
            .map(|number| {
                let (mut receiver, ready) = (first.clone(), ready.clone());
                who.spawn(async move {
                    who.send(&ready, ()).await.unwrap();
                    match number {
                        0 => who.changed(&receiver).await.unwrap(),
                        1 => block_on_alone(receiver.changed_async()).unwrap(),
                        2 => select! { changed(receiver) -> changed => changed.unwrap() },
                        _ => drop(receiver.wait_for(|value| *value == 9).unwrap()),
                    }
                    let seen = receiver.get();
                    (*seen, who.changed(&receiver).await.unwrap_err().is_closed(), receiver.is_closed())
                })
            })
            .collect();
        (0..4).for_each(|_| is_ready.recv().unwrap());
        let other = sender.clone();
        sender.send(9).unwrap();
        drop(sender);
        let ending = who.spawn(async move {
            for _ in 0..5 {
                who.give_way().await;
            }
            drop(other);
        });
        for watcher in watchers {
            assert_eq!(watcher.join().unwrap(), (9, true, true));
        }
        ending.join().unwrap();
    });
}

/// A close and a send are one after the other: what was sent is seen by whoever looks until told of the end.
pub fn a_watch_shows_all_that_was_sent<B: Backend>(case: Case) {
    run::<B>(case, || {
        const ROUNDS: u32 = 3_000;
        let (turns, next) = rendezvous::<WatchSender<u32>>();
        let (sent, was_sent) = unbounded();
        let sending = std::thread::spawn(move || {
            for sender in next.iter() {
                sent.send(sender.send(1).is_ok()).unwrap();
            }
        });
        for round in 0..ROUNDS {
            let (sender, mut receiver) = watch(0);
            turns.send(sender.clone()).unwrap();
            (0..round % 61).for_each(|_| std::hint::spin_loop());
            sender.close();
            let mut seen = 0;
            while receiver.changed().is_ok() {
                seen = *receiver.get();
            }
            assert_eq!(was_sent.recv().unwrap(), seen == 1, "{round}");
        }
        drop(turns);
        until(|| sending.is_finished());
        sending.join().unwrap();
    });
}

/// A value that is watched is dropped when it was replaced and nobody holds it.
pub fn watched_values_are_dropped_once<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let (sender, mut receiver) = watch(census.one());
        let held = receiver.get();
        sender.send(census.one()).unwrap();
        assert_eq!(census.dropped(), 0);
        drop(held);
        assert_eq!(census.dropped(), 1);
        let last = receiver.get();
        drop((sender, receiver));
        assert_eq!((census.dropped(), Arc::strong_count(&last)), (1, 1));
    });
    until(|| counted.dropped() == 2);
    counted.assert_all_dropped();
}
