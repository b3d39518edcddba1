//! TCP.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::addr::{ToSocketAddrs, each_address};
use crate::accept::{Accepted, Acceptor};
use crate::descriptor::Async;

/// As many who have connected and were not accepted yet as Linux allows by default.
const BACKLOG: i32 = 4096;

/// A connection, as [`std::net::TcpStream`]. The caller of what would block parks.
///
/// It may be used by several tasklets and threads at the same time, through references or [clones](Self::try_clone): one may read while another
/// writes.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tasklet_io::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
/// client.write_all(b"hello")?;
/// client.shutdown(std::net::Shutdown::Write)?;
/// let mut greeting = String::new();
/// server.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream(Async<net::TcpStream>);

/// Accepts connections, as [`std::net::TcpListener`]. The caller of [`accept`](Self::accept) parks.
///
/// Several tasklets may accept at the same time, and each connection is one's.
pub struct TcpListener(Async<Acceptor<net::TcpListener>>);

/// The connections of a listener; see [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
    can_wait: bool,
}

impl TcpStream {
    pub(crate) fn as_async(&self) -> &Async<net::TcpStream> {
        &self.0
    }

    /// Opens a connection to the first of the addresses that accepts it.
    ///
    /// # Scheduling
    ///
    /// The caller parks until the connection has come about. On a plain thread it blocks.
    ///
    /// # Errors
    ///
    /// That of the last address: refused, unreachable, no such host, no address at all; or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then there is no connection.
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        each_address(addr, |addr| TcpStream::connect_to(addr, None))
    }

    /// As [`connect`](Self::connect) to one address, but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), [`TimedOut`](io::ErrorKind::TimedOut), and a limit of zero.
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_timeout(addr: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        TcpStream::connect_to(addr, Some(limit))
    }

    fn connect_to(addr: &SocketAddr, limit: Option<Duration>) -> io::Result<TcpStream> {
        let stream = begin_connect(addr)?;
        stream.set_write_timeout(limit)?;
        stream.write_with(finish_connect)?;
        stream.set_write_timeout(None)?;
        Ok(TcpStream(stream))
    }

    /// As [`connect`](Self::connect) to one address, for async code.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and as [reads](crate::futures::AsyncStream) of async code.
    #[cfg(feature = "futures")]
    pub async fn connect_async(addr: SocketAddr) -> io::Result<TcpStream> {
        let stream = begin_connect(&addr)?;
        stream.write_with_async(finish_connect).await?;
        Ok(TcpStream(stream))
    }

    fn accepted((socket, addr): Accepted) -> io::Result<(TcpStream, SocketAddr)> {
        let stream = TcpStream(Async::of_stream(socket.into()));
        let addr = match addr.map(SocketAddr::try_from) {
            Some(Ok(addr)) => addr,
            _ => stream.peer_addr()?,
        };
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

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.std().set_nodelay(nodelay)
    }

    /// See [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.std().nodelay()
    }

    /// What becomes of what has not been sent yet when the last handle is dropped: it is waited for, for so long at most, by the thread, with all its tasklets;
    /// with a time of zero it is thrown away, and the other end is told that the connection was reset. None, as at first: it is sent, and nobody
    /// waits.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn set_linger(&self, limit: Option<Duration>) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_linger(self, limit)?)
    }

    /// See [`set_linger`](Self::set_linger).
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        Ok(rustix::net::sockopt::socket_linger(self)?)
    }

    /// The time to live of its packets.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.std().set_ttl(ttl)
    }

    /// See [`set_ttl`](Self::set_ttl).
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn ttl(&self) -> io::Result<u32> {
        self.std().ttl()
    }
}

/// Has the system open a connection, which comes about later.
fn begin_connect(addr: &SocketAddr) -> io::Result<Async<net::TcpStream>> {
    let stream = Async::of_stream(net::TcpStream::from(new_socket(addr)?));
    match rustix::net::connect(&stream, addr) {
        // A signal has interrupted the call, not the connecting.
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}

/// What became of it; an error that says so while it is not known.
fn finish_connect(stream: &net::TcpStream) -> io::Result<()> {
    match stream.take_error()? {
        Some(error) => Err(error),
        None => match stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
            connected => connected.map(drop),
        },
    }
}

impl TcpListener {
    /// Listens at the first of the addresses that can be had.
    ///
    /// 4096 connections may wait to be accepted, or as many as the system allows; with std's listeners 128. Who comes when that many wait, is not told, and
    /// tries again a second later.
    ///
    /// # Errors
    ///
    /// As in std: in use, not this machine's, not permitted.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let listener = each_address(addr, |addr| net::TcpListener::bind(addr))?;
        // It listens already, and has a longer queue from here on.
        rustix::net::listen(&listener, BACKLOG)?;
        listener.try_into()
    }

    /// As [`bind`](Self::bind), at an address that other listeners with the same option share: each connection goes to one of them, chosen by the
    /// system. So each worker may have a listener of its own.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_reuse_port(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        each_address(addr, |addr| {
            let socket = new_socket(addr)?;
            rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::sockopt::set_socket_reuseport(&socket, true)?;
            rustix::net::bind(&socket, addr)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(TcpListener(Async::of_nonblocking(net::TcpListener::from(socket).into())))
        })
    }

    /// Accepts a connection.
    ///
    /// A connection that was given up before it was accepted is passed over.
    ///
    /// # Scheduling
    ///
    /// The caller parks until somebody connects. On a plain thread it blocks.
    ///
    /// After an error that says that descriptors or memory are used up, the next call pauses first: 5 ms, after another such error twice as long,
    /// up to 1 s, and not at all after a success. That is on the clock of the caller's scheduler.
    ///
    /// # Errors
    ///
    /// As in std; the listener was [closed](Self::close); or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then no connection has been accepted.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpStream::accepted(self.0.accept()?)
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
    pub async fn accept_async(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpStream::accepted(self.0.accept_async().await?)
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

/// A socket that does not block.
fn new_socket(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

socket!(TcpStream, net::TcpStream, Async::of_stream, |stream| stream, std::convert::identity);
transfers!(TcpStream);
stream!(TcpStream);
socket!(
    TcpListener,
    net::TcpListener,
    |listener: net::TcpListener| Async::of_nonblocking(listener.into()),
    |acceptor| &acceptor.listener,
    |acceptor: Acceptor<net::TcpListener>| acceptor.listener
);
listener!(TcpListener, TcpStream);
