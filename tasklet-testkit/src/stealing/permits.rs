//! `park` and `unpark`: as for threads, for tasklets.

use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, Unparker};

use super::Case;
use super::setup::{LIMIT, channel, end, yield_until};

/// A permit that comes first is kept, and several are one.
pub fn permits_are_kept_and_merge<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let own = stealing::unparker();
        own.unpark();
        stealing::park().unwrap();
        own.unpark();
        own.unpark();
        assert_eq!(stealing::park_timeout(LIMIT), Ok(true));
        assert_eq!(stealing::park_timeout(Duration::from_millis(1)), Ok(false));
    });
}

/// A tasklet that parks so many times, and what unparks it.
fn parker(times: u32) -> (JoinHandle<u32>, Unparker) {
    let own = channel();
    let tell = own.clone();
    let handle = stealing::spawn_local(move || {
        tell.send(stealing::unparker()).unwrap();
        (0..times).for_each(|_| stealing::park().unwrap());
        times
    });
    let unparker = own.recv().unwrap();
    (handle, unparker)
}

/// A tasklet that is parked goes on when somebody unparks it: of its own worker, another, a plain thread, another runtime.
pub fn anybody_may_unpark<B: Backend>(case: Case) {
    let (runtime, other) = (case.runtime::<B>(), case.runtime::<B>());
    runtime.run(|| {
        let (handle, unparker) = parker(1);
        stealing::yield_now();
        assert!(!handle.is_finished());
        unparker.unpark();
        assert_eq!(handle.join().unwrap(), 1);
        // Of one that has ended, nothing happens.
        unparker.unpark();

        let last = case.workers - 1;
        let (handle, unparker) = parker(1);
        stealing::spawn_on(last, move || unparker.unpark()).unwrap().join().unwrap();
        handle.join().unwrap();

        let (handle, unparker) = parker(1);
        let thread = std::thread::spawn(move || unparker.unpark());
        handle.join().unwrap();
        thread.join().unwrap();

        let (handle, unparker) = parker(1);
        other.spawn(move || unparker.unpark()).detach();
        handle.join().unwrap();
    });
    end(runtime);
    end(other);
}

/// Each wait takes one permit: nothing is lost when a thread and a tasklet pass the turn back and forth.
pub fn no_permit_is_lost<B: Backend>(case: Case) {
    const ROUNDS: u32 = 500;
    let runtime = case.runtime::<B>();
    let ready = channel();
    let (thread, tell) = (stealing::unparker(), ready.clone());
    let tasklet = runtime.spawn(move || {
        tell.send(stealing::unparker()).unwrap();
        for _ in 0..ROUNDS {
            stealing::park().unwrap();
            thread.unpark();
        }
    });
    let other = ready.recv().unwrap();
    for _ in 0..ROUNDS {
        other.unpark();
        stealing::park().unwrap();
    }
    tasklet.join().unwrap();
    end(runtime);
}

/// A plain thread parks as tasklets do.
pub fn plain_threads_park_too<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let thread = stealing::unparker();
    let tasklet = runtime.spawn(move || thread.unpark());
    stealing::park().unwrap();
    tasklet.join().unwrap();
    assert_eq!(stealing::park_timeout(Duration::from_millis(1)), Ok(false));
    end(runtime);
}

/// A wait with a limit ends at the unpark, if that comes first.
pub fn park_timeout_ends_with_the_permit<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let own = channel();
        let tell = own.clone();
        let handle = stealing::spawn_local(move || {
            tell.send(stealing::unparker()).unwrap();
            stealing::park_timeout(LIMIT)
        });
        let unparker: Unparker = own.recv().unwrap();
        unparker.unpark();
        yield_until(|| handle.is_finished());
        assert_eq!(handle.join().unwrap(), Ok(true));
    });
}
