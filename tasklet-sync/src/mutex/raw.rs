//! The lock of a mutex: a word, and a queue that is looked at only if somebody waits.
//!
//! # Invariants
//!
//! - **M1** Whoever sets [`LOCKED`] holds the lock, until it clears the bit or hands the lock over, which leaves it set.
//! - **M2** If somebody is in the queue, [`QUEUED`] is set: it is set with the queue locked, before the node is in there, by a waiter that has
//!   found `LOCKED`. So whoever releases the lock finds it, and goes to the queue.
//! - **M3** If somebody is in the queue and the lock is free, one waiter is on its way, as `woken` says: it was woken to look again, and takes
//!   the lock, or waits again because somebody has it who will release it, or passes the wake on.
//! - **M4** A waiter's cell is full if it wants the lock to be handed over. When it was served, it is full if that was done.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters, Woken};

use crate::cycles;
use crate::waiting::{self, AtEnd, Limit, WaitError, number};

/// Somebody holds the lock.
const LOCKED: u8 = 1;
/// Somebody may be in the queue.
const QUEUED: u8 = 2;

/// How often a taken lock is looked at before its taker waits in the queue, twice as long each time: one or two microseconds together, about
/// what parking and waking cost. Most locks are released within that if their holder runs on another processor.
const SPINS: u32 = 7;

/// How often a waiter may be woken in vain before the lock is handed over to it: so nobody waits for ever while others come first.
const FAILURES: u32 = 8;

pub(super) struct RawMutex {
    word: AtomicU8,
    fair: bool,
    queue: Locked<Queue>,
}

struct Queue {
    waiters: Waiters<()>,
    /// A waiter was woken to look again, and has not yet.
    woken: bool,
}

/// Who releases the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    /// Whoever comes first takes it.
    Free,
    /// The oldest waiter gets it.
    HandOver,
}

impl RawMutex {
    pub(super) const fn new(fair: bool) -> RawMutex {
        let queue = Locked::new(Queue { waiters: Waiters::new(), woken: false });
        RawMutex { word: AtomicU8::new(0), fair, queue }
    }

