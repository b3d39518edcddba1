//! What hyper asks for, and what it leaves to others: timers, limits of time for reading and writing, an end for work that nobody waits for.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use http_body_util::Limited;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::rt::{Sleep, Timer};
use tasklet::futures::AsyncStream;
use tasklet::net::TcpStream;
use tasklet::stealing::{SleepAsync, sleep_async};
use tasklet::{JoinError, JoinHandle};

use crate::Failure;

/// Our timers, for hyper.
pub(crate) struct Timers;

impl Timer for Timers {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(sleep_async(time)))
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(at.saturating_duration_since(Instant::now()))
    }
}

struct Nap(SleepAsync);

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Sleep for Nap {}

/// How long a client may keep waiting whoever waits for it. hyper has a limit for heads alone, and those of the socket are not for async code.
struct Patience {
    limit: Duration,
    /// Since nothing came.
    nap: Option<SleepAsync>,
}

impl Patience {
    fn new(limit: Duration) -> Patience {
        Patience { limit, nap: None }
    }

    /// Passes on what was polled, or an error if that has been pending for too long.
    fn limit<T>(&mut self, polled: Poll<T>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Poll::Ready(value) = polled {
            self.nap = None;
            return Poll::Ready(Ok(value));
        }
        let nap = self.nap.get_or_insert_with(|| sleep_async(self.limit));
        ready!(Pin::new(nap).poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

/// A socket whose client may not read for some time, and no longer.
pub(crate) struct Socket {
    stream: AsyncStream<TcpStream>,
    patience: Patience,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Socket {
        Socket { stream: AsyncStream::new(stream), patience: Patience::new(patience) }
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut AsyncStream<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(Pin::new(&mut self.stream), context);
        let written = ready!(self.patience.limit(written, context));
        if written.is_err() {
            // The system need not keep for minutes what nobody reads.
            let _ = self.stream.get_ref().set_linger(Some(Duration::ZERO));
        }
        Poll::Ready(written.flatten())
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // Without a limit: hyper has one for heads, bodies have theirs, and what is read while a request is answered is only whether the client has gone.
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write_vectored(context, bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// A body that may have so many bytes, and keep waiting for some time.
pub(crate) struct Upload {
    body: Limited<Incoming>,
    patience: Patience,
}

impl Upload {
    pub(crate) fn new(body: Incoming, limit: usize, patience: Duration) -> Upload {
        Upload { body: Limited::new(body, limit), patience: Patience::new(patience) }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match ready!(self.patience.limit(frame, context)) {
            Ok(frame) => Poll::Ready(frame),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A tasklet that is killed when nobody waits for it any more. Dropping its handle alone would detach it.
pub(crate) struct Awaited<T>(pub(crate) JoinHandle<T>);

impl<T: Unpin> Future for Awaited<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.0.kill();
    }
}
