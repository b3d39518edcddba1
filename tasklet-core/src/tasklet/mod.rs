#![doc = include_str!("README.md")]

mod body;
mod finish;
mod free;
mod head;
mod join;
mod label;
mod local;
mod promised;
mod record;
pub mod spot;

pub use body::Stage;
pub use free::{Posted, Unstarted};
pub use join::{JoinError, JoinHandle};
pub use label::Site;
pub use local::{Local, StackKind, Wait};
pub use promised::{Promised, Vtable};
pub use record::{Record, Remains, Spec};
