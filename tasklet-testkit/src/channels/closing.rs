//! The end of a channel: who is woken, what can still be received, what comes back.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tasklet_channels::{Receiver, RecvError, bounded, unbounded};
use tasklet_core::backend::Backend;

use super::Case;
use super::setup::{Census, run, spawn, until};
use crate::who::Who;

/// The last sender's end wakes everybody who receives, after what was sent.
pub fn the_last_sender_wakes_all_receivers<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [0, 1, 5] {
            let (sender, receiver) = bounded::<u8>(capacity);
            let other = sender.clone();
            let sinks: Vec<_> = (0..3)
                .map(|_| {
                    let receiver = receiver.clone();
                    who.spawn(async move { who.recv(&receiver).await })
                })
                .collect();
            until(|| sender.blocked_receivers() == 3);
            drop(sender);
            assert!(!receiver.is_closed());
            // A future that receives counts as one who receives.
            let receivers = 4 + if who == Who::Soft { 3 } else { 0 };
            assert_eq!((other.sender_count(), other.receiver_count()), (1, receivers));
            drop(other);
            for sink in sinks {
                assert!(sink.join().unwrap().unwrap_err().is_closed());
            }
            assert!(receiver.is_closed() && receiver.try_recv().unwrap_err().is_closed());
        }
    });
}

/// The last receiver's end wakes everybody who sends, and gives the messages back.
pub fn the_last_receiver_wakes_all_senders<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|_| sender.send(9).unwrap());
            let sources: Vec<_> = (0..3)
                .map(|number| {
                    let sender = sender.clone();
                    who.spawn(async move { who.send(&sender, number).await.unwrap_err() })
                })
                .collect();
            until(|| receiver.blocked_senders() == 3);
            drop(receiver);
            for (number, source) in sources.into_iter().enumerate() {
                let error = source.join().unwrap();
                assert!(error.is_closed());
                assert_eq!(error.into_inner(), number);
            }
            assert_eq!(sender.receiver_count(), 0);
        }
    });
}

/// `close` from either end: what was sent comes, nothing more is sent, and it says whether it was the first.
pub fn a_closed_channel_is_drained<B: Backend>(case: Case) {
    run::<B>(case, || {
        for from_sender in [true, false] {
            for (sender, receiver) in [bounded(3), unbounded()] {
                (0..3).for_each(|number| sender.send(number).unwrap());
                let (first, second) =
                    if from_sender { (sender.close(), receiver.close()) } else { (receiver.close(), sender.close()) };
                assert_eq!((first, second), (true, false));
                let error = sender.send(3).unwrap_err();
                assert!(error.is_closed());
                assert_eq!(error.into_inner(), 3);
                assert!(sender.try_send(4).unwrap_err().is_closed());
                assert!(sender.reserve().unwrap_err().is_closed());
                receiver.wait_closed().unwrap();
                assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
                assert!(receiver.recv().unwrap_err().is_closed());
            }
        }
    });
}

/// A closed channel wakes senders, those who reserve, receivers and those who wait for its end.
pub fn closing_wakes_everybody<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(1);
        sender.send(0).unwrap();
        let sending = {
            let sender = sender.clone();
            who.spawn(async move { who.send(&sender, 1).await.unwrap_err().into_inner() })
        };
        let reserving = {
            let sender = sender.clone();
            spawn(move || sender.reserve().map(drop).unwrap_err().is_closed())
        };
        let watching = {
            let sender = sender.clone();
            spawn(move || sender.wait_closed().is_ok())
        };
        until(|| receiver.blocked_senders() == 2);
        receiver.close();
        assert_eq!(sending.join().unwrap(), 1);
        assert!(reserving.join().unwrap());
        assert!(watching.join().unwrap());
        assert_eq!(receiver.recv(), Ok(0));
        assert!(receiver.recv().unwrap_err().is_closed());
    });
}

