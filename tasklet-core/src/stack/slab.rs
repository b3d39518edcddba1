//! A slab: one mapping cut into slots of one size class, and the slot, the right to use one of them.

use std::ptr::NonNull;

use super::os;
use super::size::Class;

/// How many different offsets the tops of neighbouring stacks have.
///
/// Measured by `examples/stack_costs.rs` on a 2-core AMD EPYC VM, touching six lines below the top of 1000 stacks in turn: 10.4 ns
/// a stack with one colour, 4.4 ns with 8, 4.4 ns with 16. Eight take 896 bytes of the top page at most and leave 3200, so that a
/// parked tasklet's frames still fit in that one page.
const COLOURS: usize = 8;

/// Two cache lines: adjacent lines are fetched together.
const COLOUR_BYTES: usize = 128;

/// What the colouring takes from a stack at most.
const STAGGER: usize = (COLOURS - 1) * COLOUR_BYTES;

/// How the slots of a class lie in a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// From one slot's guard to the next one's.
    pub(super) stride: usize,
    /// The guard at the low end of each slot: one page.
    pub(super) guard: usize,
}

impl Geometry {
    pub(super) fn of(class: Class) -> Geometry {
        let page = os::page_size();
        let pages = 1 + (class.bytes() + STAGGER).div_ceil(page);
        // A stride with a large power of two in it makes the tops of all stacks compete for a few sets of the second-level
        // cache: with 64 pages instead of 34, the measurement at `COLOURS` gives 7.5 ns instead of 4.4.
        let pages = if pages.is_multiple_of(4) { pages + 1 } else { pages };
        Geometry { stride: pages * page, guard: page }
    }
}

/// The right to use the memory of one slot (S1): neither `Copy` nor `Clone`, made by [`Slab::take`] and ended by [`Slab::put`]
/// or [`Slab::leak`].
#[derive(Debug)]
pub(super) struct Slot {
    limit: NonNull<u8>,
    size: usize,
    index: u32,
    /// Which slab of the inventory.
    pub(super) slab: u32,
    pub(super) class: Class,
}

// SAFETY: `limit` is the only field that is not Send by itself. It is an address, and the right to what lies there is not bound
// to a thread.
unsafe impl Send for Slot {}
// SAFETY: a shared reference gives access to addresses only, never to the memory.
unsafe impl Sync for Slot {}

impl Slot {
    pub(super) fn limit(&self) -> *mut u8 {
        self.limit.as_ptr()
    }

    pub(super) fn top(&self) -> *mut u8 {
        self.limit.as_ptr().wrapping_add(self.size)
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The pages a user of the slot can have touched.
    pub(super) fn pages(&self) -> (NonNull<u8>, usize) {
        (self.limit, self.size.next_multiple_of(os::page_size()))
    }
}

/// Whether a free slot keeps the pages its last user touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warmth {
    /// Some pages may be in memory.
    Warm,
    /// Its pages were released.
    Cold,
}

/// One mapping of slots. Slots are fresh, then guarded, then taken and put back any number of times.
#[derive(Debug)]
pub(super) struct Slab {
    pub(super) class: Class,
    id: u32,
    base: NonNull<u8>,
    geometry: Geometry,
    slots: u32,
    /// Slots below this index have their guard (S2).
    guarded: u32,
    /// Slots below this index were taken at least once; at most `guarded`.
    used: u32,
    /// Guards that split the mapping.
    split: u32,
    /// Slots taken and not put back, leaked ones included: the mapping must stay while there are any (S3).
    out: u32,
    // Indices, not a list through the slots: free stacks are not touched (S4).
    warm: Vec<u32>,
    cold: Vec<u32>,
}

// SAFETY: `base` is the only field that is not Send by itself; the mapping belongs to the process, not to a thread.
unsafe impl Send for Slab {}

impl Slab {
    /// Takes over the mapping of `slots` slots at `base`, just made by [`os::map`].
    pub(super) fn new(id: u32, class: Class, base: NonNull<u8>, slots: u32) -> Slab {
        let geometry = Geometry::of(class);
        Slab {
            class,
            id,
            base,
            geometry,
            slots,
            guarded: 0,
            used: 0,
            split: 0,
            out: 0,
            warm: Vec::new(),
            cold: Vec::new(),
        }
    }

