//! The lock of a mutex: a word, and a queue that is looked at only if somebody waits.
//!
//! # Invariants
//!
//! - **M1** Whoever sets [`LOCKED`] holds the lock, until it clears the bit or hands the lock over, which leaves it set.
//! - **M2** If somebody is in the queue, [`QUEUED`] is set: it is set with the queue locked, before the node is in there, by a waiter that has
//!   found the lock taken. It is cleared by the holder, with the queue locked.
//! - **M3** If somebody is in the queue and the lock is free, whoever has released it is about to [`settle`](RawMutex::settle), or one waiter is
//!   on its way, and [`WOKEN`] is set: it was woken to look again, and takes the lock, or waits again because it is taken, or passes the wake
//!   on. So who releases the lock settles if `QUEUED` is set and `WOKEN` is not, and has nothing to do with the queue otherwise.
//! - **M4** A waiter's cell is full if it wants the lock to be handed over. When it was served, it is full if that was done.
//! - **M5** While [`KEPT`] is set nobody takes a free lock: whoever has released it settles, whatever else is set, and hands it over. The bit is
//!   set while `LOCKED` is, or while it is set already; and with the queue locked, as `WOKEN` is.

use std::cell::Cell;

use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters, Woken};

use crate::cycles::Identity;
use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::waiting::{self, AtEnd, Limit, WaitError, number};

/// Somebody holds the lock.
const LOCKED: u8 = 1;
/// Somebody may be in the queue.
const QUEUED: u8 = 2;
/// A waiter was woken to look again, and has not yet.
const WOKEN: u8 = 4;
/// The oldest waiter wants the lock to be handed over.
const KEPT: u8 = 8;

/// How often a taken lock is looked at before its taker waits in the queue, twice as long each time: one or two microseconds together, about
/// what parking and waking cost. Most locks are released within that if their holder runs on another processor.
const SPINS: u32 = if cfg!(loom) { 0 } else { 7 };

/// How often a waiter may be woken in vain before the lock is handed over to it: so nobody waits for ever while others come first.
const FAILURES: u32 = if cfg!(loom) { 1 } else { 8 };

pub(crate) struct RawMutex {
    word: AtomicU8,
    fair: bool,
    queue: Locked<Queue>,
    identity: Identity,
}

type Queue = Waiters<()>;

/// Who releases the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    /// Whoever comes first takes it.
    Free,
    /// The oldest waiter gets it.
    HandOver,
}

impl RawMutex {
    constant! {
        pub(crate) const fn new(fair: bool) -> RawMutex {
            RawMutex { word: AtomicU8::new(0), fair, queue: Locked::new(Waiters::new()), identity: Identity::new() }
        }
    }

    /// Takes the lock if it is free, before those who wait.
    #[inline(always)]
    fn take(&self) -> bool {
        // Looked at first, so that one exchange is enough also while somebody waits.
        let word = self.word.load(Ordering::Relaxed);
        word & (LOCKED | KEPT) == 0
            // Acquire: pairs with the release in `unlock` and `release`.
            && (self.word.compare_exchange(word, word | LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
                || self.take_changed())
    }

    /// The word has changed meanwhile.
    #[cold]
    fn take_changed(&self) -> bool {
        let free = |word: u8| (word & (LOCKED | KEPT) == 0).then_some(word | LOCKED);
        // Acquire: as in `take`.
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).is_ok()
    }

    #[inline(always)]
    pub(crate) fn try_lock(&self) -> bool {
        let taken = self.take();
        if taken {
            self.identity.held();
        }
        taken
    }

    #[inline(always)]
    pub(crate) fn lock(&self) {
        if !self.take() {
            self.lock_slow();
        }
        self.identity.held();
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) {
        if self.spin() {
            return;
        }
        let edge = self.identity.wait_for(number(self));
        if let Err(error) = self.wait(Limit::Never) {
            waiting::insist_masked(error, |limit| self.wait(limit));
        }
        drop(edge);
    }

