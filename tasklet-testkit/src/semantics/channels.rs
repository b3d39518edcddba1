//! Sending and receiving: who blocks, who is served, what comes back (R15-R18, R20).

use std::rc::Rc;

use tasklet_channels::{Channel, Preference, SendError};
use tasklet_core::backend::Backend;
use tasklet_core::park::{Direction, ParkError};
use tasklet_scheduler::local::{self, State};

use super::setup::{Setup, caught, fail, receive};

/// A1 testBlockingSend.
pub fn send_without_a_receiver_blocks<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
    let t = s.spawn_with("t", &c, |_, c| c.send(1).unwrap());

    t.run().unwrap();

    assert_eq!(t.state(), State::BlockedSending);
    assert_eq!(c.balance(), 1);
}

/// A2 testBlockingReceive.
pub fn receive_without_a_sender_blocks<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::<i32>::new();
    let t = s.spawn_with("t", &c, |_, c| receive(&c));

    t.run().unwrap();

    assert_eq!(t.state(), State::BlockedReceiving);
    assert_eq!(c.balance(), -1);
}

/// A3 testNonBlockingSend.
pub fn send_to_waiting_receiver_runs_receiver_first<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
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
pub fn receive_from_waiting_sender_goes_on_and_appends_the_sender<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
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
pub fn waiting_senders_are_served_oldest_first<B: Backend>() {
    for preference in [Preference::Receiver, Preference::Neither] {
        let (s, c) = three_senders_and_a_bystander::<B>(preference);
        s.log.assert("got1 got2 got3");
        assert_eq!(s.queue(), "main X S1 S2 S3");
        s.run();
        s.log.assert("X s1 s2 s3");
        assert_eq!(c.balance(), 0);
    }
    let (s, _c) = three_senders_and_a_bystander::<B>(Preference::Sender);
    s.log.assert("s1 X got1 s2 got2 s3 got3");
}

fn three_senders_and_a_bystander<B: Backend>(preference: Preference) -> (Setup<B>, Channel<i32>) {
    let s = Setup::<B>::new();
    let c = Channel::with_preference(preference);
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
pub fn waiting_receivers_are_served_oldest_first<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
    for name in ["a", "b", "c"] {
        s.spawn_with(name, &c, move |log, c| log.log(format!("{name}{}", c.recv().unwrap())));
    }
    s.run();
    assert_eq!(c.send_all(1..=3).unwrap(), 3);
    s.log.assert("a1 b2 c3");
}

/// A7 testAttr_balance.
pub fn balance_counts_waiters_and_follows_kills<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
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
pub fn waiters_are_listed_oldest_first_without_the_killed<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::<i32>::new();
    assert_eq!(c.waiters(), []);
    let [a, b, d] = ["a", "b", "c"].map(|name| s.spawn_with(name, &c, |_, c| receive(&c)));
    s.run();
    assert_eq!(c.waiters(), [a.id(), b.id(), d.id()]);
    b.kill().unwrap();
    assert_eq!(c.waiters(), [a.id(), d.id()]);
    assert_eq!(c.balance(), -2);
}

/// A9 testAttr_preference.
pub fn preference_is_the_receiver_unless_set<B: Backend>() {
    let c = Channel::<i32>::new();
    assert_eq!(c.preference(), Preference::Receiver);
    for preference in [Preference::Sender, Preference::Neither, Preference::Receiver] {
        c.set_preference(preference);
        assert_eq!(c.preference(), preference);
        assert_eq!(Channel::<i32>::with_preference(preference).preference(), preference);
    }
    assert!(!c.schedule_all());
    c.set_schedule_all(true);
    assert!(c.schedule_all());
}

#[derive(Debug, PartialEq)]
struct ValueError(i32, i32, i32);

/// A10 testSendException, testSendThrow.
pub fn what_is_sent_to_be_raised_is_raised_in_the_receiver<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::<i32>::new();
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
pub fn sending_an_error_orders_like_sending_a_value<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::<i32>::new();
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
pub fn many_senders_interleave_by_turns<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
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

/// Operations that do not wait say so, keep the value, and serve whoever waits.
pub fn try_operations_never_wait<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
    let error = c.try_send("v").unwrap_err();
    assert!(error.is_would_block());
    assert_eq!(error.into_inner(), "v");
    assert!(c.try_recv().unwrap_err().is_would_block());

    s.spawn_with("t", &c, |_, c| c.send("w").unwrap());
    s.run();
    assert_eq!(c.try_recv(), Ok("w"));
    s.spawn_with("t", &c, |log, c| log.log(c.recv().unwrap()));
    s.run();
    c.try_send("x").unwrap();
    s.log.assert("x");
}