    /// Takes a free guarded slot, the warmest there is.
    pub(super) fn take(&mut self) -> Option<(Slot, Warmth)> {
        let (index, warmth) = if let Some(index) = self.warm.pop() {
            (index, Warmth::Warm)
        } else if let Some(index) = self.cold.pop() {
            (index, Warmth::Cold)
        } else if self.used < self.guarded {
            self.used += 1;
            (self.used - 1, Warmth::Cold)
        } else {
            return None;
        };
        self.out += 1;
        let Geometry { stride, guard } = self.geometry;
        let colour = index as usize % COLOURS;
        // SAFETY: `index` is below `slots`, so the address lies inside the slab's mapping.
        let limit = unsafe { self.base.add(index as usize * stride + guard) };
        let size = stride - guard - colour * COLOUR_BYTES;
        Some((Slot { limit, size, index, slab: self.id, class: self.class }, warmth))
    }

    /// Takes a slot back.
    pub(super) fn put(&mut self, slot: Slot, warmth: Warmth) {
        debug_assert!(slot.slab == self.id && slot.index < self.used && self.out > 0, "{slot:?} is not of {self:?}");
        match warmth {
            Warmth::Warm => self.warm.push(slot.index),
            Warmth::Cold => self.cold.push(slot.index),
        }
        self.out -= 1;
    }

    /// Never takes the slot back (S5): `out` stays above zero, and the mapping stays for ever.
    pub(super) fn leak(&mut self, slot: Slot) {
        debug_assert!(slot.slab == self.id && slot.index < self.used && self.out > 0, "{slot:?} is not of {self:?}");
    }

    /// Takes a free slot that keeps its pages, to have them released.
    pub(super) fn take_warm(&mut self) -> Option<Slot> {
        if self.warm.is_empty() { None } else { self.take().map(|(slot, _)| slot) }
    }

    /// The next slots to guard, as the address of the first and their stride; `count` is at most [`Slab::unguarded`].
    pub(super) fn next_guards(&self, count: u32) -> (NonNull<u8>, usize) {
        debug_assert!(count <= self.unguarded(), "{count} guards in {self:?}");
        let stride = self.geometry.stride;
        // SAFETY: `guarded` is at most `slots`, so the address lies inside the mapping or one past it.
        (unsafe { self.base.add(self.guarded as usize * stride) }, stride)
    }

    /// Records that the next `count` slots have their guards, in `split` of them by splitting the mapping.
    pub(super) fn add_guarded(&mut self, count: u32, split: u32) {
        debug_assert!(count <= self.unguarded(), "{count} guards in {self:?}");
        self.guarded += count;
        self.split += split;
    }

    pub(super) fn unguarded(&self) -> u32 {
        self.slots - self.guarded
    }

    pub(super) fn guarded(&self) -> u32 {
        self.guarded
    }

    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    pub(super) fn warm(&self) -> usize {
        self.warm.len()
    }

    pub(super) fn has_ready(&self) -> bool {
        self.used < self.guarded || !self.warm.is_empty() || !self.cold.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.out == 0
    }

    /// Bytes of address space.
    pub(super) fn reserved(&self) -> usize {
        self.slots as usize * self.geometry.stride
    }

    /// Kernel mappings, at most.
    pub(super) fn mappings(&self) -> usize {
        1 + 2 * self.split as usize
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if self.is_idle() {
            // SAFETY: the mapping is `os::map`'s, this is the only drop, and no slot is out (S3): nobody uses the memory.
            unsafe { os::unmap(self.base, self.reserved()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::StackSize;

    #[test]
    fn strides_hold_the_class_and_are_no_multiple_of_four_pages() {
        for kib in [8, 12, 16, 56, 64, 100, 128, 256, 1000, 1 << 20] {
            let class = Class::of(StackSize::new(kib << 10).unwrap());
            let Geometry { stride, guard } = Geometry::of(class);
            assert!(stride - guard - STAGGER >= kib << 10);
            assert!(!(stride / os::page_size()).is_multiple_of(4), "{kib} KiB: {stride}");
        }
    }
}
