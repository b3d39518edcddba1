//! Calls that block whatever is done about it: they are made in the scheduler's pool of threads, while the tasklet parks.
//!
//! What they use is owned, since a [swapped](tasklet_core::swap) tasklet has no stack that anybody could borrow from while it waits. Buffers are lent all
//! the same where that is possible, and copied only where it is not: this file is the difference.

use std::io;

use tasklet_core::blocking::{blocking, blocking_owned};
use tasklet_core::current::is_swapped;

/// The most that a swapped tasklet reads or writes at a time: so much is copied. A guess.
const MOST: usize = 1 << 20;

/// Calls `f`, which reads, with the caller's buffer, or with the beginning of one like it.
pub(crate) fn fill(
    buf: &mut [u8],
    f: impl FnOnce(&mut [u8]) -> io::Result<usize> + Send + 'static,
) -> io::Result<usize> {
    if !is_swapped() {
        return blocking(|| f(buf));
    }
    let mut other = vec![0; buf.len().min(MOST)];
    let (other, result) = blocking_owned(move || {
        let result = f(&mut other);
        (other, result)
    });
    let got = result?;
    buf[..got].copy_from_slice(&other[..got]);
    Ok(got)
}

/// Calls `f`, which may write less than all, with the caller's bytes, or with the beginning of their copy.
pub(crate) fn drain(bytes: &[u8], f: impl FnOnce(&[u8]) -> io::Result<usize> + Send + 'static) -> io::Result<usize> {
    with_bytes(&bytes[..if is_swapped() { bytes.len().min(MOST) } else { bytes.len() }], f)
}

/// Calls `f` with the caller's bytes, or with their copy.
pub(crate) fn with_bytes<R: Send + 'static>(bytes: &[u8], f: impl FnOnce(&[u8]) -> R + Send + 'static) -> R {
    if !is_swapped() {
        return blocking(|| f(bytes));
    }
    let copy = bytes.to_vec();
    blocking_owned(move || f(&copy))
}

/// Calls `f`, which reads until something has come to an end, with a buffer of its own, and appends that, also if `f` fails.
pub(crate) fn append(
    buf: &mut Vec<u8>,
    f: impl FnOnce(&mut Vec<u8>) -> io::Result<usize> + Send + 'static,
) -> io::Result<usize> {
    let (mut more, result) = blocking_owned(move || {
        let mut more = Vec::new();
        let result = f(&mut more);
        (more, result)
    });
    if buf.capacity() == 0 {
        *buf = more;
    } else {
        buf.append(&mut more);
    }
    result
}

/// As [`append`], for text. What is not UTF-8 is not appended.
pub(crate) fn append_text(
    buf: &mut String,
    f: impl FnOnce(&mut Vec<u8>) -> io::Result<usize> + Send + 'static,
) -> io::Result<usize> {
    let mut more = Vec::new();
    let result = append(&mut more, f);
    match std::str::from_utf8(&more) {
        Ok(text) => buf.push_str(text),
        Err(error) => return result.and(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
    }
    result
}
