//! Stacks in use: how much of them is in memory, and giving back what lies below the stack pointer of a fiber that is suspended.
//!
//! A tasklet that has called deep and then waits keeps the pages that the calls have touched. They are of no use to it: what a suspended coroutine
//! needs lies from its stack pointer to the top of its stack (B11). So they can be released at any time, and cost a page fault each when
//! the tasklet calls as deep again. So do the pages of a slot below the frames of the swapped tasklet that lies there.
//!
//! # Invariants
//!
//! - **F5** Only pages below the stack pointer of a suspended coroutine are released, by the scheduler's own thread, which resumes nothing
//!   meanwhile (F3). One that is being resumed is left alone, for either of two reasons: its stack is the one that the code is on, which is found by
//!   address; and its backend tells no stack pointer of it (B11), which holds too if its tasklet has changed to a stack that is none of ours. One that was
//!   suspended on such a stack is left alone as well: its stack pointer does not lie among its pages, and what of those it needs nobody knows.

use std::hint::black_box;
use std::ptr::NonNull;
use std::time::Instant;
use std::{cell::Cell, ops::Range};

use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::stack::{Stack, StackError, StackPages, StackPool, StackSize, StackUsage, Unneeded};

use super::{Fiber, FiberHead, Fibers, Host};

/// Stacks released in one system call.
const BATCH: usize = 64;

/// After a look at all stacks that has found nothing to give back, there is none for want of a stack for so many times as long as it took.
const REST: u32 = 49;

/// When all stacks are looked at again because there is none for a new fiber.
#[derive(Default)]
pub(super) struct Relief {
    next: Cell<Option<Instant>>,
    /// The last look was in vain, at all of them, and no fiber was resumed since: there is nothing.
    is_settled: Cell<bool>,
}

impl Relief {
    /// A fiber is resumed.
    #[inline(always)]
    pub(super) fn disturb(&self) {
        self.is_settled.set(false);
    }
}

/// What is known of a fiber's stack since the last look.
#[derive(Default)]
pub(super) struct Marks {
    /// Where it was suspended.
    seen: Cell<usize>,
    /// The lowest page that was released; zero if none was.
    lowest: Cell<usize>,
}

/// Whose stacks are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Of those that are suspended where they were at the last look.
    Resting,
    /// Of all that are suspended.
    All,
}

/// What a look at some stacks has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// Bytes given back.
    pub(crate) bytes: usize,
    /// Stacks that had any.
    pub(crate) stacks: usize,
    /// Suspended ones that were not where they were at the last look.
    pub(crate) moved: usize,
    /// The place after the last one that was looked at; none if there are no more.
    pub(crate) next: Option<usize>,
    /// Some were left out since they are not suspended, or nobody knows what they need.
    pub(crate) has_left_out: bool,
}

/// The part of an engine that looks at stacks in use.
pub(crate) trait Trim {
    /// Looks at the stacks at these places in the list of all, fibers and then slots, and releases what some of them do not need; stops when so
    /// many were `measured`. On the scheduler's own thread, on any stack. Costs 7 us for each stack that has called 100 KiB deep, and 1.3 us for one that has nothing to give back.
    fn trim(&self, which: Which, places: Range<usize>, measured: usize) -> Trimmed;

    /// Somewhere there is no memory for a stack: [trims](Self::trim) all, if that was not in vain a moment ago, nor since a fiber has run. Returns
    /// whether that gave anything.
    fn relieve(&self) -> bool;

    /// Releases the pages of so many free stacks at most, of those that are too many: see [`Depot::cool`](tasklet_core::stack::Depot::cool).
    fn cool(&self, most: usize) -> usize;

    /// How much memory a fiber's stack takes; none if it is none of ours.
    fn stack_usage(&self, fiber: NonNull<FiberHead>) -> Option<StackUsage>;
}

impl<B: Backend, H: Host> Fibers<B, H> {
    /// The stack that a fiber lies on.
    fn pages(fiber: NonNull<Fiber<B>>) -> Option<StackPages> {
        if B::STACKS != StackProvision::Ours {
            return None;
        }
        // SAFETY: F1, callers pass one that is alive.
        let limit = unsafe { fiber.as_ref() }.head.limit.get();
        // F4: it lies in the uppermost page.
        Some(StackPages::new(fiber.cast().with_addr(limit.try_into().ok()?), fiber.cast()))
    }

    /// There was no stack for a new fiber: tries once more, when what suspended ones do not need was given back, if that can help and was not in
    /// vain a moment ago.
    #[cold]
    #[inline(never)]
    pub(super) fn retry(&self, error: StackError, size: StackSize) -> Result<Stack, StackError> {
        let can_help = error.is_resident_ceiling() || error.is_out_of_memory();
        if can_help && self.relieve() { self.stacks.acquire(size) } else { Err(error) }
    }
}

/// One look at some stacks.
pub(super) struct Look<'a> {
    stacks: &'a StackPool,
    which: Which,
    /// An address on the stack that the code is on.
    here: usize,
    /// Stacks that may be measured yet.
    left: usize,
    unneeded: Vec<Unneeded>,
    trimmed: Trimmed,
}

