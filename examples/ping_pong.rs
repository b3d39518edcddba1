//! Ping-pong: two tasklets hand a number back and forth over two channels.
//!
//! Prints each receipt when the rounds are few. When they are many, prints the rate of switches to stderr.
//!
//! ```text
//! cargo run --release --example ping_pong -- 1000000
//! cargo run --release --no-default-features --features backend-context --example ping_pong -- 1000000
//! cargo run --release --no-default-features --features backend-generator --example ping_pong -- 1000000
//! ```

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use tasklet::backend::{self, Backend};
use tasklet::prelude::*;

const USAGE: &str = "usage: ping_pong [ROUNDS]

ROUNDS  from 0 to 1,000,000,000; by default 2";

/// Up to so many rounds, each receipt is printed.
const LOGGED: u64 = 20;

/// From so many rounds on, the rate means something.
const MEASURED: u64 = 1000;

fn main() -> ExitCode {
    let rounds = match arguments() {
        Ok(rounds) => rounds,
        Err(problem) => {
            eprintln!("ping_pong: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match play(rounds) {
        Ok(text) => print(&text),
        Err(error) => {
            eprintln!("ping_pong: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<u64, String> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(text) = arguments.next() else { return Ok(2) };
    if let Some(text) = arguments.next() {
        return Err(format!("unexpected argument '{}'", text.display()));
    }
    let rounds = text.to_str().and_then(|text| text.parse().ok()).filter(|rounds| *rounds <= 1_000_000_000);
    rounds.ok_or(format!("ROUNDS must be a number from 0 to 1000000000, not '{}'", text.display()))
}

fn play(rounds: u64) -> Result<String, Box<dyn std::error::Error>> {
    let scheduler = local::Scheduler::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let (there, back) = (Channel::new(), Channel::new());

    let ping = {
        let (there, back, log) = (there.clone(), back.clone(), log.clone());
        scheduler.spawn_joinable(move || {
            for round in 0..rounds {
                there.send(round).expect("pong is listening");
                let round = back.recv().expect("pong answers");
                if rounds <= LOGGED {
                    log.borrow_mut().push(format!("ping{round}"));
                }
            }
            there.close();
        })
    };
    let pong = scheduler.spawn_joinable({
        let log = log.clone();
        move || {
            for round in &there {
                if rounds <= LOGGED {
                    log.borrow_mut().push(format!("pong{round}"));
                }
                back.send(round).expect("ping is listening");
            }
        }
    });

    let start = Instant::now();
    ping.join()?;
    pong.join()?;
    let time = start.elapsed();

    if rounds >= MEASURED {
        let switches = scheduler.switches();
        let rate = switches as f64 / time.as_secs_f64();
        let backend = backend::Default::NAME;
        eprintln!("{backend}: {switches} switches in {:.3} s, {rate:.0} per second", time.as_secs_f64());
    }
    let log = log.borrow();
    Ok(if rounds <= LOGGED { log.join(" ") } else { format!("{rounds} rounds") })
}

fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read us has heard enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ping_pong: could not print: {error}");
            ExitCode::FAILURE
        }
    }
}
