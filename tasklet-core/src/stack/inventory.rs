//! All slabs of a depot and what is free in them: the unsynchronised half of [`Depot`](super::Depot).

use std::collections::BTreeSet;
use std::ptr::NonNull;

use super::config::{GuardMode, StackConfig};
use super::error::{GuardCost, Kind, StackError};
use super::os;
use super::size::Class;
use super::slab::{Geometry, Slab, Slot, Warmth};

/// Slots of the first slab of a class: a program with three tasklets reserves 2 MiB.
const FIRST_SLAB: usize = 16;

/// Guards installed at once when fresh slots are needed; what one system call can do.
const GUARD_BATCH: u32 = 64;

/// How guards are made here, found out at the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    /// Markers in the page table.
    Install,
    /// A mapping without access, splitting the slab's.
    Split,
}

/// The slabs of one size class.
#[derive(Debug, Default)]
struct Shelf {
    /// Slabs with a guarded free slot. Lowest first, so that the higher ones empty.
    ready: BTreeSet<u32>,
    /// Slabs with slots that have no guard yet.
    fresh: BTreeSet<u32>,
    /// Slabs with no slot out.
    idle: usize,
    /// Slots of all slabs.
    slots: usize,
}

/// The slabs, by number, and counters over them.
#[derive(Debug)]
pub(super) struct Inventory {
    slabs: Vec<Option<Slab>>,
    /// Numbers of slabs that were unmapped.
    vacant: Vec<u32>,
    shelves: Vec<Shelf>,
    mechanism: Mechanism,
    /// Sums over all slabs.
    pub(super) reserved: usize,
    pub(super) mappings: usize,
    pub(super) guarded: usize,
    pub(super) warm: usize,
    /// Slots out, leaked ones included.
    pub(super) out: usize,
    pub(super) leaked: usize,
}

impl Inventory {
    pub(super) fn new(config: &StackConfig) -> Inventory {
        Inventory {
            slabs: Vec::new(),
            vacant: Vec::new(),
            shelves: Vec::new(),
            mechanism: match config.guard_mode {
                GuardMode::Auto => Mechanism::Install,
                GuardMode::Mprotect => Mechanism::Split,
            },
            reserved: 0,
            mappings: 0,
            guarded: 0,
            warm: 0,
            out: 0,
            leaked: 0,
        }
    }

    /// Moves up to `want` free slots of `class` to `taken`, and at least one.
    ///
    /// Slots with a guard come first, then new guards, then one new slab: what costs more is done only for the first slot.
    pub(super) fn take(
        &mut self,
        config: &StackConfig,
        class: Class,
        want: usize,
        taken: &mut Vec<Slot>,
    ) -> Result<(), StackError> {
        if self.shelves.len() <= class.index() {
            self.shelves.resize_with(class.index() + 1, Shelf::default);
        }
        loop {
            let before = taken.len();
            self.take_ready(class, want, taken);
            if taken.len() > before {
                return Ok(());
            }
            let id = match self.shelves[class.index()].fresh.first() {
                Some(&id) => id,
                None => self.map_slab(config, class)?,
            };
            self.guard(config, id, want)?;
        }
    }

    fn take_ready(&mut self, class: Class, want: usize, taken: &mut Vec<Slot>) {
        let shelf = &mut self.shelves[class.index()];
        for _ in 0..want {
            let Some(&id) = shelf.ready.first() else { return };
            let Some(slab) = self.slabs[id as usize].as_mut() else { unreachable!("slab {id} is ready but unmapped") };
            let was_idle = slab.is_idle();
            let Some((slot, warmth)) = slab.take() else { unreachable!("slab {id} is ready but has no slot") };
            if !slab.has_ready() {
                shelf.ready.remove(&id);
            }
            shelf.idle -= usize::from(was_idle);
            self.warm -= usize::from(warmth == Warmth::Warm);
            self.out += 1;
            taken.push(slot);
        }
    }

