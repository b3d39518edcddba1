//! A number of permits, given to those who wait in the order of their coming: what semaphores and locks for readers and writers rest on.
//!
//! # Invariants
//!
//! - **R1** Somebody waits only if the oldest waiter wants more than there are. Whoever gives permits back, or goes away from the queue, lets
//!   those in for whom there are enough.
//! - **R2** Whoever lets a waiter in takes its permits for it, with the lock held.

use std::panic::{RefUnwindSafe, UnwindSafe};

use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters, Woken};

use crate::cycles;
use crate::waiting::{self, AtEnd, Limit, WaitError, number};

pub(crate) struct Permits(Locked<State>);

struct State {
    available: usize,
    /// In the cell of each is how many it wants.
    waiters: Waiters<usize>,
}

// Nothing unwinds with the lock held.
impl UnwindSafe for Permits {}
impl RefUnwindSafe for Permits {}

impl State {
    #[inline(always)]
    fn take(&mut self, count: usize) -> bool {
        // Not before those who wait.
        let taken = self.waiters.is_empty() && self.available >= count;
        if taken {
            self.available -= count;
        }
        taken
    }

    /// Lets the oldest waiter in, if there is enough for it.
    fn admit_one(&mut self) -> Option<Woken> {
        let wanted = *self.waiters.first_message()?;
        let rest = self.available.checked_sub(wanted)?;
        // The first is the one that is claimed: those who wait here wait nowhere else.
        let waiter = self.waiters.claim()?;
        self.available = rest;
        Some(waiter.serve())
    }
}

impl Permits {
    pub(crate) const fn new(available: usize) -> Permits {
        Permits(Locked::new(State { available, waiters: Waiters::new() }))
    }

    pub(crate) fn available(&self) -> usize {
        self.0.lock().available
    }

    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiters.len()
    }

    /// Takes so many if nobody waits and they are there.
    #[inline]
    pub(crate) fn try_take(&self, count: usize) -> bool {
        self.0.lock().take(count)
    }

    /// Takes so many, waiting for them.
    #[cold]
    pub(crate) fn take(&self, count: usize, limit: Limit) -> Result<(), WaitError> {
        // R1: if the caller was the oldest and goes away, there may be enough for the next.
        let gone = AtEnd(|| self.admit());
        waiting::perform(Take { permits: self, count }, Some(count), limit)?;
        gone.disarm();
        Ok(())
    }

    /// Gives so many back. Where that is more than can be counted, there are as many as can be: this is called by destructors.
    #[inline]
    pub(crate) fn give(&self, count: usize) {
        let waits = {
            let mut state = self.0.lock();
            state.available = state.available.saturating_add(count);
            !state.waiters.is_empty()
        };
        if waits {
            self.admit();
        }
    }

    /// Makes so many more, unless that would be more than can be counted. Whether it has.
    pub(crate) fn add(&self, count: usize) -> bool {
        let added = {
            let mut state = self.0.lock();
            let sum = state.available.checked_add(count);
            state.available = sum.unwrap_or(state.available);
            sum.is_some()
        };
        self.admit();
        added
    }

    /// Lets those in for whom there is enough: R1.
    #[cold]
    fn admit(&self) {
        loop {
            let woken = self.0.lock().admit_one();
            match woken {
                // With no lock held.
                Some(woken) => woken.wake(),
                None => return,
            }
        }
    }

    /// Removes up to so many for good; returns how many.
    pub(crate) fn forget(&self, count: usize) -> usize {
        let mut state = self.0.lock();
        let gone = state.available.min(count);
        state.available -= gone;
        gone
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        // Locks for readers and writers go by this number.
        cycles::gone(number(self));
    }
}

/// Takes permits.
struct Take<'p> {
    permits: &'p Permits,
    count: usize,
}

// SAFETY: A1, A2: the place is the permits', which are borrowed; the list is a field that nobody replaces.
unsafe impl Attempt for Take<'_> {
    type State = State;
    type Message = usize;
    type Output = Result<(), WaitError>;

    fn place(&self) -> &Guarded<State> {
        &self.permits.0
    }

    fn waiters<'s>(&self, state: &'s mut State) -> &'s mut Waiters<usize> {
        &mut state.waiters
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Lock(number(self.permits))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State, _: &mut Option<usize>, _: &dyn Scheduler) -> Found {
        if state.take(self.count) { Found::Done } else { Found::Wait }
    }

    fn finish(&mut self, _: &mut Option<usize>, ended: Ended) -> Result<(), WaitError> {
        waiting::outcome(ended)
    }

    fn abandon(&mut self, state: &mut State, _: &mut Option<usize>) -> Option<Woken> {
        // R2. `take` lets others in when it unwinds.
        state.available = state.available.saturating_add(self.count);
        None
    }
}
