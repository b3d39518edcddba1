//! hyper on tasklets: an async server library, with our sockets below and our scheduler around it.
//!
//! Connections are soft tasklets: hyper's futures, polled by the same workers that run everything else. What hyper asks for is in `adapters`: sockets, by way of
//! futures-io's traits and the crate `smol-hyper`, and timers. A handler that has much to do in straight-line code spawns a tasklet and awaits its handle:
//! `/primes/N` does that, and gives way to others meanwhile. When the client leaves, hyper drops the handler's future, and that kills the tasklet;
//! but hyper sees that it has left only when nothing is left to be read before that, so not of a client that has asked ahead.
//!
//! What is limited: how many connections there are at a time, the time until a head has come, the size of a head and of a body, and the time for which a client
//! may send nothing of a body or read nothing of an answer. On SIGTERM or SIGINT no more are accepted, and connections are asked to end when they have
//! answered. What is left when the grace is over is killed; the exit status tells.
//!
//! ```text
//! cargo run --release --example hyper_server -- --port 8080
//! curl http://localhost:8080/primes/100000
//! curl -d 'hello' http://localhost:8080/echo
//! ```

#![forbid(unsafe_code)]

mod adapters;
#[path = "../common/arguments.rs"]
mod arguments;
#[path = "../common/stopping.rs"]
mod stopping;

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use smol_hyper::rt::FuturesIo;
use tasklet::channel::{WatchReceiver, watch};
use tasklet::net::{TcpListener, TcpStream};
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::stealing::sleep_async;
use tasklet::sync::Semaphore;
use tasklet::{Builder, checkpoint, spawn, spawn_async};

use crate::adapters::{Awaited, Socket, Timers, Upload};
use crate::arguments::Arguments;

const USAGE: &str = "usage: hyper_server [OPTION VALUE]...

Answers HTTP at the loopback address: /, /echo, /primes/N, /slow/MILLISECONDS, /counts. SIGTERM ends it.

  --port P            listens at port P (8080); at 0 the system chooses one
  --connections N     serves N connections at a time (10000); more wait to be accepted
  --idle SECONDS      waits for so long for the head of a request, from when it may come to its last byte (10)
  --patience SECONDS  waits for so long for a client that sends nothing of a body, or reads nothing of an answer (30)
  --grace SECONDS     takes so long at most for answers that are on the way when it is to end (10)";

/// For what was on the way when the grace was over to be killed.
const TIME_TO_CUT: Duration = Duration::from_secs(2);
/// Bytes that hyper collects of a connection: no head may be longer.
const BUFFER: usize = 64 << 10;
/// Bytes of a body.
const BODY: usize = 64 << 20;
/// Up to which number primes are counted.
const MOST_PRIMES: u64 = 10_000_000;
/// How slow an answer can be had, in milliseconds.
const SLOWEST: u64 = 60_000;

/// Why a body is not whole.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

type Answer = Response<BoxBody<Bytes, Failure>>;

#[derive(Clone, Copy)]
struct Limits {
    /// Connections at a time.
    connections: usize,
    /// For the head of a request, from when it may come to its last byte.
    idle: Duration,
    /// Without any progress while a body comes or an answer is sent.
    patience: Duration,
    /// For answers that are on the way when the server is to end.
    grace: Duration,
}

/// How often primes have been counted.
#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    finished: AtomicU64,
    /// The client has left.
    given_up: AtomicU64,
}

fn main() -> ExitCode {
    arguments::main("hyper_server", USAGE, read, run)
}

fn read(arguments: &mut Arguments) -> Result<Option<(u16, Limits)>, String> {
    let seconds = Duration::from_secs;
    let mut port = 8080;
    let mut limits = Limits { connections: 10_000, idle: seconds(10), patience: seconds(30), grace: seconds(10) };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--port") => port = arguments.number(0..=u16::MAX)?,
            Some("--connections") => limits.connections = arguments.number(1..=1_000_000)?,
            Some("--idle") => limits.idle = arguments.time()?,
            Some("--patience") => limits.patience = arguments.time()?,
            Some("--grace") => limits.grace = arguments.time()?,
            _ => return Err(arguments.unknown()),
        }
    }
    Ok(Some((port, limits)))
}

fn run((port, limits): (u16, Limits)) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new().build()?;
    let left = runtime.run(|| serve(port, limits))?;
    // Kills the tasklets that are left, which closes their connections.
    runtime.shutdown(TIME_TO_CUT);
    match left {
        0 => Ok(()),
        left => Err(format!("{left} connections did not come to their end within {:?}", limits.grace).into()),
    }
}

