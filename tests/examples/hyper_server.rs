//! `hyper_server` as curl and wrk see it, and when it is to end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{self, PROMPT};
use crate::service::Service;

fn server() -> Service {
    server_with(&[])
}

fn server_with(options: &[&str]) -> Service {
    Service::start(program::command("hyper_server").args(["--port", "0"]).args(options))
}

/// A client that has sent that.
fn client(server: &Service, request: &str) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// What comes back until the server closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // It may come as a reset.
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it is not closed: {error}"),
        _ => String::from_utf8_lossy(&rest).into_owned(),
    }
}

const BEGUN_ECHO: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234";

#[track_caller]
fn curl(server: &Service, path: &str, options: &[&str]) -> String {
    let url = format!("{}{path}", server.address);
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "%{http_code}"])
        .args(options)
        .arg(url)
        .output()
        .expect("curl runs (Debian's package of that name)");
    assert!(output.status.success(), "{}", program::stderr(&output));
    program::stdout(&output)
}

#[test]
fn curl_is_answered() {
    let server = server();
    assert_eq!(curl(&server, "/", &[]), "hello\n200");
    assert_eq!(curl(&server, "/primes/100", &[]), "25\n200");
    assert_eq!(curl(&server, "/slow/5", &[]), "at last\n200");
    assert_eq!(curl(&server, "/nothing", &[]), "there is no such thing404");
    assert_eq!(curl(&server, "/echo", &["--data", "as it comes"]), "as it comes200");
    // More than any buffer, both ways at a time.
    let folder = program::Folder::new("hyper-echo");
    let much: Vec<u8> = (0..5_000_000_u32).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    let (sent, back) = (folder.file("sent", &much), folder.0.join("back"));
    curl(&server, "/echo", &["--data-binary", &format!("@{sent}"), "--output", back.to_str().unwrap()]);
    assert!(std::fs::read(back).unwrap() == much);
    server.terminate();
    server.ends_well();
}

#[test]
fn many_connections_are_served_and_none_is_left() {
    let server = server();
    let before = server.descriptors();
    let output = Command::new("wrk")
        .args(["-t1", "-c50", "-d1s", &server.address])
        .stdin(Stdio::null())
        .output()
        .expect("wrk runs (Debian's package of that name)");
    let text = program::stdout(&output);
    assert!(output.status.success() && text.contains("requests in"), "{text}");
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    // With the pollers of workers that have waited for nothing before.
    server.settles_below(before + 20);
    server.terminate();
    server.ends_well();
}

#[test]
fn answers_that_are_on_the_way_are_sent_before_the_end() {
    let server = server();
    let mut idle = server.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut room = [0; 1000];
    let mut got = 0;
    while !room[..got].ends_with(b"hello\n") {
        got += idle.read(&mut room[got..]).unwrap();
    }
    let mut busy = server.connect();
    busy.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").unwrap();
    // The answer has begun when its head has come.
    let mut answer = vec![0; 10];
    busy.read_exact(&mut answer).unwrap();
    server.terminate();
    // The one that waits for a request is closed, the other is not.
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    busy.write_all(b"56789").unwrap();
    busy.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"0123456789"), "{}", String::from_utf8_lossy(&answer));
    server.ends_well();
}

#[test]
fn work_ends_when_its_client_has_left() {
    let server = server();
    let counts = |expected: &str| {
        let start = Instant::now();
        loop {
            let counts = curl(&server, "/counts", &[]);
            if counts == format!("primes: {expected}\n200") {
                return;
            }
            // The work itself is done sooner or later.
            assert!(start.elapsed() < PROMPT && !counts.contains("1 finished"), "{counts}, not {expected}");
            thread::sleep(Duration::from_millis(5));
        }
    };
    let client = client(&server, "GET /primes/10000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    counts("1 begun, 0 finished, 0 given up");
    drop(client);
    counts("1 begun, 0 finished, 1 given up");
    curl(&server, "/primes/100", &[]);
    assert_eq!(curl(&server, "/counts", &[]), "primes: 2 begun, 1 finished, 1 given up\n200");
    server.terminate();
    server.ends_well();
}

#[test]
fn bodies_are_limited() {
    let server = server();
    let mut told = client(&server, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 67108865\r\n\r\n");
    let answer = rest(&mut told);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("a body has 67108864 bytes at most"), "{answer}");
    // One that does not say how long it is, in pieces of a mebibyte.
    let mut untold = client(&server, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut reader = untold.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let piece = [b"100000\r\n", &*vec![b'x'; 1 << 20], b"\r\n"].concat();
        (0..65).try_for_each(|_| untold.write_all(&piece)).and_then(|()| untold.write_all(b"0\r\n\r\n"))
    });
    let answer = rest(&mut reader);
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.ends_with("\r\n0\r\n\r\n"), "{} bytes", answer.len());
    // It may have been sent, and come to nothing.
    let _ = writer.join().unwrap();
}

#[test]
fn slow_clients_are_dropped() {
    let server = server_with(&["--idle", "0.2"]);
    assert_eq!(rest(&mut server.connect()), "");
    // Each byte of a head is progress.
    let mut slow = client(&server, "GET / HTTP/1.1\r\nHost: ");
    let start = Instant::now();
    while slow.write_all(b"x").is_ok() {
        assert!(start.elapsed() < PROMPT, "the head is still waited for");
        thread::sleep(Duration::from_millis(10));
    }
    let server = server_with(&["--patience", "0.2"]);
    // One that sends no more of its body.
    let answer = rest(&mut client(&server, BEGUN_ECHO));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n01234"), "{answer}");
    // One that does not read, with more than the system holds of it.
    let mut deaf = client(&server, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
    let error = (0..64).find_map(|_| deaf.write_all(&vec![0; 1 << 20]).err()).expect("all was taken").kind();
    assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

#[test]
fn one_more_than_the_limit_waits() {
    let server = server_with(&["--connections", "1"]);
    let mut first = server.connect();
    let mut second = client(&server, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    // Time enough for the second to be answered.
    for _ in 0..100 {
        first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello\n") {
            let mut byte = [0];
            first.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
    }
    second.set_nonblocking(true).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    drop(first);
    let answer = rest(&mut second);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello\n"), "{answer}");
}

#[test]
fn clients_that_hold_up_the_end_are_cut() {
    let server = server_with(&["--grace", "0.2"]);
    let work = client(&server, "GET /primes/10000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut slow = client(&server, BEGUN_ECHO);
    slow.read_exact(&mut [0]).unwrap();
    server.terminate();
    let ended = server.ends_with(1);
    assert_eq!(ended.stderr, "hyper_server: 2 connections did not come to their end within 200ms\n");
    drop((work, slow));
}

#[test]
fn bad_arguments_are_told() {
    for arguments in [["--port", "high"], ["--grace", "NaN"], ["--patience", "-1"], ["--idle", "100000"]] {
        let output = program::run("hyper_server", arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(program::stderr(&output).contains(&format!("{}: needs a number", arguments.join(" "))));
    }
}
