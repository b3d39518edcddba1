//! Serves the files of a directory over HTTP/1.1: how a server is written with tasklets.
//!
//! | file | what it is |
//! |---|---|
//! | `connection` | one client: requests and answers, one after the other |
//! | `request` | what a head asks for, or why it is refused |
//! | `files` | what is found below the directory, and which part of it is asked for |
//!
//! One tasklet accepts, and spawns one for each connection, which reads and writes as if it had a thread to itself. Files are looked up and read
//! where that may block. What is limited: the size of a request's head and of a body that nobody wants, the time until a request has come, the time for
//! which a client may read nothing, and how many connections there are at a time.
//!
//! On SIGTERM or SIGINT no more are accepted, those that wait for a request are closed, and those that are being answered get their answer. What is not
//! sent when the grace is over is cut short, so that the end comes whatever the clients do; the exit status tells.
//!
//! ```text
//! cargo run --release --example http_server -- docs --port 8080
//! curl -r 0-99 http://localhost:8080/kinds.tsv
//! ```

#![forbid(unsafe_code)]

#[path = "../common/arguments.rs"]
mod arguments;
mod connection;
mod files;
mod request;
#[path = "../common/serving.rs"]
mod serving;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tasklet::{Builder, CancelToken};

use crate::connection::Connection;
use crate::serving::{Bounds, Failure, end, listen, serve};

const USAGE: &str = "usage: http_server DIR [OPTION VALUE]...

Serves the files below DIR over HTTP at the loopback address. SIGTERM ends it.

  --port P            listens at port P (8080); at 0 the system chooses one
  --connections N     serves N connections at a time (10000); more wait to be accepted
  --idle SECONDS      keeps a connection for so long on which nothing is asked (30)
  --request SECONDS   waits for so long for a request, from its first byte to its last (10)
  --patience SECONDS  waits for so long for a client that reads nothing of its answer (30)
  --grace SECONDS     takes so long at most for answers that are on the way when it is to end (10)";

struct Arguments {
    directory: PathBuf,
    port: u16,
    limits: Limits,
}

pub(crate) struct Limits {
    /// Connections at a time.
    connections: usize,
    /// For how long a connection is kept that nothing is asked on.
    idle: Duration,
    /// From the first byte of a request to its last: a client that trickles is not waited for.
    request: Duration,
    /// Without any progress while an answer is sent.
    patience: Duration,
    /// For answers that are on the way when the server is to end.
    grace: Duration,
}

/// What all connections share.
pub(crate) struct Site {
    root: PathBuf,
    limits: Limits,
    /// Cancelled when the server is to end.
    stopping: CancelToken,
}

fn main() -> ExitCode {
    arguments::main("http_server", USAGE, read, run)
}

fn read(arguments: &mut arguments::Arguments) -> Result<Option<Arguments>, String> {
    let seconds = Duration::from_secs;
    let (mut directory, mut port) = (None, 8080);
    let mut limits = Limits {
        connections: 10_000,
        idle: seconds(30),
        request: seconds(10),
        patience: seconds(30),
        grace: seconds(10),
    };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--port") => port = arguments.number(0..=u16::MAX)?,
            Some("--connections") => limits.connections = arguments.number(1..=1_000_000)?,
            Some("--idle") => limits.idle = arguments.time()?,
            Some("--request") => limits.request = arguments.time()?,
            Some("--patience") => limits.patience = arguments.time()?,
            Some("--grace") => limits.grace = arguments.time()?,
            Some(option) if option.starts_with('-') => return Err(arguments.unknown()),
            _ if directory.is_some() => return Err(format!("one directory is served, not {} too", argument.display())),
            _ => directory = Some(PathBuf::from(argument)),
        }
    }
    let directory = directory.ok_or("which directory is to be served?")?;
    Ok(Some(Arguments { directory, port, limits }))
}

fn run(Arguments { directory, port, limits }: Arguments) -> Result<(), Failure> {
    let no_directory = |error| format!("could not serve {}: {error}", directory.display());
    let root = directory.canonicalize().map_err(no_directory)?;
    if !root.is_dir() {
        return Err(no_directory(ErrorKind::NotADirectory.into()).into());
    }
    let bounds = Bounds { connections: limits.connections, grace: limits.grace };
    let site = Arc::new(Site { root, limits, stopping: CancelToken::new() });
    let runtime = Builder::new().build()?;
    let left = runtime.run(|| -> Result<usize, Failure> {
        let listener = listen("http://", port, &site.stopping)?;
        let server = site.clone();
        let talk = move |stream, _| Connection::new(stream, &server).converse();
        Ok(serve("http_server", &listener, &bounds, &site.stopping, talk))
    })?;
    end(runtime, left, "answers could not be sent", bounds.grace)
}
