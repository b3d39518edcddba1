//! Channels with a buffer: order, room, counts, messages of every kind.

use std::cell::Cell;

use tasklet_channels::{bounded, try_bounded, unbounded};
use tasklet_core::backend::Backend;

use super::Case;
use super::setup::{Census, run, until};

/// First in, first out, in every flavour.
pub fn messages_come_in_the_order_they_were_sent<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [Some(0), Some(1), Some(2), Some(7), None] {
            let (sender, receiver) = capacity.map_or_else(unbounded, bounded);
            let source = who.spawn(async move {
                for number in 0..100 {
                    who.send(&sender, number).await.unwrap();
                }
            });
            assert_eq!(receiver.iter().collect::<Vec<u32>>(), (0..100).collect::<Vec<_>>(), "{capacity:?}");
            source.join().unwrap();
        }
    });
}

/// A full buffer refuses, and gives the message back; an empty one has nothing.
pub fn a_full_buffer_gives_the_message_back<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = bounded(2);
        assert!(receiver.try_recv().unwrap_err().is_would_block());
        for number in 0..2 {
            assert!(!sender.is_full());
            assert_eq!(sender.len(), number);
            sender.try_send(number).unwrap();
        }
        assert!(sender.is_full() && receiver.is_full());
        let error = sender.try_send(2).unwrap_err();
        assert!(error.is_would_block() && !error.is_closed());
        assert_eq!(error.into_inner(), 2);
        assert_eq!((receiver.recv().unwrap(), receiver.len()), (0, 1));
        sender.try_send(3).unwrap();
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 3]);
        assert!(receiver.is_empty() && !receiver.is_closed());
    });
}

/// A sender that waits is let in when there is room, the oldest first, and its message is behind those in the buffer.
pub fn waiting_senders_are_let_in_oldest_first<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(1);
        sender.send(0).unwrap();
        let mut sources = Vec::new();
        for number in 1..5 {
            let sender = sender.clone();
            sources.push(who.spawn(async move { who.send(&sender, number).await.unwrap() }));
            until(|| receiver.blocked_senders() == number);
        }
        for number in 0..5 {
            assert_eq!(receiver.recv().unwrap(), number);
            assert_eq!(receiver.blocked_senders(), 3_usize.saturating_sub(number));
        }
        sources.into_iter().for_each(|source| source.join().unwrap());
    });
}

/// Receivers that wait are served oldest first.
pub fn waiting_receivers_are_served_oldest_first<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [0, 1, 9] {
            let (sender, receiver) = bounded(capacity);
            let mut sinks = Vec::new();
            for number in 0..4 {
                let receiver = receiver.clone();
                sinks.push(who.spawn(async move { who.recv(&receiver).await.unwrap() }));
                until(|| sender.blocked_receivers() == number + 1);
            }
            (0..4).for_each(|number| sender.try_send(number).unwrap());
            let received: Vec<usize> = sinks.into_iter().map(|sink| sink.join().unwrap()).collect();
            assert_eq!(received, [0, 1, 2, 3]);
            assert!(sender.is_empty());
        }
    });
}

/// Capacities as given; one that no memory could hold is an error.
pub fn absurd_capacities_are_an_error<B: Backend>(case: Case) {
    run::<B>(case, || {
        assert_eq!(bounded::<u8>(0).0.capacity(), Some(0));
        assert_eq!(bounded::<u8>(7).1.capacity(), Some(7));
        assert_eq!(unbounded::<u8>().0.capacity(), None);
        assert!(try_bounded::<u8>(usize::MAX).is_err());
        assert!(try_bounded::<()>(usize::MAX).is_err());
        assert!(try_bounded::<u64>(usize::MAX / 8).is_err());
        // Memory is taken for what is there.
        let (sender, receiver) = try_bounded::<u8>(isize::MAX as usize).unwrap();
        sender.send(1).unwrap();
        assert_eq!(receiver.recv(), Ok(1));
    });
}

/// Messages without a size, a large one, one that may not be shared.
pub fn messages_of_every_kind_arrive<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded(capacity);
            let source = who.spawn(async move {
                for _ in 0..10 {
                    who.send(&sender, ()).await.unwrap();
                }
            });
            assert_eq!(receiver.iter().count(), 10);
            source.join().unwrap();

            let (sender, receiver) = bounded(capacity);
            let source = who.spawn(async move {
                for number in 0..3 {
                    who.send(&sender, vec![number; 1 << 20]).await.unwrap();
                }
            });
            for number in 0..3_u8 {
                let message = receiver.recv().unwrap();
                assert!(message.iter().all(|byte| *byte == number));
            }
            source.join().unwrap();

            let (sender, receiver) = bounded(capacity);
            let source = who.spawn(async move { who.send(&sender, Cell::new(5)).await.unwrap() });
            let cell = receiver.recv().unwrap();
            cell.set(cell.get() + 1);
            assert_eq!(cell.get(), 6);
            source.join().unwrap();
        }
    });
}

