//! Counts words: a pipeline of tasklets over channels.
//!
//! ```text
//!  reader of one file -+                       +-> counter -+
//!  reader of the next -+-> splitter -> batches +-> counter -+-> merger -> sorted table
//!  ...                -+                       +-> counter -+
//! ```
//!
//! Prints `COUNT WORD` for each word, the most frequent first, equals in the order of their bytes. What is counted is what
//! `cat FILE... | tr -s '[:space:]' '\n' | sort | uniq -c` counts in the C locale: a word is a run of bytes that are not ASCII white
//! space (space, tab, newline, vertical tab, form feed, carriage return). So
//!
//! - bytes that are not UTF-8 are counted as the bytes they are;
//! - a word that ends one file without a newline goes on in the next.
//!
//! One line differs: if the input begins with white space, the pipeline counts one empty word before it; here it counts as none.
//!
//! Files are read in pieces: what is kept is the table, and the word that crosses the border of two pieces. A file that cannot be
//! read costs a line on stderr and the exit code 1; the rest still counts. `-` is the standard input; what follows `--` is no option.
//!
//! ```text
//! cargo run --release --example word_count -- README.md ARCHITECTURE.md
//! cargo run --release --no-default-features --features backend-context --example word_count -- README.md
//! cargo run --release --no-default-features --features backend-generator --example word_count -- README.md
//! ```

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::rc::Rc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tasklet::prelude::*;

const USAGE: &str = "usage: word_count [--] FILE...

Counts the words of all files together. '-' is the standard input; write ./-x, or -- before it, for a file named -x.";

/// Tasklets that count; each has the words that fall to it.
const COUNTERS: usize = 4;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// Bytes of words that go to a counter at once.
const BATCH: usize = 8 << 10;

type Table = HashMap<Box<[u8]>, u64>;

/// A table in the order in which it is printed.
type Sorted = Vec<(Box<[u8]>, u64)>;

fn main() -> ExitCode {
    let mut files: Vec<OsString> = std::env::args_os().skip(1).collect();
    let end = files.iter().position(|file| file == "--");
    let is_option = |file: &&OsString| file.as_encoded_bytes().starts_with(b"-") && *file != "-";
    if let Some(option) = files[..end.unwrap_or(files.len())].iter().find(is_option) {
        if option == "-h" || option == "--help" {
            return if writeln!(io::stdout(), "{USAGE}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        eprintln!("word_count: unknown option '{}'\n{USAGE}", option.display());
        return ExitCode::from(2);
    }
    if let Some(end) = end {
        files.remove(end);
    }
    if files.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }

    let complete = Rc::new(Cell::new(true));
    let words = match count(files, complete.clone()) {
        Ok(words) => words,
        Err(error) => {
            eprintln!("word_count: {error}");
            return ExitCode::FAILURE;
        }
    };
    match print(&words) {
        // Whoever read us has heard enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            eprintln!("word_count: could not print: {error}");
            return ExitCode::FAILURE;
        }
        Ok(()) => {}
    }
    if complete.get() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(words: &[(Box<[u8]>, u64)]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (word, count) in words {
        write!(out, "{count} ")?;
        out.write_all(word)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Sets up the pipeline and waits for what comes out of it. `complete` is unset if a file could not be read.
fn count(files: Vec<OsString>, complete: Rc<Cell<bool>>) -> Result<Sorted, Box<dyn std::error::Error>> {
    let scheduler = local::Scheduler::new();
    let batches: Vec<Channel<Vec<u8>>> = (0..COUNTERS).map(|_| Channel::new()).collect();
    let tables = Channel::new();

    let splitter = scheduler.spawn_joinable({
        let batches = batches.clone();
        move || split(files, batches, &complete)
    });
    let counters: Vec<_> = batches
        .into_iter()
        .map(|batches| {
            let tables = tables.clone();
            scheduler.spawn_joinable(move || tables.send(tally(&batches)).expect("the merger waits"))
        })
        .collect();
    let merger = scheduler.spawn_joinable({
        let tables = tables.clone();
        move || merge(&tables)
    });

    splitter.join()?;
    for counter in counters {
        counter.join()?;
    }
    tables.close();
    Ok(merger.join()?)
}

/// Reads a file piece by piece.
fn read(file: &OsStr, pieces: &Channel<Vec<u8>>) -> io::Result<()> {
    let mut source: Box<dyn Read> = if file == "-" { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    loop {
        let mut piece = vec![0; PIECE];
        let length = match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        piece.truncate(length);
        pieces.send(piece).expect("the splitter waits");
    }
}

/// Starts a reader for one file after the other and cuts what comes from them into words.
fn split(files: Vec<OsString>, counters: Vec<Channel<Vec<u8>>>, complete: &Rc<Cell<bool>>) {
    let bar = progress();
    let mut sorter = Sorter { batches: vec![Vec::new(); counters.len()], counters };
    // The beginning of a word that has not ended yet.
    let mut open = Vec::new();
    for file in files {
        let pieces = Channel::new();
        let (reader, complete, errors) = (pieces.clone(), complete.clone(), bar.clone());
        local::spawn_named(format!("reader of {}", file.display()), move || {
            if let Err(error) = read(&file, &reader) {
                complete.set(false);
                errors.suspend(|| eprintln!("word_count: {}: {error}", file.display()));
            }
            reader.close();
        });
        for piece in &pieces {
            bar.inc(piece.len() as u64);
            let mut runs = piece.split(|&byte| is_space(byte));
            // What comes before the first space belongs to the word that is open; what comes after the last stays open.
            open.extend_from_slice(runs.next().unwrap_or_default());
            for run in runs {
                sorter.put(&open);
                open.clear();
                open.extend_from_slice(run);
            }
        }
    }
    sorter.put(&open);
    sorter.finish();
    bar.finish_and_clear();
}

/// As `isspace` in the C locale: unlike [`u8::is_ascii_whitespace`], with the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Gives each word to the counter that it falls to.
struct Sorter {
    counters: Vec<Channel<Vec<u8>>>,
    /// Words for each counter, each with a newline behind it.
    batches: Vec<Vec<u8>>,
}

impl Sorter {
    fn put(&mut self, word: &[u8]) {
        if word.is_empty() {
            return;
        }
        // FNV-1a: the same on every run, and as good as any for spreading words over four counters.
        let hash = word
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let index = (hash >> 32) as usize % self.counters.len();
        let batch = &mut self.batches[index];
        batch.extend_from_slice(word);
        batch.push(b'\n');
        if batch.len() >= BATCH {
            self.counters[index].send(std::mem::take(batch)).expect("the counter waits");
        }
    }

    fn finish(self) {
        for (counter, batch) in self.counters.iter().zip(self.batches) {
            counter.send(batch).expect("the counter waits");
            counter.close();
        }
    }
}

fn tally(batches: &Channel<Vec<u8>>) -> Table {
    let mut table = Table::new();
    for batch in batches {
        for word in batch.split(|&byte| byte == b'\n').filter(|word| !word.is_empty()) {
            match table.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(table.insert(word.into(), 1)),
            }
        }
    }
    table
}

fn merge(tables: &Channel<Table>) -> Sorted {
    // Each word is in one table only.
    let mut words: Vec<_> = tables.iter().flatten().collect();
    words.sort_unstable_by(|(left, many), (right, few)| few.cmp(many).then_with(|| left.cmp(right)));
    words
}

/// Bytes read so far, on a terminal.
fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{spinner} {binary_bytes} read, {binary_bytes_per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
