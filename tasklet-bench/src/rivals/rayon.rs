//! rayon: fork and join, and tasks that do not wait.

use std::time::Instant;

use rayon::ThreadPoolBuilder;

use crate::Result;
use crate::subject::{Run, Setting};
use crate::workloads::parts::{BATCH, fibonacci};
use crate::workloads::{Kind, expect};

/// What does one run, if rayon can.
pub(crate) fn run(kind: Kind) -> Option<Run> {
    match kind {
        Kind::SpawnJoin => Some(spawn_join),
        Kind::Fib => Some(|setting| fib(setting, forks)),
        Kind::FibSpawn => Some(|setting| fib(setting, spawns)),
        _ => None,
    }
}

fn within<T: Send>(setting: &Setting, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    ThreadPoolBuilder::new().num_threads(setting.workers).build()?.install(f)
}

/// Joined by the scope's end: rayon has no handles.
fn spawn_join(setting: &Setting) -> Result<Vec<f64>> {
    let tasks = setting.n;
    within(setting, move || {
        let start = Instant::now();
        let mut left = tasks;
        while left != 0 {
            let batch = left.min(BATCH);
            rayon::scope(|scope| (0..batch).for_each(|_| scope.spawn(|_| ())));
            left -= batch;
        }
        Ok(vec![start.elapsed().as_nanos() as f64 / tasks as f64])
    })
}

fn fib(setting: &Setting, fib: fn(u64) -> u64) -> Result<Vec<f64>> {
    let n = setting.n;
    within(setting, move || {
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
    let (a, b) = rayon::join(|| forks(n - 1), || forks(n - 2));
    a + b
}

fn spawns(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (mut mine, mut child) = (0, 0);
    rayon::scope(|scope| {
        scope.spawn(|_| child = spawns(n - 2));
        mine = spawns(n - 1);
    });
    mine + child
}
