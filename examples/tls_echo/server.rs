//! The server: who is accepted, how a client is served, and how it all ends.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use tasklet::net::TcpStream;
use tasklet::{CancelToken, fs, timeout};

use crate::linger::linger;
use crate::serving::{Bounds, Failure, listen, serve};
use crate::tls::Tls;
use crate::{Certificate, Limits, certificates};

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

/// Serves until a signal comes. Returns how many connections are left.
pub(crate) fn run(port: u16, certificate: &Certificate, limits: Limits) -> Result<usize, Failure> {
    let (config, stopping) = (server_config(certificate)?, CancelToken::new());
    let listener = listen("", port, &stopping)?;
    let server = Server { config, limits, stopping: stopping.clone() };
    let bounds = Bounds { connections: limits.connections, grace: limits.grace };
    let talk = move |stream, peer| {
        if let Err(error) = server.serve(stream) {
            eprintln!("tls_echo: {peer}: {error}");
        }
    };
    Ok(serve("tls_echo", &listener, &bounds, &stopping, talk))
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
                    // Not if it is what was to be answered that nobody has taken: then this fails too, at once.
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