    /// Takes a slot back.
    ///
    /// A slab that has no slot out any more is taken off its shelf, and the caller drops it, which unmaps it, after releasing
    /// its lock: if most of it was released, so that it is of little use, and another one is left for its class.
    #[must_use]
    pub(super) fn put(&mut self, slot: Slot, warmth: Warmth) -> Option<Slab> {
        let (id, class) = (slot.slab, slot.class);
        let slab = self.slab(id);
        slab.put(slot, warmth);
        let (is_idle, is_cold) = (slab.is_idle(), slab.warm() <= slab.guarded() as usize / 2);
        self.out -= 1;
        self.warm += usize::from(warmth == Warmth::Warm);
        let shelf = &mut self.shelves[class.index()];
        shelf.ready.insert(id);
        shelf.idle += usize::from(is_idle);
        // One spare stays, so that a program at the edge of a slab does not map and unmap it for ever.
        if is_idle && is_cold && shelf.idle > 1 { Some(self.remove(id)) } else { None }
    }

    pub(super) fn leak(&mut self, slot: Slot) {
        self.slab(slot.slab).leak(slot);
        self.leaked += 1;
    }

    /// Takes all slabs with no slot out off their shelves, except one that is about to be used.
    #[must_use]
    pub(super) fn remove_idle(&mut self, except: Option<u32>) -> Vec<Slab> {
        let is_idle = |slab: &Option<Slab>| slab.as_ref().is_some_and(Slab::is_idle);
        let ids = (0..).zip(&self.slabs).filter(|&(id, slab)| is_idle(slab) && Some(id) != except).map(|(id, _)| id);
        let ids: Vec<u32> = ids.collect();
        ids.into_iter().map(|id| self.remove(id)).collect()
    }

    /// Takes up to `want` free slots that keep their pages, to have them released.
    pub(super) fn take_warm(&mut self, want: usize) -> Vec<Slot> {
        let mut taken = Vec::new();
        for (id, slab) in (0..).zip(&mut self.slabs) {
            let Some(slab) = slab else { continue };
            let was_idle = slab.is_idle();
            while taken.len() < want
                && let Some(slot) = slab.take_warm()
            {
                taken.push(slot);
            }
            let shelf = &mut self.shelves[slab.class.index()];
            shelf.idle -= usize::from(was_idle && !slab.is_idle());
            if !slab.has_ready() {
                shelf.ready.remove(&id);
            }
        }
        self.warm -= taken.len();
        self.out += taken.len();
        taken
    }

    /// The address ranges of all slabs.
    pub(super) fn ranges(&self) -> Vec<(NonNull<u8>, usize)> {
        self.slabs.iter().flatten().map(|slab| (slab.base(), slab.reserved())).collect()
    }

