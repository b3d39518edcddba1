//! Files below the directory that is served, and the parts of them that are asked for. All of it may block on a disk.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use crate::request::is_number;

/// A file that is to be sent.
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) length: u64,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) kind: &'static str,
}

/// Opens the file of a path, or the index of a directory; else a status. A link that leads out of the directory leads nowhere.
pub(crate) fn find(root: &Path, path: &Path) -> Result<Found, u16> {
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
pub(crate) fn part(range: &str, length: u64) -> Option<Result<Range<u64>, ()>> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| is_number(text));
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
