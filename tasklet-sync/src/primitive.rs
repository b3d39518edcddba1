//! The atomics of the protocols between threads: std's, or loom's where `cfg(loom)` models them.
//!
//! Only what has a model takes them from here. Under `cfg(loom)` these types work inside of a model and nowhere else.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;
