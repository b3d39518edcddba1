//! Waits that end otherwise: kills, time limits, futures that are dropped. Nothing is lost or doubled by them.

use std::cell::OnceCell;
use std::task::Poll;
use std::time::Duration;

use tasklet_bridge::futures::block_on;
use tasklet_channels::{Receiver, Sender, after, at, bounded, never, rendezvous, select, tick, unbounded};
use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing;

use super::Case;
use super::executor::poll;
use super::setup::{Census, run, run_virtual, spawn, until};
use crate::stealing::setup::Counted;
use crate::who::Who;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A sender that is killed while it waits has not sent; a receiver, a select, one that reserves have taken nothing.
pub fn a_kill_takes_a_waiter_out<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(1);
        sender.send(census.one()).unwrap();
        let victims = [
            who.spawn({
                let (sender, message) = (sender.clone(), census.one());
                async move { drop(who.send(&sender, message).await) }
            }),
            spawn({
                let sender = sender.clone();
                move || drop(sender.reserve())
            }),
            spawn({
                let (sender, census) = (sender.clone(), census.clone());
                move || select! { send(sender, census.one()) -> _ => {}, send(sender, census.one()) -> _ => {} }
            }),
        ];
        until(|| receiver.blocked_senders() == 4);
        victims.iter().for_each(JoinHandle::kill);
        for victim in victims {
            assert!(victim.join().unwrap_err().is_killed());
        }
        who.settles(|| receiver.blocked_senders() == 0);
        assert_eq!(receiver.len(), 1);
        drop(receiver.recv().unwrap());
        let victims = [
            who.spawn({
                let receiver = receiver.clone();
                async move { drop(who.recv(&receiver).await) }
            }),
            spawn({
                let receiver = receiver.clone();
                move || assert!(receiver.recv_many(&mut Vec::new(), 3).is_err())
            }),
            spawn({
                let receiver = receiver.clone();
                move || select! { recv(receiver) -> _ => {}, recv(receiver) -> _ => {} }
            }),
        ];
        until(|| receiver.blocked_receivers() == 4);
        victims.iter().for_each(JoinHandle::kill);
        for victim in victims {
            assert!(victim.join().unwrap_err().is_killed());
        }
        who.settles(|| sender.blocked_receivers() == 0);
        sender.send(census.one()).unwrap();
        assert!(receiver.try_recv().is_ok());
    });
    counted.assert_all_dropped();
}

/// A receiver that was given a message and is killed: it has it, or the message is the next to be received, before what has come since.
pub fn a_message_of_a_killed_receiver_comes_back<B: Backend>(case: Case) {
    comes_back::<B>(case, |who, receiver| who.spawn(async move { drop(who.recv(&receiver).await) }));
}

/// The same with one that waits in a select.
pub fn a_message_of_a_killed_select_comes_back<B: Backend>(case: Case) {
    comes_back::<B>(case, |_, receiver| {
        spawn(move || {
            let (_sender, other) = bounded::<u8>(4);
            select! {
                recv(receiver) -> message => drop(message),
                recv(other) -> _ => unreachable!(),
                recv(receiver) -> message => drop(message),
            }
        })
    });
}

/// `receiving` makes a tasklet that receives one message and drops it.
fn comes_back<B: Backend>(case: Case, receiving: fn(Who, Receiver<(u32, Counted)>) -> JoinHandle<()>) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let who = case.who;
        for round in 0..50 {
            let (sender, receiver) = unbounded();
            let victim = receiving(who, receiver.clone());
            until(|| sender.blocked_receivers() != 0);
            let before = census.dropped();
            (0..2).for_each(|number| sender.send((number, census.one())).unwrap());
            victim.kill();
            let was_killed = victim.join().is_err_and(|error| error.is_killed());
            match (case.workers, who) {
                // The local scheduler kills it at once.
                (0, _) => assert!(was_killed, "{round}"),
                // A worker kills one that was served at its next scheduling point, and there is none.
                (_, Who::Stackful) => assert!(!was_killed, "{round}"),
                // One that waits to be polled is killed, and another worker may have polled it.
                (1, Who::Soft) => assert!(was_killed, "{round}"),
                _ => {}
            }
            who.settles(|| receiver.len() == if was_killed { 2 } else { 1 });
            assert_eq!(census.dropped() - before, usize::from(!was_killed), "{round}");
            let left: Vec<u32> = receiver.try_iter().map(|(number, _)| number).collect();
            assert_eq!(left, if was_killed { vec![0, 1] } else { vec![1] }, "{round}");
        }
    });
    counted.assert_all_dropped();
}

/// Time limits in virtual time, of every operation.
pub fn limits_end_waits<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| limits());
}

/// The same on a plain thread, whose clock is the real one.
pub fn limits_end_waits_of_threads<B: Backend>(_: Case) {
    limits();
}

