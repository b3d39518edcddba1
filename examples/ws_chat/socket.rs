//! A socket that does not wait for more than has come, where its owner waits for other things too.

use std::io::{self, ErrorKind, Read, Write};

use tasklet::net::TcpStream;

/// Reads once for each time that it is told that there is something to read; then it says that it would have to wait, as a socket does that does not
/// block. It waits in writes.
pub(crate) struct Socket {
    stream: TcpStream,
    may_read: bool,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Socket {
        Socket { stream, may_read: false }
    }

    /// There is something to read, or the end.
    pub(crate) fn is_readable(&mut self) {
        self.may_read = true;
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.may_read) { self.stream.read(buf) } else { Err(ErrorKind::WouldBlock.into()) }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
