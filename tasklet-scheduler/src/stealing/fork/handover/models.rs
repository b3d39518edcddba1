//! A fork is run by another worker, or given up, while its caller comes back to it.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;

/// A permit, as a tasklet's spot has it.
#[derive(Default)]
struct Spot {
    permit: Mutex<bool>,
    changed: Condvar,
}

impl Spot {
    fn unpark(&self) {
        *self.permit.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn park(&self) {
        let mut permit = self.permit.lock().unwrap();
        while !*permit {
            permit = self.changed.wait(permit).unwrap();
        }
        *permit = false;
    }
}

/// A fork on its caller's stack. loom watches all its cells: an access that is not ordered before the end of the stack frame fails.
struct Fork {
    handover: HandOver<UnsafeCell<Arc<Spot>>>,
    result: UnsafeCell<Option<u32>>,
}

/// The right to run it, on another thread.
struct ForkRef(NonNull<Fork>);

// SAFETY: what the models are about.
unsafe impl Send for ForkRef {}

impl ForkRef {
    fn settle(self, result: Option<u32>) {
        // SAFETY: the fork is alive before it is settled; loom checks the rest.
        unsafe { self.0.as_ref() }.result.with_mut(|place| unsafe { *place = result });
        // SAFETY: as above.
        let handover = NonNull::from(unsafe { &(*self.0.as_ptr()).handover });
        // SAFETY: as above, and it is done once.
        let caller = unsafe { HandOver::settle(handover, |caller| caller.with(|caller| (*caller).clone())) };
        caller.unpark();
    }
}

/// What a `join` does whose second closure another has taken up. Returns what it finds as the result.
fn join_with(other: impl FnOnce(ForkRef) + Send + 'static) -> Option<u32> {
    let spot = Arc::new(Spot::default());
    let fork = Box::new(Fork { handover: HandOver::new(UnsafeCell::new(spot.clone())), result: UnsafeCell::new(None) });
    let reference = ForkRef(NonNull::from(&*fork));
    let worker = thread::spawn(move || other(reference));
    while !fork.handover.is_settled() {
        spot.park();
    }
    // The end of the stack frame, as far as loom sees it: everything is written over. The memory goes later, for the sake of faults.
    // SAFETY: loom checks it.
    let result = fork.result.with_mut(|result| unsafe { (*result).take() });
    fork.handover.caller.with_mut(|_| {});
    worker.join().unwrap();
    result
}

#[test]
fn result_is_seen_and_the_fork_is_let_go_of_before() {
    loom::model(|| assert_eq!(join_with(|fork| fork.settle(Some(7))), Some(7)));
}

#[test]
fn caller_gets_back_what_nobody_runs() {
    loom::model(|| assert_eq!(join_with(|fork| fork.settle(None)), None));
}
