//! Stacks in use: how much of them is in memory, and giving back what lies below the stack pointer of a fiber that is suspended.
//!
//! A tasklet that has called deep and then waits keeps the pages that the calls have touched. They are of no use to it: what a suspended coroutine
//! needs lies from its stack pointer to the top of its stack (B11). So they can be released at any time, and cost a page fault each when
//! the tasklet calls as deep again. Slots of swapped tasklets are left alone: they are few, and in use.
//!
//! # Invariants
//!
//! - **F5** Only pages below the stack pointer of a suspended coroutine are released, by the scheduler's own thread, which resumes nothing
//!   meanwhile (F3). The one fiber that may be running is the one whose stack the code is on, which is found by address: whoever resumes another
//!   does so from there, or on another thread.

use std::hint::black_box;
use std::ptr::NonNull;
use std::time::Instant;
use std::{cell::Cell, ops::Range};

use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::stack::{Stack, StackError, StackPages, StackSize, StackUsage, Unneeded};

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
    /// Suspended fibers that were not where they were at the last look.
    pub(crate) moved: usize,
    /// The place after the last one that was looked at; none if there are no more.
    pub(crate) next: Option<usize>,
    /// The caller is on one of them, which was left out.
    pub(crate) has_left_out: bool,
}

/// The part of an engine that looks at stacks in use.
pub(crate) trait Trim {
    /// Looks at the fibers at these places in the list of all, and releases what some of them do not need; stops when so many stacks were
    /// `measured`. On the scheduler's own thread, on any stack. Costs 7 us for each stack that has called 100 KiB deep, and 1.3 us for one that has nothing to give back.
    fn trim(&self, which: Which, places: Range<usize>, measured: usize) -> Trimmed;

    /// Somewhere there is no memory for a stack: [trims](Self::trim) all, if that was not in vain a moment ago, nor since a fiber has run. Returns
    /// whether that gave anything.
    fn relieve(&self) -> bool;

    /// Releases the pages of so many free stacks at most, of those that are too many: see [`Depot::cool`](tasklet_core::stack::Depot::cool).
    fn cool(&self, most: usize) -> usize;

    /// How much memory a fiber's stack takes; none if it has none of ours to itself.
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

impl<B: Backend, H: Host> Trim for Fibers<B, H> {
    #[inline(never)]
    fn trim(&self, which: Which, places: Range<usize>, measured: usize) -> Trimmed {
        let fibers = self.fibers.borrow();
        let places = places.start.min(fibers.len())..places.end.min(fibers.len());
        let (mut result, mut left) = (Trimmed::default(), measured);
        let here = NonNull::from(black_box(&result)).addr().get();
        let mut unneeded: Vec<Unneeded> = Vec::new();
        let release = |unneeded: &mut Vec<Unneeded>| {
            // SAFETY: F5: of fibers that are alive and suspended, and nothing is resumed before this returns.
            unsafe { self.stacks.release(unneeded) };
            unneeded.clear();
        };
        result.next = Some(places.end).filter(|end| *end < fibers.len());
        for (place, fiber) in places.clone().zip(&fibers[places]) {
            if left == 0 {
                result.next = Some(place);
                break;
            }
            let Some(pages) = Self::pages(*fiber) else { continue };
            if pages.contain(here) {
                result.has_left_out = true;
                continue;
            }
            // SAFETY: F1, it is in the list.
            let this = unsafe { fiber.as_ref() };
            // SAFETY: F3 and F5: it is not the one that is being resumed, so nobody has its coroutine.
            let coroutine = unsafe { &*this.coroutine.get() };
            let Some(stack_pointer) = coroutine.as_ref().and_then(B::stack_pointer) else { continue };
            let seen = stack_pointer.addr().get();
            if this.marks.seen.replace(seen) != seen {
                result.moved += 1;
                if which == Which::Resting {
                    continue;
                }
            }
            left -= 1;
            let below = pages.below(stack_pointer);
            let presence = below.presence();
            let Some(lowest) = presence.lowest else { continue };
            let known = this.marks.lowest.get();
            this.marks.lowest.set(if known == 0 { lowest } else { known.min(lowest) });
            result.bytes += presence.resident;
            result.stacks += 1;
            unneeded.push((below, presence));
            if unneeded.len() == BATCH {
                release(&mut unneeded);
            }
        }
        release(&mut unneeded);
        result
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
            return None;
        }
        let fiber = Self::fiber(fiber);
        let pages = Self::pages(fiber)?;
        let presence = pages.presence();
        // SAFETY: F1, callers pass one that is alive.
        let known = unsafe { fiber.as_ref() }.marks.lowest.get();
        let lowest = presence.lowest.into_iter().chain((known != 0).then_some(known)).min();
        Some(StackUsage::new(pages.len(), lowest.map_or(0, |lowest| pages.end() - lowest), presence.resident))
    }
}
