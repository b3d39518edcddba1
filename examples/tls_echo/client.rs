//! A client: it sends its input, and prints what comes back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tasklet::net::TcpStream;
use tasklet::timeout;

use crate::tls::Tls;
use crate::{Failure, certificates};

/// Connects, and is done when the input has come to its end. The server may take `patience` for each thing it has to do.
pub(crate) fn connect(to: &str, ca: &str, patience: Duration) -> Result<(), Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let host = to.rsplit_once(':').map_or(to, |(host, _)| host);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host} is no name: {error}"))?;
    let connected = timeout(patience, || TcpStream::connect(to));
    let stream = connected
        .map_err(|_| format!("could not connect to {to} within {patience:?}"))?
        .map_err(|error| format!("could not connect to {to}: {error}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut tls = Tls::new(ClientConnection::new(config, name)?, stream);
    tls.handshake().map_err(|error| format!("no handshake with {to}: {error}"))?;
    talk(&mut tls).map_err(|error| format!("could not talk to {to}: {error}").into())
}

/// A piece goes there and comes back before the next: a server that sends back what it gets would wait for who sends more than there is room for on the
/// way, and does not read.
fn talk(tls: &mut Tls) -> Result<(), Failure> {
    let (mut input, mut stdout) = (BufReader::new(tasklet::io::stdin()), io::stdout());
    let mut back = Vec::new();
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        tls.write_all(piece)?;
        let length = piece.len();
        input.consume(length);
        back.resize(length, 0);
        tls.read_exact(&mut back)?;
        stdout.write_all(&back)?;
        stdout.flush()?;
    }
    tls.close()?;
    // The server says so too; else somebody else has cut the connection.
    match tls.read(&mut [0])? {
        0 => Ok(()),
        _ => Err("the server has sent more than it was sent".into()),
    }
}
