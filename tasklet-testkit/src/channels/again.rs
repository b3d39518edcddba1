//! Looking again: arms that are selected more than once, several who wait for one thing, and what is there for the second of them.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tasklet_channels::{
    Channel, Preference, Select, TypedArm, at, bounded, broadcast, oneshot, rendezvous, select, watch,
};
use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_core::park::ParkError;
use tasklet_core::unwind;
use tasklet_scheduler::local;

use super::Case;
use super::setup::{Census, give_way, probe, run, spawn, until};
use crate::kinds;

/// An arm that was chosen stays so until its output is taken; then a receiving one may be selected again, and a sending one is refused.
pub fn a_chosen_arm_is_ready_until_it_is_taken<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let (sender, receiver) = bounded(2);
        sender.send(census.one()).unwrap();
        sender.send(census.one()).unwrap();
        let mut arm = receiver.recv_arm();
        for _ in 0..3 {
            assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        }
        assert_eq!(receiver.len(), 1, "one message was taken");
        assert!(arm.output().is_ok());
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        assert!(arm.output().is_ok());
        receiver.close();
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        assert!(arm.output().unwrap_err().is_closed());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(arm.output()))).is_err(), "its output was taken");
        drop(arm);

        let (sender, receiver) = bounded(1);
        let mut arm = sender.send_arm(census.one());
        for _ in 0..2 {
            assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        }
        arm.output().unwrap();
        let mut waiting = receiver.recv_arm();
        let again = catch_unwind(AssertUnwindSafe(|| {
            let mut select = Select::empty();
            select.arm(&mut waiting);
            select.arm(&mut arm);
            select.try_now()
        }));
        let message = unwind::message(&again.unwrap_err()).to_owned();
        assert!(message.contains("has sent its message"), "{message}");
        assert_eq!(receiver.len(), 1, "nothing was looked at");
    });
    counted.assert_all_dropped();
}

/// An arm whose channel was closed is ready when that is opened again, too: what was found before does not stick.
pub fn a_refusal_does_not_stick<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let channel = Channel::<u32>::new().share();
        channel.close();
        let mut arm = channel.recv_arm();
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        assert!(arm.output().unwrap_err().is_closed());
        channel.reopen();
        let partner = who.spawn({
            let channel = channel.clone();
            async move { who.send(&channel, 5).await }
        });
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        assert_eq!(arm.output().unwrap(), 5);
        partner.join().unwrap().unwrap();
    });
}

/// Several who wait for one message: one has it, the others are told that it is gone.
pub fn a_oneshot_wakes_all_who_wait<B: Backend>(case: Case) {
    run::<B>(case, || {
        for sends in [true, false] {
            let (sender, receiver) = oneshot();
            let receiver = Arc::new(receiver);
            let begun = Arc::new(AtomicUsize::new(0));
            let waiting: Vec<_> = (0..3)
                .map(|number| {
                    let (receiver, begun) = (receiver.clone(), begun.clone());
                    spawn(move || {
                        begun.fetch_add(1, Ordering::Relaxed);
                        if number == 1 {
                            select! { recv(receiver) -> got => got }
                        } else {
                            receiver.recv()
                        }
                    })
                })
                .collect();
            until(|| begun.load(Ordering::Relaxed) == 3);
            // Most have come to wait then; it holds for those who have not, too.
            (0..10).for_each(|_| give_way());
            if sends {
                sender.send(7).unwrap()
            } else {
                drop(sender)
            }
            let received: Vec<_> = waiting.into_iter().map(|handle| handle.join().unwrap()).collect();
            assert_eq!(received.iter().filter(|got| matches!(got, Ok(7))).count(), usize::from(sends));
            assert!(received.iter().flat_map(|got| got.as_ref().err()).all(|error| error.is_closed()));
        }
    });
}

/// A receiver that was polled and then asked otherwise has its message; one that is closed is told so.
pub fn a_oneshot_that_was_polled_can_be_asked<B: Backend>(case: Case) {
    run::<B>(case, || {
        let context = &mut Context::from_waker(Waker::noop());
        let (sender, mut receiver) = oneshot();
        assert!(Pin::new(&mut receiver).poll(context).is_pending());
        sender.send(7).unwrap();
        assert_eq!(receiver.try_recv().unwrap(), 7);
        assert!(receiver.recv().unwrap_err().is_closed());

        let (sender, receiver) = oneshot::<u32>();
        let receiver = Arc::new(receiver);
        let waiting = spawn({
            let receiver = receiver.clone();
            move || receiver.recv()
        });
        (0..10).for_each(|_| give_way());
        receiver.close();
        assert!(waiting.join().unwrap().unwrap_err().is_closed());
        assert_eq!(sender.send(1).unwrap_err().into_inner(), 1);
    });
}

