//! What is refused, what a client can take of the server, and the server's end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Listener, Server, expect, request};
use crate::program::{self, stderr};

#[test]
fn nonsense_is_refused_and_the_connection_closed() {
    let server = Server::new();
    for (bytes, error) in [
        (&b"*x\r\n"[..], "invalid multibulk length"),
        (b"*65537\r\n", "invalid multibulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$1048577\r\n", "invalid bulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*1\r\n$1\r\nPING\r\n", "expected the end of a line after a bulk"),
        (b"*1\n$4\nPING\n", "expected the end of a line, with a carriage return"),
        (b"GET \"a\r\n", "unbalanced quotes in request"),
    ] {
        // What came before is answered, and what comes behind is not.
        let talk = [b"PING\r\n", bytes, b"PING\r\n"].concat();
        assert_eq!(server.talk(&talk), format!("+PONG\r\n-ERR Protocol error: {error}\r\n"));
    }
    // More than it has read when it knows.
    let long = vec![b'a'; 10 << 20];
    let mut stream = server.connect();
    let _ = stream.write_all(&long);
    let mut answer = String::new();
    if stream.read_to_string(&mut answer).is_ok() {
        assert_eq!(answer, "-ERR Protocol error: too big inline request\r\n");
    }
    server.ends_well();
}

#[test]
fn what_a_page_has_a_browser_send_is_not_done() {
    let server = Server::new();
    server.says(&[("SET k safe", "OK")]);
    let body = "SET k taken\r\n";
    for head in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut stream = server.connect();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        // A reset, if it has closed before all was read.
        let _ = stream.read_to_end(&mut Vec::new());
        server.says(&[("GET k", "\"safe\"")]);
    }
    server.0.terminate();
    assert_eq!(server.0.ends_with(0).stderr.matches("speaks HTTP").count(), 2);
}

#[test]
fn what_a_client_takes_is_limited() {
    let server = Server::new();
    let megabyte = vec![b'x'; 1 << 20];
    let mut stream = server.connect();
    stream.write_all(&request(&[b"SET", b"k", &megabyte])).unwrap();
    expect(&mut stream, b"+OK\r\n");
    stream.write_all(b"GET k\r\n").unwrap();
    expect(&mut stream, &[b"$1048576\r\n", &*megabyte, b"\r\n"].concat());
    // A request that is too long as a whole, a list that is.
    let many = request(&[b"LPUSH", b"l", &megabyte, &megabyte, &megabyte]);
    let answer = server.talk(&request(&[b"LPUSH", b"l", &megabyte, &megabyte, &megabyte, &megabyte]));
    assert_eq!(answer, "-ERR Protocol error: too big request\r\n");
    for n in 1..=6 {
        stream.write_all(&many).unwrap();
        expect(&mut stream, format!(":{}\r\n", 3 * n).as_bytes());
    }
    stream.write_all(b"LRANGE l 0 -1\r\nPING\r\n").unwrap();
    expect(&mut stream, b"-ERR the reply would be longer than 16777216 bytes: ask for less\r\n+PONG\r\n");
    let before = server.resident();
    // Says that much will come, a hundred times.
    let idle: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"PING\r\n*65536\r\n$1048576\r\n").unwrap();
            expect(&mut stream, b"+PONG\r\n");
            stream
        })
        .collect();
    // Asks and does not read: at some time it is not read from any more.
    let mut deaf = server.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let asks = b"GET k\r\n".repeat(10_000);
    let sent = (0..1000).take_while(|_| deaf.write_all(&asks).is_ok()).count();
    assert!(sent < 1000);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes more");
    server.says(&[("PING", "PONG")]);
    drop((idle, deaf));
    server.ends_well();
}

/// A client that has asked for so many megabytes and reads nothing of them so far: the server is in the middle of sending.
fn asks_for(megabytes: usize, server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(&request(&[b"SET", b"k", &[b'x'; 1 << 20]])).unwrap();
    expect(&mut stream, b"+OK\r\n");
    stream.write_all(&b"GET k\r\n".repeat(megabytes)).unwrap();
    stream.peek(&mut [0]).unwrap();
    stream
}