    /// Takes the lock if it is free. A fair one that somebody waits for is not.
    #[inline(always)]
    pub(super) fn try_lock(&self) -> bool {
        // Acquire: pairs with the release in `unlock`.
        let taken = match self.word.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => true,
            Err(word) => word & LOCKED == 0 && self.barge(),
        };
        if taken {
            cycles::held(number(self));
        }
        taken
    }

    /// Takes a lock that is free before those who wait.
    #[cold]
    fn barge(&self) -> bool {
        let free = |word: u8| (word & LOCKED == 0).then_some(word | LOCKED);
        // Acquire: as in `try_lock`.
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).is_ok()
    }

    #[inline(always)]
    pub(super) fn lock(&self) {
        // Acquire: as in `try_lock`.
        if self.word.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
        cycles::held(number(self));
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) {
        if self.spin() {
            return;
        }
        let edge = cycles::wait_for(number(self));
        if let Err(error) = self.wait(Limit::Never) {
            let attempt = || self.barge().then_some(());
            waiting::insist_masked(error, attempt, || self.wait(Limit::Never));
        }
        drop(edge);
    }

    /// Takes the lock within this time.
    pub(super) fn try_lock_until(&self, limit: impl FnOnce() -> Limit) -> Result<(), WaitError> {
        if !self.try_lock() {
            self.wait(limit())?;
            cycles::held(number(self));
        }
        Ok(())
    }

    /// Waits a moment for a holder that runs elsewhere. Not where the order of coming is the order of going, and not beside others who wait.
    fn spin(&self) -> bool {
        if self.fair {
            return false;
        }
        for round in 0..SPINS {
            for _ in 0..1 << round {
                std::hint::spin_loop();
            }
            let word = self.word.load(Ordering::Relaxed);
            if word & LOCKED == 0 && self.barge() {
                return true;
            }
            if word & QUEUED != 0 {
                return false;
            }
        }
        false
    }

    /// Waits in the queue, as often as it takes.
    fn wait(&self, limit: Limit) -> Result<(), WaitError> {
        // Between its wake and its next look, a waiter may be killed: then somebody else is to look.
        let owes = Cell::new(false);
        let guard = AtEnd(|| {
            if owes.get() {
                self.pass_on();
            }
        });
        let mut failures = 0;
        let result = loop {
            let message = (failures >= FAILURES).then_some(());
            match waiting::perform(Take { mutex: self, owes: &owes }, message, limit) {
                Ok(true) => break Ok(()),
                Ok(false) => failures += 1,
                Err(error) => break Err(error),
            }
        };
        drop(guard);
        result
    }

    #[inline(always)]
    pub(super) fn unlock(&self, how: Release) {
        cycles::released(number(self));
        // Release: pairs with the acquire in `try_lock`.
        if self.word.compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed).is_err() {
            self.unlock_slow(how);
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self, how: Release) {
        let woken = self.release(&mut self.queue.lock(), how);
        if let Some(woken) = woken {
            woken.wake();
        }
    }

    /// Releases the lock, for whoever holds it. With the queue locked, only the holder changes the word while `LOCKED` is set.
    fn release(&self, queue: &mut Queue, how: Release) -> Option<Woken> {
        let hand_over = self.fair || how == Release::HandOver || queue.waiters.first_has_message();
        let mut next = None;
        // One that was woken already is enough (M3), unless this one gets the lock itself.
        if (hand_over || !queue.woken)
            && let Some(mut waiter) = queue.waiters.claim()
        {
            // M4.
            *waiter.cell() = hand_over.then_some(());
            next = Some(waiter.serve());
            queue.woken |= !hand_over;
        }
        let locked = if hand_over && next.is_some() { LOCKED } else { 0 };
        let queued = if queue.waiters.is_empty() { 0 } else { QUEUED };
        // Release: pairs with the acquire in `try_lock`; for one that it was handed to, the queue's lock does it too.
        self.word.store(locked | queued, Ordering::Release);
        next
    }

    /// One that was woken goes away without looking (M3).
    #[cold]
    fn pass_on(&self) {
        let woken = self.wake_another(&mut self.queue.lock());
        if let Some(woken) = woken {
            woken.wake();
        }
    }

    fn wake_another(&self, queue: &mut Queue) -> Option<Woken> {
        queue.woken = false;
        // Whoever holds the lock wakes somebody when it releases it: M2.
        if queue.waiters.is_empty() || self.word.load(Ordering::Relaxed) & LOCKED != 0 {
            return None;
        }
        // To be released again it has to be taken.
        if self.barge() { self.release(queue, Release::Free) } else { None }
    }

    /// How many wait in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().waiters.len()
    }

    pub(super) fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) & LOCKED != 0
    }
}

/// Takes the lock. Its output tells whether that was done; if not, the caller was woken to look again.
struct Take<'m> {
    mutex: &'m RawMutex,
    /// The caller was woken, and M3 rests on it.
    owes: &'m Cell<bool>,
}

// SAFETY: A1, A2: the place is the mutex's, which is borrowed; the list is a field that nobody replaces.
unsafe impl Attempt for Take<'_> {
    type State = Queue;
    type Message = ();
    type Output = Result<bool, WaitError>;

    fn place(&self) -> &Guarded<Queue> {
        &self.mutex.queue
    }

    fn waiters<'s>(&self, queue: &'s mut Queue) -> &'s mut Waiters<()> {
        &mut queue.waiters
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Lock(number(self.mutex))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, queue: &mut Queue, cell: &mut Option<()>, _: &dyn Scheduler) -> Found {
        if self.owes.take() {
            queue.woken = false;
        }
        let word = &self.mutex.word;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let free = seen & LOCKED == 0;
            let next = seen | if free { LOCKED } else { QUEUED };
            // Acquire: as in `try_lock`.
            match word.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if free => {
                    *cell = Some(());
                    return Found::Done;
                }
                // M2.
                Ok(_) => return Found::Wait,
                Err(other) => seen = other,
            }
        }
    }

    fn finish(&mut self, cell: &mut Option<()>, ended: Ended) -> Result<bool, WaitError> {
        waiting::outcome(ended)?;
        let taken = cell.is_some();
        self.owes.set(!taken);
        Ok(taken)
    }

    fn abandon(&mut self, queue: &mut Queue, cell: &mut Option<()>) -> Option<Woken> {
        if cell.is_some() {
            // It was handed over.
            self.mutex.release(queue, Release::Free)
        } else {
            self.mutex.wake_another(queue)
        }
    }
}
