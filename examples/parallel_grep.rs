//! `grep -rnF` on every core: one tasklet walks the directories, one more searches each file, and one prints.
//!
//! ```text
//!  walker -+-> file -+
//!    ^     +-> file -+-> found: a channel of channels, one for the lines of each file -> printer
//!    |     +-> file -+
//!    +---- done -----+
//! ```
//!
//! Prints the lines that `grep -rnF PATTERN PATH...` prints, those of one file together and in order, the files in any order; and exits as
//! it does: 0 if there was a match, 1 if not, 2 after an error. So
//!
//! - links and devices are searched if they are on the command line, and passed over in directories;
//! - a single PATH that is no directory goes without its name;
//! - of a binary file, one with a NUL in it, no line is printed but that it matches; in a UTF-8 locale, lines that are not UTF-8 are left
//!   out likewise.
//!
//! Memory is bounded whatever there is to search: [`IN_FLIGHT`] files, each with a piece of its text, or a line if that is longer, and a
//! batch of lines to print. A rendezvous has no buffer: who has found more waits for the printer, which turns to one file after the other,
//! and when there are enough files, the walker waits for one that is done.
//!
//! Ctrl-C kills the tasklets and exits 130. When nobody reads the output any more, it ends quietly.
//!
//! ```text
//! cargo run --release --example parallel_grep -- fn .
//! cargo run --release --no-default-features --features backend-context --example parallel_grep -- fn .
//! cargo run --release --no-default-features --features backend-generator --example parallel_grep -- fn .
//! ```

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use memchr::{memchr, memchr_iter, memmem::Finder, memrchr, memrchr2};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use tasklet::{Channel, Runtime, SharedChannel, blocking, scope, spawn};

const USAGE: &str = "usage: parallel_grep [--] PATTERN PATH...

Prints the lines that contain PATTERN, of each file and of all files below each directory, as 'grep -rnF' does.
Write -- before a PATTERN that begins with '-'.";

const MATCH: u8 = 0;
const NO_MATCH: u8 = 1;
const TROUBLE: u8 = 2;
/// What shells report of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Files that are searched at once.
const IN_FLIGHT: usize = 64;

/// Bytes read at once. As many as `grep` reads while lines are shorter: of a file that has no NUL before its second piece, it prints the
/// first.
const PIECE: usize = 96 << 10;

/// Bytes of output that are handed on at once.
const BATCH: usize = 64 << 10;

/// Entries of a directory that are read at once.
const ENTRIES: usize = 256;

/// How long the end waits for files that are being read.
const GRACE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let (pattern, paths) = match arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    match run(Search::new(&pattern, paths.len()), paths) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("parallel_grep: {error}");
            ExitCode::from(TROUBLE)
        }
    }
}

fn arguments() -> Result<(Vec<u8>, Vec<PathBuf>), ExitCode> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let end = arguments.iter().position(|argument| argument == "--");
    let is_option = |argument: &&OsString| argument.as_encoded_bytes().starts_with(b"-");
    if let Some(option) = arguments[..end.unwrap_or(arguments.len())].iter().find(is_option) {
        if option == "-h" || option == "--help" {
            let printed = writeln!(io::stdout(), "{USAGE}");
            return Err(if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(TROUBLE) });
        }
        eprintln!("parallel_grep: unknown option '{}'\n{USAGE}", option.display());
        return Err(ExitCode::from(TROUBLE));
    }
    if let Some(end) = end {
        arguments.remove(end);
    }
    let mut arguments = arguments.into_iter();
    let (pattern, paths) = (arguments.next().unwrap_or_default().into_vec(), arguments.map(PathBuf::from));
    let paths: Vec<_> = paths.collect();
    if paths.is_empty() {
        eprintln!("{USAGE}");
        return Err(ExitCode::from(TROUBLE));
    }
    if pattern.contains(&b'\n') {
        eprintln!("parallel_grep: a pattern is part of a line, so there is no newline in it");
        return Err(ExitCode::from(TROUBLE));
    }
    Ok((pattern, paths))
}

