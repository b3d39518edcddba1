//! How `redis_server` reads its protocol: the same whatever pieces it comes in, and never more than its limits.

#[path = "../../examples/redis_server/resp.rs"]
#[expect(dead_code, reason = "the replies are looked at where the server is run")]
mod resp;

use std::hash::{BuildHasher, RandomState};
use std::panic::{self, AssertUnwindSafe};

use resp::{ARGUMENT, ARGUMENTS, Input, LINE, REQUEST};

/// The requests, and what ended them if something did.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<String>);

/// Takes all requests that are whole.
fn take(input: &mut Input, outcome: &mut Outcome) {
    while outcome.1.is_none() {
        match input.next() {
            Ok(Some(request)) => outcome.0.push(request.rest(0).map(<[u8]>::to_vec).collect()),
            Ok(None) => return,
            Err(error) => outcome.1 = Some(error.to_string()),
        }
    }
}

/// What comes out of pieces.
fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    let (mut input, mut outcome) = (Input::default(), Outcome::default());
    for mut piece in pieces {
        while !piece.is_empty() && outcome.1.is_none() {
            assert_ne!(input.fill(&mut piece).unwrap(), 0);
            take(&mut input, &mut outcome);
        }
    }
    outcome
}

#[track_caller]
fn is_read(bytes: &[u8], requests: &[&[&str]]) {
    let expected: Vec<Vec<Vec<u8>>> =
        requests.iter().map(|request| request.iter().map(|argument| argument.as_bytes().to_vec()).collect()).collect();
    assert_eq!(read([bytes]), (expected, None));
}

#[track_caller]
fn is_refused(bytes: &[u8], error: &str) {
    let (_, found) = read([bytes]);
    assert_eq!(
        found.as_deref(),
        Some(format!("Protocol error: {error}").as_str()),
        "{}",
        bytes[..bytes.len().min(100)].escape_ascii()
    );
}

