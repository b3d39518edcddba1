//! Worlds that end by themselves: nobody comes to help, so each wake counts, and all figures are exact.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, Runtime};

use super::agent::Agent;
use super::dice::Dice;
use super::failure::{self, violated};
use super::ledger::{Token, What};
use super::patterns;
use super::world::{Counted, Place, Scene, World};

/// Something that ends by itself, with what it should have come to.
pub(super) type Pattern = fn(&Calm, &mut Dice);

const PATTERNS: [Pattern; 15] = [
    patterns::pipeline,
    patterns::pipeline,
    patterns::tree,
    patterns::ping,
    patterns::ping_of_threads,
    patterns::killed_waiter,
    patterns::kill_race,
    patterns::timers,
    patterns::blocking,
    patterns::forks,
    patterns::wakes,
    patterns::futures,
    patterns::cancelled,
    patterns::panics,
    patterns::masked,
];

/// Runs one world to its end and checks what is left.
pub(super) fn run<B: Backend>(dice: &mut Dice, scene: Scene) -> Counted {
    failure::at("calm");
    let (runtime, place): (Runtime<B>, Place) = Place::new(dice, scene, None);
    let world = World::new(vec![place], dice, scene);
    let calm = Calm { world: world.clone() };
    let roots: Vec<_> = (0..1 + dice.below(4))
        .map(|_| {
            let (calm, mut dice) = (calm.clone(), dice.fork());
            let patterns: Vec<_> = (0..1 + dice.below(4)).map(|_| PATTERNS[dice.below(PATTERNS.len())]).collect();
            calm.clone().spawn_outside(move |agent| {
                for pattern in patterns {
                    pattern(&calm, &mut dice);
                    agent.check();
                }
            })
        })
        .collect();
    for root in roots {
        if dice.chance(50) {
            // What the main thread does meanwhile must not matter.
            std::thread::sleep(Duration::from_micros(dice.below(500) as u64));
        }
        calm.done(root);
    }
    let made = calm.place().spawned.load(Relaxed);
    let seven = runtime.run(|| {
        stealing::yield_now();
        7
    });
    calm.place().spawned.store(made + 1, Relaxed);
    assert_eq!(seven, 7);
    failure::at("calm, its runtime's end");
    drop(runtime);
    drop(calm);
    world.check()
}

/// What patterns make tasklets with.
#[derive(Clone)]
pub(super) struct Calm {
    pub(super) world: Arc<World>,
}

impl Calm {
    pub(super) fn place(&self) -> &Place {
        &self.world.places[0]
    }

    /// The body of a tasklet that is watched. Only tasklets may call it.
    fn body(self, token: Token, f: impl FnOnce(&Agent)) -> Option<Token> {
        token.begun();
        let _running = self.place().running();
        let agent = Agent::tasklet(&self.world, 0);
        f(&agent);
        agent.check();
        Some(token)
    }

    pub(super) fn token(&self, what: What) -> Token {
        self.world.ledger.token(what).expect("calm worlds are small")
    }

    /// One more tasklet exists, as far as others have counted.
    pub(super) fn count(&self) {
        self.place().spawned.fetch_add(1, Relaxed);
    }

    fn prepare<F: FnOnce(&Agent) + Send>(&self, f: F) -> impl FnOnce() -> Option<Token> + Send + use<F> {
        self.count();
        let (calm, token) = (self.clone(), self.token(What::Body));
        move || calm.body(token, f)
    }

    /// By way of the runtime's handle, from anywhere.
    pub(super) fn spawn_outside(self, f: impl FnOnce(&Agent) + Send + 'static) -> JoinHandle<Option<Token>> {
        let runtime = self.place().runtime.clone();
        runtime.spawn(self.prepare(f))
    }

    /// In one of the ways that a tasklet has.
    pub(super) fn spawn(&self, dice: &mut Dice, f: impl FnOnce(&Agent) + Send + 'static) -> JoinHandle<Option<Token>> {
        let body = self.prepare(f);
        let runtime = &self.place().runtime;
        match dice.below(5) {
            0 => stealing::spawn_local(body),
            1 => {
                stealing::spawn_on(dice.below(runtime.workers()), body).expect("the runtime runs, and has this worker")
            }
            2 => runtime.spawn(body),
            _ => stealing::spawn(body),
        }
    }

    /// Waits for a tasklet that returns.
    pub(super) fn done(&self, handle: JoinHandle<Option<Token>>) {
        match handle.join() {
            Ok(Some(token)) => token.joined(),
            Ok(None) => violated("a tasklet has lost its token"),
            Err(error) => violated(&format!("a tasklet that nobody ends was ended: {error}")),
        }
    }
}
