//! What a server answers to requests in plain HTTP/1.1: a line of text, and the date, as servers do.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::answers::Answer;
use crate::Result;

/// The answer's body.
pub(crate) const BODY: &str = "Hello, World!";

/// Headers of a request, at most.
const HEADERS: usize = 32;

/// One connection's requests and answers.
#[derive(Default)]
pub(crate) struct Talk {
    /// Of a request whose rest has not come.
    rest: Vec<u8>,
    answers: Vec<u8>,
    date: Date,
}

impl Answer for Talk {
    fn take<'a>(&'a mut self, got: &'a [u8]) -> Result<&'a [u8]> {
        self.answers.clear();
        if self.rest.is_empty() {
            let used = answer(got, &mut self.answers, &mut self.date)?;
            self.rest.extend_from_slice(&got[used..]);
        } else {
            self.rest.extend_from_slice(got);
            let used = answer(&self.rest, &mut self.answers, &mut self.date)?;
            self.rest.drain(..used);
        }
        Ok(&self.answers)
    }
}

/// Answers all requests that are there as a whole. Returns how many bytes they are.
fn answer(input: &[u8], answers: &mut Vec<u8>, date: &mut Date) -> Result<usize> {
    let mut used = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&input[used..])? {
            httparse::Status::Partial => return Ok(used),
            httparse::Status::Complete(length) => used += length,
        }
        answers.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\ndate: ");
        answers.extend_from_slice(date.text().as_bytes());
        answers.extend_from_slice(b"\r\n\r\n");
        answers.extend_from_slice(BODY.as_bytes());
    }
}

/// The date, written once a second.
#[derive(Default)]
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn text(&mut self) -> &str {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_pieces_are_answered_once_each() {
        let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
        for size in 1..=requests.len() {
            let mut talk = Talk::default();
            let mut answers = Vec::new();
            for piece in requests.chunks(size) {
                answers.extend_from_slice(talk.take(piece).unwrap());
            }
            let answers = String::from_utf8(answers).unwrap();
            assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3, "in pieces of {size}");
            assert_eq!(answers.matches("\r\n\r\nHello, World!").count(), 3, "in pieces of {size}");
            assert!(answers.contains("content-length: 13\r\n") && answers.contains(" GMT\r\n"));
        }
        assert!(Talk::default().take(b"\0\r\n\r\n").is_err());
    }
}