/// Searches on a runtime of its own until all is found or Ctrl-C is pressed, whichever comes first, and returns the exit status.
fn run(search: Search, paths: Vec<PathBuf>) -> Result<u8, Box<dyn std::error::Error>> {
    let runtime = Runtime::with_defaults()?;
    // A rendezvous of this thread, a tasklet, and the thread that waits for the signal.
    let end: SharedChannel<u8> = Channel::new().share();
    let (interrupted, all_found) = (end.clone(), end.clone());
    let mut signals = Signals::new([SIGINT])?;
    thread::spawn(move || signals.forever().try_for_each(|_| interrupted.send(INTERRUPTED)));
    runtime.spawn(move || {
        let printer = spawn(move || find_and_print(search, paths));
        // What it may panic with has been printed.
        all_found.send(printer.join().unwrap_or(TROUBLE))
    });
    let status = end.recv()?;
    // Kills whatever still walks, reads and prints. What cannot be killed, such as a thread that waits for a pipe, ends with the process.
    runtime.shutdown(GRACE);
    Ok(status)
}

/// What is looked for, and where what is found goes to.
struct Search {
    pattern: Finder<'static>,
    found: SharedChannel<Found>,
    /// Whether the lines of files on the command line begin with the name of their file, as those in directories do.
    has_names: bool,
    /// Whether text is UTF-8, as the user's locale says.
    is_utf8: bool,
    /// The file that is being printed to: it must not be searched, or it might grow for ever.
    output: Option<(u64, u64)>,
}

/// What comes to the printer.
enum Found {
    /// Lines of one file, batch by batch, until the channel is closed.
    Lines(SharedChannel<Vec<u8>>),
    /// A file matches, but is nothing to print.
    Binary(PathBuf),
    Error(PathBuf, io::Error),
}

/// The end of a channel that sends. Closes it when dropped, also if its tasklet panics or is killed, so that no receiver waits for ever.
struct Sender<T>(SharedChannel<T>);

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Has everything found, and prints it. Returns the exit status.
fn find_and_print(search: Search, paths: Vec<PathBuf>) -> u8 {
    let found = search.found.clone();
    let walker = spawn(move || {
        let _end = Sender(search.found.clone());
        search.walk_all(paths);
    });
    let printed = print(&found);
    // Whoever still has something to say, says it in vain.
    found.close();
    match printed {
        // Whoever read us has heard enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => MATCH,
        Err(error) => {
            eprintln!("parallel_grep: could not print: {error}");
            TROUBLE
        }
        Ok(status) if walker.join().is_ok() => status,
        Ok(_) => TROUBLE,
    }
}

/// Prints one file after the other, as they come.
fn print(all: &SharedChannel<Found>) -> io::Result<u8> {
    let (mut matched, mut trouble) = (false, false);
    let mut page = Page(Vec::new());
    for found in all {
        match found {
            Found::Lines(lines) => {
                matched = true;
                for mut batch in &lines {
                    page.0.append(&mut batch);
                    if page.0.len() >= BATCH {
                        page.write()?;
                    }
                }
            }
            Found::Binary(path) => {
                matched = true;
                page.write()?;
                eprintln!("parallel_grep: {}: binary file matches", path.display());
            }
            Found::Error(path, error) => {
                trouble = true;
                page.write()?;
                eprintln!("parallel_grep: {}: {error}", path.display());
            }
        }
        // Nobody waits with more: what is there need not wait either.
        if all.balance() <= 0 {
            page.write()?;
        }
    }
    page.write()?;
    Ok(if trouble {
        TROUBLE
    } else if matched {
        MATCH
    } else {
        NO_MATCH
    })
}

/// Output that is written when there is enough of it.
struct Page(Vec<u8>);

