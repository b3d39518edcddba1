//! Sockets and other descriptors for async code: in soft tasklets, and wherever a tasklet waits for a future.
//!
//! Whoever polls needs the reactor of a scheduler: a worker that polls a soft tasklet has one, and a tasklet in `block_on`. Elsewhere, as in a task of another
//! executor, what would have to wait fails with [`Unsupported`](io::ErrorKind::Unsupported). Time limits of handles are not looked at: async code has its own.
//!
//! What always finds something keeps nobody from running, neither other tasklets nor what else its task waits for: after 128 operations at a stretch
//! on one direction of a descriptor, the next one has its task polled again, and only then does something. A poll itself never gives way in its middle:
//! its callers may hold locks.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::net::{self, Shutdown};
use std::os::fd::AsFd;
use std::os::unix;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use tasklet_core::wait::WaitFuture;

use crate::descriptor::Async;
use crate::source::{Await, Direction, Source, Wanted, ask};
use crate::transfer::{asked_in, asked_out};
use crate::{net as ours, pipe, unix as local};

/// Operations of one direction that find something at a stretch, before their task lets others run. As many as of tasklets.
const BUDGET: u32 = 128;

/// A wait in async code, for as long as that likes.
type Wait = WaitFuture<Await<Arc<Source>>>;

/// A task's wait for one direction of a source.
#[derive(Default)]
pub(crate) struct Turn {
    /// Its memory is used again.
    wait: Option<Pin<Box<Wait>>>,
    is_waiting: bool,
}

impl Turn {
    /// Waits for that from now on, until the wait is over; also if what it waits for is found without it, since it is as good for the next time.
    fn begin(&mut self, source: &Arc<Source>, direction: Direction) {
        let wait = WaitFuture::new(Await { source: source.clone(), wanted: Wanted::Ready(direction) }, None);
        match &mut self.wait {
            Some(old) => old.set(wait),
            None => self.wait = Some(Box::pin(wait)),
        }
        self.is_waiting = true;
    }

    /// Polls the wait, if there is one.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(wait) = self.wait.as_mut().filter(|_| self.is_waiting) {
            ready!(wait.as_mut().poll(context));
            self.is_waiting = false;
        }
        Poll::Ready(())
    }
}

impl<T: AsFd + Send + Sync + 'static> Async<T> {
    /// As [`readable_arm`](Self::readable_arm), for async code.
    ///
    /// # Errors
    ///
    /// The descriptor cannot be waited for, or [no scheduler](crate::futures) polls.
    pub async fn readable_async(&self) -> io::Result<()> {
        self.ready_async(Direction::Read).await
    }

    /// As [`writable_arm`](Self::writable_arm), for async code.
    ///
    /// # Errors
    ///
    /// As [`readable_async`](Self::readable_async).
    pub async fn writable_async(&self) -> io::Result<()> {
        self.ready_async(Direction::Write).await
    }

    async fn ready_async(&self, direction: Direction) -> io::Result<()> {
        let is_ready = |io: &T| match ask(io.as_fd(), direction, Some(Duration::ZERO))? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        };
        self.io_async(direction, is_ready).await
    }

    /// As [`read_with`](Self::read_with), for async code. Dropped while it waits, it has done nothing.
    ///
    /// # Errors
    ///
    /// As `op`, and as [`readable_async`](Self::readable_async).
    pub async fn read_with_async<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io_async(Direction::Read, op).await
    }

    /// As [`write_with`](Self::write_with), for async code. Dropped while it waits, it has done nothing.
    ///
    /// # Errors
    ///
    /// As [`read_with_async`](Self::read_with_async).
    pub async fn write_with_async<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io_async(Direction::Write, op).await
    }

    async fn io_async<R>(&self, direction: Direction, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let mut turn = Turn::default();
        poll_fn(|context| self.poll_io(direction, &mut turn, context, &mut op, |_| false)).await
    }

    /// As [`io`](Self::io), polled.
    fn poll_io<R>(
        &self,
        direction: Direction,
        turn: &mut Turn,
        context: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
        is_spent: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        let source = self.source();
        if source.streak(direction) >= BUDGET {
            source.set_streak(direction, 0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let seen = source.seen();
            if seen.allows(direction) {
                match op(self.get_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.clear(direction, seen),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => {
                        if result.as_ref().is_ok_and(&is_spent) {
                            source.clear_spent(direction, seen);
                        }
                        source.set_streak(direction, source.streak(direction) + 1);
                        return Poll::Ready(result);
                    }
                }
            } else {
                if !turn.is_waiting {
                    if !source.watch(self.as_fd())? {
                        return Poll::Ready(Err(no_reactor()));
                    }
                    turn.begin(source, direction);
                }
                source.set_streak(direction, 0);
                ready!(turn.poll(context));
            }
        }
    }
}

