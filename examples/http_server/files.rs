//! Files below the directory that is served, and the parts of them that are asked for. All of it may block on a disk.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::request::is_number;

/// A file that is to be sent.
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) length: u64,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) kind: &'static str,
}

/// Opens the file of a path, or the index of a directory if a folder is asked for; else a status. A link that leads out of the directory leads nowhere.
pub(crate) fn find(root: &Path, path: &Path, is_folder: bool) -> Result<Found, u16> {
    let status = |error: io::Error| -> u16 {
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidFilename => 404,
            _ => 500,
        }
    };
    let within = |path: PathBuf| -> Result<PathBuf, u16> {
        let path = path.canonicalize().map_err(status)?;
        if path.starts_with(root) { Ok(path) } else { Err(404) }
    };
    let mut path = within(root.join(path))?;
    match (path.is_dir(), is_folder) {
        (true, true) => path = within(path.join("index.html"))?,
        // Addresses in the index that go on from it would be wrong.
        (true, false) => return Err(301),
        (false, true) => return Err(404),
        (false, false) => {}
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
