#![doc = include_str!("README.md")]

mod agent;
mod calm;
pub(crate) mod dice;
mod failure;
mod flood;
mod ledger;
mod outsider;
mod patterns;
mod wild;
mod world;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;

use dice::Dice;
pub use flood::flood;

/// How large worlds are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For backends that switch.
    Normal,
    /// For a backend whose coroutines are threads.
    Small,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Runs worlds on one backend, for so many seconds unless the environment says otherwise.
///
/// # Panics
///
/// A variable of the environment is not a number. What is found ends the process.
pub fn stress<B: Backend>(seconds: u64, size: Size) {
    let seed = number("TASKLET_STRESS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let time = Duration::from_secs(number("TASKLET_STRESS_SECONDS").unwrap_or(seconds));
    let workers = number("TASKLET_STRESS_WORKERS").map(|workers| workers as usize);
    let only = number("TASKLET_STRESS_WORLD");
    failure::say(&format!("TASKLET_STRESS_SEED={seed} on {}", B::NAME));
    failure::watch(seed, Duration::from_secs(number("TASKLET_STRESS_PATIENCE").unwrap_or(30)));
    let start = Instant::now();
    let (mut worlds, mut tokens, mut tasklets) = (0, 0, 0);
    while start.elapsed() < time {
        let world = only.unwrap_or(worlds);
        let mut dice = Dice::new(Dice::new(seed ^ world.wrapping_mul(0x2545_f491_4f6c_dd1d)).next());
        failure::enter(world);
        let scene = world::Scene { workers, size };
        let counted = if dice.chance(50) { calm::run::<B>(&mut dice, scene) } else { wild::run::<B>(&mut dice, scene) };
        failure::leave();
        tokens += counted.tokens;
        tasklets += counted.tasklets;
        worlds += 1;
    }
    failure::say(&format!("{worlds} worlds, {tasklets} tasklets, {tokens} tokens, seed {seed}"));
    assert!(tokens > 0, "nothing was tested");
}
