//! A server that speaks the protocol of redis: a tasklet for each client, with a store that they share, and messages from some to others.
//!
//! | file | what it is |
//! |---|---|
//! | `resp` | the protocol: requests, replies, limits |
//! | `store` | keys and values, and one tasklet that removes what has expired |
//! | `command` | what the commands do |
//! | `pubsub` | who listens to which channel |
//! | `session` | one client, which waits for its socket and for messages at the same time |
//!
//! It knows PING, ECHO, GET, SET (EX, PX, NX, XX), DEL, EXISTS, INCR, LPUSH, LRANGE, EXPIRE and PEXPIRE (NX, XX, GT, LT), TTL, PTTL, SUBSCRIBE, UNSUBSCRIBE, PUBLISH, RESET, and what
//! clients ask before they do anything. What it keeps is in memory and has no limit; what a client can take of it besides has: a request of 4 MiB, with
//! values of 1 MiB (twice that while it comes in); 64 KiB of replies and one reply of 16 MiB; and, if it listens to channels, 64 KiB of their
//! names, and 8 MiB of messages that are shared with others who get them. One that does not read its replies is not read from, and dropped after 30 seconds; one that does not read its messages is
//! dropped when there is no room for more.
//!
//! On SIGTERM or SIGINT no more clients are accepted, and what has come from those that are there is answered before they are closed. For that there is
//! some time; then the runtime is shut down, which ends the others in the middle of whatever they wait for. So no wait for a client is masked: only the
//! waits for what a client says next are under the token that is cancelled at the signal.
//!
//! ```text
//! cargo run --release --example redis_server -- --port 6379
//! redis-cli SET greeting hello EX 60
//! redis-benchmark -t set,get,incr,lpush -n 200000 -q -P 16
//! ```

#![forbid(unsafe_code)]

#[path = "../common/arguments.rs"]
mod arguments;
mod command;
#[path = "../common/linger.rs"]
mod linger;
mod pubsub;
mod resp;
#[path = "../common/serving.rs"]
mod serving;
mod session;
mod store;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tasklet::{Builder, CancelToken, spawn};

use crate::pubsub::Hub;
use crate::serving::{Bounds, Failure, end, listen, serve};
use crate::store::Store;

const USAGE: &str = "usage: redis_server [--port P] [--clients N] [--patience SECONDS] [--grace SECONDS]

Keeps what redis clients tell it, in memory, at port 6379 of the loopback address or P; at 0 the system chooses one. It has N clients at a time, 10000 by
default, and drops one that takes nothing of its replies for 30 seconds, or as said by --patience. SIGTERM ends it, after 10 seconds, or as said by --grace,
at the latest.";

struct Arguments {
    port: u16,
    limits: Limits,
}

/// What can be set by arguments.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Clients at a time: more wait to be accepted.
    clients: usize,
    /// Without any progress while replies are sent.
    patience: Duration,
    /// For replies that are on the way when the server is to end.
    grace: Duration,
}

/// What all clients share.
pub(crate) struct Server {
    store: Store,
    hub: Hub,
    limits: Limits,
    /// Cancelled when the server is to end.
    stopping: CancelToken,
}

fn main() -> ExitCode {
    arguments::main("redis_server", USAGE, read, run)
}

fn read(arguments: &mut arguments::Arguments) -> Result<Option<Arguments>, String> {
    let mut port = 6379;
    let mut limits = Limits { clients: 10_000, patience: Duration::from_secs(30), grace: Duration::from_secs(10) };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--port") => port = arguments.number(0..=u16::MAX)?,
            Some("--clients") => limits.clients = arguments.number(1..=1_000_000)?,
            Some("--patience") => limits.patience = arguments.time()?,
            Some("--grace") => limits.grace = arguments.time()?,
            _ => return Err(arguments.unknown()),
        }
    }
    Ok(Some(Arguments { port, limits }))
}

fn run(Arguments { port, limits }: Arguments) -> Result<(), Failure> {
    let runtime = Builder::new().build()?;
    let left = runtime.run(|| -> Result<usize, Failure> {
        let stopping = CancelToken::new();
        let listener = listen("redis://", port, &stopping)?;
        let server = Server { store: Store::default(), hub: Hub::default(), limits, stopping: stopping.clone() };
        let server = Arc::new(server);
        let sweeper = server.clone();
        spawn(move || sweeper.store.sweep());
        let bounds = Bounds { connections: limits.clients, grace: limits.grace };
        let talk = move |stream, peer| session::converse(&server, &stream, peer);
        Ok(serve("redis_server", &listener, &bounds, &stopping, talk))
    })?;
    // What is left ends with the runtime, the one that sweeps too.
    end(runtime, left, "clients did not take their replies", limits.grace)
}
