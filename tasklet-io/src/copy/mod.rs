//! Copying from one descriptor to another, by the system where it can: the bytes do not pass through the process.
//!
//! What comes from a stream goes through a pipe, with `splice(2)`: from the reader into the pipe, from the pipe to the writer. The pipe is filled only
//! when it is empty, so that either call would have to wait for one end alone. What comes from a file is sent with `sendfile(2)`. Where the system
//! says that it cannot do that with these descriptors, and where there are no descriptors left for a pipe, a buffer takes the pipe's place.

mod ends;
mod system;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tasklet_core::blocking::blocking_owned;

pub use self::ends::{CopyFrom, CopyTo};
use self::system::Pipe;
use crate::descriptor::Async;
use crate::source::Direction;

/// Bytes that are read at a time: what a pipe holds.
const PIECE: usize = 64 << 10;
/// Bytes that are read where there seem to be none: few, since it is nearly always so.
const PROBE: usize = 512;
/// Bytes of a file that are sent at a time. A guess: much beside what the way to another thread costs, little beside a second.
const FILE_PIECE: usize = 1 << 20;

/// Copies all that comes from `reader` to `writer`, as [`std::io::copy`]; returns how many bytes.
///
/// The writer is not shut down at the end: what comes after can be written, or [`shutdown`](crate::net::TcpStream::shutdown) called.
///
/// # Scheduling
///
/// The caller parks while there is nothing to read, and while there is no room to write; on a plain thread it blocks. A file is read, and
/// what was read sent, in a thread of the scheduler's [pool](crate::fs), up to a mebibyte at a time, since a disk may have to be waited for.
///
/// # Errors
///
/// Those of reads and writes, with their time limits; [`WriteZero`](io::ErrorKind::WriteZero) if nothing more can be written. What was copied
/// before stays so, and up to 64 KiB that were read and not written are lost. A [`Relay`] keeps these, and knows how many were written.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller while it waits; then as after an error.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tasklet_io::unix::UnixStream;
///
/// let (mut near, reader) = UnixStream::pair()?;
/// let (writer, mut far) = UnixStream::pair()?;
/// near.write_all(b"hello")?;
/// drop(near);
/// assert_eq!(tasklet_io::copy(&reader, &writer)?, 5);
/// drop(writer);
/// let mut greeting = String::new();
/// far.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy<R: CopyFrom, W: CopyTo>(reader: &R, writer: &W) -> io::Result<u64> {
    Relay::new().copy(reader, writer)
}

/// Copies, and keeps what was read and not written yet when an error or a kill comes in between: the next copy writes that first.
///
/// It makes a pipe at its first copy from a stream, which are two descriptors, and keeps it. One relay copies in one direction.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use tasklet_io::{Relay, unix::UnixStream};
///
/// let (mut near, reader) = UnixStream::pair()?;
/// let (writer, mut far) = UnixStream::pair()?;
/// let mut relay = Relay::new();
/// reader.set_read_timeout(Some(Duration::from_millis(1)))?;
/// near.write_all(b"hello")?;
/// assert!(relay.copy(&reader, &writer).is_err(), "the other end says neither more nor that this was all");
/// assert_eq!(relay.copied(), 5);
/// near.write_all(b" again")?;
/// assert_eq!(relay.copy_up_to(&reader, &writer, 6)?, 6);
/// let mut greeting = [0; 11];
/// far.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"hello again");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Relay {
    pipe: Pipe,
    /// Bytes in the pipe.
    piped: usize,
    // What a thread of the pool changes, also while the caller is killed.
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Written, ever.
    copied: u64,
    /// In place of the pipe. From `start` on it is not written yet; empty if all is.
    buffer: Vec<u8>,
    start: usize,
}

impl Relay {
    /// One that has copied nothing.
    pub fn new() -> Relay {
        Relay { pipe: Pipe::Unmade, piped: 0, shared: Arc::default() }
    }

    /// How many bytes it has written, in all its copies.
    pub fn copied(&self) -> u64 {
        self.shared().copied
    }

    /// How many bytes it has read and not written, 64 KiB at most. None after a copy without an error.
    pub fn held(&self) -> usize {
        let shared = self.shared();
        self.piped + shared.buffer.len() - shared.start
    }

    /// As [`copy()`]: writes what it [holds](Self::held), then all that comes from `reader`.
    ///
    /// # Errors
    ///
    /// As [`copy()`], but nothing is lost.
    ///
    /// # Panics
    ///
    /// As [`copy()`]; nothing is lost.
    pub fn copy<R: CopyFrom, W: CopyTo>(&mut self, reader: &R, writer: &W) -> io::Result<u64> {
        self.copy_up_to(reader, writer, u64::MAX)
    }

