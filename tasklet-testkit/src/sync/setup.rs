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

/// A tasklet that has come to where it calls its argument and, after that, waits: `waiting` tells how many do.
#[track_caller]
pub(super) fn spawn_waiting<T: Send + 'static>(
    waiting: impl Fn() -> usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let before = waiting();
    let handle = spawn(f);
    until(|| waiting() == before + 1);
    handle
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
