//! How much of a stack is in memory, and giving back what its owner has no use for.
//!
//! What is in memory is asked of `mincore`: of private memory without huge pages it tells exactly the pages that take some. One that was never
//! touched does not count, nor one that was released or is swapped out. `/proc/self/pagemap` says the same, eight times as large, through a
//! file that may be forbidden.

use std::ptr::NonNull;

use super::os;

/// How much memory the stack of a tasklet takes, in bytes: whole pages, the guard not counted.
///
/// It is the stack that is measured, not the tasklet: a tasklet starts on a stack that others have used before it, with the pages that they
/// have touched, unless those were given back.
///
/// The stack of a [swapped](https://docs.rs/tasklet/latest/tasklet/swapped/index.html) tasklet is its slot, which others have in turns: what it has
/// to itself is [`copied`](Self::copied).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackUsage {
    /// Address space.
    pub reserved: usize,
    /// From the top down to the lowest page that was ever touched since the stack came from its [`StackPool`](super::StackPool), or was in memory
    /// then. Pages that were trimmed since are remembered; what was swapped out is not seen.
    pub high_water: usize,
    /// What is in memory.
    pub resident: usize,
    /// Of a swapped tasklet, the memory that keeps what lies on its stack while others have that. It stays until the tasklet ends, in the size of the last
    /// copy; zero for one that was never copied away. Not part of the others.
    pub copied: usize,
    /// Tasklets whose stack it is: those that sit at the slot of a swapped one, else 1.
    pub sharers: usize,
}

impl StackUsage {
    /// These figures, of a stack that one tasklet has.
    pub fn new(reserved: usize, high_water: usize, resident: usize) -> StackUsage {
        StackUsage { reserved, high_water, resident, copied: 0, sharers: 1 }
    }

    /// The same stack, for one of several that have it in turns.
    #[must_use]
    pub fn shared(self, sharers: usize, copied: usize) -> StackUsage {
        StackUsage { sharers, copied, ..self }
    }
}

/// The pages of one stack, or the lower ones of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackPages {
    base: NonNull<u8>,
    len: usize,
}

/// What is in memory of [`StackPages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Bytes.
    pub resident: usize,
    /// The address of the lowest page.
    pub lowest: Option<usize>,
}

impl StackPages {
    /// The pages from `limit`, which is a [stack's](super::Stack::limit), to the end of the one that `top` lies in.
    ///
    /// # Panics
    ///
    /// `limit` is not where a page begins, or `top` lies below it.
    pub fn new(limit: NonNull<u8>, top: NonNull<u8>) -> StackPages {
        let page = os::page_size();
        let end = (top.addr().get() + 1).next_multiple_of(page);
        assert!(
            limit.addr().get().is_multiple_of(page) && limit <= top,
            "a stack from {limit:?} to {top:?} is none of ours"
        );
        StackPages { base: limit, len: end - limit.addr().get() }
    }

    /// Those that lie below `stack_pointer` as a whole.
    #[must_use]
    pub fn below(self, stack_pointer: NonNull<u8>) -> StackPages {
        let end = stack_pointer.addr().get() & !(os::page_size() - 1);
        StackPages { len: end.saturating_sub(self.base.addr().get()).min(self.len), ..self }
    }

    /// How many bytes they are.
    #[expect(clippy::len_without_is_empty, reason = "a stack has pages")]
    pub fn len(self) -> usize {
        self.len
    }

    /// The address where they end.
    pub fn end(self) -> usize {
        self.base.addr().get() + self.len
    }

    /// Whether an address lies in them.
    pub fn contain(self, address: usize) -> bool {
        (self.base.addr().get()..self.end()).contains(&address)
    }

    /// Asks the kernel what is in memory: about 1 us for a stack of the default size.
    pub fn presence(self) -> Presence {
        let (resident, lowest) = os::resident(self.base, self.len);
        Presence { resident, lowest: lowest.map(|offset| self.base.addr().get() + offset) }
    }

    pub(super) fn range(self) -> (NonNull<u8>, usize) {
        (self.base, self.len)
    }
}

/// Pages that their owner has no use for, and what is in memory of them.
pub type Unneeded = (StackPages, Presence);
