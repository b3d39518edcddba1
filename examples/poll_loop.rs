//! A program with an event loop of its own, around `poll(2)`, and tasklets in it.
//!
//! Many programs have a loop that is not theirs to give away: a window system's, a game's, a database's. It waits for descriptors and timers and
//! calls whoever is concerned. A local scheduler is one more of those, with a descriptor and perhaps a time: see [`Pump`].
//!
//! This loop reads lines from its standard input itself. A tasklet takes each, thinks about it for a moment (a timer of the scheduler's), has a
//! plain thread count its letters, and prints both; several lines are in work at a time. All but the counting happens on the main thread, and nothing
//! of it blocks. At the end of the input the program waits for what is in work.
//!
//! ```text
//! printf 'one\ntwo\n' | cargo run --example poll_loop
//! cargo run --example poll_loop        # and type; an empty line is fine, Ctrl-D ends it
//! ```
//!
//! It says at the end how often the scheduler was called: a few times for each line, however long one thinks before typing the next.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tasklet::event_loop::{Next, Pump, reactor};
use tasklet::local::{self, Budget, Scheduler};
use tasklet::{Receiver, Sender, unbounded};

/// The longest that tasklets keep the loop from looking at its other descriptors, about.
const SLICE: Budget = Budget::Time(Duration::from_millis(5));

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("usage: poll_loop\n\nReads lines from its standard input, and takes no arguments.");
        return ExitCode::from(2);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever does not want to read it has ended before us.
        Err(error) if is_closed_output(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("poll_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_output(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run() -> Result<(), Box<dyn Error>> {
    let scheduler = Scheduler::new();
    let pump = Pump::new(&scheduler, reactor)?;
    let (lines, to_take) = unbounded();
    let work = scheduler.spawn_joinable(move || take(&to_take));
    let mut host = Host { input: Vec::new(), lines: Some(lines), taken: 0 };
    let mut calls = 0;
    let mut is_readable = false;
    loop {
        if is_readable {
            host.read()?;
        }
        // After all that the loop has done, and before it waits.
        let next = pump.run_once(Some(SLICE))?;
        calls += 1;
        if work.is_finished() {
            break;
        }
        is_readable = wait(&pump, next, host.lines.is_some())?;
    }
    // Its result is there, so this does not wait.
    work.join()??;
    writeln!(io::stdout(), "{} lines, {calls} calls of the scheduler", host.taken)?;
    Ok(())
}

/// Waits until there is something to read, if that is of interest, or something for the scheduler. Returns whether there is something to read.
fn wait(pump: &Pump<'_>, next: Next, reads: bool) -> io::Result<bool> {
    let limit = next.timeout().map(Timespec::try_from).transpose().unwrap_or_default();
    let stdin = io::stdin();
    let mut fds = vec![PollFd::new(pump, PollFlags::IN)];
    if reads {
        fds.push(PollFd::new(&stdin, PollFlags::IN));
    }
    match poll(&mut fds, limit.as_ref()) {
        // The end of the input is an event too, of another name.
        Ok(_) => Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A tasklet: works at each line in a tasklet of its own, until there are no more.
fn take(lines: &Receiver<String>) -> io::Result<()> {
    let (count, to_count) = unbounded();
    let counter = thread::spawn(move || count_letters(&to_count));
    let work: Vec<_> = lines
        .iter()
        .map(|line| {
            let count = count.clone();
            local::spawn_joinable(move || think(&line, &count))
        })
        .collect();
    drop(count);
    for line in work {
        line.join().map_err(|error| io::Error::other(error.to_string()))??;
    }
    // It has ended, or is about to: nobody asks it any more.
    counter.join().map_err(|_| io::Error::other("the thread that counts has panicked"))
}

/// What is asked of the thread that counts.
type Question = (String, Sender<usize>);

/// A tasklet for one line.
fn think(line: &str, count: &Sender<Question>) -> io::Result<()> {
    local::sleep(Duration::from_millis(5));
    let (answer, answered) = unbounded();
    // Neither fails: the thread is there until nobody can ask it any more.
    let _ = count.send((line.to_owned(), answer));
    let letters = answered.recv().unwrap_or_default();
    writeln!(io::stdout(), "{line}: {letters} letters")
}

/// A plain thread, which may take its time.
fn count_letters(questions: &Receiver<Question>) {
    for (line, answer) in questions {
        let _ = answer.send(line.chars().filter(|letter| letter.is_alphabetic()).count());
    }
}

/// What the loop does besides.
struct Host {
    /// The beginning of a line.
    input: Vec<u8>,
    /// Until the end of the input.
    lines: Option<Sender<String>>,
    taken: usize,
}

impl Host {
    /// Takes what there is on the standard input, which does not block.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        // Not through std's buffer, which reads ahead: the loop would not hear of what lies in there.
        let count = rustix::io::read(io::stdin(), &mut buffer)?;
        self.input.extend_from_slice(&buffer[..count]);
        while let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
            let rest = self.input.split_off(end + 1);
            let line = std::mem::replace(&mut self.input, rest);
            self.hand_over(&line[..end]);
        }
        if count == 0 {
            let last = std::mem::take(&mut self.input);
            if !last.is_empty() {
                self.hand_over(&last);
            }
            self.lines = None;
        }
        Ok(())
    }

    fn hand_over(&mut self, line: &[u8]) {
        self.taken += 1;
        if let Some(lines) = &self.lines {
            // There is always room. It fails if the tasklet has failed, which the loop finds out.
            let _ = lines.send(String::from_utf8_lossy(line).into_owned());
        }
    }
}
