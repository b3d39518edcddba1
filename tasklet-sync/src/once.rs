//! What is done once.

use crate::primitive::atomic::{AtomicU8, Ordering};
use std::fmt;

use crate::cycles::Identity;
use crate::gate::Gate;

/// Nobody has begun.
const NEW: u8 = 0;
/// Somebody is at it.
const RUNNING: u8 = 1;
/// It is done.
const DONE: u8 = 2;
/// Who was at it last has unwound.
const POISONED: u8 = 3;

/// Something that is done once, by whoever comes first; the others wait until it is done.
///
/// # Examples
///
/// ```
/// use tasklet_sync::Once;
///
/// static START: Once = Once::new();
///
/// START.call_once(|| println!("once"));
/// START.call_once(|| unreachable!());
/// assert!(START.is_completed());
/// ```
///
/// # Differences from std
///
/// - The function may wait, and others that come meanwhile park. A kill that unwinds out of it poisons, as a panic does.
/// - A function that calls for the same `Once` waits for ever, or panics in builds with debug assertions; as do two that call for each
///   other's: see the [crate](crate#rules).
pub struct Once {
    state: AtomicU8,
    gate: Gate,
    identity: Identity,
}

/// What [`Once::call_once_force`] tells its function.
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether it was begun before, and its function has unwound.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl Once {
    constant! {
        /// Nothing is done yet.
        pub const fn new() -> Once {
            Once { state: AtomicU8::new(NEW), gate: Gate::new(()), identity: Identity::new() }
        }
    }

    /// Whether it is done.
    #[inline(always)]
    pub fn is_completed(&self) -> bool {
        // Acquire: pairs with the release at the end of `run`.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Calls `f` if this was never called before; returns when it is done, by whomever.
    ///
    /// # Scheduling
    ///
    /// If it is done, none. If somebody is at it, the caller parks.
    ///
    /// # Panics
    ///
    /// Where `f` does; and if the function of an earlier call has unwound. The caller may not wait: see the [crate](crate#rules). Unwinds with
    /// what is thrown at the caller while it waits.
    #[inline]
    #[track_caller]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.run(false, &mut |_| f.take().expect("it is called once")());
        }
    }

    /// As [`call_once`](Self::call_once), but calls `f` also if the function of an earlier call has unwound.
    ///
    /// # Scheduling
    ///
    /// As [`call_once`](Self::call_once).
    ///
    /// # Panics
    ///
    /// As [`call_once`](Self::call_once), but for the poison.
    #[inline]
    #[track_caller]
    pub fn call_once_force(&self, f: impl FnOnce(&OnceState)) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.run(true, &mut |state| f.take().expect("it is called once")(state));
        }
    }

    /// Waits until it is done, by somebody else.
    ///
    /// # Scheduling
    ///
    /// If it is done, none. Else the caller parks.
    ///
    /// # Panics
    ///
    /// The function of an earlier call has unwound. The caller may not wait: see the [crate](crate#rules). Unwinds with what is thrown at the
    /// caller while it waits.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_done(false);
    }

    /// As [`wait`](Self::wait), but goes on waiting for another call if a function unwinds.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait), but for the poison.
    #[track_caller]
    pub fn wait_force(&self) {
        self.wait_done(true);
    }

    #[track_caller]
    fn wait_done(&self, force: bool) {
        loop {
            let seen = self.gate.epoch();
            // Acquire: as in `is_completed`.
            match self.state.load(Ordering::Acquire) {
                DONE => return,
                POISONED if !force => panic!("what is to be done once was begun, and has unwound"),
                _ => self.wait_for_end(seen),
            }
        }
    }

    /// Waits for whoever is at it, or will be.
    fn wait_for_end(&self, seen: u64) {
        let edge = self.identity.wait_for(self.gate.number());
        self.gate.wait_short(seen);
        drop(edge);
    }

    #[cold]
    #[track_caller]
    fn run(&self, force: bool, f: &mut dyn FnMut(&OnceState)) {
        loop {
            // Before the state: a change of it ends the epoch afterwards.
            let seen = self.gate.epoch();
            let state = self.state.load(Ordering::Acquire);
            match state {
                DONE => return,
                RUNNING => self.wait_for_end(seen),
                POISONED if !force => panic!("what is to be done once was begun, and has unwound"),
                _ => {
                    // Acquire: after a poisoning, what was done before it is seen.
                    let begun = self.state.compare_exchange(state, RUNNING, Ordering::Acquire, Ordering::Relaxed);
                    if begun.is_ok() {
                        self.identity.held();
                        let mut end = End { once: self, state: POISONED };
                        f(&OnceState { poisoned: state == POISONED });
                        end.state = DONE;
                        return;
                    }
                }
            }
        }
    }
}

/// Says how it has ended, and wakes those who wait for that.
struct End<'o> {
    once: &'o Once,
    state: u8,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.once.identity.released();
        // Release: pairs with the acquire in `is_completed`.
        self.once.state.store(self.state, Ordering::Release);
        self.once.gate.open();
    }
}

impl Default for Once {
    fn default() -> Self {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = |state| self.state.load(Ordering::Relaxed) == state;
        let mut debug = f.debug_struct("Once");
        debug.field("completed", &is(DONE)).field("running", &is(RUNNING)).field("poisoned", &is(POISONED));
        debug.field("waiting", &self.gate.waiting()).finish()
    }
}