/// Serves until a signal comes. Returns how many connections have not come to their end.
fn serve(port: u16, limits: Limits) -> io::Result<usize> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .map_err(|error| io::Error::new(error.kind(), format!("could not listen at port {port}: {error}")))?;
    let signals = Signals::new([SIGTERM, SIGINT])?;
    println!("http://{}", listener.local_addr()?);
    let places = Arc::new(Semaphore::new(limits.connections));
    let (stop, stopping) = watch(false);
    let acceptor = spawn({
        let places = places.clone();
        move || accept(&listener, &places, limits, &stopping)
    });
    stopping::wait(&signals);
    // The listener goes with it: who comes from now on is refused, rather than left waiting for nobody.
    acceptor.kill();
    let _ = acceptor.join();
    // They may all have gone.
    let _ = stop.send(true);
    // All places are free when nobody is left.
    Ok(match places.acquire_many_timeout(limits.connections, limits.grace) {
        Ok(_all) => 0,
        Err(_) => limits.connections - places.available_permits(),
    })
}

/// Has each connection served by a soft tasklet.
fn accept(listener: &TcpListener, places: &Arc<Semaphore>, limits: Limits, stopping: &WatchReceiver<bool>) {
    let counts = Arc::new(Counts::default());
    loop {
        let place = places.acquire_owned();
        match listener.accept() {
            Ok((stream, _)) => {
                let (counts, stopping) = (counts.clone(), stopping.clone());
                spawn_async(async move {
                    let _counted = place;
                    // One that has gone, or is too slow, or does not speak HTTP: hyper has told it what there is to tell.
                    let _ = converse(stream, limits, counts, stopping).await;
                });
            }
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("hyper_server: could not accept a connection: {error}"),
        }
    }
}

/// One connection. When the server is to end, it ends after the answer that is on the way.
async fn converse(
    stream: TcpStream,
    limits: Limits,
    counts: Arc<Counts>,
    stopping: WatchReceiver<bool>,
) -> Result<(), hyper::Error> {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(Timers).header_read_timeout(limits.idle).max_buf_size(BUFFER);
    let service = service_fn(|request| {
        let counts = counts.clone();
        async move { Ok::<_, Infallible>(answer(request, limits.patience, counts).await) }
    });
    let socket = FuturesIo::new(Socket::new(stream, limits.patience));
    let mut connection = pin!(builder.serve_connection(socket, service));
    let mut stop = pin!(stopping.changed_async());
    let mut is_told = false;
    poll_fn(|context| {
        if !is_told && stop.as_mut().poll(context).is_ready() {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await
}

async fn answer(request: Request<Incoming>, patience: Duration, counts: Arc<Counts>) -> Answer {
    if request.body().size_hint().lower() > BODY as u64 {
        return status(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has {BODY} bytes at most"));
    }
    let path = request.uri().path();
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.parse::<u64>().ok());
    if path == "/" {
        return text("hello\n");
    }
    if path == "/echo" && request.method() == Method::POST {
        // As it comes. One that does not say how long it is ends the connection when it has become too long.
        return Response::new(Upload::new(request.into_body(), BODY, patience).boxed());
    }
    if let Some(limit) = number("/primes/").filter(|limit| *limit <= MOST_PRIMES) {
        // Straight-line code, on a stack of its own; this future waits for its end.
        return match Awaited(spawn(move || Work::begin(counts).primes_below(limit))).await {
            Ok(count) => text(format!("{count}\n")),
            Err(error) => status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
    }
    if let Some(millis) = number("/slow/").filter(|millis| *millis <= SLOWEST) {
        sleep_async(Duration::from_millis(millis)).await;
        return text("at last\n");
    }
    if path == "/counts" {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (begun, finished, given_up) = (count(&counts.begun), count(&counts.finished), count(&counts.given_up));
        return text(format!("primes: {begun} begun, {finished} finished, {given_up} given up\n"));
    }
    status(StatusCode::NOT_FOUND, "there is no such thing")
}

fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed())
}

fn status(status: StatusCode, why: impl Into<Bytes>) -> Answer {
    let mut answer = text(why);
    *answer.status_mut() = status;
    answer
}

/// Some work, which ends with its result or with the tasklet that does it.
struct Work {
    counts: Arc<Counts>,
    is_finished: bool,
}

impl Work {
    fn begin(counts: Arc<Counts>) -> Work {
        counts.begun.fetch_add(1, Ordering::Relaxed);
        Work { counts, is_finished: false }
    }

    fn primes_below(mut self, limit: u64) -> usize {
        let is_prime = |n: &u64| {
            // Others run now and then, and a kill ends it.
            checkpoint();
            (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d))
        };
        let count = (2..limit).filter(is_prime).count();
        self.is_finished = true;
        count
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let counter = if self.is_finished { &self.counts.finished } else { &self.counts.given_up };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
