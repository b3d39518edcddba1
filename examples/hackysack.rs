//! Hackysack: a circle of tasklets, each waiting in a channel of its own, kicks a sack around.
//!
//! Prints what tasklets cost: the time to make one, the time to hand the sack on, the memory of one that waits. All players wait
//! at the same time before the first kick.
//!
//! Players are tasklets of any kind: *stackful* ones have a stack each, *swapped* ones take turns on a few stacks, *soft* ones are futures.
//! Those with stacks play on the local scheduler. It has no soft ones, so these play on one worker of a runtime.
//!
//! ```text
//! cargo run --release --example hackysack -- 1000000
//! cargo run --release --example hackysack -- 1000000 --kind soft
//! cargo run --release --example hackysack -- 10000000 --kind swapped
//! cargo run --release --no-default-features --features backend-context --example hackysack -- 1000000
//! cargo run --release --no-default-features --features backend-generator --example hackysack -- 10000
//! ```
//!
//! The generator backend brings stacks of its own, and the system has room for some 32,000 of them: a million is refused, and so are swapped
//! tasklets.

#![deny(unsafe_code)]

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tasklet::backend::{self, Backend};
use tasklet::local::{Budget, RunError, RunOptions, RunOutcome, Scheduler};
use tasklet::prelude::*;
use tasklet::swapped::SwapError;
use tasklet::sync::Event;
use tasklet::{Builder, JoinError, spawn_async, yield_now};

const USAGE: &str = "usage: hackysack PLAYERS [ROUNDS] [--kind KIND]

PLAYERS  tasklets in the circle, from 2 to 100,000,000
ROUNDS   times the sack goes around; by default twice, or often enough for a million kicks
KIND     stackful: each has a stack (default); swapped: they take turns on a few stacks; both on the local scheduler
         soft: each is a future; on one worker of a runtime, with the same channels";

/// Players that are made, and kicks that are played, between two looks at the progress.
const BATCH: u64 = 10_000;

