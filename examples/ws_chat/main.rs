//! A chat in the browser: `tungstenite`'s synchronous WebSockets on our sockets, and the page that talks to them, at one port.
//!
//! What one says goes to all through a broadcast channel. Each client has one tasklet, which waits for several things at once (`client.rs` says how a
//! WebSocket becomes one of them): that its client says something, that somebody else has, that it is time to ask whether the client is still there,
//! and that the server is to end. A client that takes nothing is in nobody's way: it misses what the channel does not keep for it, and is told how much
//! that was; one that takes nothing for too long is cut off. Pages of other sites may not have a browser come here.
//!
//! On SIGTERM or SIGINT no more clients are accepted, and each is told that this is the end. For that there is some time; then the runtime is shut down,
//! which ends the others in the middle of whatever they wait for.
//!
//! ```text
//! cargo run --release --example ws_chat -- --port 8080
//! chromium 'http://localhost:8080/?name=ann' 'http://localhost:8080/?name=bob'
//! ```

#![forbid(unsafe_code)]

#[path = "../common/arguments.rs"]
mod arguments;
mod client;
#[path = "../common/linger.rs"]
mod linger;
#[path = "../common/serving.rs"]
mod serving;
mod socket;

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tasklet::channel::{BroadcastSender, broadcast};
use tasklet::net::TcpStream;
use tasklet::{Builder, CancelToken, timeout};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};

use crate::linger::linger;
use crate::serving::{Bounds, Failure, end, listen, serve};

const USAGE: &str = "usage: ws_chat [--port P] [--connections N] [--ping SECONDS] [--patience SECONDS] [--grace SECONDS]

Serves a chat at the loopback address, at port 8080 or P; at 0 the system chooses one. It has N connections at a time, 1000 by default. Clients are asked
whether they are there every 30 seconds, or as said by --ping, and cut off if nothing comes from them for twice as long, or if they take nothing for 10
seconds, or as said by --patience. SIGTERM ends it, after 5 seconds, or as said by --grace, at the latest.";

const PAGE: &str = include_str!("page.html");

/// Bytes of a request.
const HEAD: usize = 16 << 10;
/// Until a request has come.
const TIME_FOR_HEAD: Duration = Duration::from_secs(10);
/// Messages that are kept for those who are slow.
const KEPT: usize = 64;
/// Characters of a name.
const NAME: usize = 20;
/// For a client to take what was said last, and to go.
const TIME_TO_LEAVE: Duration = Duration::from_secs(2);
struct Arguments {
    port: u16,
    limits: Limits,
}

/// What can be set by arguments.
#[derive(Clone, Copy)]
struct Limits {
    /// Connections at a time: more wait to be accepted.
    connections: usize,
    /// Between two questions whether a client is there.
    ping: Duration,
    /// Without any progress while something is sent.
    patience: Duration,
    /// For the ends of connections when the server is to end.
    grace: Duration,
}

/// What all clients share.
struct Room {
    said: BroadcastSender<String>,
    limits: Limits,
    /// Cancelled when the server is to end.
    stopping: CancelToken,
}

fn main() -> ExitCode {
    arguments::main("ws_chat", USAGE, read, run)
}

fn read(arguments: &mut arguments::Arguments) -> Result<Option<Arguments>, String> {
    let seconds = Duration::from_secs;
    let mut port = 8080;
    let mut limits = Limits { connections: 1000, ping: seconds(30), patience: seconds(10), grace: seconds(5) };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--port") => port = arguments.number(0..=u16::MAX)?,
            Some("--connections") => limits.connections = arguments.number(1..=1_000_000)?,
            Some("--ping") => limits.ping = arguments.time()?,
            Some("--patience") => limits.patience = arguments.time()?,
            Some("--grace") => limits.grace = arguments.time()?,
            _ => return Err(arguments.unknown()),
        }
    }
    Ok(Some(Arguments { port, limits }))
}

