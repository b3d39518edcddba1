//! Actors: a tasklet and a mailbox each. Robots walk in a world of one line, bump into walls and each other, and one breaks.
//!
//! Shows a mailbox built from a channel (posting never waits), actors that know each other by mailbox only, and supervision: the
//! scheduler's error handler hears of an actor that panics and starts it again on the same mailbox, so nobody else notices.
//! The report of the panic on stderr is Rust's own.
//!
//! ```text
//! cargo run --example actors
//! cargo run --no-default-features --features backend-context --example actors
//! cargo run --no-default-features --features backend-generator --example actors
//! ```

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use tasklet::TaskletId;
use tasklet::local::{RunError, Scheduler};
use tasklet::prelude::*;
use tasklet::unwind;

/// Places in the world.
const WIDTH: i32 = 16;

/// Times that a robot is started again.
const RESTARTS: u32 = 1;

type Log = Rc<RefCell<String>>;

fn main() -> ExitCode {
    let text = match simulate() {
        Ok(text) => text,
        Err(error) => {
            eprintln!("actors: {error}");
            return ExitCode::FAILURE;
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("actors: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn simulate() -> Result<String, RunError> {
    let scheduler = Scheduler::new();
    let log = Log::default();
    let world = Mailbox::new();
    let supervisor = Supervisor::new(log.clone());
    scheduler.set_error_handler(Some(supervisor.handler()));

    scheduler.tasklet().name("world").spawn({
        let (mailbox, log) = (world.clone(), log.clone());
        move || World::default().live(&mailbox, &log)
    });
    for (name, place, step) in [('a', 2, 1), ('b', 9, -1), ('r', 12, 2)] {
        let (mailbox, world) = (Mailbox::new(), world.clone());
        world.post(ToWorld::Enter { name, place, robot: mailbox.clone() });
        // Only the one named r is fragile.
        let endures = if name == 'r' { 1 } else { u32::MAX };
        supervisor.start(name, Rc::new(move || robot(name, step, endures, &mailbox, &world)));
    }

    for _ in 0..12 {
        world.post(ToWorld::Tick);
        // Until every actor waits for mail.
        scheduler.run()?;
    }
    drop(scheduler);
    Ok(log.take())
}

/// Messages for one actor: any number may lie in it. Clones are the same mailbox.
struct Mailbox<M>(Rc<(RefCell<VecDeque<M>>, Channel<()>)>);

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox(self.0.clone())
    }
}

impl<M> Mailbox<M> {
    fn new() -> Mailbox<M> {
        // Whoever posts goes on.
        Mailbox(Rc::new((RefCell::default(), Channel::with_preference(Preference::Sender))))
    }

    /// Puts a message in. Never waits.
    fn post(&self, message: M) {
        let (messages, bell) = &*self.0;
        messages.borrow_mut().push_back(message);
        // An owner that does not wait looks into the mailbox before it does.
        let _ = bell.try_send(());
    }

    /// Takes the oldest message out, or waits for one.
    fn next(&self) -> M {
        let (messages, bell) = &*self.0;
        loop {
            let message = messages.borrow_mut().pop_front();
            match message {
                Some(message) => return message,
                None => bell.recv().expect("the host does not run out of ticks"),
            }
        }
    }
}

enum ToWorld {
    Enter { name: char, place: i32, robot: Mailbox<ToRobot> },
    Move { name: char, step: i32 },
    Tick,
}

enum ToRobot {
    Go,
    Bump,
}

#[derive(Default)]
struct World {
    robots: BTreeMap<char, (i32, Mailbox<ToRobot>)>,
    ticks: u32,
}

impl World {
    fn live(&mut self, mailbox: &Mailbox<ToWorld>, log: &Log) {
        loop {
            match mailbox.next() {
                ToWorld::Enter { name, place, robot } => drop(self.robots.insert(name, (place, robot))),
                ToWorld::Move { name, step } => self.step(name, step),
                ToWorld::Tick => {
                    let line = self.draw();
                    log.borrow_mut().push_str(&format!("{:>2} |{line}|\n", self.ticks));
                    self.ticks += 1;
                    for (_, robot) in self.robots.values() {
                        robot.post(ToRobot::Go);
                    }
                }
            }
        }
    }

    /// Moves a robot, unless a wall or another robot is in its way: then it bumps into that.
    fn step(&mut self, name: char, step: i32) {
        let Some((place, robot)) = self.robots.get(&name) else { return };
        let target = place + step;
        let is_taken = self.robots.values().any(|(place, _)| *place == target);
        if is_taken || !(0..WIDTH).contains(&target) {
            robot.post(ToRobot::Bump);
        } else if let Some((place, _)) = self.robots.get_mut(&name) {
            *place = target;
        }
    }

    fn draw(&self) -> String {
        let at = |here| self.robots.iter().find(|(_, (place, _))| *place == here).map_or('.', |(name, _)| *name);
        (0..WIDTH).map(at).collect()
    }
}

/// Walks, turns around when it bumps into something, and breaks when that happens more often than it endures.
fn robot(name: char, mut step: i32, endures: u32, mailbox: &Mailbox<ToRobot>, world: &Mailbox<ToWorld>) {
    let mut bumps = 0;
    loop {
        match mailbox.next() {
            ToRobot::Go => world.post(ToWorld::Move { name, step }),
            ToRobot::Bump => {
                bumps += 1;
                assert!(bumps <= endures, "robot {name} broke at bump {bumps}");
                step = -step;
            }
        }
    }
}

/// Knows how to start its actors again. Clones are the same supervisor.
#[derive(Clone)]
struct Supervisor {
    log: Log,
    actors: Rc<RefCell<HashMap<TaskletId, Actor>>>,
}

#[derive(Clone)]
struct Actor {
    name: char,
    body: Rc<dyn Fn()>,
    restarts: u32,
}

impl Supervisor {
    fn new(log: Log) -> Supervisor {
        Supervisor { log, actors: Rc::default() }
    }

    fn start(&self, name: char, body: Rc<dyn Fn()>) {
        self.launch(Actor { name, body, restarts: 0 });
    }

    fn launch(&self, actor: Actor) {
        let body = actor.body.clone();
        let tasklet = local::spawn_named(actor.name, move || body());
        self.actors.borrow_mut().insert(tasklet.id(), actor);
    }

    /// Called in the tasklet that fails, before it ends.
    fn handler(&self) -> local::ErrorHandler {
        let this = self.clone();
        Box::new(move |id, payload| {
            let actor = this.actors.borrow_mut().remove(&id);
            // Not one of ours: whoever runs the scheduler hears of it.
            let Some(actor) = actor else { return Err(payload) };
            let verdict = if actor.restarts < RESTARTS { "it starts again" } else { "it stays down" };
            this.log.borrow_mut().push_str(&format!("supervisor: {}; {verdict}\n", unwind::message(&payload)));
            if actor.restarts < RESTARTS {
                this.launch(Actor { restarts: actor.restarts + 1, ..actor });
            }
            Ok(())
        })
    }
}
