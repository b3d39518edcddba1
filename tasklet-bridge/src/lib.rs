//! Borders between tasklets and other ways to run things at the same time: one file and one feature each.
//!
//! | feature | what it brings |
//! |---|---|
//! | `futures` | [`futures`]: any tasklet, or thread, waits for a future |
//! | `rayon` | [`rayon`]: a tasklet has a pool of rayon compute, and parks meanwhile |

#![forbid(unsafe_code)]

#[cfg(feature = "futures")]
pub mod futures;

#[cfg(feature = "rayon")]
pub mod rayon;
