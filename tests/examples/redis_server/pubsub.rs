//! Channels: who hears what, until when, and what becomes of a client that does not read.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{Listener, Server, expect, request};
use crate::program::{PROMPT, signal};

#[test]
fn messages_reach_those_who_listen() {
    let server = Server::new();
    let mut one = Listener::new(&server, &["news", "weather"]);
    let mut other = Listener::new(&server, &["news"]);
    server.says(&[
        ("PUBLISH news hello", "(integer) 2"),
        ("PUBLISH weather rain", "(integer) 1"),
        ("PUBLISH sports nothing", "(integer) 0"),
    ]);
    one.hears(&["message", "news", "hello", "message", "weather", "rain"]);
    other.hears(&["message", "news", "hello"]);
    // Who leaves is missed when the server has seen it.
    drop(other);
    let deadline = Instant::now() + PROMPT;
    while server.cli("PUBLISH news again\n") != "(integer) 1\n" {
        assert!(Instant::now() < deadline);
    }
    one.hears(&["message", "news", "again"]);
    drop(one);
    while !server.cli("INFO\n").contains("pubsub_channels:0") {
        assert!(Instant::now() < deadline);
    }
    server.ends_well();
}

#[test]
fn a_listener_does_little_else() {
    let server = Server::new();
    let mut stream = server.connect();
    stream.write_all(b"SUBSCRIBE a b a\r\nPING\r\nPING x\r\nGET a\r\nUNSUBSCRIBE b none\r\n").unwrap();
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n");
    expect(&mut stream, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
    expect(&mut stream, b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are ");
    expect(&mut stream, b"allowed in this context\r\n");
    expect(
        &mut stream,
        b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$4\r\nnone\r\n:1\r\n",
    );
    server.says(&[("PUBLISH b x", "(integer) 0"), ("PUBLISH a x", "(integer) 1")]);
    expect(&mut stream, b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    stream.write_all(b"UNSUBSCRIBE\r\nPING\r\nPUBLISH a x\r\nSUBSCRIBE a\r\n").unwrap();
    expect(&mut stream, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n+PONG\r\n:0\r\n");
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    // One leaves all of them, without a word for each.
    stream.write_all(b"SUBSCRIBE c\r\n").unwrap();
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:2\r\n");
    stream.write_all(b"RESET\r\nGET a\r\nRESET\r\n").unwrap();
    expect(&mut stream, b"+RESET\r\n$-1\r\n+RESET\r\n");
    server.says(&[("PUBLISH a x", "(integer) 0"), ("PUBLISH c x", "(integer) 0")]);
    stream.write_all(b"SUBSCRIBE d\r\n").unwrap();
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:1\r\n");
    server.says(&[("PUBLISH d x", "(integer) 1")]);
    expect(&mut stream, b"*3\r\n$7\r\nmessage\r\n$1\r\nd\r\n$1\r\nx\r\n");
    server.ends_well();
}

/// Asks to listen to channels, and hears that it does: the first of them makes it so many.
#[track_caller]
fn subscribe(stream: &mut TcpStream, names: &[String], first: usize) {
    let mut arguments = vec![&b"SUBSCRIBE"[..]];
    arguments.extend(names.iter().map(String::as_bytes));
    stream.write_all(&request(&arguments)).unwrap();
    for (at, name) in names.iter().enumerate() {
        let confirmed = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:{}\r\n", name.len(), first + at);
        expect(stream, confirmed.as_bytes());
    }
}

#[test]
fn so_many_channels_and_so_much_of_their_names() {
    let server = Server::new();
    let many: Vec<String> = (0..1024).map(|number| number.to_string()).collect();
    let long: Vec<String> = (0..64).map(|number| format!("{number:01024}")).collect();
    for (names, refused) in [
        (many, "-ERR a client can listen to 1024 channels at most\r\n"),
        (long, "-ERR the names of the channels of a client can have 65536 bytes at most\r\n"),
    ] {
        let mut stream = server.connect();
        subscribe(&mut stream, &names, 1);
        // Those that it has do not count twice.
        subscribe(&mut stream, &names[..1], names.len());
        stream.write_all(b"SUBSCRIBE x\r\n").unwrap();
        expect(&mut stream, refused.as_bytes());
        let name = &names[1];
        stream.write_all(&request(&[b"UNSUBSCRIBE", name.as_bytes()])).unwrap();
        let left = names.len() - 1;
        let confirmed = format!("*3\r\n$11\r\nunsubscribe\r\n${}\r\n{name}\r\n:{left}\r\n", name.len());
        expect(&mut stream, confirmed.as_bytes());
        subscribe(&mut stream, &["x".to_owned()], names.len());
    }
    server.ends_well();
}

#[test]
fn no_message_comes_after_the_end_of_a_subscription() {
    let server = Server::new();
    let (mut listener, mut publisher) = (server.connect(), server.connect());
    let child = server.0.child();
    for _ in 0..50 {
        listener.write_all(b"SUBSCRIBE a\r\n").unwrap();
        expect(&mut listener, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
        // Both are there when it goes on, and which is first is open.
        signal(child, "STOP");
        publisher.write_all(&request(&[b"PUBLISH", b"a", b"x"])).unwrap();
        listener.write_all(b"UNSUBSCRIBE\r\nPING\r\n").unwrap();
        signal(child, "CONT");
        let mut reached = [0; 4];
        publisher.read_exact(&mut reached).unwrap();
        if &reached == b":1\r\n" {
            expect(&mut listener, &request(&[b"message", b"a", b"x"]));
        }
        expect(&mut listener, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n+PONG\r\n");
    }
    server.ends_well();
}

#[test]
fn a_listener_that_does_not_read_is_dropped() {
    let server = Server::new();
    let listen = |channel: &str| {
        let mut stream = server.connect();
        stream.write_all(&request(&[b"SUBSCRIBE", channel.as_bytes()])).unwrap();
        let confirmed = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len());
        expect(&mut stream, confirmed.as_bytes());
        stream
    };
    let (mut deaf, mut listener, mut publisher) = (listen("c"), listen("c"), server.connect());
    let payload = vec![b'x'; 100_000];
    let message = request(&[b"message", b"c", &payload]);
    let mut is_dropped = false;
    // Twice as much as its queue and the sockets' buffers hold.
    for _ in 0..400 {
        publisher.write_all(&request(&[b"PUBLISH", b"c", &payload])).unwrap();
        let mut reached = [0; 4];
        publisher.read_exact(&mut reached).unwrap();
        is_dropped |= &reached == b":1\r\n";
        assert_eq!(&reached, if is_dropped { b":1\r\n" } else { b":2\r\n" });
        // The other gets everything, at once.
        expect(&mut listener, &message);
    }
    assert!(is_dropped);
    assert!(server.resident() < 100 << 20, "{}", server.resident());
    // It can read what was on the way, up to some point in a message maybe, and then no more.
    let mut heard = Vec::new();
    match deaf.read_to_end(&mut heard) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(heard.len() < 40_000_000 && heard.starts_with(&message), "{} bytes", heard.len());
    // Small ones are counted.
    let _deaf = listen("d");
    let mut publisher = BufReader::new(publisher);
    let mut last = String::new();
    for _ in 0..1000 {
        publisher.get_mut().write_all(&request(&[b"PUBLISH", b"d", &[b'x'; 1000]]).repeat(100)).unwrap();
        for _ in 0..100 {
            last.clear();
            publisher.read_line(&mut last).unwrap();
        }
        if last == ":0\r\n" {
            break;
        }
    }
    assert_eq!(last, ":0\r\n");
    server.ends_well();
}
