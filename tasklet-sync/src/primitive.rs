//! The atomics of the protocols between threads: std's, or loom's where `cfg(loom)` models them.
//!
//! Only what has a model takes them from here. Under `cfg(loom)` these types work inside of a model and nowhere else.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

/// A function that makes something in constants too; but not for models, where loom's types cannot be made so.
macro_rules! constant {
    ($(#[$meta:meta])* $vis:vis const fn $name:ident($($arguments:tt)*) -> $result:ty $body:block) => {
        $(#[$meta])*
        #[cfg(not(loom))]
        $vis const fn $name($($arguments)*) -> $result $body

        $(#[$meta])*
        #[cfg(loom)]
        $vis fn $name($($arguments)*) -> $result $body
    };
}
