//! What a tasklet may do next: everything the local scheduler offers, in an order that the dice decide.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tasklet::local::{self, Budget, ErrorPolicy, Resumer, RunOptions, RunOutcome, Tasklet};
use tasklet::unwind::TaskletExit;
use tasklet::{Channel, JoinHandle};

use crate::agent::{Agent, Port, Wait};
use crate::dice::Dice;
use crate::failure::violated;
use crate::ledger::{Boom, Token};
use crate::world::World;

/// Tasklets of one scheduler, ever.
const TASKLETS: u64 = 150;
/// Operations inside of one another: each takes stack.
const DEPTH: u32 = 3;
/// Kills that a tasklet may catch: fewer than a scheduler tries before it gives up.
const SWALLOWED: u32 = 2;

/// What the tasklets of one scheduler share.
pub(crate) struct Yard {
    pub(crate) world: Arc<World>,
    /// The first has one receiver.
    pub(crate) channels: Vec<Channel<Token>>,
    pub(crate) tasklets: RefCell<Vec<Tasklet>>,
    pub(crate) joins: RefCell<Vec<JoinHandle<Option<Token>>>>,
    pub(crate) resumers: RefCell<Vec<Resumer<Token>>>,
    /// The scheduler is being taken down, or is gone.
    pub(crate) closing: Cell<bool>,
    /// Closures made, dropped without having begun, begun, ended.
    pub(crate) made: Cell<u64>,
    pub(crate) discarded: Cell<u64>,
    pub(crate) begun: Cell<u64>,
    pub(crate) ended: Cell<u64>,
}

/// A closure that has not begun.
struct Unbegun(Option<Rc<Yard>>);
/// One that has.
struct Begun<'a>(&'a Yard);

fn increase(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        if let Some(yard) = self.0.take() {
            increase(&yard.discarded);
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        increase(&self.0.ended);
    }
}

/// One tasklet's own.
pub(crate) struct Actor {
    pub(crate) yard: Rc<Yard>,
    pub(crate) agent: Agent,
    swallowed: Cell<u32>,
    depth: Cell<u32>,
    pub(crate) is_main: bool,
}

/// Its destructor uses channels and tasklets.
struct Mischief<'a>(&'a Actor, Dice);

impl Drop for Mischief<'_> {
    fn drop(&mut self) {
        let Mischief(actor, dice) = self;
        let yard = &actor.yard;
        let is_unwinding = std::thread::panicking();
        for _ in 0..1 + dice.below(3) {
            let (port, receive) = actor.port(dice);
            match dice.below(9) {
                // Where waiting is not allowed, it is refused.
                0 => actor.agent.send(&port, if is_unwinding { Wait::Yes } else { Wait::No }),
                1 if receive => {
                    let wait = if is_unwinding { Wait::Yes } else { Wait::No };
                    // What was sent to be raised is raised: a destructor that receives must be ready for it.
                    let result = catch_unwind(AssertUnwindSafe(|| actor.agent.recv(&port, wait)));
                    ignore(result.map_err(|payload| check_payload(&payload)));
                }
                2 => port.tamper(dice, &yard.world),
                3 if !yard.closing.get() => yard.spawn(dice),
                4 => ignore(yard.pick(dice).map(|tasklet| tasklet.insert())),
                5 => {
                    ignore(yard.pick(dice).filter(|tasklet| !tasklet.is_current()).map(|tasklet| tasklet.kill_later()))
                }
                6 if is_unwinding => {
                    ignore(yard.pick(dice).filter(|other| !other.is_current()).map(|other| other.kill()))
                }
                7 => yard.resume(&actor.agent, dice),
                _ if is_unwinding && !yard.closing.get() => ignore(local::try_schedule()),
                _ => {}
            }
        }
    }
}

impl Yard {
    pub(crate) fn pick(&self, dice: &mut Dice) -> Option<Tasklet> {
        let list = self.tasklets.borrow();
        (!list.is_empty()).then(|| list[dice.below(list.len())].clone())
    }

