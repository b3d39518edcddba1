//! The pool: a small cache of stacks in front of the depot, one per owner.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::depot::Depot;
use super::error::StackError;
use super::handle::Stack;
use super::size::{Class, StackSize};
use super::slab::Slot;
use super::stats::StackStats;
use super::usage::Unneeded;

/// Where stacks come from: one per owner, that is per scheduler or worker.
///
/// Stacks come from the pool's own cache, and from the [`Depot`] in batches when the cache is empty. A dropped stack returns to
/// its pool from whatever thread, or to the depot if the pool is gone.
#[derive(Debug)]
pub struct StackPool {
    shared: Arc<Shared>,
    /// Not `Sync`: an owner has its own. Leaves the freedom to make the cache unsynchronised.
    _one_owner: PhantomData<Cell<()>>,
}

/// What a pool and the stacks taken from it share.
#[derive(Debug)]
pub(super) struct Shared {
    depot: Depot,
    /// A mutex although the pool has one owner: stacks may be dropped anywhere, [`Depot::trim`] collects from all pools. Taking
    /// and dropping a stack locks it twice, of the 24 to 43 ns the two take together without contention; a scheduler that is in a hurry
    /// keeps its fibers, not their stacks.
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    /// Free slots by class, last used at the end.
    magazines: Vec<Vec<Slot>>,
    /// Slots to ask the depot for next time: doubles up to a batch, so that small programs take few.
    refill: usize,
    /// The pool is gone: nothing may stay here.
    closed: bool,
}

impl StackPool {
    /// A pool in front of `depot`.
    pub fn new(depot: &Depot) -> StackPool {
        let cache = Cache { magazines: Vec::new(), refill: 1, closed: false };
        let shared = Arc::new(Shared { depot: depot.clone(), cache: Mutex::new(cache) });
        depot.register(&shared);
        StackPool { shared, _one_owner: PhantomData }
    }

    /// Takes a stack of at least `size`.
    ///
    /// # Errors
    ///
    /// A ceiling or the mapping budget of [`StackConfig`](super::StackConfig) was hit, or the kernel refused; the free
    /// stacks of all pools of the depot have been collected and did not help. The error names the limit.
    pub fn acquire(&self, size: StackSize) -> Result<Stack, StackError> {
        let class = Class::of(size);
        let slot = match self.shared.take(class) {
            Ok(slot) => slot,
            Err(error) => {
                self.shared.depot.collect();
                if error.is_resident_ceiling() {
                    self.shared.depot.relieve();
                }
                self.shared.take(class)?
            }
        };
        Ok(Stack::new(slot, Arc::clone(&self.shared)))
    }

    /// Gives pages of stacks in use back to the system: see [`Depot::release`].
    ///
    /// # Safety
    ///
    /// As there.
    pub unsafe fn release(&self, unneeded: &[Unneeded]) {
        // SAFETY: the caller's promise.
        unsafe { self.shared.depot.release(unneeded) };
    }

    /// As [`Depot::cool`].
    pub fn cool(&self, most: usize) -> usize {
        self.shared.depot.cool(most)
    }

    /// Gives back what can be given back, here and in the depot: see [`Depot::trim`].
    pub fn trim(&self) {
        self.shared.depot.trim();
    }

    /// The counters of the depot behind this pool, all its pools included.
    pub fn stats(&self) -> StackStats {
        self.shared.depot.stats()
    }

    /// The depot behind this pool.
    pub fn depot(&self) -> &Depot {
        &self.shared.depot
    }
}

impl Default for StackPool {
    /// A pool in front of a depot of its own.
    fn default() -> StackPool {
        StackPool::new(&Depot::default())
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        let mut slots = Vec::new();
        self.shared.cache().closed = true;
        self.shared.flush(&mut slots);
        self.shared.depot.put(slots);
        while self.shared.depot.cool(usize::MAX) != 0 {}
    }
}

impl Shared {
    pub(super) fn depot(&self) -> &Depot {
        &self.depot
    }

    /// Takes a slot back; when there are too many, the half of them that was free longest goes to the depot.
    pub(super) fn give(&self, slot: Slot) {
        let mut cache = self.cache();
        let limit = if cache.closed { 0 } else { self.depot.config().cache_limit };
        let magazine = cache.magazine(slot.class);
        magazine.push(slot);
        if magazine.len() <= limit {
            return;
        }
        let excess = magazine.len() - limit / 2;
        let returned: Vec<Slot> = magazine.drain(..excess).collect();
        drop(cache);
        self.depot.put(returned);
    }

    /// Number of slots in the cache.
    pub(super) fn cached(&self) -> usize {
        self.cache().magazines.iter().map(Vec::len).sum()
    }

    /// Moves all cached slots to `slots`.
    pub(super) fn flush(&self, slots: &mut Vec<Slot>) {
        let mut cache = self.cache();
        for magazine in &mut cache.magazines {
            slots.append(magazine);
        }
        cache.refill = 1;
    }

    fn take(&self, class: Class) -> Result<Slot, StackError> {
        let batch = (self.depot.config().cache_limit / 2).max(1);
        let mut cache = self.cache();
        let want = cache.refill.min(batch);
        let magazine = cache.magazine(class);
        if let Some(slot) = magazine.pop() {
            return Ok(slot);
        }
        // The depot's lock is taken under the pool's, as everywhere.
        self.depot.take(class, want, magazine)?;
        // The depot hands out its best first.
        magazine.reverse();
        let Some(slot) = magazine.pop() else { unreachable!("the depot returned no slot and no error") };
        cache.refill = (want * 2).min(batch);
        Ok(slot)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // See the depot's: what can panic under the lock leaves nothing half done that matters.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn magazine(&mut self, class: Class) -> &mut Vec<Slot> {
        if self.magazines.len() <= class.index() {
            self.magazines.resize_with(class.index() + 1, Vec::new);
        }
        &mut self.magazines[class.index()]
    }
}
