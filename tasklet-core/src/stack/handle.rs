//! The owned stack.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::pool;
use super::slab::Slot;
use super::usage::StackPages;

/// A guarded stack, owned. Dropping it returns it to the pool it came from.
///
/// Its memory holds whatever the previous user left: it is zero only the first time.
pub struct Stack {
    /// The right to the memory (S1); taken out exactly once, by `drop` or `leak`.
    slot: ManuallyDrop<Slot>,
    /// Keeps the pool's depot, and so the mapping, alive (S3).
    home: Arc<pool::Shared>,
    /// Bytes above `top` that the owner has set aside.
    aside: usize,
}

impl Stack {
    pub(super) fn new(slot: Slot, home: Arc<pool::Shared>) -> Stack {
        Stack { slot: ManuallyDrop::new(slot), home, aside: 0 }
    }

    /// The address just above the usable bytes: stacks grow down from here. Aligned to 64 bytes.
    pub fn top(&self) -> *mut u8 {
        self.slot.top().wrapping_sub(self.aside)
    }

    /// Sets at least `bytes` aside above the top, for what the owner wants to keep next to the frames: in a page that is touched
    /// anyway. The top moves down to the lowest of them, aligned to 64 bytes, and is returned. They are the owner's until it drops the
    /// stack.
    ///
    /// # Panics
    ///
    /// Less than half of the stack would be left.
    pub fn set_aside(&mut self, bytes: usize) -> *mut u8 {
        let aside = bytes.checked_next_multiple_of(64).and_then(|bytes| bytes.checked_add(self.aside));
        let aside = aside.filter(|aside| *aside <= self.slot.size() / 2);
        self.aside = aside.expect("no more than half of a stack can be set aside");
        self.top()
    }

    /// The lowest usable address; the guard lies directly below.
    pub fn limit(&self) -> *mut u8 {
        self.slot.limit()
    }

    /// Its pages, to be measured, and released where they are not needed.
    pub fn pages(&self) -> StackPages {
        let address = |at: *mut u8| NonNull::new(at).expect("a stack is not at address zero");
        // Less than a page lies above its top.
        StackPages::new(address(self.limit()), address(self.slot.top().wrapping_sub(1)))
    }

    /// Usable bytes between [`limit`](Self::limit) and [`top`](Self::top): at least the size asked for, less what was set aside.
    pub fn size(&self) -> usize {
        self.slot.size() - self.aside
    }

    /// Gives the stack up for good: its memory is never unmapped and never handed out again, and
    /// [`StackStats::leaked`](super::StackStats::leaked) counts it.
    ///
    /// For the stack of a suspended coroutine that can be neither finished nor unwound: its frames may be borrowed from.
    pub fn leak(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never used again and does not run `drop`, so the slot is taken once.
        let slot = unsafe { ManuallyDrop::take(&mut this.slot) };
        // SAFETY: as above; the reference count that `this` held passes to `home`.
        let home = unsafe { std::ptr::read(&this.home) };
        home.depot().leak(slot);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once, and `leak`, the only other place that takes the slot, prevents it from running.
        let slot = unsafe { ManuallyDrop::take(&mut self.slot) };
        self.home.give(slot);
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("limit", &self.limit()).field("top", &self.top()).finish_non_exhaustive()
    }
}
