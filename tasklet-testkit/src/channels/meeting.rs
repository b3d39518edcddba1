//! The rendezvous: a send and a receive happen together.

use tasklet_channels::{bounded, rendezvous};
use tasklet_core::backend::Backend;

use super::Case;
use super::setup::{Flag, give_way, run, until};

/// A send returns when somebody has received, and not before.
pub fn a_send_returns_when_it_was_received<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = rendezvous();
        let returned = Flag::default();
        let sent = returned.clone();
        let source = who.spawn(async move {
            who.send(&sender, 5).await.unwrap();
            sent.set();
        });
        until(|| receiver.blocked_senders() == 1);
        (0..20).for_each(|_| give_way());
        assert!(!returned.is_set());
        assert_eq!(receiver.recv(), Ok(5));
        source.join().unwrap();
        assert!(returned.is_set());
    });
}

/// Without waiting, a message is sent only to a receiver that waits, and received only from a sender that does.
pub fn a_try_meets_only_who_waits<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(0);
        assert!(sender.is_full() && sender.is_empty());
        assert!(sender.try_send(1).unwrap_err().is_would_block());
        assert!(receiver.try_recv().unwrap_err().is_would_block());
        let sink = {
            let receiver = receiver.clone();
            who.spawn(async move { who.recv(&receiver).await.unwrap() })
        };
        until(|| sender.blocked_receivers() == 1);
        sender.try_send(2).unwrap();
        // The one that waited has its message: there is nobody for another.
        assert!(sender.try_send(3).unwrap_err().is_would_block());
        assert_eq!(sink.join().unwrap(), 2);
        let source = {
            let sender = sender.clone();
            who.spawn(async move { who.send(&sender, 4).await.unwrap() })
        };
        until(|| receiver.blocked_senders() == 1);
        assert_eq!(receiver.try_recv(), Ok(4));
        assert!(receiver.try_recv().unwrap_err().is_would_block());
        source.join().unwrap();
        assert!(sender.try_reserve().unwrap_err().is_no_buffer());
        assert_eq!(receiver.drain().count(), 0);
    });
}

/// Plain threads and tasklets meet, in both directions.
pub fn threads_and_tasklets_meet<B: Backend>(case: Case) {
    run::<B>(case, || {
        for capacity in [0, 1, 8] {
            let (there, at_thread) = bounded(capacity);
            let (back, at_tasklet) = bounded(capacity);
            let thread = std::thread::spawn(move || {
                for number in at_thread {
                    back.send(number + 1).unwrap();
                }
            });
            for number in 0..200_u32 {
                there.send(number).unwrap();
                assert_eq!(at_tasklet.recv(), Ok(number + 1));
            }
            drop(there);
            assert!(at_tasklet.recv().unwrap_err().is_closed());
            thread.join().unwrap();
        }
    });
}
