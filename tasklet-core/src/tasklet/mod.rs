#![doc = include_str!("README.md")]

mod body;
mod finish;
mod join;
mod record;
pub mod spot;

pub use body::Stage;
pub use join::{JoinError, JoinHandle};
pub use record::{Local, Posted, Promise, Record, Remains, Spec, Unstarted, Wait};
