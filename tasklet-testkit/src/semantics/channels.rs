//! Sending and receiving: who blocks, who is served, what comes back (R15-R18, R20).

use std::rc::Rc;

use tasklet_channels::Preference;
use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, State};

use super::setup::{Chan, Setup, caught, channel, fail, preferring, receive};

/// A1 testBlockingSend.
pub fn send_without_a_receiver_blocks<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = s.spawn_with("t", &c, |_, c| c.send(1).unwrap());

    t.run().unwrap();

    assert_eq!(t.state(), State::BlockedSending);
    assert_eq!(c.balance(), 1);
}

/// A2 testBlockingReceive.
pub fn receive_without_a_sender_blocks<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    let t = s.spawn_with("t", &c, |_, c| receive(&c));

    t.run().unwrap();

    assert_eq!(t.state(), State::BlockedReceiving);
    assert_eq!(c.balance(), -1);
}

/// A3 testNonBlockingSend.
pub fn send_to_waiting_receiver_runs_receiver_first<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = s.spawn_with("t", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    t.run().unwrap();

    let trap = local::block_trap();
    c.send(1).unwrap();
    drop(trap);
    s.log.log("sent");

    s.log.assert("got1 sent");
    assert_eq!(c.balance(), 0);
}

/// R16 for a receive: the other half of A3.
pub fn receive_from_waiting_sender_goes_on_and_appends_the_sender<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = s.spawn_with("t", &c, |log, c| {
        c.send(1).unwrap();
        log.log("sent");
    });
    t.run().unwrap();
    s.says("x");

    let trap = local::block_trap();
    assert_eq!(c.recv(), Ok(1));
    drop(trap);
    s.log.log("got");

    assert_eq!(s.queue(), "main x t");
    s.run();
    s.log.assert("got x sent");
}

/// A5 (model).
pub fn waiting_senders_are_served_oldest_first<B: Backend>(kind: StackKind) {
    for preference in [Preference::Receiver, Preference::Neither] {
        let (s, c) = three_senders_and_a_bystander::<B>(kind, preference);
        s.log.assert("got1 got2 got3");
        assert_eq!(s.queue(), "main X S1 S2 S3");
        s.run();
        s.log.assert("X s1 s2 s3");
        assert_eq!(c.balance(), 0);
    }
    let (s, _c) = three_senders_and_a_bystander::<B>(kind, Preference::Sender);
    s.log.assert("s1 X got1 s2 got2 s3 got3");
}

fn three_senders_and_a_bystander<B: Backend>(kind: StackKind, preference: Preference) -> (Setup<B>, Chan<B, i32>) {
    let s = Setup::<B>::new(kind);
    let c = preferring::<B, _>(preference);
    for i in 1..=3 {
        s.spawn_with(&format!("S{i}"), &c, move |log, c| {
            c.send(i).unwrap();
            log.log(format!("s{i}"));
        });
    }
    s.run();
    s.says("X");
    for _ in 0..3 {
        let got = c.recv().unwrap();
        s.log.log(format!("got{got}"));
    }
    (s, c)
}

/// R17: receivers queue up in the order of blocking, too.
pub fn waiting_receivers_are_served_oldest_first<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    for name in ["a", "b", "c"] {
        s.spawn_with(name, &c, move |log, c| log.log(format!("{name}{}", c.recv().unwrap())));
    }
    s.run();
    assert_eq!(c.send_all(1..=3).unwrap(), 3);
    s.log.assert("a1 b2 c3");
}

/// A7 testAttr_balance; R18.
pub fn balance_counts_waiters_and_follows_kills<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let senders = [1, 2].map(|i| s.spawn_with("sender", &c, move |_, c| c.send(i).unwrap()));
    s.run();
    assert_eq!(c.balance(), 2);
    senders[0].kill().unwrap();
    assert_eq!(c.balance(), 1);
    senders[1].kill().unwrap();
    assert_eq!(c.balance(), 0);

    let receivers = [1, 2].map(|_| s.spawn_with("receiver", &c, |_, c| receive(&c)));
    s.run();
    assert_eq!(c.balance(), -2);
    receivers[0].kill().unwrap();
    assert_eq!(c.balance(), -1);
    receivers[1].kill().unwrap();
    assert_eq!(c.balance(), 0);
}

/// A8 testAttr_queue, and (model).
pub fn waiters_are_listed_oldest_first_without_the_killed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    assert_eq!(c.waiters(), []);
    let [a, b, d] = ["a", "b", "c"].map(|name| s.spawn_with(name, &c, |_, c| receive(&c)));
    s.run();
    assert_eq!(c.waiters(), [a.id(), b.id(), d.id()]);
    b.kill().unwrap();
    assert_eq!(c.waiters(), [a.id(), d.id()]);
    assert_eq!(c.balance(), -2);
}