impl Look<'_> {
    /// Looks at a stack, and where its coroutine is suspended; none if it is not.
    ///
    /// # Safety
    ///
    /// The stack is of the pool, and what is on it is not resumed before this look has [ended](Self::end). B11 holds for what `stack_pointer` tells,
    /// which is not called if the code is on that stack.
    pub(super) unsafe fn stack(
        &mut self,
        pages: StackPages,
        stack_pointer: impl FnOnce() -> Option<NonNull<u8>>,
        marks: &Marks,
    ) {
        if pages.contain(self.here) {
            self.trimmed.has_left_out = true;
            return;
        }
        // F5.
        let Some(stack_pointer) = stack_pointer().filter(|at| pages.contain(at.addr().get())) else {
            self.trimmed.has_left_out = true;
            return;
        };
        let seen = stack_pointer.addr().get();
        if marks.seen.replace(seen) != seen {
            self.trimmed.moved += 1;
            if self.which == Which::Resting {
                return;
            }
        }
        self.left = self.left.saturating_sub(1);
        let below = pages.below(stack_pointer);
        let presence = below.presence();
        let Some(lowest) = presence.lowest else { return };
        let known = marks.lowest.get();
        marks.lowest.set(if known == 0 { lowest } else { known.min(lowest) });
        self.trimmed.bytes += presence.resident;
        self.trimmed.stacks += 1;
        self.unneeded.push((below, presence));
        if self.unneeded.len() == BATCH {
            self.release();
        }
    }

    fn release(&mut self) {
        // SAFETY: F5: of stacks in use that nobody runs on, and nothing is resumed before this returns.
        unsafe { self.stacks.release(&self.unneeded) };
        self.unneeded.clear();
    }

    fn end(mut self) -> Trimmed {
        self.release();
        self.trimmed
    }
}

impl Marks {
    /// How much memory a stack takes, with what is known of it.
    pub(super) fn usage(&self, pages: StackPages) -> StackUsage {
        let presence = pages.presence();
        let known = self.lowest.get();
        let lowest = presence.lowest.into_iter().chain((known != 0).then_some(known)).min();
        StackUsage::new(pages.len(), lowest.map_or(0, |lowest| pages.end() - lowest), presence.resident)
    }
}

impl<B: Backend, H: Host> Trim for Fibers<B, H> {
    #[inline(never)]
    fn trim(&self, which: Which, places: Range<usize>, measured: usize) -> Trimmed {
        let fibers = self.fibers.borrow();
        let count = fibers.len() + self.swapper.slots();
        let places = places.start.min(count)..places.end.min(count);
        let mark = 0u8;
        let mut look = Look {
            stacks: &self.stacks,
            which,
            here: std::ptr::from_ref(black_box(&mark)).addr(),
            left: measured,
            unneeded: Vec::new(),
            trimmed: Trimmed::default(),
        };
        let mut next = Some(places.end).filter(|end| *end < count);
        for place in places {
            if look.left == 0 {
                next = Some(place);
                break;
            }
            let Some(fiber) = fibers.get(place) else {
                // SAFETY: F5: the slot is alive, and nothing is resumed before this returns.
                unsafe { self.swapper.look(place - fibers.len(), &mut look) };
                continue;
            };
            let Some(pages) = Self::pages(*fiber) else { continue };
            // SAFETY: F1, it is in the list.
            let this = unsafe { fiber.as_ref() };
            let stack_pointer = || {
                // SAFETY: F3 and F5: it is not the one that is being resumed, so nobody has its coroutine.
                unsafe { &*this.coroutine.get() }.as_ref().and_then(B::stack_pointer)
            };
            // SAFETY: F5: it is alive, and nothing is resumed before this returns.
            unsafe { look.stack(pages, stack_pointer, &this.marks) };
        }
        Trimmed { next, ..look.end() }
    }

    fn cool(&self, most: usize) -> usize {
        self.stacks.cool(most)
    }

    fn relieve(&self) -> bool {
        let start = Instant::now();
        if self.relief.is_settled.get() || self.relief.next.get().is_some_and(|next| start < next) {
            return false;
        }
        let trimmed = self.trim(Which::All, 0..usize::MAX, usize::MAX);
        let is_futile = trimmed.bytes == 0;
        self.relief.is_settled.set(is_futile && !trimmed.has_left_out);
        self.relief.next.set(is_futile.then(|| Instant::now() + start.elapsed() * REST));
        !is_futile
    }

    fn stack_usage(&self, fiber: NonNull<FiberHead>) -> Option<StackUsage> {
        // SAFETY: F1, callers pass one that is alive.
        if unsafe { fiber.as_ref() }.swapped {
            return Some(self.swapper.stack_usage(fiber));
        }
        let fiber = Self::fiber(fiber);
        let pages = Self::pages(fiber)?;
        // SAFETY: as above.
        Some(unsafe { fiber.as_ref() }.marks.usage(pages))
    }
}
