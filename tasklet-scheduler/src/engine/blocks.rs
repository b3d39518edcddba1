//! Memory for what is copied off the slots, by size class.
//!
//! A tasklet that waits at one place again and again needs the same class each time and keeps its block. Blocks of tasklets that have ended serve
//! the next ones, up to a limit.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

/// Classes are this far apart, and blocks aligned to it unless more is asked for. An allocator's own step.
const STEP: usize = 16;

/// Larger blocks are not kept: they are rare, and of many sizes.
const LARGEST_KEPT: usize = 4096;

/// Bytes of blocks kept for reuse, at most: a guess, enough for some ten thousand that wait in one call.
const KEPT: usize = 4 << 20;

/// Room for bytes that were copied off a slot.
pub(super) struct Block {
    data: NonNull<u8>,
    /// Bytes in use.
    used: u32,
    /// Bytes there are, in steps; and the alignment, as a power of two, above them.
    room: u32,
}

/// Where the alignment begins in `room`: a stack is of 1 GiB at most, so there are fewer steps.
const ALIGN: u32 = 27;

/// The blocks of one engine that nobody uses. Each holds the address of the next of its class.
pub(super) struct Blocks {
    free: [Cell<Option<NonNull<u8>>>; LARGEST_KEPT / STEP],
    kept: Cell<usize>,
    /// Bytes of blocks in use.
    in_use: Cell<usize>,
}

impl Block {
    pub(super) fn data(&self) -> NonNull<u8> {
        self.data
    }

    pub(super) fn used(&self) -> usize {
        self.used as usize
    }

    fn layout(&self) -> Layout {
        let room = (self.room & ((1 << ALIGN) - 1)) as usize * STEP;
        // SAFETY: it is the layout that the block was made with.
        unsafe { Layout::from_size_align_unchecked(room, 1 << (self.room >> ALIGN)) }
    }
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        Blocks { free: [const { Cell::new(None) }; _], kept: Cell::new(0), in_use: Cell::new(0) }
    }

    /// Bytes of blocks in use.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.get()
    }

    /// A block for `bytes`, aligned to `align`: `had`, if that is of the right class.
    pub(super) fn fit(&self, had: Option<Block>, bytes: usize, align: usize) -> Block {
        let layout = Layout::from_size_align(bytes.next_multiple_of(STEP), align.max(STEP)).expect("less than 1 GiB");
        // A stack is of 1 GiB at most.
        let (used, room) = (bytes as u32, (layout.size() / STEP) as u32 | layout.align().trailing_zeros() << ALIGN);
        match had {
            Some(block) if block.room == room => return Block { used, ..block },
            Some(block) => self.give(block),
            None => {}
        }
        self.in_use.set(self.in_use.get() + layout.size());
        if let Some(class) = class(layout)
            && let Some(data) = self.free[class].get()
        {
            // SAFETY: a free block holds the address of the next.
            self.free[class].set(unsafe { data.cast::<Option<NonNull<u8>>>().read() });
            self.kept.set(self.kept.get() - layout.size());
            return Block { data, used, room };
        }
        // SAFETY: there is at least one frame on a suspended stack, so it is not empty.
        let data = NonNull::new(unsafe { alloc(layout) });
        Block { data: data.unwrap_or_else(|| handle_alloc_error(layout)), used, room }
    }

    /// Takes back a block that nobody uses.
    pub(super) fn give(&self, block: Block) {
        let layout = block.layout();
        self.in_use.set(self.in_use.get() - layout.size());
        if let Some(class) = class(layout)
            && self.kept.get() + layout.size() <= KEPT
        {
            // SAFETY: it is large enough and aligned for it, and nobody uses it.
            unsafe { block.data.cast::<Option<NonNull<u8>>>().write(self.free[class].get()) };
            self.free[class].set(Some(block.data));
            self.kept.set(self.kept.get() + layout.size());
        } else {
            // SAFETY: made by `fit` with this layout, and nobody uses it.
            unsafe { dealloc(block.data.as_ptr(), layout) };
        }
    }

    /// Lets the allocator have the blocks that nobody uses.
    pub(super) fn trim(&self) {
        for (class, free) in self.free.iter().enumerate() {
            while let Some(data) = free.get() {
                // SAFETY: a free block holds the address of the next.
                free.set(unsafe { data.cast::<Option<NonNull<u8>>>().read() });
                let layout = Layout::from_size_align((class + 1) * STEP, STEP).expect("a class is small");
                // SAFETY: blocks of this class are made with this layout, and nobody uses it.
                unsafe { dealloc(data.as_ptr(), layout) };
            }
        }
        self.kept.set(0);
    }
}

/// The class of blocks that are kept.
fn class(layout: Layout) -> Option<usize> {
    (layout.size() <= LARGEST_KEPT && layout.align() == STEP).then(|| layout.size() / STEP - 1)
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.trim();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_serves_again_what_is_of_its_class() {
        let blocks = Blocks::new();
        let first = blocks.fit(None, 100, 16);
        let address = first.data();
        let again = blocks.fit(Some(first), 112, 16);
        assert_eq!((again.data(), again.used()), (address, 112));
        blocks.give(again);
        assert_eq!(blocks.in_use(), 0);
        let other = blocks.fit(None, 113, 16);
        assert_ne!(other.data(), address, "another class");
        let same = blocks.fit(None, 98, 16);
        assert_eq!(same.data(), address);
        let aligned = blocks.fit(Some(same), 98, 256);
        assert!(aligned.data().as_ptr().addr().is_multiple_of(256));
        let large = blocks.fit(None, 100_000, 16);
        assert_eq!(blocks.in_use(), 112 + 128 + 100_000);
        [other, aligned, large].map(|block| blocks.give(block));
        assert_eq!((blocks.in_use(), blocks.kept.get()), (0, 112 + 128));
        blocks.trim();
        assert_eq!(blocks.kept.get(), 0);
    }
}
