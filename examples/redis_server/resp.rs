//! RESP2, the protocol: requests out of what has come so far, and replies.
//!
//! A request is not copied: its arguments are parts of the buffer that it was read into. What has been understood of one that is incomplete is kept,
//! so it makes no difference in how many pieces it comes. Everything in it has a limit, and room is made for what has come, not for what was announced: a
//! client can have twice [`REQUEST`] bytes of memory, and no more.
//!
//! The crates that read RESP (`redis-protocol`, `resp`) are for what servers send: they know neither inline requests nor these limits, and begin again
//! with each piece.

use std::io::{self, Read, Write};
use std::ops::Range;

/// Bytes of a request in all.
pub(crate) const REQUEST: usize = 4 << 20;
/// Bytes of one argument.
pub(crate) const ARGUMENT: usize = 1 << 20;
/// Arguments of a request, its name included.
pub(crate) const ARGUMENTS: usize = 64 << 10;
/// Bytes of a request that is one line, and of any other line.
pub(crate) const LINE: usize = 64 << 10;
/// Bytes that are read at a time, if there is no reason for more.
const PIECE: usize = 16 << 10;

/// What a client has sent and was not used yet.
#[derive(Default)]
pub(crate) struct Input {
    /// Initialised in full, so that it can be read into.
    bytes: Vec<u8>,
    /// Where the request begins that comes next.
    start: usize,
    /// Where that ends which has come.
    end: usize,
    /// What is known of that request.
    partial: Partial,
    /// Its arguments, from where it begins.
    arguments: Vec<Range<usize>>,
}

/// How far a request is understood. Positions are from where it begins.
#[derive(Default)]
struct Partial {
    at: usize,
    /// Up to here there is no end of a line after `at`.
    searched: usize,
    /// How many arguments are missing, once that was said.
    missing: Option<usize>,
    /// The length of the argument that comes, once that was said.
    length: Option<usize>,
}

/// A whole request: one argument or more, of which the first is the name of a command.
#[derive(Clone, Copy)]
pub(crate) struct Request<'i> {
    bytes: &'i [u8],
    arguments: &'i [Range<usize>],
}

impl<'i> Request<'i> {
    pub(crate) fn len(&self) -> usize {
        self.arguments.len()
    }

    pub(crate) fn name(&self) -> &'i [u8] {
        self.get(0)
    }

    /// The argument with this number.
    pub(crate) fn get(&self, number: usize) -> &'i [u8] {
        &self.bytes[self.arguments[number].clone()]
    }

    /// The arguments from one with this number on.
    pub(crate) fn rest(self, number: usize) -> impl DoubleEndedIterator<Item = &'i [u8]> {
        self.arguments[number..].iter().map(move |argument| &self.bytes[argument.clone()])
    }
}

/// What comes is no request. Nothing that follows could be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProtocolError(String);

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Protocol error: {}", self.0)
    }
}

fn refuse<T>(why: &str) -> Result<T, ProtocolError> {
    Err(ProtocolError(why.to_owned()))
}