impl Page {
    /// Whoever reads may be slow: others run meanwhile.
    fn write(&mut self) -> io::Result<()> {
        if !self.0.is_empty() {
            blocking(|| io::stdout().write_all(&self.0))?;
            self.0.clear();
        }
        Ok(())
    }
}

impl Search {
    fn new(pattern: &[u8], paths: usize) -> Search {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let output = io::stdout().as_fd().try_clone_to_owned().and_then(|output| File::from(output).metadata());
        Search {
            pattern: Finder::new(pattern).into_owned(),
            found: Channel::new().share(),
            has_names: paths > 1,
            is_utf8: locale.ends_with("utf-8") || locale.ends_with("utf8"),
            output: output.ok().filter(fs::Metadata::is_file).map(|output| (output.dev(), output.ino())),
        }
    }

    /// Starts a tasklet for each file, and returns when all of them have ended.
    fn walk_all(&self, paths: Vec<PathBuf>) {
        let done: SharedChannel<()> = Channel::new().share();
        scope(|files| {
            let mut in_flight = 0;
            let mut start = |path: PathBuf, has_name: bool| {
                if in_flight == IN_FLIGHT {
                    // A tasklet that is done waits to be counted: what waits is in flight, too.
                    done.recv().expect("each file comes to its end");
                    in_flight -= 1;
                }
                in_flight += 1;
                let done = &done;
                files.spawn(move || {
                    self.search_file(path, has_name);
                    // Closed when the last file has been found, and who is done need not be counted any more.
                    let _ = done.send(());
                });
            };
            for path in paths {
                // Unlike those in directories, a link on the command line is followed.
                match blocking(|| fs::metadata(&path)) {
                    Ok(data) if data.is_dir() => self.walk(path, &mut |path| start(path, true)),
                    Ok(_) => start(path, self.has_names),
                    Err(error) => drop(self.report(Found::Error(path, error))),
                }
            }
            done.close();
        });
    }

    /// Calls `visit` with each file below a directory.
    fn walk(&self, root: PathBuf, visit: &mut impl FnMut(PathBuf)) {
        let mut directories = vec![without_doubled_slash(root)];
        while let Some(directory) = directories.pop() {
            if let Err(error) = self.list(&directory, &mut directories, visit)
                && self.report(Found::Error(directory, error)).is_err()
            {
                return;
            }
        }
    }

    fn list(
        &self,
        directory: &Path,
        directories: &mut Vec<PathBuf>,
        visit: &mut impl FnMut(PathBuf),
    ) -> io::Result<()> {
        let mut entries = blocking(|| fs::read_dir(directory))?;
        loop {
            let with_type =
                |entry: io::Result<fs::DirEntry>| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
            let some: Vec<_> = blocking(|| entries.by_ref().take(ENTRIES).map(with_type).collect());
            let is_all = some.len() < ENTRIES;
            for entry in some {
                match entry? {
                    (path, kind) if kind.is_dir() => directories.push(path),
                    (path, kind) if kind.is_file() => visit(path),
                    _ => {}
                }
            }
            if is_all || self.found.is_closing() {
                return Ok(());
            }
        }
    }

    /// What the tasklet of one file does.
    fn search_file(&self, path: PathBuf, has_name: bool) {
        let mut report = Report::new(self, &path, has_name);
        let result = self.search_text(&path, &mut report).and_then(|()| report.flush());
        // Lets the printer go on with other files: what there is to say about this one comes after its lines.
        let is_binary = report.is_binary;
        drop(report);
        if is_binary {
            let _ = self.report(Found::Binary(path.clone()));
        }
        if let Err(Stop::Error(error)) = result {
            let _ = self.report(Found::Error(path, error));
        }
    }

