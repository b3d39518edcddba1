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
//! It knows PING, ECHO, GET, SET (EX, PX, NX, XX), DEL, EXISTS, INCR, LPUSH, LRANGE, EXPIRE, PEXPIRE, TTL, PTTL, SUBSCRIBE, UNSUBSCRIBE, PUBLISH, and what
//! clients ask before they do anything. What it keeps is in memory and has no limit; what a client can take of it besides has: a request of 4 MiB, with
//! values of 1 MiB (twice that while it comes in); 64 KiB of replies and one reply of 16 MiB; and, if it listens to channels, 8 MiB of messages that are
//! shared with others who get them. One that does not read its replies is not read from, and dropped after 30 seconds; one that does not read its messages is
//! dropped when there is no room for more.
//!
//! On SIGTERM or SIGINT no more clients are accepted, and what has come from those that are there is answered before they are closed.
//!
//! ```text
//! cargo run --release --example redis_server -- --port 6379
//! redis-cli SET greeting hello EX 60
//! redis-benchmark -t set,get,incr,lpush -n 200000 -q -P 16
//! ```

#![forbid(unsafe_code)]

mod command;
mod pubsub;
mod resp;
mod session;
mod store;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tasklet::net::TcpListener;
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::sync::{Semaphore, WaitGroup};
use tasklet::{Builder, CancelToken, spawn};

use crate::pubsub::Hub;
use crate::store::Store;

const USAGE: &str = "usage: redis_server [--port P]

Keeps what redis clients tell it, in memory, at port 6379 of the loopback address or P; at 0 the system chooses one. SIGTERM ends it.";

/// Clients at a time: more wait to be accepted.
const CLIENTS: usize = 10_000;
/// For replies that are on the way when the server is to end.
const TIME_TO_END: Duration = Duration::from_secs(10);

/// What all clients share.
#[derive(Default)]
pub(crate) struct Server {
    store: Store,
    hub: Hub,
}

fn main() -> ExitCode {
    let port = match arguments() {
        Ok(Some(port)) => port,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("redis_server: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<u16>, String> {
    let mut port = 6379;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--port") => {
                let value = arguments.next().ok_or("--port needs a number")?;
                let number = value.to_str().and_then(|value| value.parse().ok());
                port = number.ok_or_else(|| format!("--port {}: needs a number up to 65535", value.display()))?;
            }
            _ => return Err(format!("there is no argument {}", argument.display())),
        }
    }
    Ok(Some(port))
}

fn run(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Builder::new().build()?;
    let served = runtime.run(|| -> io::Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .map_err(|error| io::Error::new(error.kind(), format!("could not listen at port {port}: {error}")))?;
        let (signals, stopping) = (Signals::new([SIGTERM, SIGINT])?, CancelToken::new());
        let token = stopping.clone();
        spawn(move || {
            if signals.recv().is_ok() {
                token.cancel();
            }
        });
        println!("redis://{}", listener.local_addr()?);
        serve(&listener, &stopping);
        Ok(())
    });
    // What is left, such as the one that sweeps, ends with the runtime.
    Ok(served?)
}

/// Accepts until the token is cancelled, and waits for what is being answered then.
fn serve(listener: &TcpListener, stopping: &CancelToken) {
    let server = Arc::new(Server::default());
    let places = Arc::new(Semaphore::new(CLIENTS));
    let clients = WaitGroup::new();
    let sweeper = server.clone();
    spawn(move || sweeper.store.sweep());
    while !stopping.is_cancelled() {
        let Ok(place) = stopping.run(|| places.acquire_owned_timeout(Duration::MAX)) else { continue };
        match stopping.run(|| listener.accept()) {
            Ok((stream, _)) => {
                let (server, member, token) = (server.clone(), clients.clone(), stopping.clone());
                spawn(move || {
                    let _counted = (place, member);
                    token.run(|| session::converse(&server, &stream, &token));
                });
            }
            Err(_) if stopping.is_cancelled() => {}
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("redis_server: could not accept a connection: {error}"),
        }
    }
    if clients.wait_timeout(TIME_TO_END).is_err() {
        eprintln!("redis_server: some replies could not be sent within {TIME_TO_END:?}");
    }
}
