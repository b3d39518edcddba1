//! A chat in the browser: `tungstenite`'s synchronous WebSockets on our sockets, and the page that talks to them, at one port.
//!
//! What one says goes to all through a broadcast channel. Each client has one tasklet, which waits for several things at once (`client.rs` says how a
//! WebSocket becomes one of them): that its client says something, that somebody else has, that it is time to ask whether the client is still there,
//! and that the server is to end. A client that takes nothing is in nobody's way: it misses what the channel does not keep for it, and is told how much
//! that was; one that takes nothing for too long is cut off.
//!
//! ```text
//! cargo run --release --example ws_chat -- --port 8080
//! chromium 'http://localhost:8080/?name=ann' 'http://localhost:8080/?name=bob'
//! ```

#![forbid(unsafe_code)]

mod client;
mod socket;

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tasklet::channel::{BroadcastSender, broadcast};
use tasklet::net::{TcpListener, TcpStream};
use tasklet::signal::{SIGINT, SIGTERM, Signals};
use tasklet::sync::Semaphore;
use tasklet::{Builder, CancelToken, spawn, timeout};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};

const USAGE: &str = "usage: ws_chat [--port P] [--ping SECONDS] [--patience SECONDS]

Serves a chat at the loopback address, at port 8080 or P; at 0 the system chooses one. Clients are asked whether they are there every 30 seconds, or as
said, and cut off if nothing comes from them for twice as long, or if they take nothing for 10 seconds, or as said. SIGTERM ends it.";

const PAGE: &str = include_str!("page.html");

/// Bytes of a request.
const HEAD: usize = 16 << 10;
/// Until a request has come.
const TIME_FOR_HEAD: Duration = Duration::from_secs(10);
/// Connections at a time: more wait to be accepted.
const CONNECTIONS: usize = 1000;
/// Messages that are kept for those who are slow.
const KEPT: usize = 64;
/// Characters of a name.
const NAME: usize = 20;
/// For the ends of connections when the server is to end.
const TIME_TO_END: Duration = Duration::from_secs(5);

/// What all clients share.
struct Room {
    said: BroadcastSender<String>,
    stopping: CancelToken,
    ping: Duration,
    patience: Duration,
}

fn main() -> ExitCode {
    let (port, ping, patience) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("ws_chat: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(port, ping, patience) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ws_chat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<(u16, Duration, Duration)>, String> {
    let (mut port, mut ping, mut patience) = (8080, 30, 10);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = |most: u64| {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
            let number = value.parse::<u64>().ok().filter(|number| *number <= most);
            number.ok_or_else(|| format!("{argument} {value}: needs a number up to {most}"))
        };
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--port" => port = number(65_535)? as u16,
            "--ping" => ping = number(3600)?.max(1),
            "--patience" => patience = number(3600)?.max(1),
            _ => return Err(format!("there is no argument {argument}")),
        }
    }
    Ok(Some((port, Duration::from_secs(ping), Duration::from_secs(patience))))
}

fn run(port: u16, ping: Duration, patience: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
    Builder::new().build()?.run(move || {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .map_err(|error| format!("could not listen at port {port}: {error}"))?;
        let signals = Signals::new([SIGTERM, SIGINT])?;
        println!("http://{}", listener.local_addr()?);
        let stopping = CancelToken::new();
        let token = stopping.clone();
        let watcher = spawn(move || {
            if signals.recv().is_ok() {
                token.cancel();
            }
        });
        serve(&listener, &Arc::new(Room { said: broadcast(KEPT).0, stopping, ping, patience }));
        watcher.kill();
        Ok(())
    })
}

fn serve(listener: &TcpListener, room: &Arc<Room>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let stopping = &room.stopping;
    while !stopping.is_cancelled() {
        let Ok(place) = stopping.run(|| places.acquire_owned_timeout(Duration::MAX)) else { continue };
        match stopping.run(|| listener.accept()) {
            Ok((stream, _)) => {
                let room = room.clone();
                spawn(move || {
                    let _counted = place;
                    let token = room.stopping.clone();
                    // Who has gone need not be told what was wrong.
                    let _ = token.run(|| receive(stream, &room));
                });
            }
            Err(_) if stopping.is_cancelled() => {}
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("ws_chat: could not accept a connection: {error}"),
        }
    }
    // All places are free when nobody is left.
    if places.acquire_many_timeout(CONNECTIONS, TIME_TO_END).is_err() {
        eprintln!("ws_chat: some clients could not be told within {TIME_TO_END:?} that this is the end");
    }
}

/// One connection: a request for the page, or one to chat.
fn receive(mut stream: TcpStream, room: &Room) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(room.patience))?;
    let Ok(head) = timeout(TIME_FOR_HEAD, || head(&mut stream)) else {
        return Ok(answer(&mut stream, "408 Request Timeout", "text/plain", "too slow\n")?);
    };
    let (request, rest) = match head {
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Ok(answer(&mut stream, "400 Bad Request", "text/plain", &format!("{error}\n"))?);
        }
        head => head?,
    };
    match request.uri().path() {
        "/chat" => match create_response(&request) {
            Ok(response) => {
                let mut head = Vec::new();
                write_response(&mut head, &response)?;
                stream.write_all(&head)?;
                client::talk(stream, rest, &name(request.uri().query().unwrap_or_default()), room);
                Ok(())
            }
            Err(error) => {
                Ok(answer(&mut stream, "400 Bad Request", "text/plain", &format!("no WebSocket: {error}\n"))?)
            }
        },
        "/" => Ok(answer(&mut stream, "200 OK", "text/html; charset=utf-8", PAGE)?),
        _ => Ok(answer(&mut stream, "404 Not Found", "text/plain", "there is / and /chat\n")?),
    }
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

fn answer(stream: &mut TcpStream, status: &str, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all((head + body).as_bytes())
}

/// Who somebody says to be.
fn name(query: &str) -> String {
    let name = query.split('&').find_map(|part| part.strip_prefix("name=")).unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy();
    let name: String = name.chars().filter(|char| !char.is_control()).take(NAME).collect();
    if name.is_empty() { "somebody".to_owned() } else { name }
}
