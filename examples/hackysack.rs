//! Hackysack: a circle of tasklets, each waiting in a channel of its own, kicks a sack around.
//!
//! Prints what tasklets cost: the time to make one, the time to hand the sack on, the memory of one that waits. All players wait
//! at the same time before the first kick.
//!
//! ```text
//! cargo run --release --example hackysack -- 1000000
//! cargo run --release --no-default-features --features backend-context --example hackysack -- 1000000
//! cargo run --release --no-default-features --features backend-generator --example hackysack -- 10000
//! ```
//!
//! The generator backend brings stacks of its own, and the system has room for some 32,000 of them: a million is refused.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tasklet::backend::{self, Backend};
use tasklet::local::{Budget, RunError, RunOptions, RunOutcome, Scheduler};
use tasklet::prelude::*;

const USAGE: &str = "usage: hackysack PLAYERS [ROUNDS]

PLAYERS  tasklets in the circle, from 2 to 100,000,000
ROUNDS   times the sack goes around; by default twice, or often enough for a million kicks";

/// Players that are made, and kicks that are played, between two looks at the progress.
const BATCH: u64 = 10_000;

fn main() -> ExitCode {
    let (players, rounds) = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("hackysack: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match play(players, rounds) {
        Ok(report) => print(&report),
        Err(error) => {
            eprintln!("hackysack: could not have {players} tasklets waiting at once: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<(u64, u64), String> {
    let mut arguments = std::env::args_os().skip(1);
    let mut number = |name: &str, min: u64, max: u64| {
        let Some(text) = arguments.next() else { return Ok(None) };
        let number = text.to_str().and_then(|text| text.parse().ok()).filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or(format!("{name} must be a number from {min} to {max}, not '{}'", text.display()))
    };
    let players = number("PLAYERS", 2, 100_000_000)?.ok_or("how many players?")?;
    let rounds = number("ROUNDS", 1, 1_000_000_000)?.unwrap_or(1_000_000_u64.div_ceil(players).max(2));
    match arguments.next() {
        None => Ok((players, rounds)),
        Some(text) => Err(format!("unexpected argument '{}'", text.display())),
    }
}

/// What a game has shown.
struct Report {
    players: u64,
    kicks: u64,
    create: Duration,
    play: Duration,
    end: Duration,
    /// Bytes of all players, page tables included.
    memory: Option<u64>,
}

fn play(players: u64, rounds: u64) -> Result<Report, RunError> {
    let scheduler = Scheduler::new();
    let kicks = players * rounds;

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
    let memory = before.zip(resident()).map(|(before, after)| after.saturating_sub(before));

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
    Ok(Report { players, kicks, create, play, end: start.elapsed(), memory })
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

fn progress(what: &'static str, length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len}");
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_prefix(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
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

fn print(report: &Report) -> ExitCode {
    let each = |time: Duration, count: u64| time.as_nanos() as f64 / count as f64;
    let memory = report.memory.map_or("unknown".to_owned(), |bytes| (bytes / report.players).to_string());
    let text = format!(
        "backend  {}\n\
         players  {}\n\
         create   {:.3} s, {:.0} ns each\n\
         kicks    {} in {:.3} s, {:.1} ns each, {:.0} switches per second\n\
         memory   {memory} bytes resident per tasklet, page tables included\n\
         end      {:.3} s\n",
        backend::Default::NAME,
        report.players,
        report.create.as_secs_f64(),
        each(report.create, report.players),
        report.kicks,
        report.play.as_secs_f64(),
        each(report.play, report.kicks),
        1e9 / each(report.play, report.kicks),
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