    /// Takes the lock within this time.
    pub(crate) fn try_lock_until(&self, limit: impl FnOnce() -> Limit) -> Result<(), WaitError> {
        if !self.try_lock() {
            self.wait(limit())?;
            self.identity.held();
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
            if word & LOCKED == 0 && self.take() {
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
                self.wake_one(RawMutex::pass_on);
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
    pub(crate) fn unlock(&self) {
        self.identity.released();
        // Release: pairs with the acquire in `take`.
        let word = self.word.fetch_sub(LOCKED, Ordering::Release);
        // M3, M5.
        if word & QUEUED != 0 && word & (WOKEN | KEPT) != WOKEN {
            self.wake_one(RawMutex::settle);
        }
    }

    /// Releases the lock; the oldest waiter has it then, if somebody waits.
    pub(crate) fn unlock_fair(&self) {
        self.identity.released();
        self.wake_one(|mutex, queue| mutex.release(queue, Release::HandOver));
    }

    #[cold]
    #[inline(never)]
    fn wake_one(&self, choose: impl FnOnce(&RawMutex, &mut Queue) -> Option<Woken>) {
        let woken = choose(self, &mut self.queue.lock());
        if let Some(woken) = woken {
            woken.wake();
        }
    }

    /// The lock was released: gives or leaves it to somebody in the queue (M3), if nobody has taken it, who would release it again.
    fn settle(&self, queue: &mut Queue) -> Option<Woken> {
        // Acquire: as in `take`.
        let taken = self.word.fetch_or(LOCKED, Ordering::Acquire) & LOCKED != 0;
        if taken { None } else { self.release(queue, Release::Free) }
    }

    /// Releases the lock, for whoever holds it. With the queue locked, only the holder changes the word while `LOCKED` is set.
    fn release(&self, queue: &mut Queue, how: Release) -> Option<Woken> {
        let mut word = self.word.load(Ordering::Relaxed) & WOKEN;
        let hand_over = self.fair || how == Release::HandOver || queue.first_has_message();
        let mut next = None;
        // One that was woken already is enough (M3), unless this one gets the lock itself.
        if (hand_over || word == 0)
            && let Some(mut waiter) = queue.claim()
        {
            // M4.
            *waiter.cell() = hand_over.then_some(());
            next = Some(waiter.serve());
            word |= if hand_over { LOCKED } else { WOKEN };
        }
        if !queue.is_empty() {
            word |= QUEUED;
            // M5.
            if word & LOCKED != 0 && (self.fair || queue.first_has_message()) {
                word |= KEPT;
            }
        }
        // Release: pairs with the acquire in `take`; for one that it was handed to, the queue's lock does it too.
        self.word.store(word, Ordering::Release);
        next
    }

    /// One that was woken goes away without looking (M3).
    fn pass_on(&self, queue: &mut Queue) -> Option<Woken> {
        self.word.fetch_and(!WOKEN, Ordering::Relaxed);
        if queue.is_empty() { None } else { self.settle(queue) }
    }

    /// How many wait in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    pub(crate) fn is_locked(&self) -> bool {
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
        queue
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Lock(number(self.mutex))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, queue: &mut Queue, cell: &mut Option<()>, _: &dyn Scheduler) -> Found {
        // M3: the caller looks, if it was the one that was woken to.
        let keep = if self.owes.take() { !WOKEN } else { !0 };
        let is_kept = queue.is_empty() && (self.mutex.fair || cell.is_some());
        let waits = if is_kept { QUEUED | KEPT } else { QUEUED };
        let word = &self.mutex.word;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let free = seen & (LOCKED | KEPT) == 0;
            // M2, M5.
            let next = (seen & keep) | if free { LOCKED } else { waits };
            // Acquire: as in `take`.
            match word.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if free => {
                    *cell = Some(());
                    return Found::Done;
                }
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
            self.mutex.pass_on(queue)
        }
    }
}

#[cfg(all(test, loom))]
mod models;
