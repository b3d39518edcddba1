//! Finding and running the examples' executables, and folders for what they read.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Where cargo has put an example: beside the tests, for which `cargo test` builds it too.
pub(crate) fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path =
        test.ancestors().nth(2).unwrap().join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing: `cargo test --test examples` builds no examples, `cargo build --examples` with the same features does",
        path.display()
    );
    path
}

pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(path(name));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

pub(crate) fn run(name: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    output(command(name).args(arguments).stdin(Stdio::null()))
}

/// Runs with `input` on the standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        wait(child)
    })
}

/// Runs with an output that nobody reads.
pub(crate) fn run_with_closed_output(name: &str, arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    wait(command(name).args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap())
}

/// Runs a program; returns what it has printed.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What ends, ends within this: far longer than it takes, far shorter than for ever.
pub(crate) const PROMPT: Duration = Duration::from_secs(20);
/// As that, for programs that have much to do.
pub(crate) const LONG: Duration = Duration::from_secs(100);

/// Does what waits for a program, and kills the program if that takes too long. Whether it had to: the wait ends then, but with nothing.
pub(crate) fn within<T>(limit: Duration, id: u32, wait: impl FnOnce() -> T) -> (T, bool) {
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let is_late = is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_late {
                // And what it has started, if that is a group of its own. It may all have ended just now.
                let _ = kill("KILL", &[format!("-{id}"), id.to_string()]);
            }
            is_late
        });
        let result = wait();
        drop(done);
        (result, watch.join().unwrap())
    })
}

#[track_caller]
fn wait_within(limit: Duration, child: Child) -> Output {
    let (output, was_killed) = within(limit, child.id(), || child.wait_with_output().unwrap());
    assert!(!was_killed, "it does not end within {limit:?}: {}", stderr(&output));
    output
}

/// Waits for the end of a program that has to end at once, and kills one that does not.
#[track_caller]
pub(crate) fn wait_promptly(child: Child) -> Output {
    wait_within(PROMPT, child)
}

/// Waits for the end of a program that does what it has to, and kills one that does not end.
#[track_caller]
pub(crate) fn wait(child: Child) -> Output {
    wait_within(LONG, child)
}

/// A line that a program prints, nothing at the end. One that does neither is killed.
#[track_caller]
pub(crate) fn line(id: u32, output: &mut impl BufRead) -> String {
    let mut line = String::new();
    let (read, was_killed) = within(PROMPT, id, || output.read_line(&mut line));
    assert!(!was_killed, "it prints no line: {line:?}");
    read.unwrap();
    line
}

/// Sends a signal to a program.
pub(crate) fn signal(child: &Child, name: &str) {
    assert!(kill(name, &[child.id().to_string()]).success());
}

fn kill(signal: &str, ids: &[String]) -> ExitStatus {
    Command::new("kill").args(["-s", signal, "--"]).args(ids).stderr(Stdio::null()).status().unwrap()
}

/// Makes a pipe that has a name.
pub(crate) fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Opens a pipe to write into it, when somebody reads it.
#[track_caller]
pub(crate) fn open_fifo(path: &Path) -> File {
    let start = Instant::now();
    loop {
        // One that blocks would wait for ever for a program that does not open it.
        match File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(fifo) => {
                rustix::io::ioctl_fionbio(&fifo, false).unwrap();
                return fifo;
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "{error}"),
        }
        assert!(start.elapsed() < PROMPT, "nobody reads {}", path.display());
        thread::sleep(Duration::from_millis(1));
    }
}

/// A folder of its own for one test, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Makes a file; returns its path.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
