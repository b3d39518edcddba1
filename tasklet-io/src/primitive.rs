//! The atomics of what a descriptor is ready for: std's, or loom's where `cfg(loom)` models them.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;