    fn search_text(&self, path: &Path, report: &mut Report<'_>) -> Result<(), Stop> {
        let file = blocking(|| self.open(path))?;
        let mut text = Vec::with_capacity(PIECE);
        let mut has_nul = false;
        loop {
            let old = text.len();
            let length = blocking(|| (&file).take(PIECE as u64).read_to_end(&mut text));
            let new = &text[old..];
            let is_last = new.len() < PIECE;
            has_nul |= memchr(0, new).is_some();
            // A line that has not ended waits for its end. What is no text need not have lines.
            let end = if has_nul { memrchr2(b'\n', 0, new) } else { memrchr(b'\n', new) };
            let end = if is_last { text.len() } else { end.map_or(0, |at| old + at + 1) };
            if !has_nul {
                self.search_lines(&text[..end], report)?;
            } else if end != 0 && self.pattern.find(&text[..end]).is_some() {
                report.is_binary = true;
                return Ok(());
            }
            length?;
            if is_last {
                return Ok(());
            }
            text.drain(..end);
        }
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let file = File::open(path)?;
        let data = file.metadata()?;
        if self.output.is_some_and(|output| output == (data.dev(), data.ino())) {
            return Err(io::Error::other("input file is also the output"));
        }
        Ok(file)
    }

    /// Reports the lines of `text` that match. Its last line may lack a newline.
    fn search_lines(&self, text: &[u8], report: &mut Report<'_>) -> Result<(), Stop> {
        let mut rest = text;
        while !rest.is_empty()
            && let Some(hit) = self.pattern.find(rest)
        {
            let start = memrchr(b'\n', &rest[..hit]).map_or(0, |at| at + 1);
            let end = memchr(b'\n', &rest[hit..]).map_or(rest.len(), |at| hit + at);
            report.line += memchr_iter(b'\n', &rest[..start]).count() as u64;
            report.put(&rest[start..end])?;
            report.line += 1;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        report.line += memchr_iter(b'\n', rest).count() as u64;
        Ok(())
    }

    fn report(&self, found: Found) -> Result<(), Stop> {
        self.found.send(found).map_err(|_| Stop::Unheard)
    }
}

/// Why the search of a file ends early.
enum Stop {
    Error(io::Error),
    /// The printer has ended: nobody reads what it prints.
    Unheard,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Error(error)
    }
}

/// What is reported of one file.
struct Report<'a> {
    search: &'a Search,
    /// What each line begins with.
    name: Vec<u8>,
    /// The number of the line that is looked at.
    line: u64,
    /// Lines that the printer has not got yet.
    batch: Vec<u8>,
    /// Once the printer has got some; it waits for more until this is closed.
    lines: Option<Sender<Vec<u8>>>,
    is_binary: bool,
}

impl<'a> Report<'a> {
    fn new(search: &'a Search, path: &Path, has_name: bool) -> Report<'a> {
        let name = if has_name { [path.as_os_str().as_bytes(), b":"].concat() } else { Vec::new() };
        Report { search, name, line: 1, batch: Vec::new(), lines: None, is_binary: false }
    }

    fn put(&mut self, line: &[u8]) -> Result<(), Stop> {
        if self.search.is_utf8 && std::str::from_utf8(line).is_err() {
            self.is_binary = true;
            return Ok(());
        }
        self.batch.extend_from_slice(&self.name);
        write!(self.batch, "{}:", self.line)?;
        self.batch.extend_from_slice(line);
        self.batch.push(b'\n');
        if self.batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Gives the printer what there is. The first time, that takes until the printer has turned to this file.
    fn flush(&mut self) -> Result<(), Stop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let lines = match &self.lines {
            Some(lines) => lines,
            None => {
                let lines = self.lines.insert(Sender(Channel::new().share()));
                self.search.report(Found::Lines(lines.0.clone()))?;
                lines
            }
        };
        lines.0.send(std::mem::take(&mut self.batch)).map_err(|_| Stop::Unheard)
    }
}

/// As `grep` names what is in a directory: a slash at the end of its name is not doubled.
fn without_doubled_slash(path: PathBuf) -> PathBuf {
    let mut bytes = path.into_os_string().into_vec();
    while bytes.ends_with(b"//") {
        bytes.pop();
    }
    OsString::from_vec(bytes).into()
}
