//! hyper on tasklets: an async server library, with our sockets below and our scheduler around it.
//!
//! Connections are soft tasklets: hyper's futures, polled by the same workers that run everything else. What hyper asks for is two small adapters: sockets, by
//! way of futures-io's traits and the crate `smol-hyper`, and timers. A handler that has much to do in straight-line code spawns a tasklet and awaits its handle:
//! `/primes/N` does that, and gives way to others meanwhile. On SIGTERM or SIGINT, connections are asked to end when they have answered.
//!
//! ```text
//! cargo run --release --example hyper_server -- --port 8080
//! curl http://localhost:8080/primes/100000
//! curl -d 'hello' http://localhost:8080/echo
//! ```

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use smol_hyper::rt::FuturesIo;
use tasklet::channel::{WatchReceiver, watch};
use tasklet::futures::AsyncStream;
use tasklet::net::{TcpListener, TcpStream};
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::stealing::{SleepAsync, sleep_async};
use tasklet::sync::WaitGroup;
use tasklet::{checkpoint, run, spawn, spawn_async};

const USAGE: &str = "usage: hyper_server [--port P]

Answers HTTP at the loopback address, at port 8080 or P; at 0 the system chooses one: /, /echo, /primes/N, /slow/MILLISECONDS. SIGTERM ends it.";

/// From the first byte of a head to its last.
const TIME_FOR_HEAD: Duration = Duration::from_secs(10);
/// For answers that are on the way when the server is to end.
const TIME_TO_END: Duration = Duration::from_secs(10);
/// Up to which number primes are counted.
const MOST: u64 = 10_000_000;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let port = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(8080),
        (Some("-h" | "--help"), ..) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        (Some("--port"), Some(port), None) => {
            port.parse().map_err(|_| format!("--port {port}: needs a number up to 65535"))
        }
        _ => Err("there is one argument: --port P".to_owned()),
    };
    let port = match port {
        Ok(port) => port,
        Err(error) => {
            eprintln!("hyper_server: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(|| serve(port)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .map_err(|error| io::Error::new(error.kind(), format!("could not listen at port {port}: {error}")))?;
    let signals = Signals::new([SIGTERM, SIGINT])?;
    println!("http://{}", listener.local_addr()?);
    let (stop, stopping) = watch(false);
    let connections = WaitGroup::new();
    let acceptor = spawn_async(accept(listener.try_clone()?, connections.clone(), stopping));
    signals.recv()?;
    listener.close();
    // They may all have gone.
    let _ = stop.send(true);
    let _ = acceptor.join();
    if connections.wait_timeout(TIME_TO_END).is_err() {
        eprintln!("hyper_server: some answers were not sent within {TIME_TO_END:?}");
    }
    Ok(())
}

/// Has each connection served by a soft tasklet, until the listener is closed.
async fn accept(listener: TcpListener, connections: WaitGroup, stopping: WatchReceiver<bool>) {
    loop {
        match listener.accept_async().await {
            Ok((stream, _)) => {
                let (member, stopping) = (connections.clone(), stopping.clone());
                spawn_async(async move {
                    let _counted = member;
                    // One that has gone, or does not speak HTTP: hyper has told it what there is to tell.
                    let _ = converse(stream, stopping).await;
                });
            }
            // It was closed.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
            Err(error) => eprintln!("hyper_server: could not accept a connection: {error}"),
        }
    }
}

/// One connection. When the server is to end, it ends after the answer that is on the way.
async fn converse(stream: TcpStream, stopping: WatchReceiver<bool>) -> Result<(), hyper::Error> {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(Timers).header_read_timeout(TIME_FOR_HEAD);
    let io = FuturesIo::new(AsyncStream::new(stream));
    let mut connection = pin!(builder.serve_connection(io, service_fn(answer)));
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

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path();
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.parse::<u64>().ok());
    if path == "/" {
        return Ok(text("hello\n"));
    }
    if path == "/echo" && request.method() == Method::POST {
        // As it comes.
        return Ok(Response::new(request.into_body().boxed()));
    }
    if let Some(limit) = number("/primes/").filter(|limit| *limit <= MOST) {
        // Straight-line code, on a stack of its own; this future waits for its end.
        return Ok(match spawn(move || primes_below(limit)).await {
            Ok(count) => text(format!("{count}\n")),
            Err(error) => status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        });
    }
    if let Some(millis) = number("/slow/") {
        sleep_async(Duration::from_millis(millis)).await;
        return Ok(text("at last\n"));
    }
    Ok(status(StatusCode::NOT_FOUND, "there is no such thing"))
}

fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed())
}

fn status(status: StatusCode, why: impl Into<Bytes>) -> Answer {
    let mut answer = text(why);
    *answer.status_mut() = status;
    answer
}

fn primes_below(limit: u64) -> usize {
    let is_prime = |n: &u64| {
        // Others run now and then.
        checkpoint();
        (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d))
    };
    (2..limit).filter(is_prime).count()
}

/// Our timers, for hyper.
struct Timers;

impl Timer for Timers {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(sleep_async(time)))
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(at.saturating_duration_since(Instant::now()))
    }
}

struct Nap(SleepAsync);

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Sleep for Nap {}
