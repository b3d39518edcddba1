//! The contract of `tasklet` as test suites, generic over what they test, and what such suites need.
//!
//! - [`bridges`]: what the borders to other ways of running things promise under both schedulers; one macro instantiates it on a backend.
//! - [`channels`]: what channels and select promise under both schedulers; one macro instantiates it on a backend.
//! - [`contract`]: what a stack-switching backend must do; one macro instantiates it.
//! - [`differential`]: random programs on the local scheduler, with the logs that a model of its rules gives.
//! - [`histories`]: small histories of channels, each of which must have an order; one macro instantiates it on a backend.
//! - [`kinds`]: what the tasklets of a test are; which chapters run with which kinds.
//! - [`programs`]: random programs over every flavour of channel; one macro instantiates it on a backend.
//! - [`semantics`]: what the deterministic scheduler and its channel do, in which order; one macro instantiates it on a backend.
//! - [`stealing`]: what the work-stealing runtime promises, with one worker and with several; one macro instantiates it on a backend.
//! - [`stress`]: random mixes of everything on the work-stealing runtime.
//! - [`swapped`]: tasklets that take turns on few stacks, under both schedulers; one macro instantiates it on a backend.
//! - [`sync`]: what locks and other synchronisation promise under both schedulers; one macro instantiates it on a backend.
//! - [`thread_backend`]: the reference backend, each coroutine an OS thread.
//! - [`who`]: code of tests that is done on a stack, or awaited by a soft tasklet.
//! - [`Recorder`]: a list of events, for tests of an order.

pub mod bridges;
pub mod channels;
pub mod contract;
pub mod differential;
pub mod histories;
pub mod io;
pub mod kinds;
pub mod programs;
pub mod semantics;
pub mod stealing;
pub mod stress;
pub mod swapped;
pub mod sync;
pub mod thread_backend;
pub mod who;

mod child;
mod random;
mod recorder;

pub use recorder::Recorder;
pub use thread_backend::Threads;
