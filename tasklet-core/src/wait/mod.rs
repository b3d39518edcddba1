#![doc = include_str!("README.md")]

mod arm;
mod attempt;
mod future;
mod list;
mod select;

pub use arm::{Arm, ArmOf, Mapped, Seat, TypedArm};
pub use attempt::{Attempt, Ended, Found, Patience, deadline, perform, perform_until};
pub use future::WaitFuture;
pub use list::{Claimed, Waiters, Woken};
pub use select::{Order, select};

#[cfg(all(test, loom))]
mod models;
