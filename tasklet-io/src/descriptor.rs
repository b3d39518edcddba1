//! Any descriptor as something that tasklets wait for.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasklet_core::current;
use tasklet_core::operation::{self, AnyBackend};
use tasklet_core::park::ParkError;
use tasklet_core::wait::{self, ArmOf, Ended, Patience, TypedArm};

use crate::arm::ReadyArm;
use crate::source::{Await, Direction, Ready, Source, Wanted, ask};

/// A descriptor whose operations park the calling tasklet instead of blocking its thread.
///
/// For what this crate has no type of: pipes, terminals, event descriptors, sockets of other libraries. Not for regular files, which are always
/// ready and block all the same.
///
/// Clones are handles of one descriptor. It is made non-blocking, and stays so. What is no clone and has the same descriptor, as by an [`Arc`], cannot
/// wait for it where the other does: that is an error.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tasklet_io::Async;
///
/// let (reader, writer) = std::io::pipe()?;
/// let (mut reader, mut writer) = (Async::new(reader)?, Async::new(writer)?);
/// writer.write_all(b"hello")?;
/// let mut greeting = [0; 5];
/// reader.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Async<T>(Arc<Inner<T>>);

struct Inner<T> {
    // Dropped before the descriptor is closed.
    source: Owned,
    /// A read that gives less than was asked for has emptied it: see `transfer`.
    is_stream: bool,
    io: T,
}

/// The source of a descriptor that lives as long as this. Those who tell it something may have it for longer, but not the descriptor: that is
/// closed when its last handle goes.
struct Owned(Arc<Source>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.forget();
    }
}

impl<T> Clone for Async<T> {
    fn clone(&self) -> Async<T> {
        Async(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(&self.0.io).finish()
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.io.as_fd()
    }
}

/// Between attempts at what no event tells of. A guess: long beside an attempt, short beside what people notice.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// When an operation has taken too long: known when it begins to wait.
struct Deadline {
    limit: Option<Duration>,
    /// On the scheduler's clock.
    at: Option<Duration>,
    /// On the system's, for a thread that blocks.
    on_thread: Option<Instant>,
}

impl<T> Async<T> {
    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.0.source.0
    }

    /// Whoever waits for it goes on, and those who pause; they find out why.
    pub(crate) fn close(&self) {
        self.source().tell(Ready::READ | Ready::WRITE | Ready::CLOSED);
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.0.is_stream
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.source().seen().is_closed()
    }

    /// Lets time pass, unless it is closed: for what no event tells of.
    pub(crate) fn pause(&self, time: Duration) -> io::Result<()> {
        let pause = Await { source: &**self.source(), wanted: Wanted::Closed };
        match wait::perform_until::<AnyBackend, _>(pause, None, wait::deadline(time)) {
            Ended::Refused(ParkError::Unwinding | ParkError::NoTimers) => std::thread::sleep(time),
            Ended::Refused(error) => return Err(io::Error::other(error)),
            _ => {}
        }
        Ok(())
    }

    /// What it was made of.
    pub fn get_ref(&self) -> &T {
        &self.0.io
    }

    /// What it was made of, non-blocking as before, if this is the last handle.
    ///
    /// # Errors
    ///
    /// There are other handles; this one comes back.
    pub fn try_into_inner(self) -> Result<T, Async<T>> {
        Arc::try_unwrap(self.0).map(|inner| inner.io).map_err(Async)
    }
}

