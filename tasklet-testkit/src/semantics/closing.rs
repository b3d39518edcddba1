//! Closing channels, softly as Stackless does and for those who wait too; iteration (R15, R21, R22).

use tasklet_core::backend::Backend;
use tasklet_core::park::{Direction, ParkError};
use tasklet_core::tasklet::StackKind;

use super::setup::{Setup, caught_text, channel, receive};

/// C1 TestClose.testSender, testReceiver, testIterator.
pub fn a_closed_channel_refuses_to_block<B: Backend>(kind: StackKind) {
    let _s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    c.close_soft();
    assert!(c.is_closing() && c.is_closed());
    assert!(c.send(1).unwrap_err().is_closed());
    assert!(c.send_throw(Box::new("e")).unwrap_err().is_closed());
    assert!(c.recv().unwrap_err().is_closed());
    assert!(c.try_recv().unwrap_err().is_closed());
    assert_eq!(c.iter().next(), None);
    assert_eq!(c.balance(), 0);
}

/// C2 test_closing, of the CCP suite, and (model).
pub fn who_waits_when_a_channel_closes_softly_is_still_served<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    for i in 1..=2 {
        s.spawn_with("sender", &c, move |log, c| {
            c.send(i).unwrap();
            log.log(format!("s{i}"));
        });
    }
    s.run();
    c.close_soft();
    assert!(c.is_closing() && !c.is_closed());
    assert_eq!(c.balance(), 2);
    assert!(c.send(3).unwrap_err().is_closed());
    assert_eq!(c.recv(), Ok(1));
    assert!(!c.is_closed());
    assert_eq!(c.recv(), Ok(2));
    assert!(c.is_closed());
    assert!(c.recv().unwrap_err().is_closed());
    c.reopen();
    assert!(!c.is_closing() && !c.is_closed());
    s.run();
    s.log.assert("s1 s2");
}

/// C4 testSequence2; where the original sends a StopIteration, the channel is closed.
pub fn iteration_gets_exactly_what_was_sent_before_the_close<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    s.spawn_with("sender", &c, |log, c| {
        assert_eq!(c.send_all(0..10).unwrap(), 10);
        c.close();
        log.log("closed");
    });
    assert_eq!(c.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert!(c.is_closed());
    s.run();
    s.log.assert("closed");
}

/// R21, R22: a soft close between two steps ends an iteration, one that waits is not woken.
pub fn a_soft_close_ends_an_iteration_at_its_next_step<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let t = s.spawn_with("t", &c, |log, c| {
        c.iter().for_each(|i| log.log(format!("got{i}")));
        log.log("end");
    });
    s.run();
    c.close_soft();
    s.run();
    assert!(t.is_blocked());
    s.log.assert("");
    c.send(1).unwrap();
    s.log.assert("got1 end");
}

/// R21: waiting senders are drained although the channel is closing.
pub fn iteration_drains_waiting_senders_of_a_closing_channel<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    for i in 0..3 {
        s.spawn_with("sender", &c, move |_, c| c.send(i).unwrap());
    }
    s.run();
    c.close_soft();
    assert_eq!(c.iter().collect::<Vec<_>>(), [0, 1, 2]);
}

/// C5 test_kill_blocked_on_send_on_closed, of the CCP suite.
pub fn killing_the_last_waiter_makes_a_closing_channel_closed<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    for sending in [true, false] {
        let c = channel::<B, _>();
        let waiters =
            [1, 2].map(|i| s.spawn_with("t", &c, move |_, c| if sending { c.send(i).unwrap() } else { receive(&c) }));
        s.run();
        c.close_soft();
        assert!(!c.is_closed());
        waiters[0].kill().unwrap();
        assert!(!c.is_closed());
        waiters[1].kill().unwrap();
        assert!(c.is_closed());
        assert_eq!(c.balance(), 0);
    }
}

/// C6: an iteration whose sender has ended without closing.
pub fn iterating_main_is_told_when_the_last_sender_has_ended<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    s.spawn_with("sender", &c, |_, c| drop(c.send_all(0..2)));
    assert_eq!(c.iter().take(2).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(c.recv().unwrap_err().park_error(), Some(ParkError::MainDeserted(Direction::Receive)));

    s.spawn_with("sender", &c, |_, c| drop(c.send_all(0..2)));
    let mut got = Vec::new();
    let text = caught_text(|| c.iter().for_each(|i| got.push(i)));
    assert_eq!(got, [0, 1]);
    assert!(text.ends_with("receiving without a sender available"), "{text}");
}

/// `close` wakes receivers with an error, oldest first; the caller goes on.
pub fn close_wakes_waiting_receivers<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    for name in ["a", "b"] {
        s.spawn_with(name, &c, move |log, c| {
            assert!(c.recv().unwrap_err().is_closed());
            log.log(name);
        });
    }
    s.spawn_with("i", &c, |log, c| {
        assert_eq!(c.iter().next(), None);
        log.log("i");
    });
    s.run();
    s.says("x");
    c.close();
    s.log.assert("");
    assert_eq!(s.queue(), "main x a b i");
    assert_eq!(c.balance(), 0);
    s.run();
    s.log.assert("x a b i");
}

/// `close` wakes senders, which get their values back.
pub fn close_wakes_waiting_senders_with_their_values<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    for i in 1..=2 {
        s.spawn_with("t", &c, move |log, c| {
            let error = c.send(i).unwrap_err();
            assert!(error.is_closed());
            log.log(format!("back{}", error.into_inner()));
        });
    }
    s.run();
    c.close();
    s.run();
    s.log.assert("back1 back2");
}

/// A channel that was reopened works.
pub fn a_reopened_channel_blocks_again<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    c.close();
    c.reopen();
    let t = s.spawn_with("t", &c, |log, c| log.log(format!("got{}", c.recv().unwrap())));
    s.run();
    assert!(t.is_blocked());
    c.send(5).unwrap();
    s.log.assert("got5");
}
