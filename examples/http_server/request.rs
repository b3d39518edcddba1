//! What the head of a request asks for.

use std::path::PathBuf;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;

/// Bytes of a body, which is read and thrown away.
const BODY: usize = 64 << 10;

/// What is asked for.
pub(crate) struct Request {
    pub(crate) is_head: bool,
    pub(crate) path: PathBuf,
    /// The target with a slash at its end, as seen from here. None if it has one.
    pub(crate) folder: Option<String>,
    pub(crate) range: Option<String>,
    /// The client has the file as it was then.
    pub(crate) since: Option<SystemTime>,
    /// Bytes that follow the head.
    pub(crate) body: usize,
    /// The client waits to be told that it may send them.
    pub(crate) expects: bool,
    pub(crate) after: After,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Close,
    Keep,
    /// For clients of HTTP/1.0, which have to be told.
    SayKeep,
}

impl After {
    /// The header that says so.
    pub(crate) fn header(self) -> &'static str {
        match self {
            After::Close => "Connection: close\r\n",
            After::Keep => "",
            After::SayKeep => "Connection: keep-alive\r\n",
        }
    }
}

impl Request {
    /// Understands a head, or tells the status it is refused with.
    pub(crate) fn of(head: &httparse::Request<'_, '_>) -> Result<Request, u16> {
        // What is no text is nothing that is known here.
        let all = |name: &'static str| {
            let named = head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| str::from_utf8(header.value).unwrap_or_default().trim())
        };
        let one = |name| all(name).next();
        let is_old = head.version == Some(0);
        let is_head = match head.method {
            Some("GET") => false,
            Some("HEAD") => true,
            _ => return Err(405),
        };
        if one("transfer-encoding").is_some() {
            return Err(501);
        }
        let mut lengths = all("content-length");
        let body = match (lengths.next(), lengths.next()) {
            (None, _) => 0,
            // Too many bytes, or digits.
            (Some(length), None) if is_number(length) => {
                length.parse().ok().filter(|length| *length <= BODY).ok_or(413_u16)?
            }
            // Two lengths, and those with a sign, are how requests are smuggled past a proxy.
            (Some(_), _) => return Err(400),
        };
        let hosts = all("host").count();
        if hosts > 1 || hosts == 0 && !is_old {
            return Err(400);
        }
        let expects = match one("expect") {
            Some(what) if !is_old && !what.eq_ignore_ascii_case("100-continue") => return Err(417),
            what => what.is_some() && !is_old,
        };
        let says = |word: &str| {
            all("connection").flat_map(|said| said.split(',')).any(|said| said.trim().eq_ignore_ascii_case(word))
        };
        let after = match is_old {
            _ if says("close") => After::Close,
            false => After::Keep,
            true if says("keep-alive") => After::SayKeep,
            true => After::Close,
        };
        let target = head.path.and_then(origin).ok_or(400_u16)?;
        let path = path(target).ok_or(400_u16)?;
        // A part is sent only of the file that the client has another part of: it cannot say which that is, as files have no tags here.
        let range = one("range").filter(|_| !is_head && one("if-range").is_none()).map(str::to_owned);
        let since = one("if-modified-since").filter(|_| one("if-none-match").is_none());
        let since = since.and_then(|since| httpdate::parse_http_date(since).ok());
        Ok(Request { is_head, path, folder: folder(target), range, since, body, expects, after })
    }
}

/// Whether it is digits alone: std's numbers may have a sign.
pub(crate) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The path below the directory that a target names. None if it leads out of it, or is none.
fn path(target: &str) -> Option<PathBuf> {
    let target = target.split(['?', '#']).next()?;
    let decoded = percent_decode_str(target).decode_utf8().ok()?;
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

/// Where a target is as a folder. Only its last part is told, as a whole path could begin with two slashes, which is the address of another server.
fn folder(target: &str) -> Option<String> {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let last = path.rsplit('/').next().filter(|last| !last.is_empty())?;
    Some(format!("./{last}/{query}"))
}

/// What follows the host of a target. Proxies are asked for `http://host/path`, and any server may be; usual is `/path` alone.
fn origin(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    let is_ours = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    (is_ours && host != 0).then(|| &rest[host..])
}
