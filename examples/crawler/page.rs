//! Pages: where they are, what a server sends for one, and what is in it.

use std::io::{self, ErrorKind, Read, Write};

use fluent_uri::{Uri, UriRef};
use html5gum::{Token, Tokenizer};
use tasklet::net::TcpStream;

/// Bytes of the head of an answer.
const HEAD: usize = 16 << 10;
/// Header lines of an answer.
const HEADERS: usize = 64;
/// Bytes of a page. What follows is not read.
pub(crate) const BODY: usize = 64 << 10;

/// Where a page is: an `http` address in one spelling, without the name of a place in the page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(Uri<String>);

impl Address {
    /// None if it is none, or not of a page that this can ask for.
    pub(crate) fn new(text: &str) -> Option<Address> {
        Address::of(Uri::parse(text).ok()?.to_owned())
    }

    fn of(uri: Uri<String>) -> Option<Address> {
        let mut uri = uri.normalize();
        uri.set_fragment(None);
        let authority = uri.authority()?;
        if uri.scheme().as_str() != "http" || authority.host().is_empty() || authority.has_userinfo() {
            return None;
        }
        // What is asked for begins with a slash.
        if uri.path().is_empty() {
            let text = uri.as_str();
            let (before, query) = text.split_at(text.find('?').unwrap_or(text.len()));
            uri = Uri::parse(format!("{before}/{query}")).ok()?;
        }
        Some(Address(uri))
    }

    /// Where a link in this page leads to.
    pub(crate) fn link(&self, to: &str) -> Option<Address> {
        Address::of(UriRef::parse(to.trim()).ok()?.resolve_against(&self.0).ok()?)
    }

    /// Host and port, as in the address.
    pub(crate) fn site(&self) -> &str {
        self.0.authority().expect("an address has a host").as_str()
    }

    /// What a request asks for.
    pub(crate) fn target(&self) -> &str {
        &self.as_str()["http://".len() + self.site().len()..]
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What a server has sent.
pub(crate) struct Page {
    pub(crate) status: u16,
    /// Where it is instead.
    pub(crate) location: Option<String>,
    pub(crate) is_html: bool,
    pub(crate) body: Vec<u8>,
    /// There is more of it than this reads.
    pub(crate) is_cut: bool,
}

/// Asks for a page, and reads it up to a limit.
///
/// In HTTP/1.0, which has all that is needed here: one request on a connection, and an answer that ends with it.
pub(crate) fn fetch(address: &Address) -> io::Result<Page> {
    let site = address.site();
    let mut stream = match address.0.authority().and_then(|authority| authority.port()) {
        Some(_) => TcpStream::connect(site)?,
        None => TcpStream::connect(format!("{site}:80"))?,
    };
    let target = address.target();
    let agent = "tasklet-crawler";
    let request = format!("GET {target} HTTP/1.0\r\nHost: {site}\r\nUser-Agent: {agent}\r\nAccept: text/html\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut input = Vec::new();
    loop {
        if let Some((mut page, length)) = parse_head(&input)? {
            let wanted = length.map_or(BODY + 1, |length| length.min(BODY + 1));
            while page.body.len() < wanted {
                if read_some(&mut stream, &mut page.body)? == 0 {
                    if length.is_some() {
                        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the page has ended early"));
                    }
                    break;
                }
            }
            page.body.truncate(wanted);
            page.is_cut = page.body.len() > BODY;
            page.body.truncate(BODY);
            return Ok(page);
        }
        if input.len() > HEAD {
            return Err(invalid("the head of the answer is too long"));
        }
        if read_some(&mut stream, &mut input)? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the answer has ended early"));
        }
    }
}

fn read_some(mut from: impl Read, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4096];
    let got = from.read(&mut piece)?;
    into.extend_from_slice(&piece[..got]);
    Ok(got)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// Understands the head of an answer, if all of it has come. The body begins with what came with it; its length, if that is said.
fn parse_head(input: &[u8]) -> io::Result<Option<(Page, Option<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let end = match head.parse(input) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid("the answer is not HTTP")),
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(found.value).trim().to_owned())
    };
    if header("transfer-encoding").is_some() {
        return Err(invalid("the answer is encoded, which HTTP/1.0 does not know"));
    }
    let length = match header("content-length").map(|length| length.parse()) {
        None => None,
        Some(Ok(length)) => Some(length),
        Some(Err(_)) => return Err(invalid("the length of the page is not a number")),
    };
    let is_html = header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    let status = head.code.expect("the head is complete");
    Ok(Some((
        Page { status, location: header("location"), is_html, body: input[end..].to_vec(), is_cut: false },
        length,
    )))
}

/// How many words there are in a page, and where its links lead to.
pub(crate) fn read_html(html: &[u8]) -> (usize, Vec<String>) {
    let (mut words, mut links) = (0, Vec::new());
    for Ok(token) in Tokenizer::new(html) {
        match token {
            Token::StartTag(tag) if **tag.name == *b"a" => {
                let link = tag.attributes.get(&b"href"[..]);
                links.extend(link.map(|link| String::from_utf8_lossy(&link.value).into_owned()));
            }
            Token::String(text) => words += String::from_utf8_lossy(&text).split_whitespace().count(),
            _ => {}
        }
    }
    (words, links)
}