/// The value that could not be sent is in the error, whatever the cause.
pub fn a_value_that_could_not_be_sent_comes_back<B: Backend>() {
    fn returned(result: Result<(), SendError<Rc<str>>>, value: &Rc<str>) -> SendError<Rc<str>> {
        let error = result.unwrap_err();
        assert!(Rc::ptr_eq(&error.clone().into_inner(), value));
        error
    }
    let s = Setup::<B>::new();
    let c = Channel::<Rc<str>>::new();
    let value: Rc<str> = "value".into();

    assert_eq!(returned(c.send(value.clone()), &value).park_error(), Some(ParkError::Deadlock));
    s.says("x");
    let deserted = returned(c.send(value.clone()), &value).park_error();
    assert_eq!(deserted, Some(ParkError::MainDeserted(Direction::Send)));
    {
        let _trap = local::block_trap();
        assert_eq!(returned(c.send(value.clone()), &value).park_error(), Some(ParkError::BlockTrapped));
    }
    {
        s.says("y");
        let _trap = local::switch_trap();
        assert_eq!(returned(c.send(value.clone()), &value).park_error(), Some(ParkError::SwitchTrapped));
    }
    let sent = value.clone();
    s.spawn_with("closed", &c, move |log, c| {
        assert!(returned(c.send(sent.clone()), &sent).is_closed());
        log.log("closed");
    });
    s.run();
    c.close();
    s.run();
    assert!(returned(c.send(value.clone()), &value).is_closed());
    assert!(returned(c.try_send(value.clone()), &value).is_closed());
    c.reopen();
    assert!(returned(c.try_send(value.clone()), &value).is_would_block());
    s.log.assert("x y closed");

    drop((s, c));
    assert_eq!(Rc::strong_count(&value), 1);
}

/// `send_all` says how far it came, and gives the value back that did not go.
pub fn send_all_stops_at_the_first_failure<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::<i32>::new();
    s.spawn_with("R", &c, |log, c| (0..2).for_each(|_| log.log(c.recv().unwrap().to_string())));
    s.run();
    let _trap = local::block_trap();
    let failed = c.send_all(0..4).unwrap_err();
    assert_eq!(failed.sent, 2);
    assert_eq!(failed.error.park_error(), Some(ParkError::BlockTrapped));
    assert_eq!(failed.error.into_inner(), 2);
    s.log.assert("0 1");
}

/// J6 testTemporaryChannel.
pub fn a_tasklet_blocked_on_a_channel_nobody_else_holds_is_cleaned_up<B: Backend>() {
    let s = Setup::<B>::new();
    let witness = Rc::new(());
    let t = s.spawn_with("t", &witness, |_, witness| {
        let _witness = witness;
        receive(&Channel::<i32>::new());
    });
    s.run();
    assert!(t.is_blocked());
    drop(s);
    assert!(!t.is_alive());
    assert_eq!(Rc::strong_count(&witness), 1);
}

/// A clone is the same channel; another channel is not.
pub fn clones_of_a_channel_are_one_channel<B: Backend>() {
    let s = Setup::<B>::new();
    let c = Channel::new();
    let clone = c.clone();
    assert!(c.same_channel(&clone) && !c.same_channel(&Channel::new()));
    assert_eq!(c.id(), clone.id());
    s.spawn_with("t", &clone, |_, c| c.send(7).unwrap());
    assert_eq!(c.recv(), Ok(7));
}

/// A message dropped in a queue is dropped once, and its destructor may use the channel.
pub fn a_killed_senders_message_is_dropped_once<B: Backend>() {
    struct Probe(Channel<Option<Probe>>, Rc<std::cell::Cell<u32>>);
    impl Drop for Probe {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            assert_eq!(self.0.balance(), 0);
        }
    }
    let s = Setup::<B>::new();
    let c = Channel::<Option<Probe>>::new();
    let dropped = Rc::new(std::cell::Cell::new(0));
    let probe = Probe(c.clone(), dropped.clone());
    let t = s.spawn_with("t", &c, move |_, c| drop(c.send(Some(probe))));
    s.run();
    assert_eq!(dropped.get(), 0);
    t.kill().unwrap();
    assert_eq!(dropped.get(), 1);
}
