//! `tls_echo` as OpenSSL's client sees it, and its own; and clients that do not speak TLS, stop in the middle, or go without a word.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::program::{self, Folder, PROMPT, run, run_with_input, stderr, stdout, wait_promptly};
use crate::service::Service;
use tls::Tls;

#[path = "../../examples/tls_echo/tls.rs"]
mod tls;

/// A server with a certificate that it has made.
fn server(test: &str, more: &[&str]) -> (Service, Folder) {
    let folder = Folder::new(test);
    let mut command = program::command("tls_echo");
    command.args(["--port", "0"]).args(more).arg("--save").arg(folder.0.join("cert.pem"));
    (Service::start(&mut command), folder)
}

/// OpenSSL's client.
struct OpenSsl {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl OpenSsl {
    fn connect(address: &str, certificate: &str, more: &[&str]) -> OpenSsl {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-brief", "-verify_return_error", "-servername", "localhost"]).args(more);
        command.args(["-connect", address, "-CAfile", certificate]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().expect("`openssl` is installed: `.ci/run` sees to it; it is Debian's package openssl");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        OpenSsl { child, input, output }
    }

    fn says_back(&mut self, line: &str) {
        self.input.write_all(line.as_bytes()).unwrap();
        assert_eq!(program::line(self.child.id(), &mut self.output), line);
    }

    fn ends(self) -> String {
        drop(self.input);
        let output = wait_promptly(self.child);
        assert!(output.status.success(), "{output:?}");
        stderr(&output)
    }
}

/// A client of rustls that trusts who has this certificate.
fn client_of(certificate: CertificateDer<'_>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.into_owned()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap()
}

/// As it is, over std's socket.
fn rustls(server: &Service, folder: &Folder) -> StreamOwned<ClientConnection, TcpStream> {
    let certificate = CertificateDer::from_pem_file(folder.0.join("cert.pem")).unwrap();
    StreamOwned::new(client_of(certificate), server.connect())
}

#[test]
fn openssl_hears_its_echo() {
    let (server, folder) = server("tls-openssl", &[]);
    let certificate = folder.0.join("cert.pem").to_str().unwrap().to_owned();
    let mut clients: Vec<_> = ["-tls1_2", "-tls1_3", "-tls1_3", "-tls1_2"]
        .iter()
        .map(|version| (version, OpenSsl::connect(&server.address, &certificate, &[version])))
        .collect();
    for line in ["one\n", "two, of some more words\n", "three\n"] {
        clients.iter_mut().for_each(|(_, client)| client.says_back(line));
    }
    for (version, client) in clients {
        let said = client.ends();
        let expected = format!("Protocol version: {}", version.replace("-tls1_", "TLSv1."));
        assert!(said.contains(&expected) && said.contains("Verification: OK"), "{said}");
    }
    server.terminate();
    assert_eq!(server.ends_well().stderr, "", "everybody has said that he goes");
}

#[test]
fn its_client_and_a_certificate_from_outside() {
    let (first, folder) = server("tls-client", &[]);
    let ca = folder.0.join("cert.pem").to_str().unwrap().to_owned();
    let ask = |server: &Service, ca: &str, input: &[u8]| {
        let mut command = program::command("tls_echo");
        let to = server.address.replace("127.0.0.1", "localhost");
        command.args(["--connect", &to, "--ca", ca]);
        run_with_input(command, input)
    };
    let much = "some words\n".repeat(20_000) + "and no end of a line";
    let output = ask(&first, &ca, much.as_bytes());
    assert!(output.status.success() && stdout(&output) == much, "{}", stderr(&output));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = folder.file("mine.pem", made.cert.pem().as_bytes());
    let key = folder.file("key.pem", made.signing_key.serialize_pem().as_bytes());
    let mut command = program::command("tls_echo");
    let second = Service::start(command.args(["--port", "0", "--cert", &certificate, "--key", &key]));
    let output = ask(&second, &certificate, b"mine\n");
    assert!(output.status.success() && stdout(&output) == "mine\n", "{}", stderr(&output));
    // Whom it does not trust.
    let output = ask(&second, &ca, b"secret\n");
    assert!(!output.status.success() && stderr(&output).contains("certificate"), "{}", stderr(&output));
}

#[test]
fn who_does_not_speak_tls_is_in_nobodys_way() {
    let (server, folder) = server("tls-wrong", &["--handshake", "1"]);
    let mut right = rustls(&server, &folder);
    let mut says_back = |line: &[u8]| hears_back(&mut right, line);
    says_back(b"before");
    // The beginning of a handshake, and nothing; and nothing at all; and one that trickles.
    let mut stuck = server.connect();
    stuck.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).unwrap();
    let mut silent = server.connect();
    let mut trickling = server.connect();
    let mut garbage = server.connect();
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    says_back(b"meanwhile");
    // An alert comes back, and the end.
    let mut alert = Vec::new();
    let _ = garbage.read_to_end(&mut alert);
    assert_eq!(alert.first(), Some(&21));
    trickling.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    let start = Instant::now();
    while trickling.write_all(&[0]).is_ok() {
        assert!(start.elapsed() < PROMPT, "it is not cut");
        says_back(b"still");
        thread::sleep(Duration::from_millis(50));
    }
    for stream in [&mut stuck, &mut silent] {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    says_back(b"after");
    // Without a word.
    let (_, stream) = right.into_parts();
    drop(stream);
    server.terminate();
    let reports = server.ends_well().stderr;
    assert!(reports.matches("no handshake within 1s").count() == 3, "{reports}");
    assert!(reports.contains("no handshake: received corrupt message"), "{reports}");
    assert!(reports.contains("without sending TLS close_notify"), "{reports}");
}

#[test]
fn the_end_is_announced() {
    let (server, folder) = server("tls-end", &[]);
    let mut client = rustls(&server, &folder);
    client.write_all(b"1").unwrap();
    client.flush().unwrap();
    client.read_exact(&mut [0]).unwrap();
    // In the middle of a handshake: it has nothing to be told.
    let waiting = server.connect();
    server.terminate();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "`close_notify`");
    drop(waiting);
    assert_eq!(server.ends_well().stderr, "");
}

/// A client that has sent as much as there is room for on the way, and takes nothing: the server waits in the middle of sending.
fn deaf(server: &Service, folder: &Folder) -> StreamOwned<ClientConnection, TcpStream> {
    let mut client = rustls(server, folder);
    hears_back(&mut client, b"before");
    client.sock.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let mut is_full = false;
    // One that sleeps though there is something to read waits for something else.
    while !(is_full && server.is_asleep()) {
        assert!(start.elapsed() < PROMPT, "it takes everything");
        is_full = match client.conn.writer().write(&[b'x'; 4096]).and_then(|_| client.conn.write_tls(&mut client.sock))
        {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => panic!("{error}"),
        };
    }
    client
}

#[track_caller]
fn hears_back(client: &mut StreamOwned<ClientConnection, TcpStream>, line: &[u8]) {
    client.write_all(line).unwrap();
    client.flush().unwrap();
    let mut answer = vec![0; line.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, line);
}

#[test]
fn who_takes_nothing_is_cut_off_after_some_time() {
    // A test by the clock: were its time counted three times, it would not be prompt.
    let (server, folder) = server("tls-deaf", &["--patience", "8", "--connections", "1"]);
    let deaf = deaf(&server, &folder);
    // There is a place for it when the other is gone.
    hears_back(&mut rustls(&server, &folder), b"after");
    server.terminate();
    let said = server.ends_well().stderr;
    assert!(
        said.contains(&format!("tls_echo: {}: has taken nothing for 8s\n", deaf.sock.local_addr().unwrap())),
        "{said}"
    );
}

#[test]
fn who_takes_nothing_is_waited_for_once() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    tasklet::run(|| {
        let listener = tasklet::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = tasklet::spawn(move || {
            let stream = tasklet::net::TcpStream::connect(address).unwrap();
            let mut client = Tls::new(client_of(certificate), stream);
            client.handshake().unwrap();
            // It takes nothing of what comes now.
            client
        });
        let stream = listener.accept().unwrap().0;
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut server = Tls::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
        server.handshake().unwrap();
        let _client = client.join().unwrap();
        let error = loop {
            if let Err(error) = server.write_all(&[b'x'; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let start = Instant::now();
        assert_eq!(server.close().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() < PATIENCE, "it is waited for again");
        assert!(server.stream().peer_addr().is_ok());
    });
}

#[test]
fn so_many_connections_are_served_at_a_time() {
    let (server, folder) = server("tls-connections", &["--connections", "1"]);
    let mut first = rustls(&server, &folder);
    hears_back(&mut first, b"first");
    let is_second_served = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            hears_back(&mut rustls(&server, &folder), b"second");
            is_second_served.store(true, Ordering::SeqCst);
        });
        for _ in 0..1000 {
            hears_back(&mut first, b"first");
        }
        assert!(!is_second_served.load(Ordering::SeqCst));
        drop(first);
    });
    server.terminate();
    server.ends_well();
}