    /// Maps a slab as large as the class is so far, so that a class of n slots has about log n slabs until they reach the
    /// largest size; smaller if that is all that can be had.
    fn map_slab(&mut self, config: &StackConfig, class: Class) -> Result<u32, StackError> {
        let stride = Geometry::of(class).stride;
        let held = self.shelves[class.index()].slots;
        let slots = held.max(FIRST_SLAB).min((config.slab_bytes / stride).max(1)).min(u32::MAX as usize);
        // A slab without room for its first guard would only be in the way.
        let mappings = match self.mechanism {
            Mechanism::Install => 1,
            Mechanism::Split => 3,
        };
        let has_room = |this: &Inventory| {
            let bytes = config.ceiling.saturating_sub(this.reserved) / stride;
            (bytes, config.mapping_budget.saturating_sub(this.mappings) >= mappings)
        };
        if !matches!(has_room(self), (1.., true)) {
            drop(self.remove_idle(None));
        }
        let mut slots = match has_room(self) {
            (0, _) => {
                let (reserved, ceiling) = (self.reserved, config.ceiling);
                return Err(Kind::Ceiling { needed: stride, reserved, ceiling }.into());
            }
            (_, false) => return Err(self.budget_error(config)),
            (room, true) => slots.min(room),
        };
        let base = loop {
            match os::map(slots * stride) {
                Ok(base) => break base,
                Err(_) if slots > 1 => slots /= 2,
                // What is dropped here is unmapped before the next try.
                Err(source) if self.remove_idle(None).is_empty() => return Err(self.os_error("mmap", stride, source)),
                Err(_) => {}
            }
        };
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.slabs.push(None);
            (self.slabs.len() - 1) as u32
        });
        let slab = Slab::new(id, class, base, slots as u32);
        self.reserved += slab.reserved();
        self.mappings += slab.mappings();
        let shelf = &mut self.shelves[class.index()];
        shelf.idle += 1;
        shelf.slots += slots;
        shelf.fresh.insert(id);
        self.slabs[id as usize] = Some(slab);
        Ok(id)
    }

    /// Guards some of the slab's fresh slots, at least one (S2).
    fn guard(&mut self, config: &StackConfig, id: u32, want: usize) -> Result<(), StackError> {
        let want = u32::try_from(want).unwrap_or(u32::MAX);
        let (count, split) = match self.install_guards(id, want)? {
            0 => {
                let count = self.split_guards(config, id, want)?;
                (count, count)
            }
            count => (count, 0),
        };
        let slab = self.slab(id);
        slab.add_guarded(count, split);
        let (class, left) = (slab.class, slab.unguarded());
        let shelf = &mut self.shelves[class.index()];
        shelf.ready.insert(id);
        if left == 0 {
            shelf.fresh.remove(&id);
        }
        self.guarded += count as usize;
        self.mappings += 2 * split as usize;
        Ok(())
    }

    /// Guards by markers, a batch at a time; returns how many, which is none where they cannot be had.
    fn install_guards(&mut self, id: u32, want: u32) -> Result<u32, StackError> {
        if self.mechanism == Mechanism::Split {
            return Ok(0);
        }
        let slab = self.slab(id);
        let count = want.max(GUARD_BATCH).min(slab.unguarded());
        let (first, stride) = slab.next_guards(count);
        // SAFETY: the pages are the low ends of slots that were never handed out (S1), inside the slab's mapping.
        match unsafe { os::install_guards(first, stride, count as usize) } {
            Ok(()) => Ok(count),
            Err(os::GuardError::Unsupported) => {
                self.mechanism = Mechanism::Split;
                Ok(0)
            }
            Err(os::GuardError::Os(source)) => Err(self.os_error("madvise", os::page_size(), source)),
        }
    }

    /// Guards by splitting the mapping, no more than are wanted and the budget allows; returns how many.
    fn split_guards(&mut self, config: &StackConfig, id: u32, want: u32) -> Result<u32, StackError> {
        if config.mapping_budget.saturating_sub(self.mappings) < 2 {
            drop(self.remove_idle(Some(id)));
        }
        let room = config.mapping_budget.saturating_sub(self.mappings) / 2;
        let slab = self.slab(id);
        let goal = want.min(slab.unguarded()).min(u32::try_from(room).unwrap_or(u32::MAX));
        let (first, stride) = slab.next_guards(goal);
        for count in 0..goal {
            // SAFETY: the page is the low end of a slot that was never handed out (S1), inside the slab's mapping.
            if let Err(source) = unsafe { os::protect(first.add(count as usize * stride)) } {
                return if count > 0 { Ok(count) } else { Err(self.os_error("mprotect", os::page_size(), source)) };
            }
        }
        if goal == 0 { Err(self.budget_error(config)) } else { Ok(goal) }
    }

    /// Takes a slab with no slot out off its shelf.
    fn remove(&mut self, id: u32) -> Slab {
        let Some(slab) = self.slabs[id as usize].take() else { unreachable!("slab {id} is idle but unmapped") };
        self.vacant.push(id);
        self.reserved -= slab.reserved();
        self.mappings -= slab.mappings();
        self.guarded -= slab.guarded() as usize;
        self.warm -= slab.warm();
        let shelf = &mut self.shelves[slab.class.index()];
        shelf.ready.remove(&id);
        shelf.fresh.remove(&id);
        shelf.idle -= 1;
        shelf.slots -= slab.slots() as usize;
        slab
    }

    fn slab(&mut self, id: u32) -> &mut Slab {
        match self.slabs.get_mut(id as usize) {
            // S3: the caller holds a slot of it, or has its number from a shelf.
            Some(Some(slab)) => slab,
            _ => unreachable!("slab {id} is in use but unmapped"),
        }
    }

    fn os_error(&self, call: &'static str, bytes: usize, source: std::io::Error) -> StackError {
        Kind::Os { call, bytes, reserved: self.reserved, source }.into()
    }

    fn budget_error(&self, config: &StackConfig) -> StackError {
        let guards = match self.mechanism {
            Mechanism::Install => GuardCost::Free,
            Mechanism::Split => GuardCost::TwoMappings,
        };
        Kind::Mappings { held: self.mappings, budget: config.mapping_budget, guards }.into()
    }
}
