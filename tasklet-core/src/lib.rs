//! The contract of `tasklet`.
//!
//! # Words
//!
//! One per thing, here and in every crate.
//!
//! - **tasklet**: a closure with a name, a state and a result.
//! - **fiber**: a stack and the registers saved on it; a started tasklet sits on exactly one.
//! - **coroutine**: a backend's fiber.
//! - **worker**: an OS thread that runs tasklets.
//! - **scheduler**: decides which tasklet runs next; **local scheduler**: one thread, Stackless's order, driven by its host.
//!
//! Tasklets park and unpark, workers sleep and wake, drivers wait and notify, coroutines suspend and resume.

pub mod backend;
pub mod blocking;
pub mod channel;
pub mod clock;
pub mod current;
pub mod driver;
pub mod guarded;
pub mod handle;
pub mod home;
pub mod id;
pub mod operation;
pub mod park;
mod primitive;
pub mod random;
pub mod scheduler;
pub mod stack;
pub mod swap;
pub mod tasklet;
mod thread;
pub mod unwind;
pub mod wait;
