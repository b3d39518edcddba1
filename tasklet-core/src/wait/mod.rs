#![doc = include_str!("README.md")]

mod attempt;
mod future;
mod list;
mod select;

pub use attempt::{Attempt, Ended, Found, Patience, deadline, perform, perform_until};
pub use future::WaitFuture;
pub use list::{Claimed, Waiters, Woken};
pub use select::{Arm, ArmOf, Lock, Mapped, Order, Seat, TypedArm, select};
