//! What every test of synchronisation begins with: what tests of channels do, virtual time under both schedulers, and seeing that somebody waits.

use std::fmt::Debug;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;

pub(super) use crate::channels::setup::{give_way, run, spawn, until};
pub(super) use crate::stealing::setup::{Flag, LIMIT, Log, caught, caught_text, fail};

use super::Case;

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// As [`run`], in virtual time.
#[track_caller]
pub(super) fn run_virtual<B: Backend>(case: Case, body: impl FnOnce() + Send + 'static) {
    crate::channels::setup::run_virtual::<B>(case, |_| body());
}

/// A tasklet that has come to where it waits: `waiting` tells how many do.
#[track_caller]
pub(super) fn spawn_waiting<T: Send + 'static>(
    waiting: impl Fn() -> usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    when_waiting(waiting, || spawn(f))
}

/// What `spawn` makes, when one more waits.
#[track_caller]
fn when_waiting<T>(waiting: impl Fn() -> usize, spawn: impl FnOnce() -> JoinHandle<T>) -> JoinHandle<T> {
    let before = waiting();
    let handle = spawn();
    until(|| waiting() == before + 1);
    handle
}

impl Case {
    /// A tasklet of the caller's scheduler. Nothing here has a future: a soft one waits in its poll, and the helper that polls it with it.
    pub(super) fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.who.spawn(async move { f() })
    }

    /// As [`spawn`](Self::spawn), of one that has come to where it waits.
    #[track_caller]
    pub(super) fn spawn_waiting<T: Send + 'static>(
        self,
        waiting: impl Fn() -> usize,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        when_waiting(waiting, || self.spawn(f))
    }
}

/// How many wait at something that shows it.
pub(super) fn waiting(at: &impl Debug) -> usize {
    let text = format!("{at:?}");
    let count = text.split("waiting: ").nth(1).expect("it shows how many wait");
    count.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

/// A generator of numbers that a seed repeats.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