#[cold]
pub(crate) fn no_reactor() -> io::Error {
    let message = "cannot wait for a descriptor here: no scheduler of tasklets polls this; use `spawn_async`, or `block_on` in a tasklet";
    io::Error::new(io::ErrorKind::Unsupported, message)
}

/// A socket, an end of a pipe, or any [`Async`], with futures-io's [`AsyncRead`] and [`AsyncWrite`].
///
/// Two tasks that read and write one socket have one of these each, with handles of the same socket (`try_clone`). Closing is
/// [`shutdown`](ours::TcpStream::shutdown) of the socket's writing half; a pipe is closed when its last handle is dropped.
///
/// # Examples
///
/// ```
/// use std::pin::Pin;
/// use std::future::poll_fn;
/// use futures_io::{AsyncRead, AsyncWrite};
/// use tasklet_io::{futures::AsyncStream, unix::UnixStream};
/// # use tasklet_backend_corosensei::Corosensei;
/// # use tasklet_scheduler::stealing::{self, Runtime};
///
/// # let runtime = Runtime::<Corosensei>::with_defaults()?;
/// # runtime.run(|| {
/// // In a tasklet:
/// let (one, other) = UnixStream::pair().unwrap();
/// let (mut one, mut other) = (AsyncStream::new(one), AsyncStream::new(other));
/// let reader = stealing::spawn_async(async move {
///     let mut room = [0; 8];
///     let got = poll_fn(|context| Pin::new(&mut other).poll_read(context, &mut room)).await;
///     room[..got.unwrap()].to_vec()
/// });
/// stealing::spawn_async(async move { poll_fn(|context| Pin::new(&mut one).poll_write(context, b"hello")).await });
/// assert_eq!(reader.join().unwrap(), b"hello");
/// # });
/// # Ok::<(), stealing::BuildError>(())
/// ```
pub struct AsyncStream<S> {
    stream: S,
    reading: Turn,
    writing: Turn,
}

impl<S: Stream> AsyncStream<S> {
    /// Makes one of a socket or another descriptor.
    pub fn new(stream: S) -> AsyncStream<S> {
        AsyncStream { stream, reading: Turn::default(), writing: Turn::default() }
    }
}

impl<S> AsyncStream<S> {
    /// What it was made of.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What it was made of.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: fmt::Debug> fmt::Debug for AsyncStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncStream").field(&self.stream).finish()
    }
}

impl<S: Stream> AsyncStream<S> {
    fn poll_read_some(
        &mut self,
        context: &mut Context<'_>,
        asked: usize,
        op: impl FnMut(&S::Io) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if asked == 0 {
            return Poll::Ready(Ok(0));
        }
        let io = self.stream.io();
        let is_stream = io.is_stream();
        io.poll_io(Direction::Read, &mut self.reading, context, op, |&got| is_stream && 0 < got && got < asked)
    }

