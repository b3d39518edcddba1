//! An assembly line, after the toy factory of Grant Olson's tutorial: who needs something pulls it out of a channel.
//!
//! A truck fills the storeroom with plastic; moulders pull plastic and make parts; an assembler pulls parts and makes robots. Each is
//! a tasklet of straight-line code. A send waits until somebody wants the goods, so nobody produces ahead of demand.
//!
//! Shows *sleeping* as a library on top of channels: a sleeper waits in a channel of its own, and a sleep manager, one more tasklet,
//! moves a virtual clock on when nothing else can run. So a shift of two minutes takes no time, and always goes the same.
//!
//! ```text
//! cargo run --example assembly_line
//! cargo run --no-default-features --features backend-context --example assembly_line
//! cargo run --no-default-features --features backend-generator --example assembly_line
//! ```

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tasklet::prelude::*;
use tasklet::time::{Clock, VirtualClock};

/// How long the factory works, in seconds.
const SHIFT: u64 = 120;

fn main() -> ExitCode {
    let text = format!("three sleepers: {}\n\n{}", sleepers(), factory());
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("assembly_line: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// A virtual clock and those who wait for it. Clones refer to the same one.
#[derive(Clone, Default)]
struct Sleep(Rc<SleepManager>);

#[derive(Default)]
struct SleepManager {
    clock: VirtualClock,
    /// The next to wake on top; equals in the order in which they went to sleep.
    sleepers: RefCell<BinaryHeap<Reverse<Sleeper>>>,
    count: Cell<u64>,
}

struct Sleeper {
    wake_at: Duration,
    number: u64,
    bed: Channel<()>,
}

impl Sleep {
    fn now(&self) -> u64 {
        self.0.clock.now().as_secs()
    }

    /// Parks the calling tasklet for so many seconds.
    fn seconds(&self, seconds: u64) {
        let number = self.0.count.replace(self.0.count.get() + 1);
        let wake_at = self.0.clock.now() + Duration::from_secs(seconds);
        let bed = Channel::new();
        self.0.sleepers.borrow_mut().push(Reverse(Sleeper { wake_at, number, bed: bed.clone() }));
        bed.recv().expect("the manager wakes everybody");
    }

    /// The manager's tasklet: whenever nobody else can run, wakes the next sleeper. Ends when there is none, or at `end`.
    fn manage(&self, end: u64) {
        let end = Duration::from_secs(end);
        loop {
            while local::run_count() > 1 {
                local::schedule();
            }
            let next = self.0.sleepers.borrow_mut().pop();
            let Some(Reverse(sleeper)) = next else { return };
            if sleeper.wake_at > end {
                return self.0.clock.advance_to(end);
            }
            self.0.clock.advance_to(sleeper.wake_at);
            sleeper.bed.send(()).expect("the sleeper is in its bed");
        }
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.wake_at, self.number).cmp(&(other.wake_at, other.number))
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sleeper {}

/// Three jobs sleep for 3, 1 and 2 seconds, twice.
fn sleepers() -> String {
    let scheduler = local::Scheduler::new();
    let (sleep, log) = (Sleep::default(), Rc::new(RefCell::new(Vec::new())));
    for seconds in [3, 1, 2] {
        let (sleep, log) = (sleep.clone(), log.clone());
        scheduler.spawn(move || {
            for _ in 0..2 {
                sleep.seconds(seconds);
                log.borrow_mut().push(format!("j{seconds}@{}", sleep.now()));
            }
        });
    }
    scheduler.spawn(move || sleep.manage(u64::MAX));
    scheduler.run().expect("no tasklet fails");
    log.borrow().join(" ")
}

/// What all who work in the factory share.
#[derive(Clone, Default)]
struct Factory {
    sleep: Sleep,
    log: Rc<RefCell<String>>,
}

impl Factory {
    fn say(&self, who: &str, what: &str) {
        self.log.borrow_mut().push_str(&format!("{:>4} s  {who:<10} {what}\n", self.sleep.now()));
    }
}

fn factory() -> String {
    let scheduler = local::Scheduler::new();
    let factory = Factory::default();
    let (dock, plastic) = (Channel::new(), Channel::new());
    let parts: [Channel<u32>; 4] = std::array::from_fn(|_| Channel::new());
    let [heads, torsos, arms, legs] = parts.clone();

    let staff = [
        worker(&scheduler, "truck", &factory, {
            let dock = dock.clone();
            move |factory| truck(factory, &dock)
        }),
        worker(&scheduler, "storeroom", &factory, {
            let plastic = plastic.clone();
            move |factory| storeroom(factory, &dock, &plastic)
        }),
        moulder(&scheduler, "heads", &factory, 2, 5, &plastic, heads),
        moulder(&scheduler, "torsos", &factory, 5, 9, &plastic, torsos),
        moulder(&scheduler, "arms", &factory, 1, 3, &plastic, arms),
        moulder(&scheduler, "legs", &factory, 2, 4, &plastic, legs),
        worker(&scheduler, "assembler", &factory, move |factory| assembler(factory, &parts)),
    ];
    let sleep = factory.sleep.clone();
    scheduler.spawn(move || sleep.manage(SHIFT));
    scheduler.run().expect("nobody fails");

    factory.say("", "the shift is over");
    for tasklet in &staff {
        factory.say(tasklet.name().unwrap_or_default(), &format!("is {:?}", tasklet.state()));
    }
    // Everybody goes home from where they wait: with the scheduler, what has started is unwound.
    let killed = scheduler.shut_down().killed;
    factory.say("", &format!("{killed} go home"));
    factory.log.take()
}

fn worker(
    scheduler: &local::Scheduler,
    name: &str,
    factory: &Factory,
    work: impl FnOnce(&Factory) + 'static,
) -> local::Tasklet {
    let factory = factory.clone();
    scheduler.tasklet().name(name).spawn(move || work(&factory))
}

/// Brings 40 kg of plastic every 50 seconds.
fn truck(factory: &Factory, dock: &Channel<u32>) {
    loop {
        factory.say("truck", "brings 40 kg");
        dock.send(40).expect("the storeroom is open");
        factory.sleep.seconds(50);
    }
}

/// Gives out plastic by the kilogram while there is some, then waits for the truck.
fn storeroom(factory: &Factory, dock: &Channel<u32>, plastic: &Channel<()>) {
    for delivery in dock {
        for _ in 0..delivery {
            plastic.send(()).expect("somebody will want it");
        }
        factory.say("storeroom", "is empty");
    }
}

/// Pulls plastic, moulds, and offers the part until it is wanted.
fn moulder(
    scheduler: &local::Scheduler,
    name: &'static str,
    factory: &Factory,
    kilograms: u32,
    seconds: u64,
    plastic: &Channel<()>,
    parts: Channel<u32>,
) -> local::Tasklet {
    let plastic = plastic.clone();
    worker(scheduler, name, factory, move |factory| {
        for number in 1.. {
            for _ in 0..kilograms {
                plastic.recv().expect("the storeroom is open");
            }
            factory.sleep.seconds(seconds);
            factory.say(name, &format!("part {number} is ready"));
            parts.send(number).expect("the assembler is there");
        }
    })
}

/// Pulls a head, a torso, two arms and two legs, and puts them together.
fn assembler(factory: &Factory, [heads, torsos, arms, legs]: &[Channel<u32>; 4]) {
    let pull = |parts: &Channel<u32>| parts.recv().expect("the moulder works");
    for robot in 1.. {
        let (torso, head) = (pull(torsos), pull(heads));
        let (arms, legs) = ([pull(arms), pull(arms)], [pull(legs), pull(legs)]);
        factory.sleep.seconds(8);
        let parts = format!("head {head}, torso {torso}, arms {arms:?}, legs {legs:?}");
        factory.say("assembler", &format!("robot {robot}: {parts}"));
    }
}
