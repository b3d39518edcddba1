//! A reference backend without a switch: each coroutine is an OS thread, and resumer and coroutine hand over strictly.
//!
//! It is slow, and that is not the point: ThreadSanitizer, debuggers and other tools that cannot follow a stack switch see the
//! protocols built on top of it, and a test that fails here and on a real backend does not fail because of the switch.
//!
//! # Differences from the real backends
//!
//! - **Code in a coroutine runs on another OS thread than its resumer.** Thread-locals, thread ids and std's panic count are the
//!   coroutine's own, though still the same at every resume. Whatever identifies a tasklet must not hang on a thread-local.
//! - Dropping a suspended coroutine leaks its thread, parked until the process ends.
//! - An overflow is reported by std's handler for threads, which ends the process.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tasklet_core::backend::{Backend, Entry, Resumed, StackProvision, StackSource};
use tasklet_core::stack::{Stack, StackError};

/// The backend, a type without values.
#[derive(Debug)]
pub enum Threads {}

/// A coroutine on a thread of its own.
#[derive(Debug)]
pub struct Coroutine {
    baton: Arc<Baton>,
    // `None` once the thread has been joined or given up.
    thread: Option<JoinHandle<()>>,
}

/// Suspends the coroutine whose entry function it was given to.
#[derive(Debug)]
pub struct Suspender {
    baton: Arc<Baton>,
}

/// Says whose turn it is; the other side waits.
#[derive(Debug)]
struct Baton {
    // A `Turn`. What one side did happens before what the other does next by way of this atomic, not of the lock: ThreadSanitizer
    // sees atomics that are compiled here, and not what the precompiled std does inside of locks.
    turn: AtomicU8,
    // Held to change `turn` and to go to sleep, so that no change is slept through.
    lock: Mutex<()>,
    passed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Turn {
    /// The coroutine has not run, and waits for its first resume.
    Fresh,
    /// The coroutine runs.
    Coroutine,
    /// The coroutine is suspended.
    Resumer,
    /// The entry function returned.
    Finished,
    /// The coroutine was dropped before it ever ran.
    Cancelled,
}

/// What std and the C library keep on a thread's stack: start-up frames, thread-locals, the thread's descriptor. A guess.
const THREAD_OVERHEAD: usize = 64 << 10;

/// What a coroutine's thread runs, made sendable.
struct Start {
    entry: Entry<Threads>,
    argument: *mut (),
}

// SAFETY: strictly one of resumer and coroutine runs at a time, with the baton's lock between them, so `argument` is used as if by
// one thread. That it points to things bound to the resumer's thread is the documented difference of this backend.
unsafe impl Send for Start {}

// SAFETY: obligation by obligation.
// B1: the thread waits for its first turn. B2, B3: the baton; stack and registers are the thread's own.
// B4: `Builder::stack_size`, and the guard that the C library puts below each thread's stack.
// B5: a suspender passes the baton of *its* coroutine, from whichever thread; that thread waits until the baton is back, so an
//     inner coroutine stays where it is while an outer one is suspended.
// B6: panics below the entry function are the thread's own; one that leaves it aborts (`AbortOnUnwind`).
// B7: threads do not move. B8: `Drop for Coroutine`. B9: a thread that cannot be spawned is an error.
unsafe impl Backend for Threads {
    type Coroutine = Coroutine;
    type Suspender = Suspender;

    const NAME: &'static str = "threads";
    const STACKS: StackProvision = StackProvision::Backend;

    unsafe fn create(stack: StackSource, entry: Entry<Self>, argument: *mut ()) -> Result<Coroutine, StackError> {
        let StackSource::Backend(size) = stack else {
            return Err(StackError::from_backend("the threads backend runs on threads' stacks, not on a given one"));
        };
        let baton =
            Arc::new(Baton { turn: AtomicU8::new(Turn::Fresh as u8), lock: Mutex::new(()), passed: Condvar::new() });
        let start = Start { entry, argument };
        let suspender = Suspender { baton: Arc::clone(&baton) };
        let spawned =
            thread::Builder::new().stack_size(size.bytes() + THREAD_OVERHEAD).spawn(move || start.run(&suspender));
        match spawned {
            Ok(thread) => Ok(Coroutine { baton, thread: Some(thread) }),
            Err(cause) => Err(StackError::from_backend(format!(
                "no thread with a stack of {} bytes could be spawned: {cause}",
                size.bytes()
            ))),
        }
    }

    unsafe fn resume(coroutine: &mut Coroutine) -> Resumed {
        match coroutine.baton.pass(Turn::Coroutine, |turn| turn != Turn::Coroutine) {
            Turn::Finished => Resumed::Finished,
            _ => Resumed::Suspended,
        }
    }

    unsafe fn suspend(suspender: &Suspender) {
        suspender.baton.pass(Turn::Resumer, |turn| turn == Turn::Coroutine);
    }

    fn into_stack(coroutine: Coroutine) -> Option<Stack> {
        drop(coroutine);
        None
    }
}

impl Baton {
    /// Gives the turn away and waits until `mine` says it is back; returns what the turn then is.
    fn pass(&self, to: Turn, mine: impl Fn(Turn) -> bool) -> Turn {
        let lock = self.lock();
        self.set(to, &lock);
        self.wait(lock, mine)
    }

    fn wait(&self, lock: MutexGuard<'_, ()>, mine: impl Fn(Turn) -> bool) -> Turn {
        drop(self.passed.wait_while(lock, |()| !mine(self.turn())).unwrap_or_else(PoisonError::into_inner));
        self.turn()
    }

    fn turn(&self) -> Turn {
        // Acquire: pairs with the Release in `set`.
        match self.turn.load(Ordering::Acquire) {
            0 => Turn::Fresh,
            1 => Turn::Coroutine,
            2 => Turn::Resumer,
            3 => Turn::Finished,
            _ => Turn::Cancelled,
        }
    }

    fn set(&self, to: Turn, _lock: &MutexGuard<'_, ()>) {
        // Release: pairs with the Acquire in `turn`.
        self.turn.store(to as u8, Ordering::Release);
        self.passed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // Nothing is protected that a panic could leave half done.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Start {
    fn run(self, suspender: &Suspender) {
        let baton = &suspender.baton;
        if baton.wait(baton.lock(), |turn| turn != Turn::Fresh) == Turn::Cancelled {
            return;
        }
        let guard = AbortOnUnwind;
        // SAFETY: this runs once, at the first resume; the caller of `create` promised that the call is then allowed.
        unsafe { (self.entry)(self.argument, suspender) };
        std::mem::forget(guard);
        baton.set(Turn::Finished, &baton.lock());
    }
}

/// Ends the process when an entry function unwinds: its resumer would wait for ever.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("tasklet-testkit: a panic left the entry function of a coroutine");
        std::process::abort()
    }
}

/// Ends the thread of a coroutine that never ran or has finished; leaves that of a suspended one parked for ever (B8).
impl Drop for Coroutine {
    fn drop(&mut self) {
        match self.baton.turn() {
            Turn::Fresh => self.baton.set(Turn::Cancelled, &self.baton.lock()),
            Turn::Finished => {}
            _ => return,
        }
        if let Some(thread) = self.thread.take() {
            // The thread runs nothing of anybody's any more, so it neither blocks nor panics.
            let _ = thread.join();
        }
    }
}
