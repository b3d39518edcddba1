//! Serves the files of a directory over HTTP/1.1: how a server is written with tasklets.
//!
//! One tasklet accepts, and spawns one for each connection, which reads and writes as if it had a thread to itself. Files are looked up and read
//! where that may block. What is limited: the size of a request's head and of a body that nobody wants, the time until a head has come, the time that a
//! client may take to read, and how many connections there are at a time. On SIGTERM or SIGINT no more are accepted, those that wait for a request
//! are closed, and those that are being answered get their answer.
//!
//! ```text
//! cargo run --release --example http_server -- docs --port 8080
//! curl -r 0-99 http://localhost:8080/kinds.tsv
//! ```

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::percent_decode_str;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tasklet::io::Relay;
use tasklet::net::{TcpListener, TcpStream};
use tasklet::sync::{Semaphore, WaitGroup};
use tasklet::{Builder, CancelToken, blocking, fs, mask, spawn, stealing};

const USAGE: &str = "usage: http_server DIR [--port P]

Serves the files below DIR over HTTP at the loopback address, at port 8080 or P; at 0 the system chooses one. SIGTERM ends it.";

/// Bytes of a request up to its body.
const HEAD: usize = 16 << 10;
/// Header lines of a request.
const HEADERS: usize = 64;
/// Bytes of a body, which is read and thrown away.
const BODY: u64 = 64 << 10;
/// Bytes of a file that go with the head: most files are not longer.
const PIECE: u64 = 256 << 10;
/// Connections at a time: more wait to be accepted.
const CONNECTIONS: usize = 10_000;
/// For how long a connection is kept that nothing is asked on.
const IDLE: Duration = Duration::from_secs(30);
/// From the first byte of a head to its last: a client that trickles is not waited for.
const TIME_FOR_HEAD: Duration = Duration::from_secs(10);
/// Without any progress while a response is sent.
const TIME_TO_SEND: Duration = Duration::from_secs(30);
/// For answers that are on the way when the server is to end.
const TIME_TO_END: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let (directory, port) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("http_server: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&directory, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<(PathBuf, u16)>, String> {
    let (mut directory, mut port) = (None, 8080);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--port") => {
                let value = arguments.next().ok_or("--port needs a number")?;
                let number = value.to_str().and_then(|value| value.parse().ok());
                port = number.ok_or_else(|| format!("--port {}: needs a number up to 65535", value.display()))?;
            }
            Some(option) if option.starts_with('-') => return Err(format!("there is no option {option}")),
            _ if directory.is_some() => return Err(format!("one directory is served, not {} too", argument.display())),
            _ => directory = Some(PathBuf::from(argument)),
        }
    }
    Ok(Some((directory.ok_or("which directory is to be served?")?, port)))
}

fn run(directory: &Path, port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let no_directory = |error| format!("could not serve {}: {error}", directory.display());
    let root = directory.canonicalize().map_err(no_directory)?;
    if !root.is_dir() {
        return Err(no_directory(ErrorKind::NotADirectory.into()).into());
    }
    let stopping = CancelToken::new();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (handle, token) = (signals.handle(), stopping.clone());
    let watcher = std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            token.cancel();
        }
    });
    let runtime = Builder::new().build()?;
    let served = runtime.run(|| -> io::Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .map_err(|error| io::Error::new(error.kind(), format!("could not listen at port {port}: {error}")))?;
        println!("http://{}", listener.local_addr()?);
        serve(&listener, &Arc::new(root), &stopping);
        Ok(())
    });
    handle.close();
    watcher.join().expect("the watcher does not panic");
    Ok(served?)
}

/// Accepts until the token is cancelled, and waits for what is being answered then.
fn serve(listener: &TcpListener, root: &Arc<PathBuf>, stopping: &CancelToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = WaitGroup::new();
    while !stopping.is_cancelled() {
        let Ok(place) = stopping.run(|| places.acquire_owned_timeout(Duration::MAX)) else { continue };
        match stopping.run(|| listener.accept()) {
            Ok((stream, _)) => {
                let (root, member, token) = (root.clone(), connections.clone(), stopping.clone());
                spawn(move || {
                    let _counted = (place, member);
                    token.run(|| Connection::new(stream, &root).converse());
                });
            }
            Err(_) if stopping.is_cancelled() => {}
            // One that has gone before it was accepted, or no descriptor left: the next accept waits for one.
            Err(error) => eprintln!("http_server: could not accept a connection: {error}"),
        }
    }
    if connections.wait_timeout(TIME_TO_END).is_err() {
        eprintln!("http_server: some answers could not be sent within {TIME_TO_END:?}");
    }
}

/// One client.
struct Connection<'r> {
    stream: TcpStream,
    root: &'r Path,
    /// What has come and was not used yet: of a pipelining client, requests ahead of time.
    input: Vec<u8>,
}

