//! A plain thread among schedulers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::agent::{Agent, Port, Wait};
use crate::dice::Dice;
use crate::world::World;
use crate::{actions, host};

/// Operations of one thread, unless the world ends before.
const OPERATIONS: usize = 400;

pub(crate) fn run(world: &Arc<World>, mut dice: Dice, is_receiver: bool) {
    let agent = Agent::new(world);
    if is_receiver {
        let first = Port::Shared(world.channels[0].clone());
        while !world.is_over() {
            let wait = if dice.chance(80) { Wait::Yes } else { Wait::No };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| agent.recv_in_order(&first, wait))) {
                actions::check_payload(&payload);
            }
            if dice.chance(5) {
                first.tamper(&mut dice, world);
            }
        }
        return;
    }
    for _ in 0..OPERATIONS {
        if world.is_over() {
            break;
        }
        // What is sent by `send_throw` is raised here too.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| act(&agent, &mut dice))) {
            actions::check_payload(&payload);
        }
    }
}

fn act(agent: &Agent, dice: &mut Dice) {
    let world = &agent.world;
    let port = actions::shared_port(world, dice);
    let wait = if dice.chance(50) { Wait::Yes } else { Wait::No };
    match dice.below(10) {
        0..3 => agent.send(&port.any, wait),
        3..6 => actions::ignore(port.to_receive.map(|port| agent.recv(&port, wait))),
        6 => port.any.tamper(dice, world),
        7 => actions::remote(agent, dice),
        8 => {
            if let Some(handle) = World::take(&world.joins, dice) {
                if dice.chance(70) { actions::joined(handle) } else { drop(handle) }
            }
        }
        _ => {
            if let Some(scheduler) = World::pick(&world.schedulers, dice) {
                let (world, dice) = (world.clone(), dice.fork());
                let _ = scheduler.spawn(move || host::visitor(&world, dice));
            }
        }
    }
}