impl<T: AsFd + Send + Sync + 'static> Async<T> {
    /// Makes a descriptor non-blocking, for all who share it.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn new(io: T) -> io::Result<Async<T>> {
        rustix::io::ioctl_fionbio(&io, true)?;
        Ok(Async::of_nonblocking(io))
    }

    /// A descriptor that is non-blocking already.
    pub(crate) fn of_nonblocking(io: T) -> Async<T> {
        Async::new_inner(io, false)
    }

    /// A descriptor that is non-blocking already, and of which a read that gives less than was asked for has emptied it.
    pub(crate) fn of_stream(io: T) -> Async<T> {
        // Where the poller tells of urgent bytes, before which a read ends.
        Async::new_inner(io, cfg!(any(target_os = "linux", target_os = "android")))
    }

    fn new_inner(io: T, is_stream: bool) -> Async<T> {
        Async(Arc::new(Inner { source: Owned(Arc::new(Source::new())), is_stream, io }))
    }

    /// Does `op`, which reads, whenever the descriptor may be readable, until it does not fail for want of something to read.
    ///
    /// # Scheduling
    ///
    /// The caller parks while there is nothing to read; on a plain thread, and while the thread unwinds, it blocks.
    ///
    /// # Errors
    ///
    /// As `op`; [`TimedOut`](io::ErrorKind::TimedOut) after the [limit](Self::set_read_timeout); the descriptor cannot be waited for; or the caller
    /// cannot wait.
    ///
    /// # Panics
    ///
    /// As `op`, and with what is thrown at the caller while it waits: then `op` has not done anything.
    pub fn read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Read, |io| op(io), |_| false)
    }

    /// As [`read_with`](Self::read_with), for an `op` that writes.
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Panics
    ///
    /// As [`read_with`](Self::read_with).
    pub fn write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Write, |io| op(io), |_| false)
    }

    /// Does `op` when the word allows it. `is_spent` says of what came of it whether the next would have to wait.
    #[inline]
    pub(crate) fn io<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<R>,
        is_spent: impl Fn(&R) -> bool,
    ) -> io::Result<R> {
        let Inner { source: Owned(source), io, .. } = &*self.0;
        // A tasklet that always finds something gives way to others; a kill comes before anything is done.
        operation::count();
        let mut deadline = None;
        loop {
            let seen = source.seen();
            if seen.allows(direction) {
                match op(io) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.clear(direction, seen),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(result) => {
                        if is_spent(&result) {
                            source.clear_spent(direction, seen);
                        }
                        return Ok(result);
                    }
                    error => return error,
                }
            } else {
                self.wait(direction, deadline.get_or_insert_with(|| Deadline::of(source.limit(direction))))?;
            }
        }
    }

    /// Does `op` again and again, with pauses that become longer, while it would have to wait for what no event tells of; for no longer than a
    /// write may take.
    pub(crate) fn insist<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        operation::count();
        let limit = self.write_timeout();
        let until = limit.map(wait::deadline);
        let mut time = FIRST_PAUSE;
        loop {
            match op(&self.0.io) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return result,
            }
            let left = until.map_or(time, |until| until.saturating_sub(current::now()));
            if left.is_zero() {
                return Err(timed_out(limit));
            }
            self.pause(time.min(left))?;
            time = (2 * time).min(LONGEST_PAUSE);
        }
    }

    /// Waits until the word allows it again.
    #[cold]
    fn wait(&self, direction: Direction, deadline: &mut Deadline) -> io::Result<()> {
        let source = self.source();
        if std::thread::panicking() || !source.watch(self.as_fd())? {
            return self.block(direction, deadline);
        }
        let readiness = Await { source: &**source, wanted: Wanted::Ready(direction) };
        let ended = match deadline.at() {
            None => wait::perform::<AnyBackend, _>(readiness, None, Patience::Wait),
            Some(at) => wait::perform_until::<AnyBackend, _>(readiness, None, at),
        };
        match ended {
            // Whatever has woken it, the caller looks.
            Ended::Done | Ended::Closed => Ok(()),
            Ended::TimedOut => Err(timed_out(deadline.limit)),
            Ended::Refused(ParkError::Unwinding) => self.block(direction, deadline),
            Ended::Refused(error) => Err(io::Error::other(error)),
            Ended::WouldBlock => unreachable!("callers wait"),
        }
    }

    /// Blocks the thread until it is ready.
    fn block(&self, direction: Direction, deadline: &mut Deadline) -> io::Result<()> {
        loop {
            let left = deadline.left();
            if left == Some(Duration::ZERO) {
                return Err(timed_out(deadline.limit));
            }
            if ask(self.as_fd(), direction, left)? {
                break;
            }
        }
        // Who waits elsewhere for the same looks in vain if this caller is faster.
        self.source().set(direction);
        Ok(())
    }

    /// An arm that is ready when there is something to read, or an error or the end to be read: another look, without reading.
    ///
    /// Its output is an error if the descriptor cannot be waited for, as on a plain thread that would have to wait for it: no reactor is there.
    ///
    /// In a `select!` it is `arm(reader.readable_arm()) -> ready => ..`.
    pub fn readable_arm(&self) -> impl TypedArm<Output = io::Result<()>> + use<'_, T> {
        self.arm(Direction::Read)
    }

    /// An arm that is ready when there is room to write, or an error to be had by writing. As [`readable_arm`](Self::readable_arm).
    pub fn writable_arm(&self) -> impl TypedArm<Output = io::Result<()>> + use<'_, T> {
        self.arm(Direction::Write)
    }

    /// A source's word alone is an opinion: the system is asked.
    fn arm(&self, direction: Direction) -> impl TypedArm<Output = io::Result<()>> + use<'_, T> {
        let fd = self.as_fd();
        self.arm_with(direction, move || Ok(ask(fd, direction, Some(Duration::ZERO))?.then_some(())))
    }

    /// An arm that is ready when `take` gives something, which is called whenever the descriptor may be ready.
    pub(crate) fn arm_with<R>(
        &self,
        direction: Direction,
        take: impl FnMut() -> io::Result<Option<R>>,
    ) -> impl TypedArm<Output = io::Result<R>> {
        ArmOf::new(ReadyArm::new(self.source(), self.as_fd(), direction, take), None)
    }

    /// How long a read may wait; none is for ever, as at first.
    ///
    /// # Errors
    ///
    /// Zero, as in std.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.source().set_limit(Direction::Read, limit)
    }

    /// How long a write may wait; none is for ever, as at first.
    ///
    /// # Errors
    ///
    /// Zero, as in std.
    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.source().set_limit(Direction::Write, limit)
    }

    /// See [`set_read_timeout`](Self::set_read_timeout).
    pub fn read_timeout(&self) -> Option<Duration> {
        self.source().limit(Direction::Read)
    }

    /// See [`set_write_timeout`](Self::set_write_timeout).
    pub fn write_timeout(&self) -> Option<Duration> {
        self.source().limit(Direction::Write)
    }
}

#[cold]
fn timed_out(limit: Option<Duration>) -> io::Error {
    let limit = limit.unwrap_or_default();
    io::Error::new(io::ErrorKind::TimedOut, format!("the descriptor was not ready within {limit:?}"))
}

impl Deadline {
    fn of(limit: Option<Duration>) -> Deadline {
        Deadline { limit, at: None, on_thread: None }
    }

    fn at(&mut self) -> Option<Duration> {
        if self.at.is_none() {
            self.at = self.limit.map(wait::deadline);
        }
        self.at
    }

    fn left(&mut self) -> Option<Duration> {
        if self.on_thread.is_none() {
            self.on_thread = self.limit.and_then(|limit| Instant::now().checked_add(limit));
        }
        self.on_thread.map(|at| at.saturating_duration_since(Instant::now()))
    }
}
