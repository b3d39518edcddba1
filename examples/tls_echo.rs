//! Sends back what it is sent, over TLS: `rustls` on our sockets as on any that block, with nothing in between.
//!
//! A tasklet for each connection does what a thread would: the handshake, which must be over within some time, then reads and writes. Who is slow, stops
//! in the middle, or does not speak TLS is in nobody's way. A connection ends when its client says so (`close_notify`), and is told so too; an end that
//! was not announced may be somebody's who has cut the connection, and is reported. On SIGTERM or SIGINT each client is told that this is the end.
//!
//! Without a certificate of yours it makes one for `localhost`, which `--save` writes down for clients. `--connect` is such a client: it sends the lines of
//! its input, and prints what comes back.
//!
//! ```text
//! cargo run --release --example tls_echo -- --port 8443 --save cert.pem
//! openssl s_client -connect localhost:8443 -CAfile cert.pem -verify_return_error
//! echo hello | cargo run --release --example tls_echo -- --connect localhost:8443 --ca cert.pem
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tasklet::net::{TcpListener, TcpStream};
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::stealing::is_cancelled;
use tasklet::sync::WaitGroup;
use tasklet::{Builder, CancelToken, fs, mask, spawn, timeout};

const USAGE: &str = "usage: tls_echo [--port P] [--save FILE | --cert FILE --key FILE] [--handshake SECONDS]
       tls_echo --connect HOST:PORT --ca FILE

Sends back what it is sent, over TLS, at the loopback address, at port 8443 or P; at 0 the system chooses one. The certificate is one in PEM
files, or made for localhost, and saved for clients. A handshake that takes longer than SECONDS, 10 by default, ends the connection. SIGTERM ends it.
Or connects to such a server, sends the lines of the standard input, and prints what comes back.";

/// For how long a connection is kept on which nothing comes.
const IDLE: Duration = Duration::from_secs(60);
/// Without any progress while something is sent.
const TIME_TO_SEND: Duration = Duration::from_secs(30);
/// For the ends of connections when the server is to end.
const TIME_TO_END: Duration = Duration::from_secs(5);

enum Arguments {
    Serve { port: u16, certificate: Certificate, handshake: Duration },
    Connect { to: String, ca: String },
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
    let arguments = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("tls_echo: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<Arguments>, String> {
    let (mut port, mut handshake) = (8443, Duration::from_secs(10));
    let (mut save, mut certificate, mut key, mut to, mut ca) = (None, None, None, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--port" => {
                let value = value()?;
                port = value.parse().map_err(|_| format!("--port {value}: needs a number up to 65535"))?;
            }
            "--handshake" => {
                let value = value()?;
                let seconds = value.parse().map_err(|_| format!("--handshake {value}: needs a number of seconds"))?;
                handshake = Duration::from_secs(seconds);
            }
            "--save" => save = Some(value()?),
            "--cert" => certificate = Some(value()?),
            "--key" => key = Some(value()?),
            "--connect" => to = Some(value()?),
            "--ca" => ca = Some(value()?),
            _ => return Err(format!("there is no argument {argument}")),
        }
    }
    if let Some(to) = to {
        return Ok(Some(Arguments::Connect { to, ca: ca.ok_or("whom is it to trust? --ca says it")? }));
    }
    let certificate = match (certificate, key, save) {
        (None, None, save) => Certificate::Made(save),
        (Some(certificate), Some(key), None) => Certificate::Given { certificate, key },
        (Some(_), Some(_), Some(_)) => return Err("only a certificate that is made is saved".to_owned()),
        _ => return Err("a certificate needs a key: give both --cert and --key".to_owned()),
    };
    Ok(Some(Arguments::Serve { port, certificate, handshake }))
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    Builder::new().build()?.run(move || match arguments {
        Arguments::Serve { port, certificate, handshake } => serve(port, &certificate, handshake),
        Arguments::Connect { to, ca } => connect(&to, &ca),
    })
}

