//! Programs on the local scheduler, where nothing is left to chance: who does what in which order is compared with a model, step by step.
//!
//! The model makes the program while it runs it: it draws the next operation of whoever is to run, does it, and writes down what came of
//! it. Then the same operations are done by tasklets at real channels, and both lists have to be the same.
//!
//! | file | what |
//! |---|---|
//! | `model` | the actors and the queue; draws what they do |
//! | `lists` | the channels, as lists |
//! | `replay` | the tasklets and the real channels |

mod lists;
mod model;
mod replay;

use tasklet_core::backend::Backend;

use crate::channels::setup::run;
use crate::random::{Dice, rounds};
use crate::stealing::Case;
use crate::stealing::setup::Census;
use crate::who::Who;

/// What an actor does. Channels are numbered.
#[derive(Clone, Debug)]
enum Op {
    Send {
        to: usize,
        message: u32,
        waits: bool,
    },
    Recv {
        from: usize,
        waits: bool,
    },
    RecvMany {
        from: usize,
        limit: usize,
    },
    Drain {
        from: usize,
    },
    /// Reserves, yields, and sends or gives the permit up.
    Reserve {
        to: usize,
        message: u32,
        waits: bool,
        sends: bool,
    },
    /// The first arm that is ready.
    Select {
        arms: Vec<ArmOp>,
        waits: bool,
    },
    /// From the side of the receiver, if not from that of the sender.
    Close {
        which: usize,
        by_sender: bool,
    },
    WaitClosed {
        which: usize,
    },
    /// A clone is made and kept.
    CloneSender {
        which: usize,
    },
    CloneReceiver {
        which: usize,
    },
    DropSender {
        which: usize,
    },
    DropReceiver {
        which: usize,
    },
    /// Whether a weak handle leads to a sender.
    Upgrade {
        which: usize,
    },
    Len {
        which: usize,
    },
    Kill {
        whom: usize,
    },
    Yield,
}

#[derive(Clone, Debug)]
enum ArmOp {
    Send { to: usize, message: u32 },
    Recv { from: usize },
    Closed { which: usize },
}

/// What everybody does, and what comes of it.
struct Program {
    /// `None` is unbounded.
    capacities: Vec<Option<usize>>,
    /// The first is the one who spawns the others, kills, closes all in the end, and holds no handle.
    scripts: Vec<Vec<Op>>,
    log: Vec<String>,
}

/// Whatever happens at channels of senders and receivers and in biased selects happens in the order that the model says; so it does if who
/// sends or receives is a tasklet that blocks on a future.
pub fn the_order_is_the_models<B: Backend>(case: Case) {
    let mut events = 0;
    // A kill takes a waiter out of its channel at once, but a future leaves when its tasklet unwinds: those are not killed here.
    rounds("programs::exact", 1, |dice| {
        let program = model::make(dice, case.who == Who::Stackful);
        events += program.log.len();
        let (scripts, capacities) = (program.scripts.clone(), program.capacities.clone());
        let census = Census::default();
        let counted = census.clone();
        let done = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = done.clone();
        run::<B>(case, move || replay::replay(case.who, &scripts, &capacities, &census, &log));
        compare(&program, &done.lock().unwrap(), case.who);
        counted.assert_all_dropped();
    });
    assert!(events > 100, "programs do something");
}

#[track_caller]
fn compare(program: &Program, log: &[String], who: Who) {
    // A future that waits has a handle of its own, and the model counts none.
    let counts = |line: &&String| who == Who::Stackful || !line.contains(HANDLES);
    let [model, log] = [&program.log[..], log].map(|list| list.iter().filter(counts).cloned().collect::<Vec<_>>());
    if model == log {
        return;
    }
    let same = model.iter().zip(&log).take_while(|(model, real)| model == real).count();
    let end = |list: &[String]| list.iter().skip(same).take(4).cloned().collect::<Vec<_>>().join(", ");
    let before = model[same.saturating_sub(30)..same].join("\n  ");
    panic!(
        "after\n  {before}\nthe model has [{}], and what happens is [{}]; capacities {:?}\n{}",
        end(&model),
        end(&log),
        program.capacities,
        scripts(program)
    );
}

/// How many handles a channel has, in both lists.
fn handles(senders: usize, receivers: usize) -> String {
    format!("{HANDLES} {senders} {receivers}")
}

const HANDLES: &str = "handles";

/// What came of a receive, in both lists.
fn shown(received: Result<u32, &str>) -> String {
    received.map_or_else(str::to_owned, |message| message.to_string())
}

/// A dice's choice of a list.
fn pick<T: Copy>(dice: &mut Dice, list: &[T]) -> Option<T> {
    if list.is_empty() { None } else { Some(list[dice.below(list.len())]) }
}

/// What everybody does, a line each.
fn scripts(program: &Program) -> String {
    let lines = program.scripts.iter().enumerate().map(|(who, script)| format!("{who}: {script:?}"));
    lines.collect::<Vec<_>>().join("\n")
}
