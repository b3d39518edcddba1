//! Random mixes of everything, on several threads, and what must hold whatever the order was.
//!
//! Worlds of some milliseconds follow one another: threads with schedulers and threads without, channels between them, kills,
//! panics, schedulers that go in the middle. Every message is followed from its making to its drop. A violation aborts and prints
//! the seed; with more than one thread a seed repeats the programs and not their interleaving.
//!
//! `TASKLET_STRESS_SEED` chooses the seed, `TASKLET_STRESS_SECONDS` the time, `TASKLET_STRESS_WORLD` one world, again and again.

mod actions;
mod agent;
mod dice;
mod failure;
mod host;
mod ledger;
mod outsider;
mod world;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use dice::Dice;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn stress(seconds: u64) {
    let seed = number("TASKLET_STRESS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let time = Duration::from_secs(number("TASKLET_STRESS_SECONDS").unwrap_or(seconds));
    let only = number("TASKLET_STRESS_WORLD");
    failure::say(&format!("TASKLET_STRESS_SEED={seed}"));
    failure::watch(seed);
    let (start, mut worlds, mut messages) = (Instant::now(), 0, 0);
    while start.elapsed() < time {
        let world = only.unwrap_or(worlds);
        failure::enter(world);
        messages += world::run(Dice::new(seed ^ world.wrapping_mul(0x2545_f491_4f6c_dd1d)).next());
        failure::leave();
        worlds += 1;
    }
    failure::say(&format!("{worlds} worlds, {messages} messages, seed {seed}"));
    assert!(messages > 0);
}

#[test]
fn nothing_is_lost_in_a_short_time() {
    stress(2);
}

#[test]
#[ignore = "takes a minute; `cargo xtask test --cell stress-long` runs it"]
fn nothing_is_lost_in_a_long_time() {
    stress(60);
}