    fn take<T>(list: &RefCell<Vec<T>>, dice: &mut Dice) -> Option<T> {
        let mut list = list.borrow_mut();
        let length = list.len();
        (length != 0).then(|| list.swap_remove(dice.below(length)))
    }

    fn resume(&self, agent: &Agent, dice: &mut Dice) {
        if let (Some(resumer), Some(token)) = (Self::take(&self.resumers, dice), agent.token()) {
            if dice.chance(80) { resumer.resume(token) } else { drop(resumer) }
        }
    }

    /// What a new tasklet does.
    pub(crate) fn closure(self: &Rc<Yard>, dice: &mut Dice) -> impl FnOnce() -> Option<Token> + 'static {
        increase(&self.made);
        let (unbegun, mut dice) = (Unbegun(Some(self.clone())), dice.fork());
        move || {
            let mut unbegun = unbegun;
            let yard = unbegun.0.take().expect("a closure begins once");
            increase(&yard.begun);
            let _begun = Begun(&yard);
            let actor = Actor::new(&yard, false);
            for _ in 0..dice.below(12) {
                if yard.world.is_over() || yard.closing.get() {
                    break;
                }
                actor.act(&mut dice);
            }
            if dice.chance(4) {
                actor.explode();
            }
            actor.agent.token()
        }
    }

    /// The receiver of the first channel.
    pub(crate) fn spawn_receiver(self: &Rc<Yard>) {
        let yard = self.clone();
        let receiver = local::spawn_named("receiver", move || {
            let agent = Agent::new(&yard.world);
            let first = Port::Local(yard.channels[0].clone());
            while !yard.world.is_over() && agent.recv_in_order(&first, Wait::Yes) {}
        });
        self.tasklets.borrow_mut().push(receiver);
    }

    pub(crate) fn spawn(self: &Rc<Yard>, dice: &mut Dice) {
        if self.made.get() >= TASKLETS || self.closing.get() {
            return;
        }
        let closure = self.closure(dice);
        match dice.below(6) {
            0 => {
                let handle = local::spawn_joinable(closure);
                if dice.chance(30) {
                    self.world.register(&self.world.joins, handle);
                } else {
                    self.joins.borrow_mut().push(handle);
                }
            }
            1 => {
                let tasklet = local::spawn_named("named", || ignore(closure()));
                self.world.register(&self.world.tasklets, tasklet.remote());
            }
            _ => {
                let tasklet = local::spawn(|| ignore(closure()));
                self.tasklets.borrow_mut().push(tasklet);
            }
        }
    }
}

/// A shared channel, and whether anybody may receive from it.
pub(crate) struct SharedPort {
    pub(crate) any: Port,
    pub(crate) to_receive: Option<Port>,
}

pub(crate) fn shared_port(world: &World, dice: &mut Dice) -> SharedPort {
    let index = dice.below(world.channels.len());
    let any = Port::Shared(world.channels[index].clone());
    SharedPort { to_receive: (index != 0).then(|| any.clone()), any }
}

/// Asks something of a tasklet that may be another thread's.
pub(crate) fn remote(agent: &Agent, dice: &mut Dice) {
    let world = &agent.world;
    let Some(tasklet) = World::pick(&world.tasklets, dice) else { return };
    match dice.below(8) {
        0..3 => ignore(tasklet.insert()),
        3..5 => ignore(tasklet.run()),
        5 => ignore(agent.boom().map(|boom| tasklet.throw(boom))),
        6 => tasklet.kill(),
        _ => drop(World::take(&world.tasklets, dice)),
    }
}

/// Where an error is as good as success.
pub(crate) fn ignore<T>(_: T) {}

/// What was caught is something that was thrown.
pub(crate) fn check_payload(payload: &Box<dyn Any + Send>) {
    if !payload.is::<Boom>() && !payload.is::<TaskletExit>() {
        violated(&format!("caught what nobody threw: {}", tasklet::unwind::message(payload)));
    }
}

pub(crate) fn joined(handle: JoinHandle<Option<Token>>) {
    if let Err(error) = handle.join()
        && let Some(payload) = error.into_panic()
    {
        check_payload(&payload);
    }
}

