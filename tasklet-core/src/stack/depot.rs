//! The depot: slabs and free stacks, shared by any number of pools.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::config::StackConfig;
use super::error::StackError;
use super::gauge::Gauge;
use super::inventory::Inventory;
use super::os;
use super::pool::{self, StackPool};
use super::size::Class;
use super::slab::{Slab, Slot, Warmth};
use super::stats::StackStats;
use super::usage::Unneeded;

/// Slots released per hold of the lock in [`Depot::trim`], so that others need not wait long.
const TRIM_BATCH: usize = 256;

/// Owns slabs and the free stacks in them. Cloning gives another handle to the same depot.
///
/// Stacks are taken through a [`StackPool`], one per owner. The depot lives until the last handle, pool and stack of it are gone;
/// then its slabs are unmapped, except those that hold a leaked stack.
#[derive(Clone, Debug)]
pub struct Depot(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: StackConfig,
    /// Taken after a pool's lock or alone, never before one.
    inventory: Mutex<Inventory>,
    /// For a ceiling on resident bytes, if there is one. Its lock is taken last.
    gauge: Option<Gauge>,
    /// Free stacks that keep their pages, as it was when some were put or cooled last: a hint whether there is something to cool.
    warm: AtomicUsize,
    /// Free stacks whose pages are being released, so that they are in no list for a moment.
    cooling: AtomicUsize,
    /// All pools, to collect from and to count. Taken alone.
    pools: Mutex<Vec<Weak<pool::Shared>>>,
}

impl Depot {
    /// An empty depot; nothing is mapped before the first stack is taken.
    pub fn new(config: StackConfig) -> Depot {
        let inventory = Mutex::new(Inventory::new(&config));
        let gauge = (config.resident_ceiling != usize::MAX).then(|| Gauge::new(config.resident_ceiling));
        Depot(Arc::new(Shared {
            config,
            inventory,
            gauge,
            warm: AtomicUsize::new(0),
            cooling: AtomicUsize::new(0),
            pools: Mutex::default(),
        }))
    }

    /// A new pool in front of this depot.
    pub fn pool(&self) -> StackPool {
        StackPool::new(self)
    }

    /// The configuration.
    pub fn config(&self) -> &StackConfig {
        &self.0.config
    }

    /// Gives back what can be given back: collects the free stacks of all pools, unmaps slabs without a stack in use, and
    /// releases the pages of the other free stacks.
    ///
    /// Costs about 0.7 us for each free stack whose pages are released.
    pub fn trim(&self) {
        let mut collected = Vec::new();
        for pool in self.pools() {
            pool.flush(&mut collected);
        }
        let mut inventory = self.inventory();
        // The slabs that `put` hands out are unmapped here too, under the lock: trimming is rare.
        self.unmap(collected.into_iter().filter_map(|slot| inventory.put(slot, Warmth::Warm)).collect());
        let mut idle = inventory.remove_idle(None);
        let mut warm = inventory.warm;
        while warm > 0 {
            let batch = inventory.take_warm(warm.min(TRIM_BATCH));
            if batch.is_empty() {
                break;
            }
            warm -= batch.len();
            self.0.cooling.fetch_add(batch.len(), Ordering::Relaxed);
            drop(inventory);
            self.unmap(std::mem::take(&mut idle));
            self.discard(&batch);
            inventory = self.inventory();
            self.0.cooling.fetch_sub(batch.len(), Ordering::Relaxed);
            idle.extend(batch.into_iter().filter_map(|slot| inventory.put(slot, Warmth::Cold)));
        }
        drop(inventory);
        self.unmap(idle);
    }

    /// Counters, over the depot and its pools.
    pub fn stats(&self) -> StackStats {
        let in_pools: usize = self.pools().iter().map(|pool| pool.cached()).sum();
        let inventory = self.inventory();
        // Changed under the lock.
        let in_use = inventory.out.saturating_sub(in_pools + self.0.cooling.load(Ordering::Relaxed));
        StackStats {
            reserved: inventory.reserved,
            mappings: inventory.mappings,
            live: in_use.saturating_sub(inventory.leaked),
            cached: inventory.guarded.saturating_sub(in_use),
            leaked: inventory.leaked,
        }
    }

    /// Bytes of physical memory in the slabs, in stacks of whatever state; page tables are not counted.
    ///
    /// Asks the kernel about every page: about 10 ns each, 0.4 us for a stack of the default size, without holding a lock.
    pub fn resident(&self) -> usize {
        let ranges = self.inventory().ranges();
        ranges.into_iter().map(|(base, len)| os::resident(base, len).0).sum()
    }

    /// Takes up to `want` slots, at least one, into `taken`.
    pub(super) fn take(&self, class: Class, want: usize, taken: &mut Vec<Slot>) -> Result<(), StackError> {
        let want = match &self.0.gauge {
            Some(gauge) => gauge.admit(want)?,
            None => want,
        };
        let mut inventory = self.inventory();
        let (out, warm) = (inventory.out, inventory.warm);
        let result = inventory.take(self.config(), class, want, taken);
        if let Some(gauge) = &self.0.gauge {
            gauge.add_cold((inventory.out - out) - (warm - inventory.warm));
        }
        result
    }