impl Input {
    /// Reads some more. Returns how much; nothing at the end.
    pub(crate) fn fill(&mut self, mut from: impl Read) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // Who has sent much once may be quiet from then on.
            self.bytes.truncate(PIECE);
            self.bytes.shrink_to(PIECE);
            self.arguments.clear();
            self.arguments.shrink_to(16);
        }
        // A long argument in pieces that become longer: at most twice as much room as has been sent.
        let got = self.end - self.start;
        let wanted = self.partial.length.map_or(0, |length| self.partial.at + length + 2);
        let room = wanted.saturating_sub(got).clamp(PIECE / 4, got.max(PIECE));
        if self.bytes.len() - self.end < room {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let length = (self.end + room).max(PIECE);
            if self.bytes.len() < length {
                self.bytes.resize(length, 0);
            }
        }
        let got = from.read(&mut self.bytes[self.end..])?;
        self.end += got;
        Ok(got)
    }

    /// Takes the next request, if all of it has come.
    pub(crate) fn next(&mut self) -> Result<Option<Request<'_>>, ProtocolError> {
        loop {
            let start = self.start;
            let is_whole = match self.bytes[start..self.end].first() {
                None => return Ok(None),
                Some(b'*') => self.next_array()?,
                Some(_) => self.next_line()?,
            };
            if !is_whole {
                return Ok(None);
            }
            self.start += self.partial.at;
            self.partial = Partial::default();
            // An empty line, or an empty array, is no request and gets no reply.
            if !self.arguments.is_empty() {
                return Ok(Some(Request { bytes: &self.bytes[start..], arguments: &self.arguments }));
            }
        }
    }

    /// Goes on with a request that is an array of strings. False if more has to come.
    fn next_array(&mut self) -> Result<bool, ProtocolError> {
        let mut missing = match self.partial.missing {
            Some(missing) => missing,
            None => {
                self.arguments.clear();
                let Some(line) = self.line("too big mbulk count string")? else { return Ok(false) };
                match number(&self.bytes[line][1..]) {
                    Some(count) if count > ARGUMENTS as i64 => return refuse("invalid multibulk length"),
                    Some(count) => usize::try_from(count).unwrap_or(0),
                    None => return refuse("invalid multibulk length"),
                }
            }
        };
        while missing > 0 {
            self.partial.missing = Some(missing);
            let length = match self.partial.length {
                Some(length) => length,
                None => {
                    let Some(line) = self.line("too big bulk count string")? else { return Ok(false) };
                    match self.bytes[line.clone()].first() {
                        Some(b'$') => {}
                        Some(other) => return refuse(&format!("expected '$', got '{}'", other.escape_ascii())),
                        None => return refuse("expected '$', got an empty line"),
                    }
                    match number(&self.bytes[line][1..]).map(usize::try_from) {
                        Some(Ok(length @ ..=ARGUMENT)) if self.partial.at + length + 2 <= REQUEST => length,
                        Some(Ok(..=ARGUMENT)) => return refuse("too big request"),
                        _ => return refuse("invalid bulk length"),
                    }
                }
            };
            self.partial.length = Some(length);
            let from = self.partial.at;
            let Some(after) = self.bytes[self.start + from..self.end].get(length..length + 2) else { return Ok(false) };
            if after != b"\r\n" {
                return refuse("expected the end of a line after a bulk");
            }
            self.arguments.push(from..from + length);
            let at = from + length + 2;
            self.partial = Partial { at, searched: at, missing: Some(missing), length: None };
            missing -= 1;
        }
        Ok(true)
    }

    /// Goes on with a request that is a line of words, as somebody types it.
    fn next_line(&mut self) -> Result<bool, ProtocolError> {
        self.arguments.clear();
        let from = self.start;
        let Some(end) = self.line_end("too big inline request")? else { return Ok(false) };
        // Words become shorter when quotes are taken away, so they can stay where they are.
        match split(&mut self.bytes[from..end], &mut self.arguments) {
            Some(()) => Ok(true),
            None => refuse("unbalanced quotes in request"),
        }
    }

    /// Takes a line, if all of it has come; where it is, without its end.
    fn line(&mut self, if_too_long: &str) -> Result<Option<Range<usize>>, ProtocolError> {
        let from = self.start + self.partial.at;
        let Some(end) = self.line_end(if_too_long)? else { return Ok(None) };
        match self.bytes[from..end] {
            [.., b'\r'] => Ok(Some(from..end - 1)),
            _ => refuse("expected the end of a line, with a carriage return"),
        }
    }

    /// Where the line ends that comes next, if it does. It counts as understood then.
    fn line_end(&mut self, if_too_long: &str) -> Result<Option<usize>, ProtocolError> {
        let Partial { at, searched, .. } = self.partial;
        let searched = searched.max(at);
        let found = memchr::memchr(b'\n', &self.bytes[self.start + searched..self.end]).map(|end| searched + end);
        let length = found.unwrap_or(self.end - self.start) - at;
        if length > LINE {
            return refuse(if_too_long);
        }
        match found {
            Some(end) if end >= REQUEST => refuse("too big request"),
            Some(end) => {
                (self.partial.at, self.partial.searched) = (end + 1, end + 1);
                Ok(Some(self.start + end))
            }
            None => {
                self.partial.searched = self.end - self.start;
                Ok(None)
            }
        }
    }
}

