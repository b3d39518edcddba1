//! The server: who is accepted, how a client is served, and how it all ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use tasklet::net::{TcpListener, TcpStream};
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::sync::Semaphore;
use tasklet::time::now;
use tasklet::{CancelToken, fs, spawn, timeout};

use crate::tls::Tls;
use crate::{Certificate, Failure, Limits, certificates};

/// For how long a connection is kept on which nothing comes.
const IDLE: Duration = Duration::from_secs(60);
/// For a client that is in the middle of something when the server ends.
const TIME_TO_LEAVE: Duration = Duration::from_secs(1);

/// What all connections share.
struct Server {
    config: Arc<ServerConfig>,
    limits: Limits,
    /// Cancelled when the server is to end.
    stopping: CancelToken,
}

/// What each connection begins with.
fn server_config(certificate: &Certificate) -> Result<Arc<ServerConfig>, Failure> {
    let (chain, key) = match certificate {
        Certificate::Made(save) => {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
            if let Some(path) = save {
                fs::write(path, made.cert.pem()).map_err(|error| format!("could not write {path}: {error}"))?;
            }
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            (vec![made.cert.der().clone()], key.into())
        }
        Certificate::Given { certificate, key } => {
            let chain = certificates(certificate)?;
            let pem = fs::read(key).map_err(|error| format!("could not read {key}: {error}"))?;
            let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| format!("no key is in {key}: {error}"))?;
            (chain, key)
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?))
}

/// Accepts until a signal comes, and waits for the ends of those that are there then. Returns how many are left.
pub(crate) fn serve(port: u16, certificate: &Certificate, limits: Limits) -> Result<usize, Failure> {
    let config = server_config(certificate)?;
    let listener =
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("could not listen at port {port}: {error}"))?;
    let signals = Signals::new([SIGTERM, SIGINT])?;
    println!("{}", listener.local_addr()?);
    let stopping = CancelToken::new();
    let token = stopping.clone();
    spawn(move || {
        if signals.recv().is_ok() {
            token.cancel();
        }
    });
    let server = Arc::new(Server { config, limits, stopping: stopping.clone() });
    let places = Arc::new(Semaphore::new(limits.connections));
    while !stopping.is_cancelled() {
        let Ok(place) = stopping.run(|| places.acquire_owned_timeout(Duration::MAX)) else { continue };
        match stopping.run(|| listener.accept()) {
            Ok((stream, peer)) => {
                let server = server.clone();
                spawn(move || {
                    let _counted = place;
                    if let Err(error) = server.serve(stream) {
                        eprintln!("tls_echo: {peer}: {error}");
                    }
                });
            }
            Err(_) if stopping.is_cancelled() => {}
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("tls_echo: could not accept a connection: {error}"),
        }
    }
    // Who tries to connect from now on is told at once that nobody is here.
    listener.close();
    // All places are free when nobody is left.
    match places.acquire_many_timeout(limits.connections, limits.grace) {
        Ok(_) => Ok(0),
        Err(_) => Ok(limits.connections - places.available_permits()),
    }
}

impl Server {
    /// One client.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let Limits { handshake, patience, .. } = self.limits;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        let connection = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        let mut tls = Tls::new(connection, stream);
        // For all of it: a limit for each read would let a client that trickles go on.
        match self.stopping.run(|| timeout(handshake, || tls.handshake())) {
            Ok(Ok(())) => {}
            Ok(Err(_)) if self.stopping.is_cancelled() => return Ok(()),
            Ok(Err(error)) => return Err(io::Error::new(error.kind(), format!("no handshake: {error}"))),
            Err(_) => return Err(timed_out(format!("no handshake within {handshake:?}"))),
        }
        tls.stream().set_read_timeout(Some(IDLE))?;
        self.echo(&mut tls).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => timed_out(format!("has taken nothing for {patience:?}")),
            _ => error,
        })
    }

    /// Until the client ends it, says nothing for too long, or the server is to end. The wait for what comes next is all that the end of the server ends;
    /// what a client has sent before comes back to it.
    fn echo(&self, tls: &mut Tls) -> io::Result<()> {
        let mut piece = [0; 4096];
        while !self.stopping.is_cancelled() {
            match self.stopping.run(|| tls.read(&mut piece)) {
                Ok(0) => {
                    // A client that has said that it goes need not wait for the answer.
                    let _ = tls.close();
                    return Ok(());
                }
                Ok(got) => tls.write_all(&piece[..got])?,
                Err(_) if self.stopping.is_cancelled() => return tls.close(),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    tls.close()?;
                    return Err(io::Error::other(format!("nothing has come for {IDLE:?}")));
                }
                Err(error) => return Err(error),
            }
        }
        tls.close()?;
        linger(tls.stream(), TIME_TO_LEAVE.min(self.limits.grace / 2));
        Ok(())
    }
}

fn timed_out(what: String) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

/// Lets a client read what it was sent: to close a socket while there is something to read would throw away what was sent last.
fn linger(mut stream: &TcpStream, limit: Duration) {
    let until = now() + limit;
    let mut rest = [0; 4096];
    // An error is that the client has gone.
    let _ = stream.shutdown(Shutdown::Write);
    while let Some(left) = until.checked_sub(now()).filter(|left| !left.is_zero()) {
        if stream.set_read_timeout(Some(left)).is_err() || !matches!(stream.read(&mut rest), Ok(1..)) {
            return;
        }
    }
}