fn limits() {
    let (sender, receiver) = bounded(1);
    let start = current::now();
    assert!(receiver.recv_timeout(ms(5)).unwrap_err().is_timeout());
    assert!(current::now() - start >= ms(5));
    sender.send_timeout(1, ms(5)).unwrap();
    let error = sender.send_timeout(2, ms(5)).unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.into_inner(), 2);
    assert!(sender.send_deadline(3, start).unwrap_err().is_timeout());
    assert!(sender.reserve_timeout(ms(5)).unwrap_err().is_timeout());
    assert_eq!(receiver.recv_deadline(start), Ok(1));
    assert!(current::now() - start >= ms(15));
    assert_eq!((sender.blocked_senders(), sender.blocked_receivers()), (0, 0));

    let before = current::now();
    assert_eq!(select! { recv(receiver) -> _ => 1, default(ms(5)) => 2 }, 2);
    assert!(current::now() - before >= ms(5));
    let (short, long) = (after(ms(5)), after(ms(10_000)));
    assert_eq!(select! { recv(long) -> _ => 1, recv(short) -> _ => 2, recv(never::<u8>()) -> _ => 3 }, 2);
    assert_eq!(select! { recv(at(before)) -> due => due, default(ms(10_000)) => unreachable!() }, Ok(before));
    let ticks = tick(ms(2));
    let (first, second) = (ticks.recv().unwrap(), ticks.recv().unwrap());
    assert!(second - first >= ms(2) && (second - first).as_millis() % 2 == 0);
}

/// A thread that exits, in the destructor of what it has kept for itself: its scheduler may be gone, time is not.
pub fn limits_end_waits_of_threads_that_exit<B: Backend>(_: Case) {
    struct AtExit(Sender<()>);

    impl Drop for AtExit {
        fn drop(&mut self) {
            limits();
            tasklet_scheduler::time::sleep(ms(2));
            self.0.send(()).unwrap();
        }
    }

    thread_local!(static KEPT: [OnceCell<AtExit>; 2] = const { [OnceCell::new(), OnceCell::new()] });

    fn keep(at: usize, sender: &Sender<()>) {
        KEPT.with(|kept| assert!(kept[at].set(AtExit(sender.clone())).is_ok()));
    }

    for early in [true, false] {
        let (sender, receiver) = unbounded();
        // What was first used last is dropped first, or last: the scheduler of the thread is used before and after.
        let thread = std::thread::spawn(move || {
            if early {
                keep(0, &sender);
            }
            limits();
            keep(1, &sender);
        });
        thread.join().unwrap();
        assert_eq!(receiver.try_iter().count(), 1 + usize::from(early));
    }
}

/// Async code on both sides of one channel, beside a tasklet and `block_on`.
pub fn async_code_sends_and_receives<B: Backend>(case: Case) {
    run::<B>(case, || {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded(capacity);
            let thread = std::thread::spawn(move || {
                block_on(async move {
                    for number in 0..100 {
                        sender.send_async(number).await.unwrap();
                    }
                });
            });
            for number in 0..50 {
                assert_eq!(receiver.recv(), Ok(number));
            }
            let sum = block_on(async {
                let mut sum = 0;
                while let Ok(number) = receiver.recv_async().await {
                    sum += number;
                }
                sum
            });
            assert_eq!(sum, (50..100).sum::<i32>());
            until(|| thread.is_finished());
            thread.join().unwrap();
        }
    });
}

/// Tasklets that are futures, on the stealing scheduler.
pub fn soft_tasklets_send_and_receive<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let (sender, receiver) = rendezvous();
        let source = stealing::spawn_async(async move {
            for number in 0..100 {
                sender.send_async(number).await.unwrap();
            }
        });
        let sink = stealing::spawn_async(async move {
            let mut next = 0;
            while let Ok(number) = receiver.recv_async().await {
                assert_eq!(number, next);
                next += 1;
            }
            next
        });
        source.join().unwrap();
        assert_eq!(sink.join().unwrap(), 100);
    });
}

/// What a dropped future was given is the next to be received, before what has come since.
pub fn what_comes_back_is_next<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = bounded(4);
        let mut future = Box::pin(receiver.recv_async());
        assert!(poll(future.as_mut()).is_pending());
        (0..3).for_each(|number| sender.send(number).unwrap());
        assert_eq!(receiver.len(), 2);
        drop(future);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    });
}

/// A future that is dropped while it waits is as if it had never been; what it was given goes to the next.
pub fn a_dropped_future_gives_back<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let (sender, receiver) = bounded(1);
        {
            let mut receiving = Box::pin(receiver.recv_async());
            assert!(poll(receiving.as_mut()).is_pending());
            assert_eq!(sender.blocked_receivers(), 1);
            sender.try_send(census.one()).unwrap();
            assert_eq!((sender.blocked_receivers(), sender.len()), (0, 0));
        }
        assert_eq!((sender.len(), census.dropped()), (1, 0));
        {
            let mut sending = Box::pin(sender.send_async(census.one()));
            assert!(poll(sending.as_mut()).is_pending());
            assert_eq!(sender.blocked_senders(), 1);
        }
        assert_eq!((sender.blocked_senders(), census.dropped()), (0, 1));
        // Given back to one that waits too.
        drop(receiver.recv().unwrap());
        let mut first = Box::pin(receiver.recv_async());
        assert!(poll(first.as_mut()).is_pending());
        let mut second = Box::pin(receiver.recv_async());
        assert!(poll(second.as_mut()).is_pending());
        sender.try_send(census.one()).unwrap();
        drop(first);
        assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(_))));
    });
    counted.assert_all_dropped();
}