fn run(Arguments { port, limits }: Arguments) -> Result<(), Failure> {
    let runtime = Builder::new().build()?;
    let left = runtime.run(|| -> Result<usize, Failure> {
        let stopping = CancelToken::new();
        let listener = listen("http://", port, &stopping)?;
        let room = Room { said: broadcast(KEPT).0, limits, stopping: stopping.clone() };
        let bounds = Bounds { connections: limits.connections, grace: limits.grace };
        // Who has gone need not be told what was wrong.
        let talk = move |stream, _| drop(receive(stream, &room));
        Ok(serve("ws_chat", &listener, &bounds, &stopping, talk))
    })?;
    end(runtime, left, "clients could not be told that this is the end", limits.grace)
}

impl Room {
    /// Lets a client take what was said last, and go, within the time that there is when the server ends.
    fn linger(&self, stream: &TcpStream) {
        linger(stream, TIME_TO_LEAVE.min(self.limits.grace / 2));
    }
}

/// One connection: a request for the page, or one to chat.
fn receive(mut stream: TcpStream, room: &Room) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(room.limits.patience))?;
    let answer = match room.stopping.run(|| timeout(TIME_FOR_HEAD, || head(&mut stream))) {
        Err(_) => answer("408 Request Timeout", "text/plain", "too slow\n"),
        Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => bad_request(&error),
        Ok(Err(error)) => return Err(error.into()),
        Ok(Ok((request, rest))) => match request.uri().path() {
            "/chat" if !is_of_our_page(&request) => {
                answer("403 Forbidden", "text/plain", "another site's page sent you\n")
            }
            "/chat" => match create_response(&request) {
                Ok(response) => match name(request.uri().query().unwrap_or_default()) {
                    Some(name) => {
                        let mut head = Vec::new();
                        write_response(&mut head, &response)?;
                        stream.write_all(&head)?;
                        client::talk(&stream, rest, &name, room);
                        return Ok(());
                    }
                    None => bad_request(&"a name begins with a letter or a digit"),
                },
                Err(error) => bad_request(&format_args!("no WebSocket: {error}")),
            },
            "/" => answer("200 OK", "text/html; charset=utf-8", PAGE),
            _ => answer("404 Not Found", "text/plain", "there is / and /chat\n"),
        },
    };
    stream.write_all(answer.as_bytes())?;
    room.linger(&stream);
    Ok(())
}

/// Whether a request comes from the page that is served here, or from no page at all: browsers let the pages of every site connect to anywhere, and say
/// whose page it is that does.
fn is_of_our_page(request: &Request) -> bool {
    let Some(origin) = request.headers().get("origin") else { return true };
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, site)| site.as_bytes());
    site.is_some() && site == request.headers().get("host").map(|host| host.as_bytes())
}

/// Reads a request, a GET, and what has come after it.
fn head(stream: &mut TcpStream) -> io::Result<(Request, Vec<u8>)> {
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let found = Request::try_parse(&input).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if let Some((length, request)) = found {
            return Ok((request, input.split_off(length)));
        }
        let got = stream.read(&mut piece)?;
        if got == 0 || input.len() + got > HEAD {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        input.extend_from_slice(&piece[..got]);
    }
}

fn bad_request(why: &dyn Display) -> String {
    answer("400 Bad Request", "text/plain", &format!("{why}\n"))
}

fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// Whether a character, or what a terminal makes of it, could be the end of a line.
fn breaks_a_line(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// Who somebody says to be. None if what he says would look like a line of the server's, which begin with a star.
fn name(query: &str) -> Option<String> {
    let name = query.split('&').find_map(|part| part.strip_prefix("name=")).unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy();
    let name: String = name.chars().filter(|char| !breaks_a_line(*char)).take(NAME).collect();
    match name.chars().next() {
        None => Some("somebody".to_owned()),
        Some(first) => first.is_alphanumeric().then_some(name),
    }
}
