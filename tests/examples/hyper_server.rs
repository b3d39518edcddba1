//! `hyper_server` as curl and wrk see it, and when it is to end.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::program;
use crate::service::Service;

fn server() -> Service {
    Service::start(program::command("hyper_server").args(["--port", "0"]))
}

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
fn bad_arguments_are_told() {
    let output = program::run("hyper_server", ["--port", "high"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(program::stderr(&output).contains("--port high"));
}