/// Why a connection ends.
enum End {
    /// Nothing is wrong, or nobody is left to tell.
    Quiet,
    /// The client is told, and the connection closed.
    Refused(u16),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Quiet
    }
}

/// What is asked for.
struct Request {
    is_head: bool,
    path: PathBuf,
    range: Option<String>,
    keeps: bool,
    body: u64,
}

impl<'r> Connection<'r> {
    fn new(stream: TcpStream, root: &'r Path) -> Connection<'r> {
        Connection { stream, root, input: Vec::new() }
    }

    /// One request after the other.
    fn converse(mut self) {
        // What follows a head is not to wait until the client says that it has the head. Who has gone is noticed at the first read.
        let _ = self.stream.set_nodelay(true);
        loop {
            // Here a cancellation ends it, and later it waits for the end of the answer.
            let request = match self.request() {
                Ok(request) => request,
                Err(End::Quiet) => return,
                Err(End::Refused(status)) => {
                    let _masked = mask();
                    return drop(self.refuse(status, false, false));
                }
            };
            let _masked = mask();
            let keeps = request.keeps;
            if self.answer(&request).is_err() || !keeps || self.skip(request.body).is_err() {
                return;
            }
        }
    }

    /// Reads the head of a request.
    fn request(&mut self) -> Result<Request, End> {
        let mut deadline = None;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut head = httparse::Request::new(&mut headers);
            match head.parse(&self.input) {
                Ok(httparse::Status::Complete(length)) => {
                    let request = understand(&head);
                    self.input.drain(..length);
                    return request;
                }
                Ok(httparse::Status::Partial) if self.input.len() >= HEAD => return Err(End::Refused(431)),
                Ok(httparse::Status::Partial) => {}
                Err(httparse::Error::TooManyHeaders) => return Err(End::Refused(431)),
                Err(httparse::Error::Version) => return Err(End::Refused(505)),
                Err(_) => return Err(End::Refused(400)),
            }
            let has_begun = !self.input.is_empty();
            let deadline =
                *deadline.get_or_insert_with(|| Instant::now() + if has_begun { TIME_FOR_HEAD } else { IDLE });
            match self.read(deadline) {
                Ok(0) => return Err(End::Quiet),
                Ok(_) if !has_begun => return self.request(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut && has_begun => return Err(End::Refused(408)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads some more, until the deadline at the latest.
    fn read(&mut self, deadline: Instant) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 4096];
        let got = self.stream.read(&mut piece)?;
        self.input.extend_from_slice(&piece[..got]);
        Ok(got)
    }

    /// Throws the body of a request away.
    fn skip(&mut self, body: u64) -> io::Result<()> {
        let mut left = usize::try_from(body).expect("it is at most BODY");
        let deadline = Instant::now() + TIME_FOR_HEAD;
        while left > self.input.len() {
            left -= self.input.len();
            self.input.clear();
            if self.read(deadline)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.input.drain(..left);
        Ok(())
    }

    fn answer(&mut self, request: &Request) -> io::Result<()> {
        let (root, path) = (self.root, &request.path);
        let found = match blocking(|| find(root, path)) {
            Ok(found) => found,
            Err(status) => return self.refuse(status, request.is_head, request.keeps),
        };
        let mut head = String::new();
        let range = match request.range.as_deref().and_then(|range| part(range, found.length)) {
            None => {
                head.push_str("HTTP/1.1 200 OK\r\n");
                0..found.length
            }
            Some(Ok(range)) => {
                let _ = write!(head, "HTTP/1.1 206 Partial Content\r\n");
                let _ = write!(head, "Content-Range: bytes {}-{}/{}\r\n", range.start, range.end - 1, found.length);
                range
            }
            Some(Err(())) => {
                let more = format!("Content-Range: bytes */{}\r\n", found.length);
                return self.send(&plain(416, &more, request.is_head, request.keeps));
            }
        };
        let _ = write!(head, "Content-Length: {}\r\nContent-Type: {}\r\n", range.end - range.start, found.kind);
        let _ = write!(head, "Accept-Ranges: bytes\r\n");
        if let Some(modified) = found.modified {
            let _ = write!(head, "Last-Modified: {}\r\n", httpdate::fmt_http_date(modified));
        }
        common(&mut head, request.keeps);
        if request.is_head {
            return self.send(head.as_bytes());
        }
        self.send_file(head.into_bytes(), found.file, range)
    }

    /// The head with the first piece of the file; the rest is sent by the system, without a way through this program.
    fn send_file(&mut self, mut out: Vec<u8>, mut file: File, range: Range<u64>) -> io::Result<()> {
        let (start, length) = (out.len(), range.end - range.start);
        let first = length.min(PIECE);
        out.resize(start + first as usize, 0);
        if first != 0 {
            blocking(|| -> io::Result<()> {
                if range.start != 0 {
                    file.seek(SeekFrom::Start(range.start))?;
                }
                file.read_exact(&mut out[start..])
            })?;
        }
        self.send(&out)?;
        let rest = length - first;
        // A file that has become shorter meanwhile ends the connection: the client was told another length.
        if Relay::new().copy_up_to(&fs::File::from(file), &self.stream, rest)? < rest {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn refuse(&mut self, status: u16, is_head: bool, keeps: bool) -> io::Result<()> {
        let more = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        self.send(&plain(status, more, is_head, keeps))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(TIME_TO_SEND))?;
        self.stream.write_all(bytes)
    }
}

/// A response that says no more than its status.
fn plain(status: u16, more: &str, is_head: bool, keeps: bool) -> Vec<u8> {
    let reason = match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    };
    let body = format!("{status} {reason}\n");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n{more}Content-Length: {}\r\n", body.len());
    head.push_str("Content-Type: text/plain\r\n");
    common(&mut head, keeps);
    if !is_head {
        head.push_str(&body);
    }
    head.into_bytes()
}

/// What each head ends with.
fn common(head: &mut String, keeps: bool) {
    let _ = write!(head, "Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    if !keeps || stealing::is_cancelled() {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
}

/// What a head asks for, or why it is refused.
fn understand(head: &httparse::Request<'_, '_>) -> Result<Request, End> {
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let is_head = match head.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(End::Refused(405)),
    };
    if header("transfer-encoding").is_some() {
        return Err(End::Refused(501));
    }
    let count = |name| head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count();
    let body = match header("content-length").map(|length| length.parse()) {
        None => 0,
        // Two lengths, and those with a sign, are how requests are smuggled past a proxy.
        Some(_) if count("content-length") > 1 => return Err(End::Refused(400)),
        Some(Ok(_)) if header("content-length").is_some_and(|length| length.starts_with('+')) => {
            return Err(End::Refused(400));
        }
        Some(Ok(length @ ..=BODY)) => length,
        Some(Ok(_)) => return Err(End::Refused(413)),
        Some(Err(_)) => return Err(End::Refused(400)),
    };
    let connection = header("connection").unwrap_or_default();
    let says = |word: &str| connection.split(',').any(|said| said.trim().eq_ignore_ascii_case(word));
    let keeps = if head.version == Some(0) { says("keep-alive") } else { !says("close") };
    if count("host") > 1 || head.version == Some(1) && header("host").is_none() {
        return Err(End::Refused(400));
    }
    let path = path(head.path.unwrap_or_default()).ok_or(End::Refused(400))?;
    // A part is sent only of the file that the client has another part of: it cannot say which that is, as files have no tags here.
    let range = if header("if-range").is_some() { None } else { header("range") };
    Ok(Request { is_head, path, range, keeps, body })
}

/// The path below the directory that a target names. None if it leads out of it, or is none.
fn path(target: &str) -> Option<PathBuf> {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decode_str(target.strip_prefix('/')?).decode_utf8().ok()?;
    let mut path = PathBuf::new();
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part if part.contains('\0') => return None,
            part => path.push(part),
        }
    }
    Some(path)
}

/// A file that is to be sent.
struct Found {
    file: File,
    length: u64,
    modified: Option<SystemTime>,
    kind: &'static str,
}

/// Opens the file of a path, or the index of a directory; else a status. A link that leads out of the directory leads nowhere.
fn find(root: &Path, path: &Path) -> Result<Found, u16> {
    let status = |error: io::Error| -> u16 {
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidFilename => 404,
            _ => 500,
        }
    };
    let mut path = root.join(path).canonicalize().map_err(status)?;
    if path.is_dir() {
        path = path.join("index.html").canonicalize().map_err(status)?;
    }
    if !path.starts_with(root) {
        return Err(404);
    }
    // A pipe would be waited for.
    if !path.is_file() {
        return Err(404);
    }
    let file = File::open(&path).map_err(status)?;
    let metadata = file.metadata().map_err(status)?;
    let kind = mime_guess::from_path(&path).first_raw().unwrap_or("application/octet-stream");
    Ok(Found { file, length: metadata.len(), modified: metadata.modified().ok(), kind })
}

/// The part of a file that a `Range` header asks for. None if it is to be ignored: it is none, or asks for several. An error if there is no such part.
fn part(range: &str, length: u64) -> Option<Result<Range<u64>, ()>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let part = match (first.trim(), last.trim()) {
        ("", last) => length.saturating_sub(number(last)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if part.is_empty() { Err(()) } else { Ok(part) })
}
