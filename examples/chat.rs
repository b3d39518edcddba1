//! A chat in memory: rooms, members, and one member who is slow.
//!
//! Each room is a tasklet that owns its list of members: whoever wants something of it sends to it, and nothing is locked. What is said goes
//! to all members, each over a bounded channel of its own. A room does not wait for a member whose channel is full: that one misses the
//! line, and is told how many it has missed with the next one that reaches it.
//!
//! The clock is virtual, so that the same is printed on every run.
//!
//! ```text
//! cargo run --example chat
//! cargo run --no-default-features --features backend-context --example chat
//! ```

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tasklet::stealing::BuildError;
use tasklet::time::{VirtualClock, VirtualDriver};
use tasklet::{Builder, JoinHandle, Receiver, Runtime, Sender, bounded, sleep, spawn, unbounded};

/// Lines that wait for a member who does not read.
const PATIENCE: usize = 3;

enum Request {
    Enter { name: &'static str, lines: Sender<Line> },
    Leave { name: &'static str },
    Say { name: &'static str, text: String },
}

#[derive(Clone)]
struct Line {
    text: Arc<str>,
    /// How many the member has missed before this one.
    missed: usize,
}

struct Member {
    lines: Sender<Line>,
    missed: usize,
}

fn main() -> ExitCode {
    let runtime = match in_virtual_time() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chat: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = runtime.run(evening);
    // Whoever does not want to read it has ended before us.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// One worker: whoever sleeps last moves the clock, and with others at work, that would be too early.
fn in_virtual_time() -> Result<Runtime, BuildError> {
    let clock = Arc::new(VirtualClock::default());
    let sleeps = clock.clone();
    Builder::new().workers(1).clock(clock).driver(move |_| Box::new(VirtualDriver::new(sleeps.clone()))).build()
}

/// What each member has read.
fn evening() -> String {
    let kitchen = open("kitchen");
    let library = open("library");
    let readers = [
        ("kitchen", "ada", enter(&kitchen, "ada", Duration::ZERO)),
        ("kitchen", "bob", enter(&kitchen, "bob", Duration::ZERO)),
        ("kitchen", "snail", enter(&kitchen, "snail", Duration::from_millis(55))),
        ("library", "ada", enter(&library, "ada", Duration::ZERO)),
        ("library", "cyd", enter(&library, "cyd", Duration::ZERO)),
    ];
    for number in 1..=9 {
        say(&kitchen, if number % 2 == 1 { "ada" } else { "bob" }, format!("knock {number}"));
        if number % 4 == 0 {
            say(&library, "cyd", format!("page {number}"));
        }
        if number == 7 {
            kitchen.send(Request::Leave { name: "bob" }).expect("the room is open");
        }
        sleep(Duration::from_millis(10));
    }
    say(&library, "ada", "good night".to_owned());
    // The rooms close when nobody has anything to ask of them any more, and that ends their members.
    drop((kitchen, library));
    let mut text = String::new();
    for (room, name, reader) in readers {
        text += &format!("{name} in the {room}:\n");
        for line in reader.join().expect("members only read") {
            text += &format!("  {line}\n");
        }
    }
    text
}

fn open(name: &'static str) -> Sender<Request> {
    let (room, requests) = unbounded();
    spawn(move || keep(name, &requests));
    room
}

/// A room, until nobody knows it any more.
fn keep(room: &str, requests: &Receiver<Request>) {
    let mut members = BTreeMap::new();
    for request in requests {
        match request {
            Request::Enter { name, lines } => {
                members.insert(name, Member { lines, missed: 0 });
                tell(&mut members, &format!("{name} has come into the {room}"));
            }
            Request::Leave { name } => {
                members.remove(name);
                tell(&mut members, &format!("{name} has left"));
            }
            // One who has left in the meantime is not heard.
            Request::Say { name, .. } if !members.contains_key(name) => {}
            Request::Say { name, text } => tell(&mut members, &format!("{name}: {text}")),
        }
    }
}

fn tell(members: &mut BTreeMap<&'static str, Member>, text: &str) {
    let text: Arc<str> = text.into();
    members.retain(|_, member| match member.lines.try_send(Line { text: text.clone(), missed: member.missed }) {
        Ok(()) => {
            member.missed = 0;
            true
        }
        Err(error) if error.is_would_block() => {
            member.missed += 1;
            true
        }
        // It does not read any more.
        Err(_) => false,
    });
}

/// Starts a member, who takes so long to read a line; it returns what it has read.
fn enter(room: &Sender<Request>, name: &'static str, takes: Duration) -> JoinHandle<Vec<String>> {
    let (lines, inbox) = bounded::<Line>(PATIENCE);
    room.send(Request::Enter { name, lines }).expect("the room is open");
    spawn(move || {
        let mut read = Vec::new();
        for Line { text, missed } in &inbox {
            if missed > 0 {
                read.push(format!("({missed} missed)"));
            }
            read.push(text.to_string());
            sleep(takes);
        }
        read
    })
}

fn say(room: &Sender<Request>, name: &'static str, text: String) {
    room.send(Request::Say { name, text }).expect("the room is open");
}
