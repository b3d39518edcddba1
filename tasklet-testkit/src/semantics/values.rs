//! What becomes of a value that does not arrive: it comes back, or is dropped once.

use std::cell::Cell;
use std::rc::Rc;

use tasklet_channels::{Preference, SendError};
use tasklet_core::backend::Backend;
use tasklet_core::park::{Direction, ParkError};
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local;

use super::setup::{Setup, channel, preferring};

/// Operations that do not wait say so, keep the value, and serve whoever waits.
pub fn try_operations_never_wait<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
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
pub fn a_value_that_could_not_be_sent_comes_back<B: Backend>(kind: StackKind) {
    fn returned(result: Result<(), SendError<Rc<str>>>, value: &Rc<str>) -> SendError<Rc<str>> {
        let error = result.unwrap_err();
        assert!(Rc::ptr_eq(&error.clone().into_inner(), value));
        error
    }
    let s = Setup::<B>::new(kind);
    let c = channel::<B, Rc<str>>();
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
pub fn send_all_stops_at_the_first_failure<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, i32>();
    s.spawn_with("R", &c, |log, c| (0..2).for_each(|_| log.log(c.recv().unwrap().to_string())));
    s.run();
    let _trap = local::block_trap();
    let failed = c.send_all(0..4).unwrap_err();
    assert_eq!(failed.sent, 2);
    assert_eq!(failed.error.park_error(), Some(ParkError::BlockTrapped));
    assert_eq!(failed.error.into_inner(), 2);
    s.log.assert("0 1");
}

/// A message dropped in a queue is dropped once, and its destructor may use the channel.
pub fn a_killed_senders_message_is_dropped_once<B: Backend>(kind: StackKind) {
    struct Probe(tasklet_channels::Channel<Option<Probe>>, Rc<Cell<u32>>);
    impl Drop for Probe {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            assert_eq!(self.0.balance(), 0);
        }
    }
    let s = Setup::<B>::new(kind);
    let c = tasklet_channels::Channel::<Option<Probe>>::new();
    let dropped = Rc::new(Cell::new(0));
    let probe = Probe(c.clone(), dropped.clone());
    let t = s.spawn_with("t", &c, move |_, c| drop(c.send(Some(probe))));
    s.run();
    assert_eq!(dropped.get(), 0);
    t.kill().unwrap();
    assert_eq!(dropped.get(), 1);
}

/// A receiver that was served and is killed before it goes on drops the value.
pub fn killing_a_served_receiver_drops_its_value<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = preferring::<B, Rc<()>>(Preference::Neither);
    let value = Rc::new(());
    let t = s.spawn_with("t", &c, |log, c| {
        let _ = c.recv();
        log.log("unreachable");
    });
    s.run();
    c.send(value.clone()).unwrap();
    assert_eq!(Rc::strong_count(&value), 2);
    t.kill().unwrap();
    assert_eq!(Rc::strong_count(&value), 1);
    assert_eq!((t.is_alive(), c.balance()), (false, 0));
    s.log.assert("");
}