/// A server's side: what each connection begins with.
fn server_config(certificate: &Certificate) -> Result<Arc<ServerConfig>, Box<dyn Error + Send + Sync>> {
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

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error + Send + Sync>> {
    let pem = fs::read(path).map_err(|error| format!("could not read {path}: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("no certificate is in {path}").into()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("no certificate is in {path}: {error}").into()),
    }
}

fn serve(port: u16, certificate: &Certificate, handshake: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = server_config(certificate)?;
    let listener =
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("could not listen at port {port}: {error}"))?;
    let signals = Signals::new([SIGTERM, SIGINT])?;
    println!("{}", listener.local_addr()?);
    let stopping = CancelToken::new();
    let token = stopping.clone();
    let watcher = spawn(move || {
        if signals.recv().is_ok() {
            token.cancel();
        }
    });
    let connections = WaitGroup::new();
    while !stopping.is_cancelled() {
        match stopping.run(|| listener.accept()) {
            Ok((stream, peer)) => {
                let (config, member, token) = (config.clone(), connections.clone(), stopping.clone());
                spawn(move || {
                    let _counted = member;
                    if let Err(error) = token.run(|| echo(stream, config, handshake)) {
                        eprintln!("tls_echo: {peer}: {error}");
                    }
                });
            }
            Err(_) if stopping.is_cancelled() => {}
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("tls_echo: could not accept a connection: {error}"),
        }
    }
    if connections.wait_timeout(TIME_TO_END).is_err() {
        eprintln!("tls_echo: some clients could not be told within {TIME_TO_END:?} that this is the end");
    }
    watcher.kill();
    Ok(())
}

/// One client.
fn echo(mut stream: TcpStream, config: Arc<ServerConfig>, handshake: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(TIME_TO_SEND))?;
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    // For all of it: a limit for each read would let a client that trickles go on.
    match timeout(handshake, || connection.complete_io(&mut stream)) {
        Ok(Ok(_)) => {}
        Ok(Err(_)) if is_cancelled() => return Ok(()),
        Ok(Err(error)) => return Err(io::Error::new(error.kind(), format!("no handshake: {error}"))),
        Err(_) => return Err(io::Error::new(ErrorKind::TimedOut, format!("no handshake within {handshake:?}"))),
    }
    stream.set_read_timeout(Some(IDLE))?;
    let mut tls = StreamOwned::new(connection, stream);
    let mut piece = [0; 4096];
    let ended = loop {
        match tls.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(got) => {
                if let Err(error) = tls.write_all(&piece[..got]).and_then(|()| tls.flush()) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    let is_last = is_cancelled();
    let _masked = mask();
    let closed = close(&mut tls);
    match ended {
        Err(_) if is_last => closed,
        Err(error) => Err(error),
        // A client that has said that it goes need not wait for the answer.
        Ok(()) => Ok(()),
    }
}

/// Says that no more comes.
fn close<D>(
    tls: &mut StreamOwned<impl std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>, TcpStream>,
) -> io::Result<()>
where
    D: rustls::SideData,
{
    tls.conn.send_close_notify();
    while tls.conn.wants_write() {
        tls.conn.write_tls(&mut tls.sock)?;
    }
    Ok(())
}

fn connect(to: &str, ca: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let host = to.rsplit_once(':').map_or(to, |(host, _)| host);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host} is no name: {error}"))?;
    let stream = TcpStream::connect(to).map_err(|error| format!("could not connect to {to}: {error}"))?;
    stream.set_nodelay(true)?;
    let mut tls = StreamOwned::new(ClientConnection::new(config, name)?, stream);
    let (mut line, mut stdout) = (Vec::new(), io::stdout());
    let mut input = io::BufReader::new(tasklet::io::stdin());
    while input.read_until(b'\n', &mut line)? != 0 {
        tls.write_all(&line)?;
        tls.flush()?;
        tls.read_exact(&mut line)?;
        stdout.write_all(&line)?;
        stdout.flush()?;
        line.clear();
    }
    close(&mut tls)?;
    // The server says so too; else somebody else has cut the connection.
    match tls.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err("the server has sent more than it was sent".into()),
        Err(error) => Err(error.into()),
    }
}