    fn poll_write_some(
        &mut self,
        context: &mut Context<'_>,
        asked: usize,
        op: impl FnMut(&S::Io) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let io = self.stream.io();
        let is_stream = io.is_stream();
        io.poll_io(Direction::Write, &mut self.writing, context, op, |&written| is_stream && written < asked)
    }
}

impl<S: Readable> AsyncRead for AsyncStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read_some(context, buf.len(), |io| S::read(io, buf))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let asked = asked_in(bufs);
        self.poll_read_some(context, asked, |io| S::read_vectored(io, bufs))
    }
}

impl<S: Writable> AsyncWrite for AsyncStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_some(context, buf.len(), |io| S::write(io, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let asked = asked_out(bufs);
        self.poll_write_some(context, asked, |io| S::write_vectored(io, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.close_writing())
    }
}

/// What an [`AsyncStream`] is made of: connections, ends of pipes, and any [`Async`].
pub trait Stream: sealed::Stream {}

/// A [`Stream`] that can be read.
pub trait Readable: Stream + sealed::Readable {}

/// A [`Stream`] that can be written to.
pub trait Writable: Stream + sealed::Writable {}

mod sealed {
    use std::io::{IoSlice, IoSliceMut};
    use std::os::fd::AsFd;

    use super::{Async, io};

    pub trait Stream: Unpin {
        #[doc(hidden)]
        type Io: AsFd + Send + Sync + 'static;

        #[doc(hidden)]
        fn io(&self) -> &Async<Self::Io>;

        #[doc(hidden)]
        fn close_writing(&self) -> io::Result<()> {
            Ok(())
        }
    }

    // Bounds on what the stream is made of, where they are met, would have callers in generic code repeat them.
    pub trait Readable: Stream {
        #[doc(hidden)]
        fn read(io: &Self::Io, buf: &mut [u8]) -> io::Result<usize>;

        #[doc(hidden)]
        fn read_vectored(io: &Self::Io, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    }

    pub trait Writable: Stream {
        #[doc(hidden)]
        fn write(io: &Self::Io, buf: &[u8]) -> io::Result<usize>;

        #[doc(hidden)]
        fn write_vectored(io: &Self::Io, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    }
}

impl<S: sealed::Stream> Stream for S {}
impl<S: sealed::Readable> Readable for S {}
impl<S: sealed::Writable> Writable for S {}

impl<S: sealed::Stream> sealed::Readable for S
where
    for<'a> &'a S::Io: Read,
{
    fn read(mut io: &S::Io, buf: &mut [u8]) -> io::Result<usize> {
        io.read(buf)
    }

    fn read_vectored(mut io: &S::Io, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        io.read_vectored(bufs)
    }
}

impl<S: sealed::Stream> sealed::Writable for S
where
    for<'a> &'a S::Io: Write,
{
    fn write(mut io: &S::Io, buf: &[u8]) -> io::Result<usize> {
        io.write(buf)
    }

    fn write_vectored(mut io: &S::Io, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        io.write_vectored(bufs)
    }
}

impl<T: AsFd + Send + Sync + 'static> sealed::Stream for Async<T> {
    type Io = T;

    fn io(&self) -> &Async<T> {
        self
    }
}

macro_rules! streams {
    ($($stream:ty: $io:ty $(, $close:expr)?;)*) => { $(
        impl sealed::Stream for $stream {
            type Io = $io;

            fn io(&self) -> &Async<$io> {
                self.as_async()
            }

            $(fn close_writing(&self) -> io::Result<()> {
                let close: fn(&$stream) -> io::Result<()> = $close;
                match close(self) {
                    // The other end has gone: there is nothing to tell it.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    closed => closed,
                }
            })?
        }
    )* };
}

streams! {
    ours::TcpStream: net::TcpStream, |stream| stream.shutdown(Shutdown::Write);
    local::UnixStream: unix::net::UnixStream, |stream| stream.shutdown(Shutdown::Write);
    pipe::Reader: PipeReader;
    pipe::Writer: PipeWriter;
}