#[test]
fn requests_are_arrays_or_lines() {
    is_read(b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", &[&["PING"], &["ECHO", ""]]);
    is_read(b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n", &[&["GET", "a\r\nb"]]);
    is_read(b"PING\r\n  set  a\tb \nGET a", &[&["PING"], &["set", "a", "b"]]);
    is_read(b"\r\n\n*0\r\n*-1\r\n \r\nPING\r\n", &[&["PING"]]);
    is_read(b"*1\r\n$4\r\nPIN", &[]);
}

#[test]
fn words_may_stand_in_quotes() {
    is_read(b"a \"b c\" d\n", &[&["a", "b c", "d"]]);
    is_read(b"\"\\x41\\x4a\\n\\t\\\"\\q\\xzz\" '\\n\\'' \"\" ''\n", &[&["AJ\n\t\"qxzz", "\\n'", "", ""]]);
    is_read(b"a\"b\" c\n", &[&["a\"b\"", "c"]]);
    for line in [&b"a \"b\n"[..], b"'\n", b"\"a\"b\n", b"\"a\\\n", b"''x\n"] {
        is_refused(line, "unbalanced quotes in request");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for line in ["*x", "*", "*+1", "*-0", "*01", "*1x", "* 1", "*99999999999999999999"] {
        is_refused(format!("{line}\r\n").as_bytes(), "invalid multibulk length");
    }
    for line in ["$x", "$", "$-1", "$-0", "$+1", "$00", "$ 1", "$99999999999999999999"] {
        is_refused(format!("*1\r\n{line}\r\n").as_bytes(), "invalid bulk length");
    }
    is_refused(b"*1\r\n:1\r\n", "expected '$', got ':'");
    is_refused(b"*1\r\n\xff\r\n", "expected '$', got '\\xff'");
    is_refused(b"*1\r\n\r\n", "expected '$', got an empty line");
    is_refused(b"*1\n", "expected the end of a line, with a carriage return");
    is_refused(b"*1\r\n$1\r\nab\r\n", "expected the end of a line after a bulk");
}

#[test]
fn everything_has_a_limit() {
    let bulk = |length: usize| [format!("${length}\r\n").as_bytes(), &vec![b'x'; length], b"\r\n"].concat();
    // An array that says it has so many elements, and some of them.
    let array = |said: usize, elements: &[u8]| [format!("*{said}\r\n").as_bytes(), elements].concat();
    let (requests, error) = read([&*array(1, &bulk(ARGUMENT))]);
    assert!(error.is_none() && requests[0][0].len() == ARGUMENT);
    is_refused(format!("*1\r\n${}\r\n", ARGUMENT + 1).as_bytes(), "invalid bulk length");
    let (requests, error) = read([&*array(ARGUMENTS, &bulk(1).repeat(ARGUMENTS))]);
    assert!(error.is_none() && requests[0].len() == ARGUMENTS);
    is_refused(&array(ARGUMENTS + 1, b""), "invalid multibulk length");
    let three = bulk(ARGUMENT).repeat(3);
    const { assert!(3 * ARGUMENT < REQUEST && 4 * ARGUMENT >= REQUEST) };
    assert!(read([&*array(3, &three)]).1.is_none());
    // Before the fourth has come.
    is_refused(&array(4, &[&*three, format!("${ARGUMENT}\r\n").as_bytes()].concat()), "too big request");
    let line = vec![b'a'; LINE];
    assert!(read([&*line]).1.is_none());
    is_refused(&[&*line, b"a"].concat(), "too big inline request");
    is_refused(&[b"*", &vec![b'1'; LINE][..]].concat(), "too big mbulk count string");
    is_refused(&[b"*1\r\n$", &vec![b'1'; LINE][..]].concat(), "too big bulk count string");
}

/// Numbers without a pattern.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// Requests and how they are sent, of which some bytes may be wrong.
    fn talk(&mut self, requests: &mut Vec<Vec<Vec<u8>>>) -> Vec<u8> {
        let mut sent = Vec::new();
        for _ in 0..self.below(6) {
            match self.below(8) {
                0 => sent.extend_from_slice([&b"\r\n"[..], b"*0\r\n", b"*-1\r\n"][self.below(3)]),
                1 | 2 => {
                    let words: Vec<Vec<u8>> = (0..1 + self.below(3)).map(|_| self.word()).collect();
                    sent.extend_from_slice(&words.join(&b' '));
                    sent.extend_from_slice(b"\r\n");
                    requests.push(words);
                }
                _ => {
                    let arguments: Vec<Vec<u8>> = (0..1 + self.below(4)).map(|_| self.bytes()).collect();
                    sent.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
                    for argument in &arguments {
                        sent.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
                        sent.extend_from_slice(argument);
                        sent.extend_from_slice(b"\r\n");
                    }
                    requests.push(arguments);
                }
            }
        }
        sent
    }

    fn word(&mut self) -> Vec<u8> {
        (0..1 + self.below(5)).map(|_| b"abcXYZ019$"[self.below(10)]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = if self.below(20) == 0 { self.below(30_000) } else { self.below(12) };
        (0..length).map(|_| b"\r\n*$a1\"\0\xff-"[self.below(10)]).collect()
    }
}

#[test]
fn pieces_make_no_difference() {
    let seed = RandomState::new().hash_one(0) | 1;
    let mut dice = Dice(seed);
    for round in 0..200 {
        let mut requests = Vec::new();
        let mut bytes = dice.talk(&mut requests);
        let whole = read([&*bytes]);
        let checked = panic::catch_unwind(AssertUnwindSafe(|| {
            assert_eq!(whole, (requests, None));
            // Then also with something wrong.
            for wrong in [false, true] {
                if wrong && !bytes.is_empty() {
                    for _ in 0..1 + dice.below(3) {
                        let at = dice.below(bytes.len());
                        bytes[at] = b"*$\r\n-19a\"'"[dice.below(10)];
                    }
                }
                let whole = read([&*bytes]);
                let splits: Vec<usize> = if bytes.len() < 300 {
                    (0..=bytes.len()).collect()
                } else {
                    (0..20).map(|_| dice.below(bytes.len())).collect()
                };
                for at in splits {
                    assert_eq!(read([&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
                }
                assert_eq!(read(bytes.chunks(1)), whole, "byte for byte");
                let piece = 1 + dice.below(50);
                assert_eq!(read(bytes.chunks(piece)), whole, "in pieces of {piece}");
            }
        }));
        if let Err(why) = checked {
            eprintln!("seed {seed}, round {round}: {}", bytes.escape_ascii());
            panic::resume_unwind(why);
        }
    }
}