#[test]
fn who_takes_no_replies_is_dropped_after_some_time() {
    let server = Server::with(&["--patience", "0.2", "--clients", "1"]);
    let deaf = asks_for(100, &server);
    // There is a place for it when the other is gone.
    let mut next = server.connect();
    next.write_all(b"PING\r\n").unwrap();
    expect(&mut next, b"+PONG\r\n");
    server.0.terminate();
    let said = server.0.ends_with(0).stderr;
    assert_eq!(said, format!("redis_server: {} has taken nothing for 200ms\n", deaf.local_addr().unwrap()));
}

#[test]
fn so_many_clients_are_served_at_a_time() {
    let server = Server::with(&["--clients", "2"]);
    let (mut one, mut other, mut third) = (server.connect(), server.connect(), server.connect());
    other.write_all(b"PING\r\n").unwrap();
    expect(&mut other, b"+PONG\r\n");
    third.write_all(b"INCR n\r\n").unwrap();
    for count in 1..=1000 {
        one.write_all(b"INCR n\r\n").unwrap();
        expect(&mut one, format!(":{count}\r\n").as_bytes());
    }
    drop(one);
    expect(&mut third, b":1001\r\n");
    server.ends_well();
}

#[test]
fn the_end_is_the_end_for_all() {
    let server = Server::new();
    let listener = Listener::new(&server, &["news"]);
    let mut clients: Vec<TcpStream> = [&b"PING\r\n"[..], b"PING\r\n*2\r\n$3\r\nGE", b"SUBSCRIBE a\r\n"]
        .map(|talk| {
            let mut stream = server.connect();
            stream.write_all(talk).unwrap();
            // It has been read.
            stream.read_exact(&mut [0; 4]).unwrap();
            stream
        })
        .into();
    server.ends_well();
    for client in &mut clients {
        client.read_to_end(&mut Vec::new()).unwrap();
    }
    drop(listener);
}

#[test]
fn replies_on_their_way_are_sent_before_the_end() {
    let server = Server::with(&["--grace", "600"]);
    let mut slow = asks_for(30, &server);
    server.0.terminate();
    server.0.listens_no_more();
    let reply = [&b"$1048576\r\n"[..], &[b'x'; 1 << 20], b"\r\n"].concat();
    for _ in 0..30 {
        expect(&mut slow, &reply);
    }
    assert_eq!(slow.read(&mut [0]).unwrap(), 0);
    drop(slow);
    assert_eq!(server.0.ends_with(0).stderr, "");
}

#[test]
fn who_takes_no_replies_does_not_keep_it_from_its_end() {
    let server = Server::with(&["--patience", "600", "--grace", "0.2"]);
    let _deaf = asks_for(100, &server);
    let mut idle = server.connect();
    idle.write_all(b"PING\r\n").unwrap();
    expect(&mut idle, b"+PONG\r\n");
    server.0.terminate();
    let said = server.0.ends_with(1).stderr;
    assert_eq!(said, "redis_server: 1 clients did not take their replies within 200ms\n");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn what_it_cannot_do_is_said() {
    let refused = |arguments: &[&str]| {
        let output = program::run("redis_server", arguments);
        (output.status.code(), stderr(&output))
    };
    for arguments in [
        &["--port"][..],
        &["--port", "70000"],
        &["--what"],
        &["a"],
        &["--clients", "0"],
        &["--grace", "-1"],
        &["--grace", "NaN"],
        &["--patience", "inf"],
        &["--patience", "soon"],
    ] {
        let (code, text) = refused(arguments);
        assert!(code == Some(2) && text.contains("usage:"), "{text}");
    }
    let server = Server::new();
    let (code, text) = refused(&["--port", server.port()]);
    assert!(code == Some(1) && text.contains(&format!("could not listen at port {}: ", server.port())), "{text}");
}
