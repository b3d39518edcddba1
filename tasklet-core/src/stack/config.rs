//! What a depot may use and how much it keeps: plain data.

use super::os;

/// How a stack's end is guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    /// `MADV_GUARD_INSTALL` where the kernel has it (Linux 6.13 and later), else `mprotect`.
    #[default]
    Auto,
    /// `mprotect` always, at the price of two kernel mappings per stack. For tests of the fallback.
    Mprotect,
}

/// The limits and the habits of a [`Depot`](super::Depot).
///
/// ```
/// use tasklet_core::stack::{Depot, StackConfig};
///
/// let depot = Depot::new(StackConfig::new().ceiling(64 << 30).cache_limit(16));
/// assert_eq!(depot.stats().reserved, 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackConfig {
    pub(super) guard_mode: GuardMode,
    pub(super) ceiling: usize,
    pub(super) resident_ceiling: usize,
    pub(super) mapping_budget: usize,
    pub(super) cache_limit: usize,
    pub(super) warm_limit: usize,
    pub(super) slab_bytes: usize,
}

impl StackConfig {
    /// The defaults, each given at its method.
    pub fn new() -> StackConfig {
        StackConfig {
            guard_mode: GuardMode::Auto,
            ceiling: usize::MAX,
            resident_ceiling: usize::MAX,
            // The other half is for the rest of the process: libraries, threads, the allocator. 65530 is the kernel's default.
            mapping_budget: os::mapping_limit().unwrap_or(65530) / 2,
            // A guess: two refills of 32 stacks keep the depot's lock away from bursts of that size.
            cache_limit: 64,
            // A guess: 4 MiB of memory that touched one page each.
            warm_limit: 1024,
            // A million stacks of the default size are about 130 slabs of this size.
            slab_bytes: 1 << 30,
        }
    }

    /// How the ends of stacks are guarded. Default: [`GuardMode::Auto`].
    #[must_use]
    pub fn guard_mode(mut self, mode: GuardMode) -> StackConfig {
        self.guard_mode = mode;
        self
    }

    /// The most address space to reserve, in bytes, guards included. Default: no ceiling but the kernel's (128 TiB on x86-64).
    #[must_use]
    pub fn ceiling(mut self, bytes: usize) -> StackConfig {
        self.ceiling = bytes;
        self
    }

    /// The most memory for stacks, in bytes: the pages of all slabs that are in memory, whoever touched them, free and leaked stacks included.
    /// Page tables are not counted. Default: no ceiling.
    ///
    /// It is looked at when stacks without a page in memory are handed to a pool, up to 32 at a time: each counts as one page until the next
    /// measuring, which is after as many as a quarter of the stacks that exist, at least 64, and before a stack is refused. So the ceiling is
    /// found out late by what tasklets touch beyond their first page in between, and it refuses stacks only: nothing keeps a tasklet that
    /// has one from using it. Before a stack is refused, the free ones are [trimmed](super::Depot::trim); a scheduler gives back what its
    /// parked tasklets do not need; a runtime's worker asks the others to. Of no effect under backends that bring their own stacks.
    ///
    /// Measuring costs 1.6 us for each stack that is handed out without a page. A runtime that has nothing to run, and tasklets for which there is no memory,
    /// looks for some a few times a second, and at once when one of its workers has given some back.
    #[must_use]
    pub fn resident_ceiling(mut self, bytes: usize) -> StackConfig {
        self.resident_ceiling = bytes;
        self
    }

    /// The most kernel mappings to hold. Default: half of `vm.max_map_count`.
    ///
    /// A slab is one mapping and, under `mprotect`, each guard is two more. The budget is the depot's: a process with several
    /// depots divides `vm.max_map_count` among them.
    #[must_use]
    pub fn mapping_budget(mut self, mappings: usize) -> StackConfig {
        self.mapping_budget = mappings;
        self
    }

    /// The most free stacks of one size class that a pool keeps to itself; beyond it, the half that was free longest goes
    /// back to the depot. Default: 64.
    #[must_use]
    pub fn cache_limit(mut self, stacks: usize) -> StackConfig {
        self.cache_limit = stacks;
        self
    }

    /// The most free stacks that keep their memory in the depot for long; what is returned beyond it has its pages released to the operating
    /// system when a scheduler has [time for it](super::Depot::cool), or ends. Default: 1024.
    #[must_use]
    pub fn warm_limit(mut self, stacks: usize) -> StackConfig {
        self.warm_limit = stacks;
        self
    }

    /// The largest slab to map at once, in bytes; it holds one stack at least. Default: 1 GiB.
    #[must_use]
    pub fn slab_bytes(mut self, bytes: usize) -> StackConfig {
        self.slab_bytes = bytes;
        self
    }
}

impl Default for StackConfig {
    fn default() -> StackConfig {
        StackConfig::new()
    }
}