    /// As [`copy`](Self::copy), but writes no more than `limit` bytes, and reads no more than these take. Less is written only where the reader has
    /// come to its end.
    ///
    /// # Errors
    ///
    /// As [`copy`](Self::copy).
    ///
    /// # Panics
    ///
    /// As [`copy`](Self::copy).
    pub fn copy_up_to<R: CopyFrom, W: CopyTo>(&mut self, reader: &R, writer: &W, limit: u64) -> io::Result<u64> {
        let (begun, writer) = (self.copied(), writer.stream());
        loop {
            let copied = self.copied() - begun;
            let left = usize::try_from(limit - copied).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(copied);
            }
            if self.held() != 0 {
                self.write(writer, left)?;
            } else if reader.move_some(self, writer, left)? == 0 {
                return Ok(copied);
            }
        }
    }

    /// Fills the pipe, or the buffer, which are empty. Returns how many bytes came, 0 at the end.
    fn fill<T: AsFd + Send + Sync + 'static>(&mut self, reader: &Async<T>, most: usize) -> io::Result<usize> {
        let most = most.min(PIECE);
        let shared = &self.shared;
        if let Some(into) = self.pipe.writer() {
            let (mut is_piped, is_stream) = (true, reader.is_stream());
            let some = |io: &T| {
                let spliced = system::splice(io, into, most);
                is_piped = !(system::is_at_end(&spliced) && (is_stream || system::is_stream(io)));
                if is_piped {
                    return spliced;
                }
                // An urgent byte looks like this too, as long as nobody reads past it. Not where a short read could cut a message, or the end is told once.
                lock(shared).fill(most.min(PROBE), |buf| Ok(rustix::io::read(io, buf)?))
            };
            match reader.io(Direction::Read, some, |_| false) {
                Err(error) if system::is_unfit(&error) => self.pipe = Pipe::Impossible,
                result => {
                    let got = result?;
                    self.piped = if is_piped { got } else { 0 };
                    return Ok(got);
                }
            }
        }
        reader.io(Direction::Read, |io| lock(shared).fill(most, |buf| Ok(rustix::io::read(io, buf)?)), |_| false)
    }

    /// Sends some of a file. Returns how many bytes have been moved, 0 at its end.
    fn send<W: AsFd + Send + Sync + 'static>(
        &mut self,
        file: &Arc<fs::File>,
        writer: &Async<W>,
        most: usize,
    ) -> io::Result<usize> {
        let sent = writer.io(
            Direction::Write,
            |_| {
                let (file, writer, shared) = (file.clone(), writer.clone(), self.shared.clone());
                blocking_owned(move || {
                    let sent = system::sendfile(&file, &writer, most.min(FILE_PIECE))?;
                    lock(&shared).copied += sent as u64;
                    Ok(sent)
                })
            },
            |_| false,
        );
        match sent {
            Err(error) if system::is_unfit(&error) => {
                let (file, shared) = (file.clone(), self.shared.clone());
                // A fifo is waited for, and a signal may come meanwhile.
                let read = move |buf: &mut [u8]| loop {
                    match io::Read::read(&mut &*file, buf) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        read => return read,
                    }
                };
                blocking_owned(move || lock(&shared).fill(most.min(PIECE), read))
            }
            sent => sent,
        }
    }

    /// Writes some of what it holds.
    fn write<W: AsFd + Send + Sync + 'static>(&mut self, writer: &Async<W>, most: usize) -> io::Result<()> {
        if let Some(from) = self.pipe.reader().filter(|_| self.piped != 0) {
            let most = most.min(self.piped);
            match writer.io(Direction::Write, |io| system::splice(from, io, most), |_| false) {
                Err(error) if system::is_unfit(&error) => {
                    // Which does not wait: so much is there.
                    while self.piped != 0 {
                        let piped = self.piped;
                        self.piped -= lock(&self.shared).append(piped, |buf| Ok(rustix::io::read(from, buf)?))?;
                    }
                    self.pipe = Pipe::Impossible;
                }
                written => {
                    let written = progress(written?)?;
                    self.piped -= written;
                    self.shared().copied += written as u64;
                    return Ok(());
                }
            }
        }
        let shared = &self.shared;
        let write = |io: &W| {
            let shared = lock(shared);
            let rest = &shared.buffer[shared.start..];
            Ok(rustix::io::write(io, &rest[..most.min(rest.len())])?)
        };
        let written = progress(writer.io(Direction::Write, write, |_| false)?)?;
        let mut shared = self.shared();
        shared.copied += written as u64;
        shared.start += written;
        if shared.start == shared.buffer.len() {
            shared.buffer.clear();
            shared.start = 0;
        }
        Ok(())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Default for Relay {
    fn default() -> Relay {
        Relay::new()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("copied", &self.copied()).field("held", &self.held()).finish()
    }
}

impl Shared {
    /// Reads with `read` what comes after what there is.
    fn append(&mut self, most: usize, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let end = self.buffer.len();
        self.buffer.resize(end + most, 0);
        let got = read(&mut self.buffer[end..]);
        self.buffer.truncate(end + got.as_ref().map_or(0, |&got| got));
        got
    }

    /// As above, into the empty buffer.
    fn fill(&mut self, most: usize, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        debug_assert!(self.buffer.is_empty() && self.start == 0, "what is held is written first");
        self.append(most, read)
    }
}

/// Nobody holds it while he waits, and it is whole at any time.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn progress(written: usize) -> io::Result<usize> {
    if written == 0 {
        let message = "could not copy all: the writer takes no more bytes, and says no reason";
        return Err(io::Error::new(io::ErrorKind::WriteZero, message));
    }
    Ok(written)
}
