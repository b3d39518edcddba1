//! TLS over a socket: `rustls` does what TLS asks for, and the socket carries the bytes.
//!
//! The `Stream` that rustls has for this tries to send before each read, and forgets when that fails in a write: a limit of time for what is sent would
//! count several times for one client. Here what is to be sent is sent at once, and when that fails the connection has failed.

use std::io::{self, ErrorKind, Read, Write};

use rustls::Connection;
use tasklet::net::TcpStream;

/// A connection, which reads and writes as the socket does.
pub(crate) struct Tls {
    connection: Connection,
    stream: TcpStream,
    /// The other end has taken nothing for as long as it may. It is not waited for again, not even to be told of the end.
    is_deaf: bool,
}

impl Tls {
    pub(crate) fn new(connection: impl Into<Connection>, stream: TcpStream) -> Tls {
        Tls { connection: connection.into(), stream, is_deaf: false }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Brings the two together: from here on they understand each other, and nobody else does.
    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        self.flush()?;
        while self.connection.is_handshaking() {
            self.receive()?;
        }
        Ok(())
    }

    /// Says that no more comes.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush()
    }

    /// Waits until something has come, and answers what TLS itself has to answer.
    fn receive(&mut self) -> io::Result<()> {
        if self.connection.read_tls(&mut self.stream)? == 0 && self.connection.is_handshaking() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the other end has gone in the middle of it"));
        }
        if let Err(error) = self.connection.process_new_packets() {
            // It is told what was wrong, if it is still there.
            let _ = self.flush();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        self.flush()
    }
}

impl Read for Tls {
    /// Nothing at the end that the other has announced; one without a word is an error.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.receive()?,
                read => return read,
            }
        }
    }
}

impl Write for Tls {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // Nothing is left of what was written before, so there is room for some.
        let written = self.connection.writer().write(buf)?;
        self.flush()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.is_deaf {
                return Err(ErrorKind::TimedOut.into());
            }
            if let Err(error) = self.connection.write_tls(&mut self.stream) {
                self.is_deaf = error.kind() == ErrorKind::TimedOut;
                return Err(error);
            }
        }
        Ok(())
    }
}