#[test]
fn who_takes_nothing_does_not_keep_it_from_its_end() {
    let (server, folder) = server("tls-deaf-end", &["--patience", "600", "--grace", "0.2"]);
    let _deaf = deaf(&server, &folder);
    let mut client = rustls(&server, &folder);
    hears_back(&mut client, b"1");
    server.terminate();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "`close_notify`");
    let said = server.ends_with(1).stderr;
    assert_eq!(said, "tls_echo: 1 connections did not come to their end within 200ms\n");
}

#[test]
fn a_line_is_as_long_as_it_likes() {
    let (server, folder) = server("tls-long", &[]);
    let ca = folder.0.join("cert.pem").to_str().unwrap().to_owned();
    let mut command = program::command("tls_echo");
    command.args(["--connect", &server.address.replace("127.0.0.1", "localhost"), "--ca", &ca]);
    // More than there is room for on the way.
    let line = vec![b'x'; 30_000_000];
    let output = run_with_input(command, &line);
    assert!(output.status.success() && output.stdout == line, "{}", stderr(&output));
}

#[test]
fn what_it_cannot_do_is_said() {
    for arguments in [
        &["--what"][..],
        &["--port", "x"],
        &["--cert", "x"],
        &["--connect", "x:1"],
        &["--save"],
        &["--connections", "0"],
        &["--grace", "-1"],
        &["--handshake", "NaN"],
        &["--patience", "inf"],
    ] {
        let output = run("tls_echo", arguments);
        let text = stderr(&output);
        assert!(output.status.code() == Some(2) && text.contains("usage:"), "{text}");
    }
    let output = run("tls_echo", ["--cert", "/dev/null", "--key", "/dev/null"]);
    let text = stderr(&output);
    assert!(output.status.code() == Some(1) && text.contains("no certificate is in /dev/null"), "{text}");
}
