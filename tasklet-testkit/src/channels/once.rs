//! Oneshot: one message, or the news that none will come.

use std::task::Poll;

use tasklet_channels::{oneshot, rendezvous, select};
use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::Case;
use super::executor::{block_on_alone, poll};
use super::setup::{Census, give_way, run, spawn, until};

/// The message arrives, whether it is waited for or not, once.
pub fn the_one_message_arrives<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = oneshot();
        assert!(receiver.try_recv().unwrap_err().is_would_block());
        sender.send(1).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
        assert!(receiver.try_recv().unwrap_err().is_closed());
        assert!(receiver.recv().unwrap_err().is_closed());

        let (sender, receiver) = oneshot();
        let waiting = who.spawn(who.oneshot(receiver));
        sender.send(2).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(2));

        let (sender, receiver) = oneshot();
        let thread = std::thread::spawn(move || receiver.recv());
        sender.send(3).unwrap();
        until(|| thread.is_finished());
        assert_eq!(thread.join().unwrap(), Ok(3));
    });
}

/// A sender that goes without a message ends the wait.
pub fn a_lost_sender_ends_the_wait<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (sender, receiver) = oneshot::<u8>();
        drop(sender);
        assert!(receiver.recv().unwrap_err().is_closed());
        let (sender, receiver) = oneshot::<u8>();
        let (ready, waits) = rendezvous();
        let waiting = spawn(move || {
            ready.send(()).unwrap();
            select! { recv(receiver) -> message => message.unwrap_err().is_closed() }
        });
        waits.recv().unwrap();
        drop(sender);
        assert!(waiting.join().unwrap());
        let (sender, receiver) = oneshot::<u8>();
        let waiting = case.who.spawn(case.who.oneshot(receiver));
        (0..5).for_each(|_| give_way());
        drop(sender);
        assert!(waiting.join().unwrap().unwrap_err().is_closed());
    });
}

/// Nobody will receive: the sender hears of it, waits for it, selects it, and has its message back.
pub fn a_lost_receiver_is_told_to_the_sender<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        for closes in [true, false] {
            let (sender, receiver) = oneshot();
            assert!(!sender.is_closed());
            let watching = spawn(move || {
                sender.wait_closed().unwrap();
                select! { closed(sender) -> closed => closed.unwrap() }
                sender
            });
            let kept = if closes {
                receiver.close();
                Some(receiver)
            } else {
                drop(receiver);
                None
            };
            let sender = watching.join().unwrap();
            assert!(sender.is_closed());
            let error = sender.send(census.one()).unwrap_err();
            assert!(error.is_closed());
            drop(error.into_inner());
            drop(kept);
        }
        // What was sent and is not received is dropped with the receiver; what was sent before the close is there.
        let (sender, receiver) = oneshot();
        sender.send(census.one()).unwrap();
        receiver.close();
        assert!(receiver.try_recv().is_ok());
        let (sender, receiver) = oneshot();
        sender.send(census.one()).unwrap();
        drop(receiver);
    });
    assert_eq!(counted.made(), 4);
    counted.assert_all_dropped();
}

/// The receiver is a future, also for an executor that knows nothing of tasklets.
pub fn a_receiver_is_a_future<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = oneshot();
        let thread = std::thread::spawn(move || block_on_alone(receiver));
        sender.send(7).unwrap();
        until(|| thread.is_finished());
        assert_eq!(thread.join().unwrap(), Ok(7));

        let (sender, receiver) = oneshot::<u8>();
        let mut receiver = Box::pin(receiver);
        assert!(poll(receiver.as_mut()).is_pending());
        drop(sender);
        let Poll::Ready(Err(error)) = poll(receiver.as_mut()) else { panic!("the end is told") };
        assert!(error.is_closed());
    });
}

/// A receiver that is killed, or whose time is up, has taken nothing: the next one has the message.
pub fn a_message_outlives_those_who_waited<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let (sender, receiver) = oneshot();
        let receiver = std::sync::Arc::new(receiver);
        let shared = receiver.clone();
        let victim = spawn(move || drop(shared.recv()));
        (0..10).for_each(|_| give_way());
        victim.kill();
        assert!(victim.join().unwrap_err().is_killed());
        assert!(receiver.recv_timeout(std::time::Duration::from_micros(10)).unwrap_err().is_timeout());
        sender.send(census.one()).unwrap();
        assert!(receiver.recv().is_ok());
    });
    counted.assert_all_dropped();
}

/// Many questions, each with its own oneshot, between a tasklet and a thread.
pub fn questions_have_their_answers<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (ask, asked) = rendezvous();
        let thread = std::thread::spawn(move || {
            for (number, answer) in asked {
                let answer: tasklet_channels::OneshotSender<u32> = answer;
                answer.send(number + 1).unwrap();
            }
        });
        for number in 0..500 {
            let (answer, answered) = oneshot();
            ask.send((number, answer)).unwrap();
            assert_eq!(answered.recv(), Ok(number + 1));
        }
        drop(ask);
        until(|| thread.is_finished());
        thread.join().unwrap();
    });
}

/// A soft tasklet awaits it.
pub fn a_soft_tasklet_awaits_the_message<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let (sender, receiver) = oneshot();
        let waiting = stealing::spawn_async(receiver);
        stealing::yield_now();
        sender.send(5).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(5));
    });
}
