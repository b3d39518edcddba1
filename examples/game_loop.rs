//! A game loop: the host draws frames, and scripts that span many frames run in between.
//!
//! Three ways for a host to stay in charge:
//!
//! - *loading*: [`run_for`](tasklet::local::Scheduler::run_for) gives the loaders a few milliseconds of each frame;
//! - *pumping*: a script waits for the next frame by receiving from one channel; the host sends to as many as wait, once a frame;
//! - *a hard budget*: scripts count their work with `checkpoint()`, and one that does not give way is taken off the processor and
//!   handed to the host, which lets it go on in the next frame once, then kills it.
//!
//! Time is a virtual clock, so each run prints the same.
//!
//! ```text
//! cargo run --example game_loop
//! cargo run --no-default-features --features backend-context --example game_loop
//! cargo run --no-default-features --features backend-generator --example game_loop
//! ```

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tasklet::TaskletId;
use tasklet::local::{Budget, RunError, RunOptions, RunOutcome};
use tasklet::prelude::*;
use tasklet::time::{Clock, VirtualClock};

/// 60 frames a second.
const FRAME: Duration = Duration::from_nanos(16_666_667);

/// What the loaders get of each frame.
const LOADING: Duration = Duration::from_millis(8);

/// Steps that all scripts together may take in a frame.
const STEPS: u64 = 50;

fn main() -> ExitCode {
    let text = match play() {
        Ok(text) => text,
        Err(error) => {
            eprintln!("game_loop: {error}");
            return ExitCode::FAILURE;
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("game_loop: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn play() -> Result<String, RunError> {
    let clock = Arc::new(VirtualClock::default());
    let scheduler = local::Scheduler::builder().clock(clock.clone()).build();
    let game = Game::default();

    load(&scheduler, &clock, &game)?;

    for name in ["guard", "merchant"] {
        let script = game.clone();
        scheduler.tasklet().name(name).spawn(move || patrol(&script, name));
    }
    let script = game.clone();
    let boss = scheduler.tasklet().name("boss").spawn(move || summon(&script));
    let script = game.clone();
    scheduler.tasklet().name("sage").spawn(move || ponder(&script));

    let mut strikes: HashMap<TaskletId, u32> = HashMap::new();
    for frame in 1..=8 {
        clock.advance(FRAME);
        if frame == 6 {
            game.say("host: the boss is slain");
            boss.kill().expect("the host may switch");
        }
        let switches = scheduler.switches();
        let woken = game.next_frame(frame);
        let outcome = scheduler.run_with(RunOptions::new().total(Budget::Ticks(STEPS)).hard())?;
        let steps = game.steps.take();
        if let RunOutcome::Interrupted(script) = outcome {
            let name = script.name().unwrap_or_default();
            let strikes = strikes.entry(script.id()).or_default();
            *strikes += 1;
            if *strikes < 2 {
                game.say(&format!("host: '{name}' does not give way; it goes on in the next frame"));
                script.insert().expect("it is paused");
            } else {
                game.say(&format!("host: '{name}' does not give way again; it is killed"));
                script.kill().expect("the host may switch");
            }
        }
        game.say(&format!(
            "frame {frame}: {} ms, {woken} woken, {steps} steps, {} switches, {} still runnable, {} alive",
            clock.now().as_millis(),
            scheduler.switches() - switches,
            scheduler.run_count() - 1,
            scheduler.started().len(),
        ));
    }

    let killed = scheduler.shut_down().killed;
    game.say(&format!("host: the game is over for {killed} scripts"));
    Ok(game.log.take())
}

/// Loads ten assets with two loaders, a few milliseconds in each frame.
fn load(scheduler: &local::Scheduler, clock: &Arc<VirtualClock>, game: &Game) -> Result<(), RunError> {
    let loaded = Rc::new(Cell::new(0));
    for milliseconds in [2, 3] {
        let (clock, loaded) = (clock.clone(), loaded.clone());
        scheduler.spawn(move || {
            for _ in 0..5 {
                // The work that an asset is.
                clock.advance(Duration::from_millis(milliseconds));
                loaded.set(loaded.get() + 1);
                local::schedule();
            }
        });
    }
    for frame in 1.. {
        let start = clock.now();
        let outcome = scheduler.run_for(LOADING)?;
        let used = clock.now() - start;
        game.say(&format!("loading, frame {frame}: {} of 10 assets, {} ms used", loaded.get(), used.as_millis()));
        clock.advance_to(start + FRAME);
        if let RunOutcome::Idle = outcome {
            break;
        }
    }
    Ok(())
}

/// What the scripts see of the game. Clones are the same game.
#[derive(Clone)]
struct Game {
    frames: Channel<u32>,
    steps: Rc<Cell<u64>>,
    log: Rc<RefCell<String>>,
}

impl Default for Game {
    fn default() -> Self {
        // The host goes on sending; those woken run when it calls `run_with`.
        let frames = Channel::with_preference(Preference::Sender);
        Game { frames, steps: Rc::default(), log: Rc::default() }
    }
}

impl Game {
    fn say(&self, line: &str) {
        let mut log = self.log.borrow_mut();
        log.push_str(line);
        log.push('\n');
    }

    /// Wakes those who wait for a frame now, not those who will wait again in it.
    fn next_frame(&self, frame: u32) -> usize {
        let waiting = self.frames.balance().min(0).unsigned_abs();
        for _ in 0..waiting {
            self.frames.send(frame).expect("somebody waits");
        }
        waiting
    }

    /// For scripts: gives way until the next frame, and tells its number.
    fn frame(&self) -> u32 {
        self.frames.recv().expect("the host sends frames")
    }

    /// For scripts: does a step of work.
    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        local::checkpoint();
    }
}

/// Walks two frames one way and two frames back, for ever.
fn patrol(game: &Game, name: &str) {
    for leg in ["east", "west"].into_iter().cycle() {
        for _ in 0..2 {
            game.step();
            game.frame();
        }
        game.say(&format!("  {name} has walked {leg}"));
    }
}

/// Summons an imp every other frame. Its imps go with it.
fn summon(game: &Game) {
    struct Imps(Vec<local::Tasklet>);
    impl Drop for Imps {
        fn drop(&mut self) {
            for imp in &self.0 {
                // The boss is unwinding, and must not switch: they die when their turn comes.
                let _ = imp.kill_later();
            }
        }
    }
    let mut imps = Imps(Vec::new());
    loop {
        let number = imps.0.len() + 1;
        game.say(&format!("  boss summons imp {number}"));
        let script = game.clone();
        imps.0.push(local::spawn_named(format!("imp {number}"), move || imp(&script, number)));
        game.frame();
        game.frame();
    }
}

/// Works harder each frame; says farewell however it ends.
fn imp(game: &Game, number: usize) {
    struct Farewell<'a>(&'a Game, usize);
    impl Drop for Farewell<'_> {
        fn drop(&mut self) {
            self.0.say(&format!("  imp {} vanishes", self.1));
        }
    }
    let _farewell = Farewell(game, number);
    for steps in 1.. {
        for _ in 0..steps {
            game.step();
        }
        game.frame();
    }
}

/// Thinks for ever from the third frame on, without giving way.
fn ponder(game: &Game) {
    while game.frame() < 3 {
        game.step();
    }
    game.say("  sage ponders");
    loop {
        game.step();
    }
}
