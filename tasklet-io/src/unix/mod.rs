//! Sockets with paths for addresses, with the names of [`std::os::unix::net`].

mod datagram;
mod stream;

pub use datagram::UnixDatagram;
pub use std::os::unix::net::SocketAddr;
pub use stream::{Incoming, UnixListener, UnixStream};

use std::io;
use std::path::Path;

use rustix::net::SocketAddrUnix;

/// An address as system calls take it.
fn address(addr: &SocketAddr) -> io::Result<SocketAddrUnix> {
    if let Some(path) = addr.as_pathname() {
        return of_path(path);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(addr) {
        return Ok(SocketAddrUnix::new_abstract_name(name)?);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot reach a socket without a name"))
}

/// The same, of a path.
fn of_path(path: &Path) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(path)?)
}
