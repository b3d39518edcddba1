//! Two and three threads at one channel of each flavour, and at two in a select, in every order of their steps.
//!
//! Whether it is a thread or a tasklet that waits, and what kills and time limits do to a wait, is for the models of the wait queue itself.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use crate::{
    Channel, Receiver, Sender, SharedChannel, bounded, broadcast, oneshot, rendezvous, select_biased, unbounded, watch,
};

/// All orders with up to so many switches of thread that are not asked for: more take hours.
fn model_with(switches: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.max_branches = 20_000;
    builder.check(f);
}

fn model(f: impl Fn() + Send + Sync + 'static) {
    model_with(3, f);
}

/// A message that counts itself.
struct Counted(u32, Arc<()>);

/// Two channels whose locks have the same order in each run.
fn two(make: fn() -> (Sender<u32>, Receiver<u32>)) -> [(Sender<u32>, Receiver<u32>); 2] {
    let mut both = [make(), make()];
    both.sort_by_key(|(sender, _)| sender.address());
    both
}

#[test]
fn each_message_of_a_full_buffer_arrives_once() {
    model(|| {
        let (sender, receiver) = bounded(1);
        let senders = [1, 2].map(|message| {
            let sender = sender.clone();
            thread::spawn(move || sender.send(message).unwrap())
        });
        drop(sender);
        let mut received: Vec<u32> = receiver.iter().collect();
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        senders.map(|sender| sender.join().unwrap());
    });
}

#[test]
fn last_message_of_a_sender_comes_before_its_end() {
    model(|| {
        let (sender, receiver) = unbounded();
        let other = thread::spawn(move || sender.send(1).unwrap());
        assert_eq!(receiver.recv().unwrap(), 1);
        assert!(receiver.recv().unwrap_err().is_closed());
        other.join().unwrap();
    });
}

#[test]
fn message_of_a_rendezvous_was_received_or_comes_back() {
    model(|| {
        let (sender, receiver) = rendezvous();
        let other = thread::spawn(move || receiver.try_recv());
        let sent = sender.send(1);
        let received = other.join().unwrap();
        assert_eq!(sent.is_ok(), received.is_ok());
        if let Err(error) = sent {
            assert!(error.is_closed());
            assert_eq!(error.into_inner(), 1);
        }
    });
}

#[test]
fn last_receiver_drops_what_was_sent_and_ends_the_rest() {
    model(|| {
        let count = Arc::new(());
        let (sender, receiver) = bounded(1);
        let other = thread::spawn(move || drop(receiver));
        for number in 0..2 {
            if let Err(error) = sender.send(Counted(number, count.clone())) {
                assert_eq!(error.into_inner().0, number);
            }
        }
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&count), 1, "all were dropped, though the sender lives");
    });
}

#[test]
fn permit_is_used_or_given_up_before_the_end() {
    model(|| {
        let (sender, receiver) = bounded(1);
        let other = thread::spawn(move || {
            let permit = sender.reserve().ok()?;
            sender.close();
            permit.send(1).ok()
        });
        let received = receiver.recv().ok();
        assert_eq!((received, other.join().unwrap()), (Some(1), Some(())));
    });
}

#[test]
fn close_lets_a_sender_through_or_gives_the_message_back() {
    model(|| {
        let (sender, receiver) = bounded(1);
        sender.send(0).unwrap();
        let other = thread::spawn(move || sender.send(1).is_ok());
        receiver.close();
        let received = receiver.iter().count();
        assert_eq!(received, if other.join().unwrap() { 2 } else { 1 });
    });
}

#[test]
fn upgrade_finds_an_open_channel_or_none() {
    model(|| {
        let (sender, receiver) = unbounded();
        let weak = sender.downgrade();
        let other = thread::spawn(move || drop(sender));
        let sent = weak.upgrade().is_some_and(|sender| sender.send(1).is_ok());
        assert_eq!(receiver.recv().is_ok(), sent);
        other.join().unwrap();
    });
}

#[test]
fn oneshot_is_received_or_comes_back() {
    model(|| {
        let (sender, receiver) = oneshot();
        let other = thread::spawn(move || sender.send(1));
        assert_eq!(receiver.recv().unwrap(), 1);
        other.join().unwrap().unwrap();
    });
    model(|| {
        let count = Arc::new(());
        let (sender, receiver) = oneshot();
        let other = thread::spawn(move || drop(receiver));
        drop(sender.send(Counted(1, count.clone())));
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&count), 1);
    });
}

#[test]
fn oneshot_wakes_all_who_wait() {
    model(|| {
        let (sender, receiver) = oneshot();
        let receiver = Arc::new(receiver);
        let other = thread::spawn({
            let receiver = receiver.clone();
            move || receiver.recv().is_ok()
        });
        let sending = thread::spawn(move || sender.send(1).unwrap());
        let received = receiver.recv().is_ok();
        assert_ne!(received, other.join().unwrap());
        sending.join().unwrap();
    });
}

