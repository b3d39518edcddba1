//! A number of permits, given to those who wait in the order of their coming: what semaphores and locks for readers and writers rest on.
//!
//! # Invariants
//!
//! - **R1** Somebody waits only if the oldest waiter wants more than there are. Whoever gives permits back, or goes away from the queue, lets
//!   those in for whom there are enough.
//! - **R2** Whoever lets a waiter in takes its permits for it, with the lock held.
//! - **R3** Where circles are looked for, a waiter is registered while it is in the queue, with the oldest waiter not to be let in: it enters
//!   itself, and is taken out by whoever lets it in, with the lock held.

use std::panic::{RefUnwindSafe, UnwindSafe};

use tasklet_core::guarded::{Guard, Guarded, Locked};
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters, Woken};

use crate::cycles::{Edge, Report, Waiter};
use crate::waiting::{self, AtEnd, Limit, WaitError, number};

pub(crate) struct Permits(Locked<State>);

/// How many permits, and who wants them if circles are looked for.
type Wanted = (usize, Option<Waiter>);

struct State {
    available: usize,
    /// In the cell of each is what it wants.
    waiters: Waiters<Wanted>,
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

    /// How many there are when the oldest waiter was let in, if there is enough for it; and who that is.
    fn next(&self) -> Option<(usize, Option<Waiter>)> {
        let &(wanted, waiter) = self.waiters.first_message()?;
        Some((self.available.checked_sub(wanted)?, waiter))
    }

    /// Lets the oldest waiter in, if there is enough for it.
    fn admit_one(&mut self) -> Option<Woken> {
        let (rest, waits) = self.next()?;
        // The first is the one that is claimed: those who wait here wait nowhere else.
        let waiter = self.waiters.claim()?;
        self.available = rest;
        if let Some(waits) = waits {
            // R3.
            waits.goes_on();
        }
        Some(waiter.serve())
    }
}

impl Permits {
    constant! {
        pub(crate) const fn new(available: usize) -> Permits {
            Permits(Locked::new(State { available, waiters: Waiters::new() }))
        }
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

    /// Takes so many, waiting for them. With an edge, a wait that closes a circle is reported.
    #[cold]
    pub(crate) fn take(&self, count: usize, mut edge: Option<&Edge>, limit: Limit) -> Result<(), WaitError> {
        loop {
            // R1: if the caller was the oldest and goes away, there may be enough for the next.
            let gone = AtEnd(|| self.admit());
            let message = (count, edge.map(Edge::waiter));
            match waiting::perform(Take { permits: self, count, edge, came: Came::In }, Some(message), limit)? {
                Came::In => {
                    gone.disarm();
                    return Ok(());
                }
                Came::Early => drop(gone),
                Came::InCircle(report) => {
                    report.raise();
                    // It waits all the same.
                    edge = None;
                }
            }
        }
    }

    /// Gives so many back. Where that is more than can be counted, there are as many as can be: this is called by destructors.
    #[inline]
    pub(crate) fn give(&self, count: usize) {
        let mut state = self.0.lock();
        state.available = state.available.saturating_add(count);
        if !state.waiters.is_empty() {
            Permits::admit_those(state);
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
    fn admit(&self) {
        Permits::admit_those(self.0.lock());
    }

    /// All at once, for R3: one that is in and runs would find those who are about to be let in still waiting for it.
    #[cold]
    fn admit_those(mut state: Guard<'_, State>) {
        let Some(oldest) = state.admit_one() else { return };
        let mut others = Vec::new();
        while let Some(woken) = state.admit_one() {
            others.push(woken);
        }
        // With no lock held.
        drop(state);
        oldest.wake();
        others.into_iter().for_each(Woken::wake);
    }

    /// Removes up to so many for good; returns how many.
    pub(crate) fn forget(&self, count: usize) -> usize {
        let mut state = self.0.lock();
        let gone = state.available.min(count);
        state.available -= gone;
        gone
    }
}

/// Takes permits.
struct Take<'p> {
    permits: &'p Permits,
    count: usize,
    edge: Option<&'p Edge>,
    /// What the last look has led to.
    came: Came,
}

/// How an attempt to take permits has ended.
enum Came {
    /// They are the caller's.
    In,
    /// Those who wait in front are to be let in first.
    Early,
    /// The caller would wait for itself.
    InCircle(Report),
}

// SAFETY: A1, A2: the place is the permits', which are borrowed; the list is a field that nobody replaces.
unsafe impl Attempt for Take<'_> {
    type State = State;
    type Message = Wanted;
    type Output = Result<Came, WaitError>;

    fn place(&self) -> &Guarded<State> {
        &self.permits.0
    }

    fn waiters<'s>(&self, state: &'s mut State) -> &'s mut Waiters<Wanted> {
        &mut state.waiters
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Lock(number(self.permits))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, state: &mut State, _: &mut Option<Wanted>, _: &dyn Scheduler) -> Found {
        if state.take(self.count) {
            return Found::Done;
        }
        // R1: who waits does so because there is not enough.
        if state.next().is_some() {
            self.came = Came::Early;
            return Found::Done;
        }
        // R3.
        if let Some(report) = self.edge.and_then(Edge::begin) {
            self.came = Came::InCircle(report);
            return Found::Done;
        }
        Found::Wait
    }

    fn finish(&mut self, _: &mut Option<Wanted>, ended: Ended) -> Result<Came, WaitError> {
        let ended = waiting::outcome(ended);
        if ended.is_err()
            && let Some(edge) = self.edge
        {
            // R3: it is not in the queue any more, and may come back.
            edge.waiter().goes_on();
        }
        ended.map(|()| std::mem::replace(&mut self.came, Came::In))
    }

    fn abandon(&mut self, state: &mut State, _: &mut Option<Wanted>) -> Option<Woken> {
        // R2. `take` lets others in when it unwinds.
        state.available = state.available.saturating_add(self.count);
        None
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::cycles::Identity;

    /// Readers are let in one at a time: one of them reads again before the next one is in.
    #[test]
    fn one_who_is_in_and_comes_again_lets_those_in_who_are_about_to_be() {
        let (permits, identity) = (Arc::new(Permits::new(0)), Identity::new());
        let waits = thread::spawn({
            let permits = permits.clone();
            move || permits.take(1, None, Limit::Never)
        });
        while permits.waiting() == 0 {
            thread::yield_now();
        }
        // The caller has one of three, and the first half of giving the others back is done.
        let holder = identity.held();
        permits.0.lock().available = 2;
        permits.take(1, Some(&identity.edge(0)), Limit::Never).unwrap();
        waits.join().unwrap().unwrap();
        assert_eq!((permits.available(), permits.waiting()), (0, 0));
        identity.released_by(&holder);
    }
}