impl Actor {
    pub(crate) fn new(yard: &Rc<Yard>, is_main: bool) -> Actor {
        let (swallowed, depth) = (Cell::new(0), Cell::new(0));
        Actor { yard: yard.clone(), agent: Agent::new(&yard.world), swallowed, depth, is_main }
    }

    fn explode(&self) {
        if let Some(boom) = self.agent.boom() {
            resume_unwind(Box::new(boom));
        }
    }

    /// A channel, and whether anybody may receive from it.
    fn port(&self, dice: &mut Dice) -> (Port, bool) {
        if dice.chance(40) {
            let port = shared_port(&self.yard.world, dice);
            (port.any, port.to_receive.is_some())
        } else {
            let index = dice.below(self.yard.channels.len());
            (Port::Local(self.yard.channels[index].clone()), index != 0)
        }
    }

    pub(crate) fn act(&self, dice: &mut Dice) {
        if self.depth.get() >= DEPTH {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        let depth = Restore(&self.depth, self.depth.get() - 1);
        self.step(dice);
        drop(depth);
        self.agent.check_thread();
    }

    fn step(&self, dice: &mut Dice) {
        let yard = &self.yard;
        match dice.below(40) {
            0..3 => ignore(local::try_schedule()),
            3 => local::schedule(),
            4..9 => self.agent.send(&self.port(dice).0, Wait::Yes),
            9..14 => self.recv(dice, Wait::Yes),
            14 => self.agent.send(&self.port(dice).0, Wait::No),
            15 => self.recv(dice, Wait::No),
            16 => self.port(dice).0.tamper(dice, &yard.world),
            17 if dice.chance(30) => self.agent.send_throw(&self.port(dice).0),
            18..21 => yard.spawn(dice),
            21 => self.join(dice),
            22 => self.end_one(dice),
            23 => self.move_one(dice),
            24 => self.suspend(dice),
            25 | 26 => yard.resume(&self.agent, dice),
            27 => self.run(dice),
            28 => self.bind(dice),
            29 if dice.chance(20) => self.explode(),
            30 | 31 => remote(&self.agent, dice),
            32 => self.offer(dice),
            33 => self.trapped(dice),
            34 | 35 => self.catching(dice),
            36 if yard.world.is_wild => {
                let _mischief = Mischief(self, dice.fork());
                self.act(dice);
            }
            37 => local::tick(dice.below(5) as u64),
            38 if !self.is_main => ignore(local::schedule_remove()),
            _ => local::checkpoint(),
        }
    }

    fn recv(&self, dice: &mut Dice, wait: Wait) {
        if let (port, true) = self.port(dice) {
            self.agent.recv(&port, wait);
        }
    }

    fn join(&self, dice: &mut Dice) {
        if dice.chance(70) {
            let Some(handle) = Yard::take(&self.yard.joins, dice) else { return };
            match dice.below(3) {
                0 => drop(handle),
                1 => {
                    let _ = handle.wait();
                    self.yard.joins.borrow_mut().push(handle);
                }
                _ => joined(handle),
            }
        } else if !self.is_main {
            // A main tasklet that waits for another thread's cannot be ended from outside.
            let Some(handle) = World::take(&self.yard.world.joins, dice) else { return };
            self.yard.world.register(&self.yard.world.waiting, local::current().remote());
            if !self.yard.world.is_over() {
                joined(handle);
            }
        }
    }

    /// Kills or throws at a tasklet.
    fn end_one(&self, dice: &mut Dice) {
        let Some(tasklet) = self.yard.pick(dice) else { return };
        let result = match dice.below(5) {
            0 | 1 => tasklet.kill(),
            2 => tasklet.kill_later(),
            other => match self.agent.boom() {
                Some(boom) if other == 3 => tasklet.throw(boom),
                Some(boom) => tasklet.throw_later(boom),
                None => Ok(()),
            },
        };
        let _ = result;
    }

    fn move_one(&self, dice: &mut Dice) {
        let Some(tasklet) = self.yard.pick(dice) else { return };
        let result = match dice.below(5) {
            0 | 1 => tasklet.insert(),
            2 => tasklet.remove(),
            3 => tasklet.run(),
            _ if self.is_main => tasklet.insert(),
            _ => tasklet.switch(),
        };
        let _ = result;
    }

    fn suspend(&self, dice: &mut Dice) {
        if self.is_main {
            return;
        }
        let at_once = dice.chance(10);
        let outcome = local::suspend(|resumer| match self.agent.token() {
            Some(token) if at_once => resumer.resume(token),
            _ => self.yard.resumers.borrow_mut().push(resumer),
        });
        ignore(outcome);
    }

    pub(crate) fn run(&self, dice: &mut Dice) {
        let amount = 1 + dice.below(30) as u64;
        let budget = [Budget::Switches(amount), Budget::Ticks(amount), Budget::Time(Duration::from_micros(amount))];
        let budget = budget[dice.below(3)];
        let mut options = match dice.below(4) {
            0 => RunOptions::new().total(budget),
            1 => RunOptions::new().slice(budget),
            _ => RunOptions::new(),
        };
        if dice.chance(30) {
            options = options.hard();
        }
        if self.is_main && dice.chance(20) {
            options = options.block_thread();
        }
        match local::run_with(options) {
            Ok(RunOutcome::Interrupted(victim)) => match dice.below(3) {
                0 => ignore(victim.kill()),
                1 => ignore(victim.insert()),
                _ => self.yard.tasklets.borrow_mut().push(victim),
            },
            Ok(_) => {}
            Err(local::RunError::Tasklet(error)) => check_payload(&error.into_payload()),
            Err(local::RunError::Park(_) | local::RunError::Budget(_)) => {}
            Err(error) => violated(&format!("a run failed: {error}")),
        }
    }

    fn bind(&self, dice: &mut Dice) {
        let Some(tasklet) = self.yard.pick(dice) else { return };
        if self.yard.made.get() >= TASKLETS {
            return;
        }
        let closure = self.yard.closure(dice);
        if tasklet.bind(|| ignore(closure())).is_ok() && dice.chance(80) {
            let _ = tasklet.insert();
        }
    }

    /// Lets other threads reach this one.
    fn offer(&self, dice: &mut Dice) {
        let world = &self.yard.world;
        match dice.below(3) {
            0 if !self.is_main => world.register(&world.tasklets, local::current().remote()),
            1 => {
                if let Some(tasklet) = self.yard.pick(dice) {
                    world.register(&world.tasklets, tasklet.remote());
                }
            }
            _ => {
                let Some(scheduler) = World::pick(&world.schedulers, dice) else { return };
                let (world, dice) = (world.clone(), dice.fork());
                let _ = scheduler.spawn(move || crate::host::visitor(&world, dice));
            }
        }
    }

    fn trapped(&self, dice: &mut Dice) {
        match dice.below(3) {
            0 => {
                let _atomic = local::atomic();
                self.act(dice);
            }
            1 => {
                let _trap = local::block_trap();
                self.agent.send(&self.port(dice).0, Wait::Yes);
            }
            _ => {
                let _trap = local::switch_trap();
                let _ = local::try_schedule();
                self.agent.send(&self.port(dice).0, Wait::Yes);
                ignore(self.yard.pick(dice).filter(|tasklet| !tasklet.is_current()).map(|tasklet| tasklet.kill()));
            }
        }
    }

    fn catching(&self, dice: &mut Dice) {
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.act(dice))) else { return };
        check_payload(&payload);
        if payload.is::<TaskletExit>() {
            let may_swallow = self.yard.world.is_wild && self.swallowed.get() < SWALLOWED;
            if !may_swallow || dice.chance(50) {
                resume_unwind(payload);
            }
            self.swallowed.set(self.swallowed.get() + 1);
        }
    }
}

/// Sets a cell when it goes, by unwinding or not.
struct Restore<'a>(&'a Cell<u32>, u32);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// How panics of a new scheduler's tasklets are treated.
pub(crate) fn policy(dice: &mut Dice) -> ErrorPolicy {
    if dice.chance(50) { ErrorPolicy::Raise } else { ErrorPolicy::Discard }
}
