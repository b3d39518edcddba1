//! A place where everybody waits for the next of something: what all primitives but the locks wait at.
//!
//! The gate counts what has happened in *epochs*. Who waits says which epoch it has seen, and does not wait if that has passed: so whoever
//! reads the epoch, then looks whether it has to wait, cannot miss what comes between the look and the wait.
//!
//! # Invariants
//!
//! - **G1** A waiter's cell holds the epoch in which it has begun to wait. Older waiters have older epochs or the same.
//! - **G2** Who is served alone finds its cell empty, and hands the notification on if it goes away without looking. Who is served with all
//!   others finds its epoch there.
//! - **G3** Who has begun to wait in an epoch that has ended is woken by whoever has ended it, and takes nothing that is for one alone.

use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};

use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters, Woken};

use crate::waiting::{self, AtEnd, Limit, WaitError, number};

/// What the gate's lock guards, with something of the primitive's own.
pub(crate) struct Inside<T> {
    epoch: u64,
    waiters: Waiters<u64>,
    pub(crate) own: T,
}

/// The place.
pub(crate) struct Gate<T = ()>(Locked<Inside<T>>);

// Nothing unwinds with the lock held.
impl<T> UnwindSafe for Gate<T> {}
impl<T> RefUnwindSafe for Gate<T> {}

impl<T> Inside<T> {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Ends the epoch; what is returned is for [`Gate::release`].
    pub(crate) fn end_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// Claims the oldest waiter that has begun before this epoch.
    fn claim_before(&mut self, epoch: u64) -> Option<Woken> {
        if self.waiters.first_message().is_none_or(|begun| *begun >= epoch) {
            return None;
        }
        Some(self.waiters.claim()?.serve())
    }

    /// Claims the oldest waiter of this epoch. If nobody is there yet, whoever has seen it does not begin to wait.
    fn claim_one(&mut self) -> Option<Woken> {
        let Some(mut waiter) = self.waiters.claim() else {
            self.epoch += 1;
            return None;
        };
        // G2.
        *waiter.cell() = None;
        Some(waiter.serve())
    }
}

impl<T> Gate<T> {
    constant! {
        pub(crate) const fn new(own: T) -> Gate<T> {
            Gate(Locked::new(Inside { epoch: 0, waiters: Waiters::new(), own }))
        }
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Inside<T>) -> R) -> R {
        f(&mut self.0.lock())
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.lock().epoch
    }

    /// Everybody who waits goes on.
    pub(crate) fn open(&self) {
        let epoch = self.0.lock().end_epoch();
        self.release(epoch);
    }

    /// Those who wait since before this epoch go on. Not those who come meanwhile, of whom there may be more and more.
    pub(crate) fn release(&self, epoch: u64) {
        loop {
            let woken = self.0.lock().claim_before(epoch);
            match woken {
                // With no lock held.
                Some(woken) => woken.wake(),
                None => return,
            }
        }
    }

    /// The oldest waiter goes on.
    pub(crate) fn open_one(&self) {
        loop {
            let (woken, is_the_one) = self.with(|inside| match inside.claim_before(inside.epoch) {
                // G3.
                Some(woken) => (Some(woken), false),
                None => (inside.claim_one(), true),
            });
            // With no lock held.
            if let Some(woken) = woken {
                woken.wake();
            }
            if is_the_one {
                return;
            }
        }
    }

    /// Waits until the gate is opened, if it was not since `seen`.
    pub(crate) fn wait(&self, seen: u64, limit: Limit) -> Result<(), WaitError> {
        let owes = Cell::new(false);
        let guard = AtEnd(|| {
            if owes.get() {
                self.open_one();
            }
        });
        let result = waiting::perform(Pass { gate: self, seen, owes: &owes }, Some(seen), limit);
        drop(guard);
        result
    }

    /// Waits; for forms that have no error to return.
    pub(crate) fn wait_long(&self, seen: u64) {
        if let Err(error) = self.wait(seen, Limit::Never) {
            waiting::insist(error, |limit| self.wait(seen, limit));
        }
    }

    /// As [`wait_long`](Self::wait_long), for waits that a cancelled token does not end.
    pub(crate) fn wait_short(&self, seen: u64) {
        if let Err(error) = self.wait(seen, Limit::Never) {
            waiting::insist_masked(error, |limit| self.wait(seen, limit));
        }
    }

    /// What dumps call it by.
    pub(crate) fn number(&self) -> u64 {
        number(self)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiters.len()
    }
}

/// Waits for the end of an epoch.
struct Pass<'g, T> {
    gate: &'g Gate<T>,
    seen: u64,
    /// The caller goes away with a notification that was for it alone.
    owes: &'g Cell<bool>,
}

// SAFETY: A1, A2: the place is the gate, which is borrowed; the list is a field that nobody replaces.
unsafe impl<T> Attempt for Pass<'_, T> {
    type State = Inside<T>;
    type Message = u64;
    type Output = Result<(), WaitError>;

    fn place(&self) -> &Guarded<Inside<T>> {
        &self.gate.0
    }

    fn waiters<'s>(&self, inside: &'s mut Inside<T>) -> &'s mut Waiters<u64> {
        &mut inside.waiters
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Lock(self.gate.number())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, inside: &mut Inside<T>, _: &mut Option<u64>, _: &dyn Scheduler) -> Found {
        if inside.epoch == self.seen { Found::Wait } else { Found::Done }
    }

    fn finish(&mut self, _: &mut Option<u64>, ended: Ended) -> Result<(), WaitError> {
        waiting::outcome(ended)
    }

    fn abandon(&mut self, _: &mut Inside<T>, cell: &mut Option<u64>) -> Option<Woken> {
        // G2.
        self.owes.set(cell.is_none());
        None
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Far longer than it takes; who is not woken waits for ever.
    const LIMIT: Duration = Duration::from_secs(10);

    fn waiter(gate: &Arc<Gate>, tell: &mpsc::Sender<&'static str>, name: &'static str) {
        let (before, seen) = (gate.waiting(), gate.epoch());
        let (its, tell) = (gate.clone(), tell.clone());
        thread::spawn(move || {
            its.wait_long(seen);
            tell.send(name)
        });
        while gate.waiting() == before {
            thread::yield_now();
        }
    }

    #[test]
    fn opening_for_one_does_not_wake_one_that_an_opening_for_all_is_about_to() {
        let (gate, (tell, told)) = (Arc::new(Gate::new(())), mpsc::channel());
        waiter(&gate, &tell, "before");
        // The first half of `open`.
        let epoch = gate.with(Inside::end_epoch);
        waiter(&gate, &tell, "after");
        gate.open_one();
        let mut came = [told.recv_timeout(LIMIT).unwrap(), told.recv_timeout(LIMIT).unwrap()];
        gate.release(epoch);
        came.sort_unstable();
        assert_eq!(came, ["after", "before"]);
        assert_eq!(gate.waiting(), 0);
    }
}
