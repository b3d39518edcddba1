//! Addresses, and the names that stand for some.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as Std};

use tasklet_core::blocking::blocking_owned;

/// What stands for socket addresses: all that [`std::net::ToSocketAddrs`] takes.
///
/// A name is looked up where that may block, while the tasklet parks.
pub trait ToSocketAddrs: sealed::Sealed {
    /// The addresses.
    ///
    /// # Scheduling
    ///
    /// If a name is to be looked up, the caller parks.
    ///
    /// # Errors
    ///
    /// There is no such name, or it is none: a port is missing or not a number.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    fn addresses(&self) -> io::Result<Vec<SocketAddr>>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! known {
    ($($known:ty),*) => { $(
        impl sealed::Sealed for $known {}

        impl ToSocketAddrs for $known {
            fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
                self.to_socket_addrs().map(Iterator::collect)
            }
        }
    )* };
}

known!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl sealed::Sealed for &[SocketAddr] {}

impl ToSocketAddrs for &[SocketAddr] {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl sealed::Sealed for str {}

impl ToSocketAddrs for str {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self.parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => look_up(self.to_owned()),
        }
    }
}

impl sealed::Sealed for (&str, u16) {}

impl ToSocketAddrs for (&str, u16) {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self.0.parse::<IpAddr>() {
            Ok(address) => Ok(vec![SocketAddr::new(address, self.1)]),
            Err(_) => look_up((self.0.to_owned(), self.1)),
        }
    }
}

impl sealed::Sealed for (String, u16) {}

impl ToSocketAddrs for (String, u16) {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        (&*self.0, self.1).addresses()
    }
}

impl sealed::Sealed for String {}

impl ToSocketAddrs for String {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).addresses()
    }
}

impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &T {}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).addresses()
    }
}

fn look_up(name: impl Std + Send + 'static) -> io::Result<Vec<SocketAddr>> {
    blocking_owned(move || name.to_socket_addrs().map(Iterator::collect))
}

/// Tries one address after the other. The error is that of the last.
pub(super) fn each_address<T>(
    addr: impl ToSocketAddrs,
    mut f: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addr.addresses()? {
        match f(&addr) {
            Ok(done) => return Ok(done),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name stands for no address")))
}
