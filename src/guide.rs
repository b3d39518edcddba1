//! Chapters of a guide: how programs of other kinds become programs with tasklets.

#[doc = include_str!("../docs/porting_a_blocking_server.md")]
pub mod porting_a_blocking_server {}

#[doc = include_str!("../docs/async_crates.md")]
pub mod async_crates {}

#[doc = include_str!("../docs/cpu_bound_work.md")]
pub mod cpu_bound_work {}
