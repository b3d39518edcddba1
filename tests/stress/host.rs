//! A thread with a scheduler: its main tasklet, and what must hold when the scheduler has gone.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use tasklet::local::{self, Scheduler};

use crate::actions::{self, Actor, Yard};
use crate::agent::{Agent, Wait};
use crate::dice::Dice;
use crate::failure::violated;
use crate::world::{self, World};

/// Operations of a main tasklet.
const OPERATIONS: usize = 60;

pub(crate) fn run(world: &Arc<World>, mut dice: Dice) {
    for _ in 0..1 + dice.below(4) {
        if world.is_over() {
            break;
        }
        one_scheduler(world, &mut dice);
    }
}

fn one_scheduler(world: &Arc<World>, dice: &mut Dice) {
    let builder = Scheduler::builder().flat(dice.chance(30)).error_policy(actions::policy(dice));
    let builder = if dice.chance(50) { builder.max_idle_fibers(dice.below(4)) } else { builder };
    let scheduler = builder.build();
    let yard = Rc::new(Yard {
        world: world.clone(),
        channels: (0..1 + dice.below(3)).map(|_| world::channel(dice)).collect(),
        tasklets: RefCell::default(),
        joins: RefCell::default(),
        resumers: RefCell::default(),
        closing: Cell::new(false),
        made: Cell::new(0),
        discarded: Cell::new(0),
        begun: Cell::new(0),
        ended: Cell::new(0),
    });
    if dice.chance(70) {
        yard.spawn_receiver();
    }
    (0..1 + dice.below(12)).for_each(|_| yard.spawn(dice));
    let is_open = dice.chance(60);
    if is_open {
        world.register(&world.schedulers, scheduler.remote());
    }
    let main = Actor::new(&yard, true);
    for _ in 0..dice.below(OPERATIONS) {
        if world.is_over() {
            break;
        }
        let step = || if dice.chance(30) { main.run(dice) } else { main.act(dice) };
        // Errors of tasklets are raised in a main tasklet that is not in `run`.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(step)) {
            actions::check_payload(&payload);
        }
        main.agent.check_thread();
    }
    end(scheduler, &yard, is_open, dice);
}

/// Ends a scheduler, whatever its tasklets are doing, and adds up.
fn end(scheduler: Scheduler, yard: &Rc<Yard>, is_open: bool, dice: &mut Dice) {
    let begun = yard.begun.get();
    let unbegun = yard.made.get() - begun - yard.discarded.get();
    let started = scheduler.started().len() as u64;
    let (fibers, idle) = scheduler.fibers();
    if fibers - idle != started as usize {
        violated(&format!("{fibers} fibers, {idle} idle, {started} tasklets on them"));
    }
    yard.closing.set(true);
    if dice.chance(20) {
        // Dropped by unwinding.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _scheduler = scheduler;
            resume_unwind(Box::new(()));
        }));
        assert!(result.is_err());
    } else {
        let report = scheduler.shut_down();
        if !report.refused.is_empty() {
            violated(&format!("{:?} have caught every kill", report.refused));
        }
        // Not more than there were. Fewer, where one ends by itself because another was killed. Visitors may come meanwhile.
        let (killed, discarded) = (report.killed as u64, report.discarded as u64);
        let (most, unstarted) = (started + yard.begun.get() - begun, unbegun + 1);
        if !is_open && (killed > most || discarded > unstarted) {
            violated(&format!("{killed} of {most} killed, {discarded} of {unstarted} discarded"));
        }
    }
    if yard.begun.get() != yard.ended.get() {
        violated(&format!("{} tasklets have begun and {} ended", yard.begun.get(), yard.ended.get()));
    }
    if yard.made.get() != yard.begun.get() + yard.discarded.get() {
        violated(&format!(
            "{} closures made, {} begun and {} dropped",
            yard.made.get(),
            yard.begun.get(),
            yard.discarded.get()
        ));
    }
    for channel in &yard.channels {
        if channel.balance() != 0 {
            violated(&format!("{} tasklets wait in a local channel after the end", channel.balance()));
        }
    }
    if yard.tasklets.borrow().iter().any(|tasklet| tasklet.is_alive()) {
        violated("a tasklet has survived its scheduler");
    }
    yard.tasklets.borrow_mut().clear();
    yard.joins.borrow_mut().clear();
    yard.resumers.borrow_mut().clear();
}

/// A tasklet that another thread has made.
pub(crate) fn visitor(world: &Arc<World>, mut dice: Dice) {
    let agent = Agent::new(world);
    for _ in 0..dice.below(6) {
        if world.is_over() {
            return;
        }
        let port = actions::shared_port(world, &mut dice);
        match dice.below(5) {
            0 | 1 => agent.send(&port.any, Wait::Yes),
            2 => actions::ignore(port.to_receive.map(|port| agent.recv(&port, Wait::Yes))),
            3 => actions::ignore(local::try_schedule()),
            _ => actions::remote(&agent, &mut dice),
        }
    }
}