    /// The ceiling on resident bytes may have been hit: measures, and gives back what free stacks hold if it was. If it was a moment ago, gives
    /// back what free stacks hold that have come back since, which takes no time if none has.
    #[cold]
    pub(super) fn relieve(&self) {
        let Some(gauge) = &self.0.gauge else { return };
        if !gauge.is_worth_measuring() {
            while self.cool_beyond(0, TRIM_BATCH) != 0 {}
            return;
        }
        let start = Instant::now();
        let mut bytes = self.resident();
        if gauge.is_full(bytes) {
            self.trim();
            bytes = self.resident();
        }
        gauge.set(bytes, self.inventory().guarded, start.elapsed());
    }

    /// Gives pages of stacks in use back to the system. Their guards stay; what was in the pages is gone, or not.
    ///
    /// # Safety
    ///
    /// The pages are of stacks of this depot that are in use, and nobody uses what lies in them meanwhile, nor relies on it later.
    pub unsafe fn release(&self, unneeded: &[Unneeded]) {
        let mut ranges = unneeded.iter().map(|(pages, _)| pages.range());
        // SAFETY: the caller's promise; `StackPages` are whole pages above a stack's limit, where no guard is.
        unsafe { os::discard(&mut ranges) };
        if let Some(gauge) = &self.0.gauge {
            gauge.subtract(unneeded.iter().map(|(_, presence)| presence.resident).sum());
        }
    }

    /// Takes slots back, those used last at the end. Their pages are kept for the next user, until somebody has time to
    /// [cool](Self::cool) what is beyond the depot's limit.
    pub(super) fn put(&self, slots: Vec<Slot>) {
        if slots.is_empty() {
            return;
        }
        let mut inventory = self.inventory();
        let unmapped: Vec<_> = slots.into_iter().filter_map(|slot| inventory.put(slot, Warmth::Warm)).collect();
        self.0.warm.store(inventory.warm, Ordering::Relaxed);
        drop(inventory);
        self.unmap(unmapped);
    }

    /// Releases the pages of up to `most` free stacks, 256 at a time, of those that are beyond the [limit](StackConfig::warm_limit). Returns how many
    /// there were: 0 if there is nothing to do, which takes a nanosecond. For schedulers, where they have nothing else to do: 0.7 us each, and 0.4 more
    /// under a ceiling on resident bytes, which has them measured.
    pub fn cool(&self, most: usize) -> usize {
        self.cool_beyond(self.config().warm_limit, most)
    }

    fn cool_beyond(&self, limit: usize, most: usize) -> usize {
        let excess = |warm: usize| warm.saturating_sub(limit).min(most).min(TRIM_BATCH);
        if excess(self.0.warm.load(Ordering::Relaxed)) == 0 {
            return 0;
        }
        let mut inventory = self.inventory();
        let want = excess(inventory.warm);
        let batch = inventory.take_warm(want);
        let count = batch.len();
        self.0.warm.store(inventory.warm, Ordering::Relaxed);
        self.0.cooling.fetch_add(count, Ordering::Relaxed);
        drop(inventory);
        // Outside the lock: the slots are ours until they are put.
        self.discard(&batch);
        let mut inventory = self.inventory();
        self.0.cooling.fetch_sub(count, Ordering::Relaxed);
        let unmapped: Vec<_> = batch.into_iter().filter_map(|slot| inventory.put(slot, Warmth::Cold)).collect();
        drop(inventory);
        self.unmap(unmapped);
        count
    }

    /// Collects the free stacks of all pools into the depot, and waits for those that others are releasing the pages of.
    pub(super) fn collect(&self) {
        let mut collected = Vec::new();
        for pool in self.pools() {
            pool.flush(&mut collected);
        }
        self.put(collected);
        // A batch takes 0.2 ms.
        while self.0.cooling.load(Ordering::Relaxed) != 0 {
            std::thread::yield_now();
        }
    }

    pub(super) fn leak(&self, slot: Slot) {
        self.inventory().leak(slot);
    }

    pub(super) fn register(&self, pool: &Arc<pool::Shared>) {
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn pools(&self) -> Vec<Arc<pool::Shared>> {
        let pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    }

    /// Releases the pages of slots; their guards stay.
    fn discard(&self, slots: &[Slot]) {
        let mut pages = slots.iter().map(Slot::pages);
        // Each was counted as a page at least when it was handed out.
        let resident = |slot: &Slot| os::resident(slot.pages().0, slot.pages().1).0.max(os::page_size());
        let bytes = self.0.gauge.as_ref().map(|gauge| (gauge, slots.iter().map(resident).sum()));
        // SAFETY: holding the slots is the right to their memory (S1), and nobody expects its contents.
        unsafe { os::discard(&mut pages as &mut dyn Iterator<Item = (NonNull<u8>, usize)>) };
        if let Some((gauge, bytes)) = bytes {
            gauge.subtract(bytes);
        }
    }

    /// Unmaps slabs of which nothing is in use.
    fn unmap(&self, slabs: Vec<Slab>) {
        if let Some(gauge) = &self.0.gauge {
            // As in `discard`; what else was in them is found out when it is measured.
            gauge.subtract(slabs.iter().map(Slab::warm).sum::<usize>() * os::page_size());
        }
    }

    fn inventory(&self) -> MutexGuard<'_, Inventory> {
        // Nothing under the lock panics but broken invariants and allocation failure; a poisoned inventory would only turn one
        // panic into many.
        self.0.inventory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Depot {
    fn default() -> Depot {
        Depot::new(StackConfig::default())
    }
}
