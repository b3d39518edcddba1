//! Schedulers of tasklets.
//!
//! [`local`] runs tasklets on one thread in Stackless's order, driven by its host. [`stealing`] runs them on every core. What is in
//! [`time`] works on both. Tasklets of either may share stacks: [`swapped`].

mod engine;
pub mod local;
mod primitive;
pub mod stealing;
pub mod swapped;
pub mod time;
mod timers;
mod trim;
