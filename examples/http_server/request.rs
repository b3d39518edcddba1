//! What the head of a request asks for.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// Bytes of a body, which is read and thrown away.
const BODY: u64 = 64 << 10;

/// What is asked for.
pub(crate) struct Request {
    pub(crate) is_head: bool,
    pub(crate) path: PathBuf,
    pub(crate) range: Option<String>,
    pub(crate) keeps: bool,
    pub(crate) body: u64,
}

impl Request {
    /// Understands a head, or tells the status it is refused with.
    pub(crate) fn of(head: &httparse::Request<'_, '_>) -> Result<Request, u16> {
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
        };
        let is_head = match head.method {
            Some("GET") => false,
            Some("HEAD") => true,
            _ => return Err(405),
        };
        if header("transfer-encoding").is_some() {
            return Err(501);
        }
        let count = |name| head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count();
        let body = match header("content-length").map(|length| length.parse()) {
            None => 0,
            // Two lengths, and those with a sign, are how requests are smuggled past a proxy.
            Some(_) if count("content-length") > 1 => return Err(400),
            Some(Ok(_)) if header("content-length").is_some_and(|length| length.starts_with('+')) => {
                return Err(400);
            }
            Some(Ok(length @ ..=BODY)) => length,
            Some(Ok(_)) => return Err(413),
            Some(Err(_)) => return Err(400),
        };
        let connection = header("connection").unwrap_or_default();
        let says = |word: &str| connection.split(',').any(|said| said.trim().eq_ignore_ascii_case(word));
        let keeps = if head.version == Some(0) { says("keep-alive") } else { !says("close") };
        if count("host") > 1 || head.version == Some(1) && header("host").is_none() {
            return Err(400);
        }
        let path = path(head.path.unwrap_or_default()).ok_or(400_u16)?;
        // A part is sent only of the file that the client has another part of: it cannot say which that is, as files have no tags here.
        let range = if header("if-range").is_some() { None } else { header("range") };
        Ok(Request { is_head, path, range, keeps, body })
    }
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
