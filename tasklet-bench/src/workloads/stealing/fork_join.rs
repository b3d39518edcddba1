//! Workloads that divide their work in two.

use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::{expect, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::parts::fibonacci;

/// Milliseconds for the whole recursion.
pub(super) fn fib<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    measured::<B>(setting, forks)
}

/// Milliseconds for the whole recursion.
pub(super) fn fib_spawn<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    measured::<B>(setting, spawns)
}

fn measured<B: Backend>(setting: &Setting, fib: fn(u64) -> u64) -> Result<Vec<f64>> {
    let n = setting.n;
    within::<B, _>(setting, move || {
        let start = Instant::now();
        let found = fib(n);
        let time = start.elapsed();
        expect("the Fibonacci number", found, fibonacci(n))?;
        Ok(vec![time.as_secs_f64() * 1e3])
    })
}

fn forks(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = stealing::join(|| forks(n - 1), || forks(n - 2));
    a + b
}

fn spawns(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let child = stealing::spawn(move || spawns(n - 2));
    let mine = spawns(n - 1);
    mine + child.join().expect("the child returns")
}
