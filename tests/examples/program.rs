//! Finding and running the examples' executables, and folders for what they read.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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
    command(name).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs with `input` on the standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

/// Runs with an output that nobody reads.
pub(crate) fn run_with_closed_output(name: &str, arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command(name).args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What ends, ends within this: far longer than it takes, far shorter than for ever.
pub(crate) const PROMPT: Duration = Duration::from_secs(20);

/// Waits for a program's end, and kills one that does not end.
#[track_caller]
pub(crate) fn wait_promptly(child: Child) -> Output {
    let id = child.id();
    let (tell, told) = mpsc::channel();
    let waiter = thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
    let output = told.recv_timeout(PROMPT);
    if output.is_err() {
        send("KILL", id);
    }
    waiter.join().unwrap().unwrap();
    output.unwrap_or_else(|_| panic!("it does not end: {}", stderr(&told.recv().unwrap())))
}

/// Sends a signal to a program.
pub(crate) fn signal(child: &Child, name: &str) {
    send(name, child.id());
}

fn send(signal: &str, id: u32) {
    let sent = Command::new("kill").args(["-s", signal, &id.to_string()]).status().unwrap();
    assert!(sent.success());
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
