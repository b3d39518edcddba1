//! Passes connections on to another address: bytes go from one socket to the other without a way through the program.
//!
//! Each connection has two tasklets, one for each direction, with a relay. When one end says that it sends no more, the other is told just
//! that, and the other direction goes on: half-closed connections stay so. When one end resets the connection, or the two cannot be brought together,
//! the other is reset too, so that nobody takes what has come for all there was. Nothing ends a connection on which nothing happens.
//!
//! On SIGTERM or SIGINT no more are accepted, and those that are open have some time to come to their end; then they are reset. It says at the end what has
//! gone through.
//!
//! ```text
//! cargo run --release --example http_server -- docs --port 8000
//! cargo run --release --example tcp_proxy -- --listen 127.0.0.1:8080 --to localhost:8000
//! curl http://localhost:8080/kinds.tsv
//! ```

#![forbid(unsafe_code)]

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

const USAGE: &str = "usage: tcp_proxy --listen HOST:PORT --to HOST:PORT [--grace SECONDS]

Passes connections to the first address on to the second. At port 0 the system chooses one. SIGTERM ends it: at once if no connection is open,
after SECONDS, 10 by default, at the latest.";

/// Connections at a time: more wait to be accepted. Each takes six descriptors, two of them the sockets.
const CONNECTIONS: usize = 5000;
/// For each address that the target's name stands for.
const TIME_TO_CONNECT: Duration = Duration::from_secs(5);

struct Arguments {
    listen: String,
    to: String,
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
    let arguments = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("tcp_proxy: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcp_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<Arguments>, String> {
    let (mut listen, mut to, mut grace) = (None, None, Duration::from_secs(10));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--listen" => listen = Some(value()?),
            "--to" => to = Some(value()?),
            "--grace" => {
                let value = value()?;
                let seconds = value.parse().map_err(|_| format!("--grace {value}: needs a number of seconds"))?;
                grace = Duration::from_secs(seconds);
            }
            _ => return Err(format!("there is no argument {argument}")),
        }
    }
    let listen = listen.ok_or("where is it to listen? --listen says it")?;
    let to = to.ok_or("where are connections to go? --to says it")?;
    Ok(Some(Arguments { listen, to, grace }))
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let totals = Arc::new(Totals::default());
    let counted = totals.clone();
    let served = Builder::new().build()?.run(move || -> io::Result<()> {
        let listen = arguments.listen.as_str();
        let listener = TcpListener::bind(listen)
            .map_err(|error| io::Error::new(error.kind(), format!("could not listen at {listen}: {error}")))?;
        let signals = Signals::new([SIGTERM, SIGINT])?;
        println!("{}", listener.local_addr()?);
        let stopping = CancelToken::new();
        let token = stopping.clone();
        let watcher = spawn(move || {
            if signals.recv().is_ok() {
                token.cancel();
            }
        });
        serve(&listener, &arguments, &counted, &stopping);
        watcher.kill();
        Ok(())
    });
    served?;
    let count = |total: &AtomicU64| total.load(Ordering::Relaxed);
    let (connections, up, down) = (count(&totals.connections), count(&totals.up), count(&totals.down));
    println!("{connections} connections, {up} bytes there, {down} bytes back");
    Ok(())
}

/// Accepts until the token is cancelled, and waits for those that are open then.
fn serve(listener: &TcpListener, arguments: &Arguments, totals: &Arc<Totals>, stopping: &CancelToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
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
    if places.acquire_many_timeout(CONNECTIONS, arguments.grace).is_err() {
        let left = CONNECTIONS - places.available_permits();
        eprintln!("tcp_proxy: resets {left} connections that have not come to their end within {:?}", arguments.grace);
        breaking.cancel();
        let _all = places.acquire_many(CONNECTIONS);
    }
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
