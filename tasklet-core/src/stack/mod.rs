#![doc = include_str!("README.md")]

// The index of the folder: public face first, then what carries it, from the outside in.

mod config;
mod error;
mod handle;
mod size;
mod stats;
mod usage;

mod depot;
mod gauge;
mod inventory;
mod os;
mod pool;
mod slab;

pub mod overflow;

pub use config::{GuardMode, StackConfig};
pub use depot::Depot;
pub use error::StackError;
pub use handle::Stack;
pub use pool::StackPool;
pub use size::StackSize;
pub use stats::StackStats;
pub use usage::{Presence, StackPages, StackUsage, Unneeded};
