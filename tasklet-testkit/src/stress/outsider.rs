//! A plain thread among runtimes: it spawns, sends, joins and kills, and makes runtimes of its own.

use std::sync::Arc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::agent::{Agent, Wait, ignore};
use super::dice::Dice;
use super::failure::violated;
use super::ledger::Unwound;
use super::world::{Scene, World};

/// A plain thread among the runtimes.
pub(super) fn run<B: Backend>(world: &Arc<World>, dice: &mut Dice, scene: Scene) {
    let agent = Agent::thread(world);
    for _ in 0..300 {
        if world.is_over() {
            break;
        }
        match dice.below(40) {
            0 => own_runtime::<B>(world, dice, scene),
            1 => ignore(stealing::park_timeout(Duration::from_micros(50))),
            2 => {
                world.unparkers.lock().unwrap().push(stealing::unparker());
                stealing::sleep(Duration::from_micros(50));
            }
            _ => agent.act_anywhere(dice, 0),
        }
    }
}

/// A runtime that comes and goes while the world goes on: it uses the world's channels.
fn own_runtime<B: Backend>(world: &Arc<World>, dice: &mut Dice, scene: Scene) {
    let builder = stealing::Builder::<B>::new().workers(scene.workers.unwrap_or(1 + dice.below(2)));
    let runtime = builder.build().unwrap_or_else(|error| violated(&format!("no runtime: {error}")));
    for _ in 0..dice.below(5) {
        let (world, mut dice) = (world.clone(), dice.fork());
        ignore(runtime.spawn(move || {
            let agent = Agent::thread(&world);
            for _ in 0..dice.below(6) {
                let channel = agent.channel(&mut dice);
                if dice.chance(50) {
                    agent.send(channel, Wait::Yes);
                } else {
                    agent.recv(channel, Wait::Yes);
                }
            }
        }));
    }
    if dice.chance(50) {
        let unwound = Unwound(&world.ledger.recv_unwound);
        let seven = runtime.run(|| {
            stealing::yield_now();
            7
        });
        unwound.disarm();
        if seven != 7 {
            violated("a runtime returns what was not returned");
        }
    }
}
