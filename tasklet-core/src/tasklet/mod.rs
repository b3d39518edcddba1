#![doc = include_str!("README.md")]

mod body;
mod finish;
mod free;
mod join;
mod local;
mod record;
pub mod spot;

pub use body::Stage;
pub use free::{Posted, Promise, Unstarted};
pub use join::{JoinError, JoinHandle};
pub use local::{Local, StackKind, Wait};
pub use record::{Record, Remains, Spec};