/// Whoever reserved and goes away without knowing it ends the waits of all receivers of a closed channel.
pub fn a_permit_that_is_given_up_ends_all_waits<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded::<u32>(1);
        let permit = sender.reserve().unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                who.spawn(async move { who.recv(&receiver).await })
            })
            .collect();
        until(|| sender.blocked_receivers() == 3);
        sender.close();
        assert_eq!(sender.blocked_receivers(), 3, "the permit may still be used");
        drop(permit);
        for receiver in waiting {
            assert!(receiver.join().unwrap().unwrap_err().is_closed());
        }

        // The same with one that is killed after it was let in.
        let (sender, receiver) = bounded::<u32>(1);
        sender.send(1).unwrap();
        let reserving = spawn({
            let sender = sender.clone();
            move || drop(sender.reserve())
        });
        until(|| sender.blocked_senders() == 1);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                who.spawn(async move { who.count(&receiver).await })
            })
            .collect();
        until(|| sender.is_empty());
        sender.close();
        reserving.kill();
        let _ = reserving.join();
        assert_eq!(waiting.into_iter().map(|receiver| receiver.join().unwrap()).sum::<usize>(), 1);
    });
}

/// A message that was sent to somebody is kept for them, whoever leaves at the same time.
pub fn a_broadcast_keeps_what_it_has_promised<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for _ in 0..500 {
            let (sender, first) = broadcast(4);
            let leaving = who.spawn(async move { drop(first) });
            let receiver = sender.subscribe();
            sender.send(1).unwrap();
            leaving.join().unwrap();
            assert_eq!(*receiver.try_recv().unwrap(), 1);
            drop(receiver);
            assert_eq!(sender.send(2).unwrap_err().into_inner(), 2);
        }
    });
}

/// Closing a broadcast or a watched value wakes everybody who waits there, and what was sent before is received.
pub fn closing_for_many_wakes_them_all<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, first) = broadcast(4);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let receiver = sender.subscribe();
                who.spawn(async move {
                    let got = *who.recv(&receiver).await.unwrap();
                    (got, who.recv(&receiver).await.unwrap_err().is_closed())
                })
            })
            .collect();
        sender.send(1).unwrap();
        sender.close();
        assert_eq!(sender.send(2).unwrap_err().into_inner(), 2);
        for receiver in waiting {
            assert_eq!(receiver.join().unwrap(), (1, true));
        }
        assert_eq!(*first.recv().unwrap(), 1);
        assert!(first.is_closed() && first.try_recv().unwrap_err().is_closed());

        let (sender, receiver) = watch(1);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                who.spawn(async move { who.changed(&receiver).await.unwrap_err().is_closed() })
            })
            .collect();
        sender.close();
        assert_eq!(sender.send(2).unwrap_err().into_inner(), 2);
        assert!(waiting.into_iter().all(|receiver| receiver.join().unwrap()));
        assert_eq!(*receiver.peek(), 1);
    });
}

/// Futures count: a channel whose last handle is a future is open.
pub fn a_future_keeps_its_channel_open<B: Backend>(case: Case) {
    run::<B>(case, || {
        let context = &mut Context::from_waker(Waker::noop());
        let (sender, receiver) = bounded(1);
        let mut received = Box::pin(receiver.recv_async());
        drop(receiver);
        assert!(received.as_mut().poll(context).is_pending());
        sender.send(1).unwrap();
        assert!(matches!(received.as_mut().poll(context), Poll::Ready(Ok(1))));
        drop(received);
        assert!(sender.is_closed());

        let (sender, receiver) = rendezvous();
        let mut sent = Box::pin(sender.send_async(2));
        drop(sender);
        assert!(sent.as_mut().poll(context).is_pending());
        assert_eq!(receiver.recv().unwrap(), 2);
        drop(sent);
        assert!(receiver.is_closed());
    });
}

/// A waker is the user's code, which may use the channel: it is cloned, woken and dropped with nothing locked.
pub fn a_waker_may_use_its_channel<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = bounded::<u32>(1);
        let channel = Channel::<u32>::new().share();
        let probe = {
            let (receiver, channel) = (receiver.downgrade(), channel.clone());
            probe(move || {
                if let Some(receiver) = receiver.upgrade() {
                    assert_eq!(receiver.len(), 0);
                }
                assert!(channel.balance() <= 1);
            })
        };
        let mut received = Box::pin(receiver.recv_async());
        assert!(received.as_mut().poll(&mut Context::from_waker(&probe)).is_pending());
        assert!(received.as_mut().poll(&mut Context::from_waker(&probe.clone())).is_pending());
        assert!(received.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(received.as_mut().poll(&mut Context::from_waker(&probe)).is_pending());
        sender.close();
        assert!(received.as_mut().poll(&mut Context::from_waker(&probe)).is_ready());
    });
}

/// An arm that is due together with the limit of its select goes before it.
pub fn an_arm_goes_before_the_limit<B: Backend>(case: Case) {
    run::<B>(case, || {
        for _ in 0..20 {
            let due = current::now() + Duration::from_millis(1);
            let timer = at(due);
            let mut arm = timer.recv_arm();
            assert_eq!(Select::new([&mut arm]).wait_deadline(due), Ok(0));
            assert_eq!(arm.output().unwrap(), due);
        }
    });
}

