//! UDP.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::addr::{ToSocketAddrs, each_address};
use crate::descriptor::Async;

/// Sends and receives datagrams, as [`std::net::UdpSocket`]. The caller of what would block parks.
///
/// # Examples
///
/// ```
/// use tasklet_io::net::UdpSocket;
///
/// let (one, other) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
/// one.send_to(b"hello", other.local_addr()?)?;
/// let mut greeting = [0; 16];
/// let (length, from) = other.recv_from(&mut greeting)?;
/// assert_eq!((&greeting[..length], from), (&b"hello"[..], one.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket(Async<net::UdpSocket>);

impl UdpSocket {
    /// A socket at the first of the addresses that can be had.
    ///
    /// # Errors
    ///
    /// As in std: in use, not this machine's, not permitted.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each_address(addr, |addr| net::UdpSocket::bind(addr))?.try_into()
    }

    /// From whom it receives and to whom it [sends](Self::send): the first of the addresses that is possible. Nothing is sent by this.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        each_address(addr, |addr| self.std().connect(addr))
    }

    /// Sends a datagram to the first of the addresses.
    ///
    /// # Scheduling
    ///
    /// The caller parks while there is no room for it, and while a name is looked up.
    ///
    /// # Errors
    ///
    /// As in std; or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then nothing was sent.
    pub fn send_to(&self, buf: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(addr) = addr.addresses()?.into_iter().next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name stands for no address"));
        };
        self.0.write_with(|socket| socket.send_to(buf, addr))
    }

    /// Receives a datagram, and says from whom. What `buf` has no room for is lost.
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
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.read_with(|socket| socket.recv_from(buf))
    }

    /// As [`recv_from`](Self::recv_from), without taking the datagram.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.read_with(|socket| socket.peek_from(buf))
    }

    /// As [`send_to`](Self::send_to), to whom it is [connected](Self::connect).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to); and it is not connected.
    ///
    /// # Panics
    ///
    /// As [`send_to`](Self::send_to).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_with(|socket| socket.send(buf))
    }

    /// As [`recv_from`](Self::recv_from), where it is known from whom.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|socket| socket.recv(buf))
    }

    /// As [`recv`](Self::recv), without taking the datagram.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|socket| socket.peek(buf))
    }
}

/// Methods that are std's.
macro_rules! as_std {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $output:ty;)*) => {
        impl UdpSocket { $(
            #[doc = concat!("As [`std::net::UdpSocket::", stringify!($name), "`].")]
            ///
            /// # Errors
            ///
            /// As in std.
            pub fn $name(&self $(, $arg: $type)*) -> io::Result<$output> {
                self.std().$name($($arg),*)
            }
        )* }
    };
}

as_std! {
    fn peer_addr(&self) -> SocketAddr;
    fn local_addr(&self) -> SocketAddr;
    fn set_broadcast(&self, broadcast: bool) -> ();
    fn broadcast(&self) -> bool;
    fn set_ttl(&self, ttl: u32) -> ();
    fn ttl(&self) -> u32;
    fn set_multicast_loop_v4(&self, is_on: bool) -> ();
    fn multicast_loop_v4(&self) -> bool;
    fn set_multicast_ttl_v4(&self, ttl: u32) -> ();
    fn multicast_ttl_v4(&self) -> u32;
    fn set_multicast_loop_v6(&self, is_on: bool) -> ();
    fn multicast_loop_v6(&self) -> bool;
    fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> ();
    fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> ();
}

socket!(UdpSocket, net::UdpSocket, Async::of_nonblocking, |socket| socket, std::convert::identity);
transfers!(UdpSocket);