/// A permit outlives the close: its message is received before the end is told; given up, the end is told then.
pub fn a_permit_puts_the_end_off<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for sends in [true, false] {
            let (sender, receiver) = bounded(2);
            let permit = sender.reserve().unwrap();
            assert!(sender.close());
            let sinks: Vec<_> = (0..2)
                .map(|_| {
                    let receiver = receiver.clone();
                    who.spawn(async move { who.recv(&receiver).await })
                })
                .collect();
            until(|| sender.blocked_receivers() == 2);
            if sends {
                permit.send(7).unwrap();
            } else {
                drop(permit);
            }
            let received: Vec<_> = sinks.into_iter().filter_map(|sink| sink.join().unwrap().ok()).collect();
            assert_eq!(received, if sends { vec![7] } else { vec![] });
        }
    });
}

/// Permits keep room from others, give it up when dropped, and give the message back when nobody is left.
pub fn permits_keep_room<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(2);
        let first = sender.reserve().unwrap();
        let second = sender.try_reserve().unwrap();
        assert!(sender.is_full() && sender.is_empty());
        assert!(sender.try_reserve().unwrap_err().is_would_block());
        assert!(sender.try_send(census.one()).unwrap_err().is_would_block());
        let waiting = {
            let (sender, message) = (sender.clone(), census.one());
            who.spawn(async move { who.send(&sender, message).await.is_ok() })
        };
        until(|| receiver.blocked_senders() == 1);
        drop(first);
        assert!(waiting.join().unwrap());
        second.send(census.one()).unwrap();
        assert_eq!(receiver.drain().count(), 2);
        let last = sender.reserve().unwrap();
        drop(receiver);
        let error = last.send(census.one()).unwrap_err();
        assert!(error.is_closed());
        drop(error.into_inner());
    });
    counted.assert_all_dropped();
}

/// Weak handles keep nothing open, and lead back as long as a strong one is there. Handles know what they belong to.
pub fn weak_handles_keep_nothing_open<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = bounded(1);
        let (weak_sender, weak_receiver) = (sender.downgrade(), receiver.downgrade());
        let again = weak_sender.upgrade().unwrap();
        assert!(again.same_channel(&sender) && again.is_to(&receiver));
        assert!(weak_receiver.upgrade().unwrap().same_channel(&receiver));
        let (other, other_receiver) = bounded::<u8>(1);
        assert!(!other.same_channel(&sender) && !other_receiver.same_channel(&receiver));
        sender.set_name("orders");
        assert_eq!((receiver.name(), other.name()), (Some("orders".to_owned()), None));
        assert!(format!("{receiver:?}").contains("orders"));
        assert_eq!(sender.id(), receiver.id());
        sender.send(1).unwrap();
        drop((sender, again));
        assert!(weak_sender.upgrade().is_none() && receiver.is_closed());
        assert_eq!(receiver.recv(), Ok(1));
        drop(receiver);
        assert!(weak_receiver.upgrade().is_none());
    });
}

/// Uses the channel when it is woken, and remembers what it got.
struct Taker {
    receiver: Receiver<u32>,
    got: Mutex<Option<Result<u32, RecvError>>>,
}

impl Wake for Taker {
    fn wake(self: Arc<Self>) {
        *self.got.lock().unwrap() = Some(self.receiver.try_recv());
    }
}

/// A close is one step: of those who wait to send, none is served any more once somebody has heard of it.
pub fn nothing_is_sent_while_a_close_wakes<B: Backend>(case: Case) {
    run::<B>(case, || {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            (0..capacity as u32).for_each(|number| sender.send(number).unwrap());
            let taker = Arc::new(Taker { receiver: receiver.clone(), got: Mutex::default() });
            let waker = Waker::from(taker.clone());
            let (mut first, mut second) = (Box::pin(sender.send_async(8)), Box::pin(sender.send_async(9)));
            assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            receiver.close();
            let got = taker.got.lock().unwrap().take().expect("the first was woken");
            assert_eq!(got.ok(), (capacity == 1).then_some(0), "what was sent before the close, and nothing else");
            for (message, mut future) in [(8, first), (9, second)] {
                let Poll::Ready(Err(error)) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                    panic!("message {message} was sent after the close");
                };
                assert!(error.is_closed());
                assert_eq!(error.into_inner(), message);
            }
        }
    });
}