#[test]
fn broadcast_keeps_what_it_has_promised() {
    model(|| {
        let (sender, first) = broadcast(2);
        let other = thread::spawn(move || drop(first));
        let receiver = sender.subscribe();
        assert!(sender.send(1).is_ok());
        assert_eq!(*receiver.try_recv().unwrap(), 1);
        other.join().unwrap();
    });
}

#[test]
fn broadcast_wakes_all_who_wait() {
    model(|| {
        let (sender, receiver) = broadcast(2);
        let other = thread::spawn({
            let receiver = sender.subscribe();
            move || *receiver.recv().unwrap()
        });
        let sending = thread::spawn(move || sender.send(1).unwrap());
        assert_eq!((*receiver.recv().unwrap(), other.join().unwrap()), (1, 1));
        sending.join().unwrap();
        assert!(receiver.recv().unwrap_err().is_closed());
    });
}

#[test]
fn watch_misses_no_change() {
    model(|| {
        let (sender, mut receiver) = watch(0);
        let other = thread::spawn(move || sender.send(1).unwrap());
        receiver.changed().unwrap();
        assert_eq!(*receiver.get(), 1);
        assert!(receiver.changed().unwrap_err().is_closed());
        other.join().unwrap();
    });
}

fn shared() -> SharedChannel<u32> {
    Channel::new().share()
}

#[test]
fn message_of_a_stackless_channel_arrives_once() {
    model(|| {
        let channel = shared();
        let other = thread::spawn({
            let channel = channel.clone();
            move || channel.send(1).unwrap()
        });
        assert_eq!(channel.recv().unwrap(), 1);
        other.join().unwrap();
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn close_of_a_stackless_channel_ends_a_wait() {
    model(|| {
        let channel = shared();
        let other = thread::spawn({
            let channel = channel.clone();
            move || channel.close()
        });
        assert_eq!(channel.send(1).unwrap_err().into_inner(), 1);
        other.join().unwrap();
    });
}

#[test]
fn select_takes_one_message_and_leaves_the_other() {
    model(|| {
        let [(left, lefts), (right, rights)] = two(|| bounded(1));
        let other = thread::spawn(move || {
            left.send(1).unwrap();
            right.send(2).unwrap();
        });
        let (first, second) = select_biased! {
            recv(lefts) -> got => (got.unwrap(), rights.recv().unwrap()),
            recv(rights) -> got => (got.unwrap(), lefts.recv().unwrap()),
        };
        assert!((first, second) == (1, 2) || (first, second) == (2, 1), "{first} {second}");
        other.join().unwrap();
    });
}

#[test]
fn select_sends_or_keeps_its_message() {
    model(|| {
        let [(left, lefts), (right, rights)] = two(rendezvous);
        let other = thread::spawn(move || (lefts.recv().ok(), rights.try_recv().ok()));
        let sent = select_biased! { send(left, 1) -> sent => (sent.is_ok(), false), send(right, 2) -> sent => (false, sent.is_ok()) };
        drop((left, right));
        let received = other.join().unwrap();
        assert_eq!((received.0.is_some(), received.1.is_some()), sent);
    });
}

#[test]
fn select_sees_the_end_of_a_channel() {
    model(|| {
        let [(left, lefts), (right, rights)] = two(rendezvous);
        let other = thread::spawn(move || drop(right));
        select_biased! {
            recv(lefts) -> _ => panic!("nobody sends"),
            recv(rights) -> got => assert!(got.unwrap_err().is_closed()),
        }
        other.join().unwrap();
        drop(left);
    });
}

#[test]
fn select_whose_time_is_up_has_taken_nothing() {
    model(|| {
        let [(left, lefts), (_right, rights)] = two(|| bounded(1));
        let other = thread::spawn(move || left.try_send(1).unwrap());
        let got = select_biased! {
            recv(lefts) -> got => got.ok(),
            recv(rights) -> _ => panic!("nobody sends"),
            default(Duration::ZERO) => None,
        };
        other.join().unwrap();
        assert_eq!(got.or_else(|| lefts.try_recv().ok()), Some(1));
    });
}

#[test]
fn selects_that_could_serve_each_other_exchange_one_message() {
    model(|| {
        let [(left, lefts), (right, rights)] = two(rendezvous);
        let (other_left, other_rights) = (left.clone(), rights.clone());
        let other = thread::spawn(move || {
            select_biased! { send(other_left, 1) -> sent => { sent.unwrap(); 1 }, recv(other_rights) -> got => got.unwrap() }
        });
        let ours =
            select_biased! { send(right, 2) -> sent => { sent.unwrap(); 2 }, recv(lefts) -> got => got.unwrap() };
        assert_eq!(ours, other.join().unwrap());
    });
}
