//! How a server accepts connections, so many at a time, and how it comes to an end, which is bounded whatever clients do.

#[path = "stopping.rs"]
mod stopping;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tasklet::net::{TcpListener, TcpStream};
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::sync::Semaphore;
use tasklet::{CancelToken, Runtime, spawn};

/// For the end of tasklets that are ended wherever they wait. It takes no time, unless something is wrong.
const TIME_TO_CUT: Duration = Duration::from_secs(5);

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What every server has a limit for.
pub(crate) struct Bounds {
    /// Connections at a time: more wait to be accepted.
    pub(crate) connections: usize,
    /// For those that are there when the server is to end.
    pub(crate) grace: Duration,
}

/// Listens at a port of the loopback address, prints where, and has SIGTERM and SIGINT cancel the token.
pub(crate) fn listen(scheme: &str, port: u16, stopping: &CancelToken) -> Result<TcpListener, Failure> {
    let listener =
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("could not listen at port {port}: {error}"))?;
    let (signals, token) = (Signals::new([SIGTERM, SIGINT])?, stopping.clone());
    println!("{scheme}{}", listener.local_addr()?);
    spawn(move || {
        stopping::wait(&signals);
        token.cancel();
    });
    Ok(listener)
}

/// Accepts until the token is cancelled, with a tasklet for each connection that calls `talk`; then waits for those that are there. Returns how many
/// are left when the grace is over.
pub(crate) fn serve(
    name: &str,
    listener: &TcpListener,
    bounds: &Bounds,
    stopping: &CancelToken,
    talk: impl Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
) -> usize {
    let (talk, places) = (Arc::new(talk), Arc::new(Semaphore::new(bounds.connections)));
    while !stopping.is_cancelled() {
        let Ok(place) = stopping.run(|| places.acquire_owned_timeout(Duration::MAX)) else { continue };
        match stopping.run(|| listener.accept()) {
            Ok((stream, peer)) => {
                let talk = talk.clone();
                spawn(move || {
                    let _counted = place;
                    talk(stream, peer);
                });
            }
            Err(_) if stopping.is_cancelled() => {}
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("{name}: could not accept a connection: {error}"),
        }
    }
    // Who comes from now on is refused, rather than left waiting for nobody.
    listener.close();
    // All places are free when nobody is left.
    match places.acquire_many_timeout(bounds.connections, bounds.grace) {
        Ok(_all) => 0,
        Err(_) => bounds.connections - places.available_permits(),
    }
}

/// Kills what is left, which closes its connections. If some were, that is an error, which begins with their number and says `what`.
pub(crate) fn end(runtime: Runtime, left: usize, what: &str, grace: Duration) -> Result<(), Failure> {
    let ended = runtime.shutdown(TIME_TO_CUT);
    if !ended.is_clean() {
        return Err(format!("could not end what was left within {TIME_TO_CUT:?}: {ended}").into());
    }
    match left {
        0 => Ok(()),
        left => Err(format!("{left} {what} within {grace:?}").into()),
    }
}
