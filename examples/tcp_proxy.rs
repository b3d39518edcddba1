//! Passes connections on to another address: bytes go from one socket to the other without a way through the program.
//!
//! Each connection has two tasklets, one for each direction, with a relay. When one end says that it sends no more, the other is told just
//! that, and the other direction goes on: half-closed connections stay so. When one end resets the connection, or the two cannot be brought together,
//! the other is reset too, so that nobody takes what has come for all there was. Nothing ends a connection on which nothing happens.
//!
//! On SIGTERM or SIGINT no more are accepted, and those that are open have some time to come to their end; then they are reset. It says at the end what has
//! gone through, and by its status whether any was reset.
//!
//! ```text
//! cargo run --release --example http_server -- docs --port 8000
//! cargo run --release --example tcp_proxy -- --listen 127.0.0.1:8080 --to localhost:8000
//! curl http://localhost:8080/kinds.tsv
//! ```

#![forbid(unsafe_code)]

#[path = "common/arguments.rs"]
mod arguments;
#[path = "common/stopping.rs"]
mod stopping;

use std::io;
use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tasklet::io::Relay;
use tasklet::net::{TcpListener, TcpStream, ToSocketAddrs};
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::sync::Semaphore;
use tasklet::{Builder, CancelToken, spawn};

const USAGE: &str = "usage: tcp_proxy --listen HOST:PORT --to HOST:PORT [--connections N] [--grace SECONDS]

Passes connections to the first address on to the second, N at a time, 5000 by default. At port 0 the system chooses one. SIGTERM ends it: at once if no
connection is open, after SECONDS, 10 by default, at the latest.";

/// For each address that the target's name stands for.
const TIME_TO_CONNECT: Duration = Duration::from_secs(5);

struct Arguments {
    listen: String,
    to: String,
    /// Connections at a time: more wait to be accepted. Each takes six descriptors, two of them the sockets.
    connections: usize,
    grace: Duration,
}

/// What has gone through.
#[derive(Default)]
struct Totals {
    connections: AtomicU64,
    /// Bytes from those who connect.
    up: AtomicU64,
    /// Bytes to them.
    down: AtomicU64,
}

fn main() -> ExitCode {
    arguments::main("tcp_proxy", USAGE, read, run)
}

fn read(arguments: &mut arguments::Arguments) -> Result<Option<Arguments>, String> {
    let (mut listen, mut to, mut connections, mut grace) = (None, None, 5000, Duration::from_secs(10));
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--listen") => listen = Some(arguments.value()?),
            Some("--to") => to = Some(arguments.value()?),
            Some("--connections") => connections = arguments.number(1..=1_000_000)?,
            Some("--grace") => grace = arguments.time()?,
            _ => return Err(arguments.unknown()),
        }
    }
    let listen = listen.ok_or("where is it to listen? --listen says it")?;
    let to = to.ok_or("where are connections to go? --to says it")?;
    Ok(Some(Arguments { listen, to, connections, grace }))
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let totals = Arc::new(Totals::default());
    let counted = totals.clone();
    let grace = arguments.grace;
    let left = Builder::new().build()?.run(move || -> io::Result<usize> {
        let listen = arguments.listen.as_str();
        let listener = TcpListener::bind(listen)
            .map_err(|error| io::Error::new(error.kind(), format!("could not listen at {listen}: {error}")))?;
        let signals = Signals::new([SIGTERM, SIGINT])?;
        println!("{}", listener.local_addr()?);
        let stopping = CancelToken::new();
        let token = stopping.clone();
        let watcher = spawn(move || {
            stopping::wait(&signals);
            token.cancel();
        });
        let left = serve(&listener, &arguments, &counted, &stopping);
        watcher.kill();
        Ok(left)
    })?;
    let count = |total: &AtomicU64| total.load(Ordering::Relaxed);
    let (connections, up, down) = (count(&totals.connections), count(&totals.up), count(&totals.down));
    println!("{connections} connections, {up} bytes there, {down} bytes back");
    match left {
        0 => Ok(()),
        left => Err(format!("reset {left} connections that had not come to their end within {grace:?}").into()),
    }
}

/// Accepts until the token is cancelled, and waits for those that are open then. Returns how many it had to reset.
fn serve(listener: &TcpListener, arguments: &Arguments, totals: &Arc<Totals>, stopping: &CancelToken) -> usize {
    let places = Arc::new(Semaphore::new(arguments.connections));
    let breaking = CancelToken::new();
    let target: Arc<str> = arguments.to.as_str().into();
    while !stopping.is_cancelled() {
        let Ok(place) = stopping.run(|| places.acquire_owned_timeout(Duration::MAX)) else { continue };
        match stopping.run(|| listener.accept()) {
            Ok((client, _)) => {
                totals.connections.fetch_add(1, Ordering::Relaxed);
                let (target, totals, broken) = (target.clone(), totals.clone(), breaking.child());
                spawn(move || {
                    let _counted = place;
                    pass_on(client, &target, &totals, &broken);
                });
            }
            Err(_) if stopping.is_cancelled() => {}
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("tcp_proxy: could not accept a connection: {error}"),
        }
    }
    listener.close();
    // All places are free when nobody is left.
    if places.acquire_many_timeout(arguments.connections, arguments.grace).is_ok() {
        return 0;
    }
    let left = arguments.connections - places.available_permits();
    breaking.cancel();
    let _all = places.acquire_many(arguments.connections);
    left
}

/// Brings a client together with the target, until both directions have come to their end.
fn pass_on(client: TcpStream, target: &str, totals: &Arc<Totals>, broken: &CancelToken) {
    let server = match broken.run(|| connect(target)) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("tcp_proxy: could not connect to {target}: {error}");
            return reset(&client);
        }
    };
    // What is passed on was sent by somebody who has decided that it is to go.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ends = Arc::new((client, server));
    let there = {
        let (ends, totals, broken) = (ends.clone(), totals.clone(), broken.clone());
        spawn(move || one_way(&ends.0, &ends.1, &totals.up, &broken))
    };
    one_way(&ends.1, &ends.0, &totals.down, broken);
    // It does not panic.
    let _ = there.join();
    if broken.is_cancelled() {
        reset(&ends.0);
        reset(&ends.1);
    }
}

/// Connects to the first of the target's addresses that accepts it.
fn connect(target: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name stands for no address");
    for address in target.addresses()? {
        match TcpStream::connect_timeout(&address, TIME_TO_CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One direction. Whatever goes wrong ends the other too.
fn one_way(from: &TcpStream, to: &TcpStream, total: &AtomicU64, broken: &CancelToken) {
    let mut relay = Relay::new();
    let copied = broken.run(|| relay.copy(from, to));
    total.fetch_add(relay.copied(), Ordering::Relaxed);
    if copied.and_then(|_| to.shutdown(Shutdown::Write)).is_err() {
        broken.cancel();
    }
}

/// The other end is told that this was not all, when the last handle goes.
fn reset(stream: &TcpStream) {
    let _ = stream.set_linger(Some(Duration::ZERO));
}
