//! Connections.

use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{address, of_path};
use crate::accept::{Accepted, Acceptor};
use crate::descriptor::Async;

/// A connection, as [`std::os::unix::net::UnixStream`]. The caller of what would block parks.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tasklet_io::unix::UnixStream;
///
/// let (mut one, mut other) = UnixStream::pair()?;
/// one.write_all(b"hello")?;
/// drop(one);
/// let mut greeting = String::new();
/// other.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
// Not of a stream that a short read has emptied: a read ends where descriptors were sent along, which any peer may do.
pub struct UnixStream(Async<net::UnixStream>);

/// Accepts connections, as [`std::os::unix::net::UnixListener`]. The caller of [`accept`](Self::accept) parks.
pub struct UnixListener(Async<Acceptor<net::UnixListener>>);

/// The connections of a listener; see [`UnixListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
    can_wait: bool,
}

impl UnixStream {
    pub(crate) fn as_async(&self) -> &Async<net::UnixStream> {
        &self.0
    }

    /// Connects to the socket with this path.
    ///
    /// # Scheduling
    ///
    /// The caller parks while the listener's backlog is full. No event tells when that ends: it looks again after 1 ms, then after twice as long, up
    /// to 64 ms.
    ///
    /// # Errors
    ///
    /// As in std; or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then there is no connection.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_to(&of_path(path.as_ref())?)
    }

    /// As [`connect`](Self::connect), to an address.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(&address(addr)?)
    }

    fn connect_to(addr: &SocketAddrUnix) -> io::Result<UnixStream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let stream = Async::of_nonblocking(net::UnixStream::from(socket));
        stream.insist(|stream| Ok(rustix::net::connect(stream, addr)?))?;
        Ok(UnixStream(stream))
    }

    /// Two ends of a connection without a name.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        Ok((one.try_into()?, other.try_into()?))
    }

    fn accepted((socket, _): Accepted) -> io::Result<(UnixStream, SocketAddr)> {
        let stream = UnixStream(Async::of_nonblocking(socket.into()));
        let addr = stream.peer_addr()?;
        Ok((stream, addr))
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }
}

impl UnixListener {
    /// Listens at a path, which is made.
    ///
    /// # Errors
    ///
    /// As in std: there is something with that path, or it cannot be made.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        net::UnixListener::bind(path)?.try_into()
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        net::UnixListener::bind_addr(addr)?.try_into()
    }

    /// Accepts a connection.
    ///
    /// # Scheduling
    ///
    /// The caller parks until somebody connects, and pauses after errors as [`TcpListener::accept`](crate::net::TcpListener::accept).
    ///
    /// # Errors
    ///
    /// As in std; the listener was [closed](Self::close); or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then no connection has been accepted.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        UnixStream::accepted(self.0.accept()?)
    }

    /// As [`accept`](Self::accept), for async code. Dropped while it waits, it has accepted nobody.
    ///
    /// # Scheduling
    ///
    /// As [reads](crate::futures) of async code; but the pause after something has run out is one of who polls, in the middle of the poll.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept), and as [reads](crate::futures::AsyncStream) of async code.
    #[cfg(feature = "futures")]
    pub async fn accept_async(&self) -> io::Result<(UnixStream, SocketAddr)> {
        UnixStream::accepted(self.0.accept_async().await?)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }
}

socket!(UnixStream, net::UnixStream, Async::of_nonblocking, |stream| stream, std::convert::identity);
transfers!(UnixStream);
stream!(UnixStream);
socket!(
    UnixListener,
    net::UnixListener,
    |listener: net::UnixListener| Async::of_nonblocking(listener.into()),
    |acceptor| &acceptor.listener,
    |acceptor: Acceptor<net::UnixListener>| acceptor.listener
);
listener!(UnixListener, UnixStream);
