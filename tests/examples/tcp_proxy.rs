//! `tcp_proxy` between curl and `http_server`, and between ends that close by halves, reset, refuse, or do nothing.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{self, Folder, PROMPT};
use crate::service::Service;

/// More than the buffers of two connections hold.
const MUCH: usize = 30_000_000;

fn bytes() -> Vec<u8> {
    (0..MUCH as u32).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect()
}

fn proxy(to: &str, more: &[&str]) -> Service {
    Service::start(program::command("tcp_proxy").args(["--listen", "127.0.0.1:0", "--to", to]).args(more))
}

/// A proxy, and the listener behind it.
fn before_listener(more: &[&str]) -> (Service, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (proxy(&listener.local_addr().unwrap().to_string(), more), listener)
}

/// A connection through the proxy: both ends of it.
fn through(proxy: &Service, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = proxy.connect();
    (client, accept(listener))
}

/// The next connection.
fn accept(listener: &TcpListener) -> TcpStream {
    let start = Instant::now();
    listener.set_nonblocking(true).unwrap();
    let server = loop {
        match listener.accept() {
            Ok((server, _)) => break server,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(start.elapsed() < PROMPT, "nobody connects");
        thread::sleep(Duration::from_millis(1));
    };
    server.set_nonblocking(false).unwrap();
    server.set_read_timeout(Some(PROMPT)).unwrap();
    server.set_write_timeout(Some(PROMPT)).unwrap();
    server
}

#[track_caller]
fn is_reset(mut stream: &TcpStream) {
    let read = stream.read_to_end(&mut Vec::new());
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn curl_gets_files_through_it() {
    let folder = Folder::new("proxy-files");
    folder.file("much", &bytes());
    folder.file("index.html", b"<h1>hello</h1>\n");
    let server = Service::start(program::command("http_server").arg(&folder.0).args(["--port", "0"]));
    let proxy = proxy(server.address.strip_prefix("http://").unwrap(), &[]);
    let (much, index) = (folder.0.join("got-much"), folder.0.join("got-index"));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--write-out", "%{http_code} %{num_connects},"]);
    for (file, path) in [(&index, ""), (&much, "much"), (&index, "")] {
        curl.arg("--output").arg(file).arg(format!("http://{}/{path}", proxy.address));
    }
    let output = curl.stderr(Stdio::inherit()).output().expect("curl is installed: `.ci/run` sees to it");
    assert_eq!(program::stdout(&output), "200 1,200 0,200 0,", "one connection is kept for all");
    assert!(fs::read(much).unwrap() == bytes());
    assert_eq!(fs::read(index).unwrap(), b"<h1>hello</h1>\n");
    proxy.terminate();
    let ended = proxy.ends_well();
    let numbers: Vec<usize> = ended.stdout.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] == 1 && numbers[1] > 100 && numbers[2] > MUCH + 30, "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

#[test]
fn either_half_is_closed_alone() {
    let (proxy, listener) = before_listener(&[]);
    for client_first in [true, false] {
        let (client, server) = through(&proxy, &listener);
        let (mut first, mut second) = if client_first { (client, server) } else { (server, client) };
        first.write_all(b"no more from here").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        let mut received = String::new();
        second.read_to_string(&mut received).unwrap();
        assert_eq!(received, "no more from here");
        let sender = thread::spawn(move || second.write_all(&bytes()).unwrap());
        let mut received = Vec::new();
        first.read_to_end(&mut received).unwrap();
        sender.join().unwrap();
        assert!(received == bytes());
    }
    proxy.terminate();
    assert_eq!(proxy.ends_well().stdout, "2 connections, 30000017 bytes there, 30000017 bytes back\n");
}

#[test]
fn a_reset_is_passed_on() {
    let (proxy, listener) = before_listener(&[]);
    for client_goes in [true, false] {
        let (client, server) = through(&proxy, &listener);
        let (goes, mut stays) = if client_goes { (client, server) } else { (server, client) };
        stays.write_all(b"not read").unwrap();
        goes.peek(&mut [0]).unwrap();
        // With something unread, which makes it a reset.
        drop(goes);
        is_reset(&stays);
    }
    proxy.terminate();
    assert_eq!(proxy.ends_well().stdout, "2 connections, 8 bytes there, 8 bytes back\n");
}

#[test]
fn who_cannot_be_brought_together_is_reset() {
    let (proxy, listener) = before_listener(&[]);
    let target = listener.local_addr().unwrap();
    drop(listener);
    is_reset(&proxy.connect());
    proxy.terminate();
    let ended = proxy.ends_well();
    assert!(ended.stderr.starts_with(&format!("tcp_proxy: could not connect to {target}: ")), "{}", ended.stderr);
    assert_eq!(ended.stdout, "1 connections, 0 bytes there, 0 bytes back\n");
}

#[test]
fn the_idle_are_in_nobodys_way_and_leave_nothing() {
    let (proxy, listener) = before_listener(&[]);
    let before = proxy.descriptors();
    let idle: Vec<_> = (0..50).map(|_| through(&proxy, &listener)).collect();
    let (mut client, mut server) = through(&proxy, &listener);
    client.write_all(b"ping").unwrap();
    let mut received = [0; 4];
    server.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"ping");
    drop((client, server));
    assert!(proxy.descriptors() >= before + 100);
    drop(idle);
    // What its workers wait with may have come, but not one for each connection.
    proxy.settles_below(before + 20);
}

#[test]
fn so_many_connections_are_passed_on_at_a_time() {
    let (proxy, listener) = before_listener(&["--connections", "1"]);
    let (mut client, mut server) = through(&proxy, &listener);
    let mut second = proxy.connect();
    second.write_all(b"2").unwrap();
    // Time enough for the second to be passed on.
    for _ in 0..100 {
        client.write_all(b"1").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop((client, server));
    let mut server = accept(&listener);
    let mut got = [0];
    server.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"2");
}

#[test]
fn what_is_open_has_some_time_at_the_end() {
    let (proxy, listener) = before_listener(&[]);
    let (mut client, mut server) = through(&proxy, &listener);
    client.write_all(b"1").unwrap();
    server.read_exact(&mut [0]).unwrap();
    // Who tries, until it listens no more, is not left open.
    drop(listener);
    proxy.terminate();
    proxy.listens_no_more();
    let sender = thread::spawn(move || server.write_all(&bytes()).unwrap());
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    assert!(received == bytes());
    drop(client);
    proxy.ends_well();

    let (proxy, listener) = before_listener(&["--grace", "0"]);
    let (mut client, mut server) = through(&proxy, &listener);
    client.write_all(b"1").unwrap();
    server.read_exact(&mut [0]).unwrap();
    proxy.terminate();
    is_reset(&client);
    is_reset(&server);
    assert!(proxy.ends_with(1).stderr.contains("reset 1 connections"));
}

#[test]
fn what_it_cannot_do_is_said() {
    for arguments in
        [&[][..], &["--listen", "127.0.0.1:0"], &["--to", "x:1"], &["--listen"], &["--grace", "long"], &["--what"]]
    {
        let output = program::run("tcp_proxy", arguments);
        let text = program::stderr(&output);
        assert!(output.status.code() == Some(2) && text.contains("usage:"), "{text}");
    }
    let (proxy, _listener) = before_listener(&[]);
    let output = program::run("tcp_proxy", ["--listen", &proxy.address, "--to", "127.0.0.1:1"]);
    let text = program::stderr(&output);
    assert!(text.contains(&format!("could not listen at {}: ", proxy.address)), "{text}");
}
