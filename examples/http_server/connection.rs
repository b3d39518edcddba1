//! One client: what it asks for, one request after the other, and what it gets.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use tasklet::io::Relay;
use tasklet::net::TcpStream;
use tasklet::{CancelToken, blocking, fs};

use crate::Site;
use crate::files::{find, part};
use crate::request::{After, Request};

/// Bytes of a request up to its body.
const HEAD: usize = 16 << 10;
/// Header lines of a request.
const HEADERS: usize = 64;
/// Bytes of a file that go with the head: most files are not longer.
const PIECE: u64 = 64 << 10;
/// For a client that has its last answer, to close.
const TIME_TO_CLOSE: Duration = Duration::from_secs(2);

/// One client.
pub(crate) struct Connection<'s> {
    stream: TcpStream,
    site: &'s Site,
    /// The site's, for this connection alone: entering and leaving it is in nobody's way.
    stopping: CancelToken,
    /// What has come and was not used yet: of a pipelining client, requests ahead of time.
    input: Vec<u8>,
    /// An answer was begun and is not sent.
    owes: bool,
}

/// Why there is no request.
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

impl From<u16> for End {
    fn from(status: u16) -> End {
        End::Refused(status)
    }
}

impl<'s> Connection<'s> {
    pub(crate) fn new(stream: TcpStream, site: &'s Site) -> Connection<'s> {
        Connection { stream, site, stopping: site.stopping.child(), input: Vec::new(), owes: false }
    }

    /// One request after the other.
    pub(crate) fn converse(mut self) {
        // What follows a head is not to wait until the client says that it has the head. Who has gone is noticed at the first read.
        let _ = self.stream.set_nodelay(true);
        if self.stream.set_write_timeout(Some(self.site.limits.patience)).is_err() {
            return;
        }
        let stopping = self.stopping.clone();
        loop {
            // The token ends only the wait for a request, so that what has come is answered. An answer ends when it is sent, or by the kill after the grace.
            let request = match stopping.run(|| self.request()) {
                Ok(request) => Ok(request),
                Err(End::Refused(status)) => Err(status),
                Err(End::Quiet) => return,
            };
            let after = match &request {
                Ok(request) if !stopping.is_cancelled() => request.after,
                _ => After::Close,
            };
            self.owes = true;
            let sent = match &request {
                Ok(request) => self.answer(request, after),
                Err(status) => self.refuse(*status, false, after),
            };
            if sent.is_err() {
                return;
            }
            self.owes = false;
            if after == After::Close {
                return self.close();
            }
        }
    }

    /// Waits for a request that is whole.
    fn request(&mut self) -> Result<Request, End> {
        // Nothing has been asked while nothing has come, so nobody is told that it is over.
        if self.input.is_empty() && self.read(Instant::now() + self.site.limits.idle)? == 0 {
            return Err(End::Quiet);
        }
        let deadline = Instant::now() + self.site.limits.request;
        let request = self.head(deadline)?;
        // Not if some of it has come: then the client does not wait.
        if request.expects && request.body != 0 && self.input.is_empty() {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        self.skip(request.body, deadline)?;
        Ok(request)
    }

    fn head(&mut self, deadline: Instant) -> Result<Request, End> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut head = httparse::Request::new(&mut headers);
            match head.parse(&self.input) {
                Ok(httparse::Status::Complete(length)) => {
                    let request = Request::of(&head)?;
                    self.input.drain(..length);
                    return Ok(request);
                }
                Ok(httparse::Status::Partial) if self.input.len() >= HEAD => return Err(End::Refused(431)),
                Ok(httparse::Status::Partial) => self.more(deadline)?,
                Err(httparse::Error::TooManyHeaders) => return Err(End::Refused(431)),
                Err(httparse::Error::Version) => return Err(End::Refused(505)),
                Err(_) => return Err(End::Refused(400)),
            }
        }
    }

    /// Throws the body of a request away.
    fn skip(&mut self, body: usize, deadline: Instant) -> Result<(), End> {
        let mut left = body;
        while left > self.input.len() {
            left -= self.input.len();
            self.input.clear();
            self.more(deadline)?;
        }
        self.input.drain(..left);
        Ok(())
    }

    /// Reads some more of a request that has begun.
    fn more(&mut self, deadline: Instant) -> Result<(), End> {
        match self.read(deadline) {
            Ok(0) => Err(End::Quiet),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(End::Refused(408)),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what has come, or waits for some, until the deadline at the latest.
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

    fn answer(&mut self, request: &Request, after: After) -> io::Result<()> {
        let (root, path) = (&self.site.root, &request.path);
        let found = match blocking(|| find(root, path, request.folder.is_none())) {
            Ok(found) => found,
            Err(status @ 301) => {
                let more = format!("Location: {}\r\n", request.folder.as_deref().unwrap_or_default());
                return self.send(&plain(status, &more, request.is_head, after));
            }
            Err(status) => return self.refuse(status, request.is_head, after),
        };
        let mut head = String::new();
        // A header has whole seconds.
        let is_newer = |since| found.modified.is_none_or(|modified| modified >= since + Duration::from_secs(1));
        if request.since.is_some_and(|since| !is_newer(since)) {
            head.push_str("HTTP/1.1 304 Not Modified\r\n");
            common(&mut head, after);
            return self.send(head.as_bytes());
        }
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
                return self.send(&plain(416, &more, request.is_head, after));
            }
        };
        let _ = write!(head, "Content-Length: {}\r\nContent-Type: {}\r\n", range.end - range.start, found.kind);
        let _ = write!(head, "Accept-Ranges: bytes\r\n");
        if let Some(modified) = found.modified {
            let _ = write!(head, "Last-Modified: {}\r\n", httpdate::fmt_http_date(modified));
        }
        common(&mut head, after);
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
        // A client may take long for the rest.
        drop(out);
        let rest = length - first;
        // A file that has become shorter meanwhile ends the connection: the client was told another length.
        if Relay::new().copy_up_to(&fs::File::from(file), &self.stream, rest)? < rest {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn refuse(&mut self, status: u16, is_head: bool, after: After) -> io::Result<()> {
        let more = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        self.send(&plain(status, more, is_head, after))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Closes so that the last answer arrives. What comes when a socket is closed already, or was not read from it, makes the system send a reset, and that
    /// may overtake the answer: so the client's end is waited for. When the server is to end, only what has come is read.
    fn close(mut self) {
        // It fails if the client has gone.
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + TIME_TO_CLOSE;
        let stopping = self.stopping.clone();
        while stopping.run(|| self.read(deadline)).is_ok_and(|got| got != 0) {
            self.input.clear();
        }
    }
}

impl Drop for Connection<'_> {
    /// A client that has half an answer is told by a reset that this was not all. The system throws away what it has of the answer, which it would keep for
    /// minutes for a client that does not read.
    fn drop(&mut self) {
        if self.owes {
            let _ = self.stream.set_linger(Some(Duration::ZERO));
        }
    }
}

/// A response that says no more than its status.
fn plain(status: u16, more: &str, is_head: bool, after: After) -> Vec<u8> {
    let reason = match status {
        301 => "Moved Permanently",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    };
    let body = format!("{status} {reason}\n");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n{more}Content-Length: {}\r\n", body.len());
    head.push_str("Content-Type: text/plain\r\n");
    common(&mut head, after);
    if !is_head {
        head.push_str(&body);
    }
    head.into_bytes()
}

/// What each head ends with.
fn common(head: &mut String, after: After) {
    let _ = write!(head, "Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    head.push_str(after.header());
    head.push_str("\r\n");
}
