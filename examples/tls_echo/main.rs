//! Sends back what it is sent, over TLS: `rustls` on our sockets as on any that block.
//!
//! | file | what it is |
//! |---|---|
//! | `tls` | a TLS connection that reads and writes as a socket does |
//! | `server` | the server: a tasklet for each connection |
//! | `client` | a client |
//!
//! A tasklet for each connection does what a thread would: the handshake, which must be over within some time, then reads and writes. Who is slow, stops
//! in the middle, or does not speak TLS is in nobody's way; who takes nothing of what it is sent is cut off after some time. A connection ends when its
//! client says so (`close_notify`), and is told so too; an end that was not announced may be somebody's who has cut the connection, and is reported.
//!
//! On SIGTERM or SIGINT no more clients are accepted, each gets what it has been sent and is told that this is the end. For that there is some time; then
//! the runtime is shut down, which ends the others in the middle of whatever they wait for.
//!
//! Without a certificate of yours it makes one for `localhost`, which `--save` writes down for clients. `--connect` is such a client: it sends its input,
//! and prints what comes back.
//!
//! ```text
//! cargo run --release --example tls_echo -- --port 8443 --save cert.pem
//! openssl s_client -connect localhost:8443 -CAfile cert.pem -verify_return_error
//! echo hello | cargo run --release --example tls_echo -- --connect localhost:8443 --ca cert.pem
//! ```

#![forbid(unsafe_code)]

#[path = "../common/arguments.rs"]
mod arguments;
mod client;
#[path = "../common/linger.rs"]
mod linger;
mod server;
#[path = "../common/serving.rs"]
mod serving;
mod tls;

use std::process::ExitCode;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tasklet::{Builder, fs};

use crate::serving::{Failure, end};

const USAGE: &str = "usage: tls_echo [--port P] [--save FILE | --cert FILE --key FILE] [--connections N] [--handshake SECONDS] [--patience SECONDS]
                [--grace SECONDS]
       tls_echo --connect HOST:PORT --ca FILE [--patience SECONDS]

Sends back what it is sent, over TLS, at the loopback address, at port 8443 or P; at 0 the system chooses one. The certificate is one in PEM
files, or made for localhost, and saved for clients. It has N connections at a time, 1000 by default. One is cut off when its handshake takes longer than
10 seconds, or when its client takes nothing of what it is sent for 30 seconds, or as said. SIGTERM ends it, after 5 seconds, or as said by --grace, at
the latest.
Or connects to such a server, sends the standard input, and prints what comes back.";

enum Arguments {
    Serve { port: u16, certificate: Certificate, limits: Limits },
    Connect { to: String, ca: String, patience: Duration },
}

/// What a server's connections are allowed.
#[derive(Clone, Copy)]
struct Limits {
    /// Connections at a time: more wait to be accepted.
    connections: usize,
    /// For a whole handshake.
    handshake: Duration,
    /// Without any progress while something is sent.
    patience: Duration,
    /// For the ends of connections when the server is to end.
    grace: Duration,
}

enum Certificate {
    /// Made, and written into this file.
    Made(Option<String>),
    Given {
        certificate: String,
        key: String,
    },
}

fn main() -> ExitCode {
    arguments::main("tls_echo", USAGE, read, run)
}

fn read(arguments: &mut arguments::Arguments) -> Result<Option<Arguments>, String> {
    let seconds = Duration::from_secs;
    let mut port = 8443;
    let mut limits = Limits { connections: 1000, handshake: seconds(10), patience: seconds(30), grace: seconds(5) };
    let (mut save, mut certificate, mut key, mut to, mut ca) = (None, None, None, None, None);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--port") => port = arguments.number(0..=u16::MAX)?,
            Some("--connections") => limits.connections = arguments.number(1..=1_000_000)?,
            Some("--handshake") => limits.handshake = arguments.time()?,
            Some("--patience") => limits.patience = arguments.time()?,
            Some("--grace") => limits.grace = arguments.time()?,
            Some("--save") => save = Some(arguments.value()?),
            Some("--cert") => certificate = Some(arguments.value()?),
            Some("--key") => key = Some(arguments.value()?),
            Some("--connect") => to = Some(arguments.value()?),
            Some("--ca") => ca = Some(arguments.value()?),
            _ => return Err(arguments.unknown()),
        }
    }
    if let Some(to) = to {
        let ca = ca.ok_or("whom is it to trust? --ca says it")?;
        return Ok(Some(Arguments::Connect { to, ca, patience: limits.patience }));
    }
    let certificate = match (certificate, key, save) {
        (None, None, save) => Certificate::Made(save),
        (Some(certificate), Some(key), None) => Certificate::Given { certificate, key },
        (Some(_), Some(_), Some(_)) => return Err("only a certificate that is made is saved".to_owned()),
        _ => return Err("a certificate needs a key: give both --cert and --key".to_owned()),
    };
    Ok(Some(Arguments::Serve { port, certificate, limits }))
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = Builder::new().build()?;
    let (port, certificate, limits) = match arguments {
        Arguments::Serve { port, certificate, limits } => (port, certificate, limits),
        Arguments::Connect { to, ca, patience } => {
            let done = runtime.run(|| client::connect(&to, &ca, patience));
            // A name may still be looked up that has taken too long.
            runtime.shutdown(Duration::ZERO);
            return done;
        }
    };
    let left = runtime.run(|| server::run(port, &certificate, limits))?;
    end(runtime, left, "connections did not come to their end", limits.grace)
}

/// The certificates in a PEM file.
fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = fs::read(path).map_err(|error| format!("could not read {path}: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("no certificate is in {path}").into()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("no certificate is in {path}: {error}").into()),
    }
}
