//! Counters of a depot.

/// What a [`Depot`](super::Depot) and its pools hold.
///
/// The counters are read one pool after the other, so they add up exactly only while no other thread acquires or returns.
/// Reading them costs a lock per pool. Physical memory is counted separately, because it has to be asked of the kernel page by
/// page: [`Depot::resident`](super::Depot::resident).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackStats {
    /// Bytes of address space, guards included.
    pub reserved: usize,
    /// Kernel mappings held, at most; adjacent slabs may share one.
    pub mappings: usize,
    /// Stacks handed out.
    pub live: usize,
    /// Guarded stacks that wait for use in a pool or in the depot.
    pub cached: usize,
    /// Stacks given up for good by [`Stack::leak`](super::Stack::leak).
    pub leaked: usize,
}
