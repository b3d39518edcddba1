//! Schedulers of tasklets.
//!
//! [`local`] runs tasklets on one thread in Stackless's order, driven by its host.

mod engine;
pub mod local;
