//! Selects that unwind when they were served already: their arm has the message, and it goes on from there.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tasklet_channels::{Receiver, Select, Sender, TypedArm, rendezvous, unbounded};
use tasklet_core::backend::Backend;
use tasklet_scheduler::{local, stealing};

use super::Case;
use super::setup::run;
use crate::kinds;
use crate::stealing::setup::fail;

/// Selects this one arm, and catches what is thrown meanwhile.
fn select_until_thrown(arm: &mut impl TypedArm) {
    let thrown = catch_unwind(AssertUnwindSafe(|| Select::new([arm]).wait()));
    assert!(thrown.is_err(), "nothing was thrown");
}

/// An arm that was served before its select unwound has its message, and is ready until that is taken.
pub fn a_served_arm_has_its_message<B: Backend>(case: Case) {
    let scheduler = kinds::local::<B>(case.kind).build();
    let (sender, receiver) = unbounded();
    let got = Rc::new(RefCell::new(Vec::new()));
    let tasklet = scheduler.spawn({
        let (receiver, got) = (receiver.clone(), got.clone());
        move || {
            let mut arm = receiver.recv_arm();
            select_until_thrown(&mut arm);
            for _ in 0..2 {
                assert_eq!(Select::new([&mut arm]).try_now(), Ok(0));
                got.borrow_mut().push(arm.output().unwrap());
            }
        }
    });
    scheduler.run().unwrap();
    (0..3).for_each(|number| sender.send(number).unwrap());
    tasklet.throw(Box::new("thrown")).unwrap();
    scheduler.run().unwrap();
    assert_eq!(*got.borrow(), [0, 1]);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2]);
}

/// One that sends has sent, and is ready, as it would be without the unwinding.
pub fn a_served_arm_has_sent<B: Backend>(case: Case) {
    let scheduler = kinds::local::<B>(case.kind).build();
    let (sender, receiver) = rendezvous();
    let sent = Rc::new(RefCell::new(None));
    let tasklet = scheduler.spawn({
        let sent = sent.clone();
        move || {
            let mut arm = sender.send_arm(5);
            select_until_thrown(&mut arm);
            let ready = Select::new([&mut arm]).try_now();
            *sent.borrow_mut() = Some((ready, arm.output()));
        }
    });
    scheduler.run().unwrap();
    assert_eq!(receiver.try_recv(), Ok(5));
    tasklet.throw(Box::new("thrown")).unwrap();
    scheduler.run().unwrap();
    assert_eq!(sent.take(), Some((Ok(0), Ok(()))));
}

/// A message goes back when the arm is dropped that has it: to whoever waits then, and before what comes later.
pub fn a_dropped_arm_serves_who_waits<B: Backend>(case: Case) {
    let scheduler = kinds::local::<B>(case.kind).build();
    let (sender, receiver) = unbounded();
    let tasklet = scheduler.spawn({
        let receiver = receiver.clone();
        move || {
            let mut arm = receiver.recv_arm();
            select_until_thrown(&mut arm);
            assert_eq!(Select::new([&mut arm]).try_now(), Ok(0));
            // The other comes to wait while the arm has the message.
            local::schedule();
            drop(arm);
        }
    });
    scheduler.run().unwrap();
    sender.send(1).unwrap();
    tasklet.throw_later(Box::new("thrown")).unwrap();
    let other = scheduler.spawn_joinable({
        let receiver = receiver.clone();
        move || receiver.recv()
    });
    scheduler.run().unwrap();
    assert!(other.is_finished(), "it has the message that came back");
    sender.send(2).unwrap();
    assert_eq!((other.join().unwrap(), receiver.try_recv()), (Ok(1), Ok(2)));
}

/// A chosen arm that is dropped, with its output or without: a message is received once, or it is in the channel.
pub fn a_chosen_arm_that_is_dropped_gives_back<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = unbounded();
        (0..3).for_each(|number| sender.send(number).unwrap());
        let mut arm = receiver.recv_arm();
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        assert_eq!(receiver.len(), 2);
        drop(arm);
        assert_eq!(receiver.len(), 3);
        let mut arm = receiver.recv_arm();
        assert_eq!(Select::new([&mut arm]).wait(), Ok(0));
        assert_eq!(arm.output(), Ok(0));
        drop(arm);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    });
}

/// Who unwinds may not park, and keeps its worker meanwhile: what serves it may be a waker that this worker would call.
pub fn a_worker_serves_its_own_tasklet_that_unwinds<B: Backend>(case: Case) {
    /// A waker that sends.
    struct Sends(Sender<u8>);

    impl Wake for Sends {
        fn wake(self: Arc<Self>) {
            self.0.try_send(1).unwrap();
        }
    }

    /// Receives when it is dropped.
    struct Receives(Receiver<u8>, Sender<u8>);

    impl Drop for Receives {
        fn drop(&mut self) {
            self.1.send(self.0.recv().unwrap()).unwrap();
        }
    }

    case.run::<B, _>(|| {
        let (sender, receiver) = rendezvous();
        let (done, is_done) = unbounded();
        let mut sleep = Box::pin(stealing::sleep_async(Duration::from_millis(5)));
        let waker = Waker::from(Arc::new(Sends(sender)));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let unwinding = stealing::spawn_on(stealing::worker_index().unwrap(), move || {
            let _receives = Receives(receiver, done);
            fail("on purpose");
        });
        assert!(unwinding.unwrap().join().unwrap_err().is_panic());
        assert_eq!(is_done.try_recv(), Ok(1));
    });
}