/// A9 testAttr_preference.
pub fn preference_is_the_receiver_unless_set<B: Backend>(_: StackKind) {
    let c = channel::<B, i32>();
    assert_eq!(c.preference(), Preference::Receiver);
    for preference in [Preference::Sender, Preference::Neither, Preference::Receiver] {
        c.set_preference(preference);
        assert_eq!(c.preference(), preference);
        assert_eq!(preferring::<B, i32>(preference).preference(), preference);
    }
    assert!(!c.schedule_all());
    c.set_schedule_all(true);
    assert!(c.schedule_all());
}

#[derive(Debug, PartialEq)]
struct ValueError(i32, i32, i32);

/// A10 testSendException, testSendThrow.
pub fn what_is_sent_to_be_raised_is_raised_in_the_receiver<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    s.spawn_with("t", &c, |_, c| c.send_throw(Box::new(ValueError(1, 2, 3))).unwrap());
    let payload = caught(|| c.recv()).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&ValueError(1, 2, 3)));

    s.spawn_with("t", &c, |_, c| {
        let original = caught(|| fail("original")).unwrap_err();
        c.send_throw(original).unwrap();
    });
    let payload = caught(|| c.recv()).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"original"));
}

/// R20: an error that is sent has the order of a value that is sent.
pub fn sending_an_error_orders_like_sending_a_value<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    s.spawn_with("R", &c, |log, c| {
        log.log("R0");
        assert!(caught(|| c.recv()).is_err());
        log.log("R1");
    });
    s.spawn_with("S", &c, |log, c| {
        log.log("S0");
        c.send_throw(Box::new("sent")).unwrap();
        log.log("S1");
    });
    s.yields("X", 2);
    s.run();
    s.log.assert("R0 S0 R1 X0 S1 X1");
}

/// A12 (model).
pub fn many_senders_interleave_by_turns<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    for name in ["a", "b", "c"] {
        s.spawn_with(name, &c, move |log, c| {
            c.send_all((0..2).map(|i| format!("{name}{i}"))).unwrap();
            log.log(format!("{name} end"));
        });
    }
    s.spawn_with("R", &c, |log, c| (0..6).for_each(|_| log.log(c.recv().unwrap())));
    s.run();
    s.log.assert("a0 b0 c0 a1 b1 c1 a end b end c end");
}

/// J6 testTemporaryChannel; R23.
pub fn a_tasklet_blocked_on_a_channel_nobody_else_holds_is_cleaned_up<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let witness = Rc::new(());
    let t = s.spawn_with("t", &witness, |_, witness| {
        let _witness = witness;
        receive(&channel::<B, i32>());
    });
    s.run();
    assert!(t.is_blocked());
    drop(s);
    assert!(!t.is_alive());
    assert_eq!(Rc::strong_count(&witness), 1);
}

/// A clone is the same channel; another channel is not.
pub fn clones_of_a_channel_are_one_channel<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let clone = c.clone();
    assert!(c.same_channel(&clone) && !c.same_channel(&channel::<B, _>()));
    assert_eq!(c.id(), clone.id());
    s.spawn_with("t", &clone, |_, c| c.send(7).unwrap());
    assert_eq!(c.recv(), Ok(7));
}

/// A tasklet that was served and is taken out of the queue before it goes on is paused, not blocked.
pub fn a_served_tasklet_that_is_removed_is_paused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = s.spawn_with("t", &c, |log, c| {
        c.send(1).unwrap();
        log.log("t");
    });
    s.run();
    c.recv().unwrap();
    t.remove().unwrap();
    assert_eq!(t.state(), State::Paused);
    assert_eq!(t.park_reason(), None);
    s.run();
    s.log.assert("");
    t.insert().unwrap();
    s.run();
    s.log.assert("t");
}

/// R15: whether a partner waits is all that counts; close and block trap are for those who would wait.
pub fn an_exchange_that_can_be_made_ignores_close_and_block_trap<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    for sending in [true, false] {
        let c = channel::<B, _>();
        s.spawn_with("partner", &c, move |_, c| if sending { receive(&c) } else { c.send(1).unwrap() });
        s.run();
        c.close_soft();
        let _trap = local::block_trap();
        if sending {
            c.send(1).unwrap();
        } else {
            assert_eq!(c.recv(), Ok(1));
        }
        assert!(c.is_closed());
    }
    s.run();
}