/// A number as redis reads it. There is one way to write each: without zeros in front, a plus sign, or a minus sign before zero.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    match text {
        b"0" | [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..] => str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// Splits a line into words and takes quotes away, in place. None if a quote is not closed, or something follows it at once.
fn split(line: &mut [u8], words: &mut Vec<Range<usize>>) -> Option<()> {
    // Written up to `to`, which is never past `at`.
    let (mut at, mut to) = (0, 0);
    loop {
        while line.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let Some(&first) = line.get(at) else { return Some(()) };
        let from = to;
        let quote = Some(first).filter(|first| matches!(first, b'"' | b'\''));
        at += usize::from(quote.is_some());
        loop {
            let byte = match (line.get(at), quote) {
                (None, None) => break,
                (None, Some(_)) => return None,
                (Some(byte), None) if byte.is_ascii_whitespace() => break,
                (Some(&byte), Some(quote)) if byte == quote => {
                    at += 1;
                    if line.get(at).is_some_and(|next| !next.is_ascii_whitespace()) {
                        return None;
                    }
                    break;
                }
                (Some(b'\\'), Some(quote)) => {
                    let (byte, length) = escaped(&line[at + 1..], quote)?;
                    at += length;
                    byte
                }
                (Some(&byte), _) => byte,
            };
            at += 1;
            line[to] = byte;
            to += 1;
        }
        words.push(from..to);
    }
}

/// What stands after a backslash inside of quotes: a byte, and how long its name is. None if nothing does.
fn escaped(text: &[u8], quote: u8) -> Option<(u8, usize)> {
    let hex = |digit: &u8| char::from(*digit).to_digit(16);
    Some(match (quote, text) {
        (_, []) => return None,
        (b'\'', [b'\'', ..]) => (b'\'', 1),
        // Between single quotes, any other backslash is one.
        (b'\'', _) => (b'\\', 0),
        (_, [b'x', high, low, ..]) if hex(high).is_some() && hex(low).is_some() => {
            let value = 16 * hex(high).unwrap_or(0) + hex(low).unwrap_or(0);
            (u8::try_from(value).expect("two digits"), 3)
        }
        (_, [b'n', ..]) => (b'\n', 1),
        (_, [b'r', ..]) => (b'\r', 1),
        (_, [b't', ..]) => (b'\t', 1),
        (_, [b'b', ..]) => (8, 1),
        (_, [b'a', ..]) => (7, 1),
        (_, [other, ..]) => (*other, 1),
    })
}

/// Replies that were not sent yet.
#[derive(Default)]
pub(crate) struct Replies(Vec<u8>);

impl Replies {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is to be sent; nothing is left.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Gives room back that [`take`](Self::take) has taken, unless there is unusually much of it.
    pub(crate) fn reuse(&mut self, mut room: Vec<u8>) {
        if room.capacity() <= PIECE {
            room.clear();
            self.0 = room;
        }
    }

    /// Replies that are made already.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// `text` begins with a word in capitals, the kind of error, and has one line.
    pub(crate) fn error(&mut self, text: &str) {
        self.line(b'-', text);
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.0.push(kind);
        self.0.extend_from_slice(text.as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }

    pub(crate) fn integer(&mut self, value: i64) {
        self.numbered(b':', value);
    }

    /// The head of an array: so many replies are its elements.
    pub(crate) fn array(&mut self, length: usize) {
        self.numbered(b'*', i64::try_from(length).expect("it is in memory"));
    }

    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        self.numbered(b'$', i64::try_from(bytes.len()).expect("it is in memory"));
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
    }

    pub(crate) fn null(&mut self) {
        self.0.extend_from_slice(b"$-1\r\n");
    }

    fn numbered(&mut self, kind: u8, value: i64) {
        self.0.push(kind);
        write!(self.0, "{value}\r\n").expect("a vector takes everything");
    }
}