fn main() -> ExitCode {
    let game = match arguments() {
        Ok(game) => game,
        Err(problem) => {
            eprintln!("hackysack: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match play(&game) {
        Ok(report) => print(&game, &report),
        Err(error) => {
            eprintln!("hackysack: could not have {} {} tasklets waiting at once: {error}", game.players, game.kind);
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Game {
    kind: Kind,
    players: u64,
    kicks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stackful,
    Swapped,
    Soft,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Stackful => "stackful",
            Kind::Swapped => "swapped",
            Kind::Soft => "soft",
        })
    }
}

fn arguments() -> Result<Game, String> {
    let mut kind = Kind::Stackful;
    let mut numbers = Vec::new();
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument != "--kind" {
            numbers.push(argument);
            continue;
        }
        let name = arguments.next().unwrap_or_default();
        let kinds = [Kind::Stackful, Kind::Swapped, Kind::Soft];
        let found = kinds.into_iter().find(|kind| *name == *kind.to_string());
        kind = found.ok_or(format!("--kind must be stackful, swapped or soft, not '{}'", name.display()))?;
    }
    let mut numbers = numbers.into_iter();
    let mut number = |name: &str, min: u64, max: u64| {
        let Some(text) = numbers.next() else { return Ok(None) };
        let number = text.to_str().and_then(|text| text.parse().ok()).filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or(format!("{name} must be a number from {min} to {max}, not '{}'", text.display()))
    };
    let players = number("PLAYERS", 2, 100_000_000)?.ok_or("how many players?")?;
    let rounds = number("ROUNDS", 1, 1_000_000_000)?.unwrap_or(1_000_000_u64.div_ceil(players).max(2));
    match numbers.next() {
        None => Ok(Game { kind, players, kicks: players * rounds }),
        Some(text) => Err(format!("unexpected argument '{}'", text.display())),
    }
}

/// What a game has shown.
struct Report {
    create: Duration,
    play: Duration,
    end: Duration,
    /// Bytes of all players, page tables included.
    memory: Option<u64>,
}

fn play(game: &Game) -> Result<Report, Box<dyn Error>> {
    match game.kind {
        Kind::Stackful => Ok(play_on(Scheduler::new(), game)?),
        Kind::Swapped => Ok(play_on(swapping_scheduler()?, game)?),
        Kind::Soft => {
            // One worker: while the tasklet that makes the players runs, all others wait.
            let runtime = Builder::new().workers(1).build()?;
            let report = runtime.run(|| play_softly(game));
            drop(runtime);
            Ok(report?)
        }
    }
}

fn swapping_scheduler() -> Result<Scheduler, SwapError> {
    #[expect(unsafe_code, reason = "swapped tasklets are promised something")]
    // SAFETY: the players' loop lends nothing on its stack: it moves numbers through channels, which lie elsewhere.
    let builder = unsafe { Scheduler::builder().swapped() }?;
    Ok(builder.build())
}

/// Stackful or swapped players, as the scheduler makes them.
fn play_on(scheduler: Scheduler, game: &Game) -> Result<Report, RunError> {
    let &Game { players, kicks, .. } = game;
    let before = resident();
    let start = Instant::now();
    let bar = progress("players", players);
    let first = mailbox();
    let mut mine = first.clone();
    for player in 1..=players {
        // The last one's next is the first.
        let next = if player == players { first.clone() } else { mailbox() };
        let mailbox = std::mem::replace(&mut mine, next.clone());
        scheduler.spawn(move || player_loop(&mailbox, &next));
        if player % BATCH == 0 || player == players {
            // They run until all of them wait for the sack.
            scheduler.run()?;
            bar.set_position(player);
        }
    }
    bar.finish_and_clear();
    let create = start.elapsed();
    let memory = grown(before);

    let start = Instant::now();
    let bar = progress("kicks", kicks);
    first.send(kicks).expect("the first player waits");
    while let RunOutcome::Budget = scheduler.run_with(RunOptions::new().total(Budget::Switches(BATCH)))? {
        bar.inc(BATCH);
    }
    bar.finish_and_clear();
    let play = start.elapsed();

    let start = Instant::now();
    first.close();
    scheduler.run()?;
    drop(scheduler);
    Ok(Report { create, play, end: start.elapsed(), memory })
}

/// A channel that lets the sender go on: it is back at its own mailbox before the next player moves.
fn mailbox() -> Channel<u64> {
    Channel::with_preference(Preference::Sender)
}

/// The sack says how many kicks are left, this one included.
fn player_loop(mailbox: &Channel<u64>, next: &Channel<u64>) {
    for left in mailbox {
        if left > 1 && next.send(left - 1).is_err() {
            break;
        }
    }
    // The game is over: tell the next player, who tells the next.
    next.close();
}

/// What soft players have in common.
#[derive(Default)]
struct Circle {
    /// How many have begun to wait.
    waiting: AtomicU64,
    /// The last kick was made.
    over: Event,
}

/// Soft players, on the worker of the caller.
fn play_softly(game: &Game) -> Result<Report, JoinError> {
    let &Game { players, kicks, .. } = game;
    let before = resident();
    let start = Instant::now();
    let bar = progress("players", players);
    let circle = Arc::new(Circle::default());
    let first = mailbox().share();
    let mut mine = first.clone();
    let mut last = None;
    for player in 1..=players {
        let next = if player == players { first.clone() } else { mailbox().share() };
        let mailbox = std::mem::replace(&mut mine, next.clone());
        last = Some(spawn_async(soft_player_loop(mailbox, next, circle.clone())));
        if player % BATCH == 0 || player == players {
            while circle.waiting.load(Ordering::Relaxed) != player {
                yield_now();
            }
            bar.set_position(player);
        }
    }
    bar.finish_and_clear();
    let create = start.elapsed();
    let memory = grown(before);

    let start = Instant::now();
    first.send(kicks).expect("the first player waits");
    circle.over.wait();
    let play = start.elapsed();

    let start = Instant::now();
    first.close();
    last.map_or(Ok(()), JoinHandle::join)?;
    Ok(Report { create, play, end: start.elapsed(), memory })
}

/// As the other players', with a wait in place of each call that waits.
async fn soft_player_loop(mailbox: SharedChannel<u64>, next: SharedChannel<u64>, circle: Arc<Circle>) {
    circle.waiting.fetch_add(1, Ordering::Relaxed);
    while let Ok(left) = mailbox.recv_async().await {
        if left == 1 {
            circle.over.set();
        } else if next.send_async(left - 1).await.is_err() {
            break;
        }
    }
    next.close();
}

fn progress(what: &'static str, length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len}");
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_prefix(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// By how many bytes this process has grown.
fn grown(before: Option<u64>) -> Option<u64> {
    before.zip(resident()).map(|(before, after)| after.saturating_sub(before))
}

/// Bytes of memory that this process holds, page tables included; none where the system does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    Some((kibibytes("VmRSS:")? + kibibytes("VmPTE:")?) * 1024)
}

fn print(game: &Game, report: &Report) -> ExitCode {
    let each = |time: Duration, count: u64| time.as_nanos() as f64 / count as f64;
    let memory = report.memory.map_or("unknown".to_owned(), |bytes| (bytes / game.players).to_string());
    let text = format!(
        "backend  {}\n\
         kind     {}{}\n\
         players  {}\n\
         create   {:.3} s, {:.0} ns each\n\
         kicks    {} in {:.3} s, {:.1} ns each, {:.0} per second\n\
         memory   {memory} bytes resident per tasklet, page tables included\n\
         end      {:.3} s\n",
        backend::Default::NAME,
        game.kind,
        if game.kind == Kind::Soft { ", on one worker of a runtime" } else { ", on the local scheduler" },
        game.players,
        report.create.as_secs_f64(),
        each(report.create, game.players),
        game.kicks,
        report.play.as_secs_f64(),
        each(report.play, game.kicks),
        1e9 / each(report.play, game.kicks),
        report.end.as_secs_f64(),
    );
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read us has heard enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hackysack: could not print the result: {error}");
            ExitCode::FAILURE
        }
    }
}