/// What a tasklet waits for is named in what is shown of it.
pub fn names_are_shown<B: Backend>(case: Case) {
    let scheduler = kinds::local::<B>(case.kind).build();
    let (sender, receiver) = bounded::<u32>(0);
    sender.set_name("orders");
    let channel = Channel::<u32>::new();
    channel.set_name("answers");
    let waiting = [
        scheduler.spawn({
            let receiver = receiver.clone();
            move || assert!(receiver.recv().is_err())
        }),
        scheduler.spawn({
            let channel = channel.clone();
            move || assert!(channel.recv().is_err())
        }),
        scheduler.spawn(|| assert!(Channel::<u32>::new().recv().is_err())),
    ];
    scheduler.run().unwrap();
    let names = waiting.each_ref().map(local::Tasklet::waits_for);
    assert_eq!(names, [Some("orders".to_owned()), Some("answers".to_owned()), None]);
    assert!(format!("{:?}", waiting[0]).contains("orders"), "{:?}", waiting[0]);
    assert!(format!("{channel:?} {sender:?}").contains("answers"), "{channel:?}");
    sender.close();
    channel.close();
    scheduler.run().unwrap();
}

/// Stackless's channel waits with limits and in async code; what a future or an arm was given, and nobody has taken, is the next.
pub fn a_stackless_channel_does_what_others_do<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let who = case.who;
        let context = &mut Context::from_waker(Waker::noop());
        let channel = Channel::new().share();
        let limit = Duration::from_millis(2);
        assert!(channel.recv_timeout(limit).unwrap_err().is_timeout());
        let back = channel.send_timeout(census.one(), limit).unwrap_err();
        assert!(back.is_timeout() && channel.try_send(back.into_inner()).unwrap_err().is_would_block());
        assert!(channel.recv_deadline(current::now()).unwrap_err().is_timeout());

        let mut received = Box::pin(channel.recv_async());
        assert!(received.as_mut().poll(context).is_pending());
        assert_eq!((channel.blocked_senders(), channel.blocked_receivers()), (0, 1));
        channel.send(census.one()).unwrap();
        drop(received);
        assert_eq!(channel.balance(), 0);
        channel.close();
        assert!(!channel.is_closed(), "the value came back");
        assert_eq!(channel.iter().count(), 1);
        assert!(channel.is_closed());
        channel.reopen();

        let mut sent = Box::pin(channel.send_async(census.one()));
        assert!(sent.as_mut().poll(context).is_pending());
        let mut arm = channel.recv_arm();
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        drop(arm);
        assert!(matches!(sent.as_mut().poll(context), Poll::Ready(Ok(()))));
        assert_eq!(channel.try_iter().count(), 1, "the arm was dropped with it");

        let waiting = who.spawn({
            let channel = channel.clone();
            async move { who.recv(&channel).await.is_ok() }
        });
        until(|| channel.blocked_receivers() == 1);
        let mut received = Box::pin(channel.recv_async());
        let _ = received.as_mut().poll(context).is_pending();
        channel.send(census.one()).unwrap();
        channel.send(census.one()).unwrap();
        drop(received);
        assert!(waiting.join().unwrap());
        assert!(channel.try_recv().is_ok());
    });
    counted.assert_all_dropped();
}

/// On the local scheduler, an exchange with a select obeys preference and switch trap as with any other partner.
pub fn a_select_is_a_partner_like_any<B: Backend>(case: Case) {
    let scheduler = kinds::local::<B>(case.kind).build();
    scheduler
        .spawn_joinable(|| {
            let (channel, other) = (Channel::<u32>::new(), Channel::<u32>::new());
            let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
            for number in 0..2 {
                let (channel, other, order) = (channel.clone(), other.clone(), order.clone());
                local::spawn(move || {
                    let got = select! { recv(channel) -> got => got.unwrap(), recv(other) -> got => got.unwrap() };
                    order.borrow_mut().push((number, got));
                });
            }
            local::schedule();
            assert_eq!(channel.balance(), -2);
            {
                let _trap = local::switch_trap();
                let refused = channel.send(1).unwrap_err();
                assert_eq!(refused.park_error(), Some(ParkError::SwitchTrapped));
                assert_eq!(channel.balance(), -2, "nobody was claimed");
                channel.set_preference(Preference::Sender);
                channel.send(1).unwrap();
                channel.set_preference(Preference::Receiver);
                // The first is claimed, and still in the list of the other: the second is who counts.
                assert_eq!(other.send(2).unwrap_err().park_error(), Some(ParkError::SwitchTrapped));
            }
            assert_eq!(*order.borrow(), []);
            other.send(2).unwrap();
            assert_eq!(*order.borrow(), [(1, 2), (0, 1)], "the partner goes on at once, before who was runnable");
        })
        .join()
        .unwrap();
}
