//! Borders between tasklets and other ways to run things at the same time: one file and one feature each.
//!
//! | feature | what it brings |
//! |---|---|
//! | `futures` | [`futures`]: any tasklet, or thread, waits for a future |

#![forbid(unsafe_code)]

#[cfg(feature = "futures")]
pub mod futures;
