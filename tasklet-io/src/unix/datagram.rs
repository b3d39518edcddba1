//! Datagrams.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use rustix::net::RecvFlags;

use crate::descriptor::Async;

/// Sends and receives datagrams, as [`std::os::unix::net::UnixDatagram`]. The caller of what would block parks.
///
/// # Examples
///
/// ```
/// use tasklet_io::unix::UnixDatagram;
///
/// let (one, other) = UnixDatagram::pair()?;
/// one.send(b"hello")?;
/// let mut greeting = [0; 16];
/// let length = other.recv(&mut greeting)?;
/// assert_eq!(&greeting[..length], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixDatagram(Async<net::UnixDatagram>);

impl UnixDatagram {
    /// A socket with a path, which is made.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        net::UnixDatagram::bind(path)?.try_into()
    }

    /// A socket without a name, which can send.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn unbound() -> io::Result<UnixDatagram> {
        net::UnixDatagram::unbound()?.try_into()
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((one.try_into()?, other.try_into()?))
    }

    /// To whom it [sends](Self::send), and from whom it receives.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.std().connect(path)
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

    /// Sends a datagram to whom it is connected.
    ///
    /// # Scheduling
    ///
    /// The caller parks while there is no room for it.
    ///
    /// # Errors
    ///
    /// As in std; [`TimedOut`](io::ErrorKind::TimedOut); or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then nothing was sent.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_with(|socket| socket.send(buf))
    }

    /// Sends a datagram to the socket with a path.
    ///
    /// # Scheduling
    ///
    /// The caller parks while the receiver has no room for it. No event tells when that ends: it looks again after 1 ms, then after twice as long,
    /// up to 64 ms.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.0.insist(|socket| socket.send_to(buf, path.as_ref()))
    }

    /// As [`send_to`](Self::send_to), to an address.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        self.0.insist(|socket| socket.send_to_addr(buf, addr))
    }

    /// Receives a datagram. What `buf` has no room for is lost.
    ///
    /// # Scheduling
    ///
    /// The caller parks until one arrives.
    ///
    /// # Errors
    ///
    /// As in std; [`TimedOut`](io::ErrorKind::TimedOut); or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then nothing was taken.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|socket| socket.recv(buf))
    }

    /// As [`recv`](Self::recv), and says from whom.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.read_with(|socket| socket.recv_from(buf))
    }

    /// As [`recv`](Self::recv), without taking the datagram.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|socket| Ok(rustix::net::recv(socket, &mut *buf, RecvFlags::PEEK)?.0))
    }

    /// Ends one direction or both. Who waits for it goes on.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.std().shutdown(how)
    }
}

socket!(UnixDatagram, net::UnixDatagram, Async::of_nonblocking, |socket| socket, std::convert::identity);
transfers!(UnixDatagram);