/// Messages of a mebibyte, in place, between threads whose stacks hold several.
pub fn huge_messages_arrive<B: Backend>(_: Case) {
    const SIZE: usize = 1 << 20;
    let on_large_stack =
        |work: Box<dyn FnOnce() + Send>| std::thread::Builder::new().stack_size(64 * SIZE).spawn(work).unwrap();
    for capacity in [0, 1] {
        let (sender, receiver) = bounded::<[u8; SIZE]>(capacity);
        let source = on_large_stack(Box::new(move || (0..3).for_each(|number| sender.send([number; SIZE]).unwrap())));
        let sink = on_large_stack(Box::new(move || {
            for number in 0..3 {
                assert!(receiver.recv().unwrap().iter().all(|byte| *byte == number));
            }
        }));
        source.join().unwrap();
        sink.join().unwrap();
    }
}

/// As many as there are and wanted, one at least, with what waiting senders have.
pub fn many_are_received_at_once<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(2);
        let mut into = vec![9];
        assert_eq!(receiver.recv_many(&mut into, 0), Ok(0));
        let source = who.spawn(async move {
            for number in 0..5 {
                who.send(&sender, number).await.unwrap();
            }
        });
        while into.len() < 6 {
            let before = into.len();
            let count = receiver.recv_many(&mut into, 3).unwrap();
            assert!((1..=3).contains(&count));
            assert_eq!(into.len(), before + count);
        }
        assert_eq!(into, [9, 0, 1, 2, 3, 4]);
        source.join().unwrap();
        assert!(receiver.recv_many(&mut into, 3).unwrap_err().is_closed());
        assert_eq!(into.len(), 6);
    });
}

/// `recv_many` goes on past the buffer to those who wait, and wakes each of them.
pub fn many_are_received_from_waiting_senders<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [0, 1, 2] {
            let (sender, receiver) = bounded(capacity);
            let sources: Vec<_> = (0..5)
                .map(|number| {
                    let sender = sender.clone();
                    who.spawn(async move { who.send(&sender, number).await.unwrap() })
                })
                .collect();
            until(|| receiver.blocked_senders() + receiver.len() == 5);
            let mut into = Vec::new();
            assert_eq!(receiver.recv_many(&mut into, 4), Ok(4));
            assert_eq!(receiver.recv_many(&mut into, 4), Ok(1));
            sources.into_iter().for_each(|source| source.join().unwrap());
            into.sort_unstable();
            assert_eq!(into, [0, 1, 2, 3, 4]);
        }
    });
}

/// What is in the buffer comes at once, and those who wait fill it again.
pub fn a_drain_lets_waiting_senders_in<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(2);
        (0..2).for_each(|number| sender.send(number).unwrap());
        let sources: Vec<_> = (2..4)
            .map(|number| {
                let sender = sender.clone();
                who.spawn(async move { who.send(&sender, number).await.unwrap() })
            })
            .collect();
        until(|| receiver.blocked_senders() == 2);
        let drained = receiver.drain();
        assert_eq!(drained.len(), 2);
        assert_eq!((receiver.len(), receiver.blocked_senders()), (2, 0));
        assert_eq!(drained.collect::<Vec<_>>(), [0, 1]);
        sources.into_iter().for_each(|source| source.join().unwrap());
        assert_eq!(receiver.drain().count(), 2);
    });
}

/// What nobody has received is dropped once, when the last receiver goes.
pub fn what_is_left_in_a_buffer_is_dropped_once<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        for (sender, receiver) in [bounded(7), unbounded()] {
            (0..5).for_each(|_| sender.send(census.one()).unwrap());
            drop(receiver.recv().unwrap());
            let before = census.dropped();
            drop(receiver);
            assert_eq!(census.dropped() - before, 4);
            let error = sender.send(census.one()).unwrap_err();
            assert!(error.is_closed());
            drop(error.into_inner());
        }
    });
    assert_eq!(counted.made(), 12);
    counted.assert_all_dropped();
}
