//! What can be copied from and to.

use std::io::{self, PipeWriter};
use std::net;
use std::os::fd::AsFd;
use std::os::unix;

use super::Relay;
use crate::descriptor::Async;
use crate::fs::File;
use crate::{net as ours, pipe, unix as local};

/// What bytes are copied from: connections, the ends of pipes that are read, any [`Async`], and files, from their position on, which moves.
pub trait CopyFrom: sealed::From {}

/// What bytes are copied to: connections, the ends of pipes that are written to, and any [`Async`]. To a file it is [`std::io::copy`] that copies.
///
/// Where the process does not ignore `SIGPIPE`, as Rust's programs do unless they say otherwise, a copy to a socket that nobody reads any more
/// raises it.
pub trait CopyTo: sealed::To {}

pub(super) mod sealed {
    use std::os::fd::AsFd;

    use super::{Async, Relay, io};

    pub trait From {
        /// Moves some bytes into the relay, which is empty, or through it; returns how many, 0 at the end.
        #[doc(hidden)]
        fn move_some<W: AsFd + Send + Sync + 'static>(
            &self,
            relay: &mut Relay,
            writer: &Async<W>,
            most: usize,
        ) -> io::Result<usize>;
    }

    pub trait To {
        #[doc(hidden)]
        type Io: AsFd + Send + Sync + 'static;

        #[doc(hidden)]
        fn stream(&self) -> &Async<Self::Io>;
    }
}

impl<T: AsFd + Send + Sync + 'static> sealed::From for Async<T> {
    fn move_some<W: AsFd + Send + Sync + 'static>(
        &self,
        relay: &mut Relay,
        _: &Async<W>,
        most: usize,
    ) -> io::Result<usize> {
        relay.fill(self, most)
    }
}

impl<T: AsFd + Send + Sync + 'static> sealed::To for Async<T> {
    type Io = T;

    fn stream(&self) -> &Async<T> {
        self
    }
}

impl<T: AsFd + Send + Sync + 'static> CopyFrom for Async<T> {}
impl<T: AsFd + Send + Sync + 'static> CopyTo for Async<T> {}

impl sealed::From for File {
    fn move_some<W: AsFd + Send + Sync + 'static>(
        &self,
        relay: &mut Relay,
        writer: &Async<W>,
        most: usize,
    ) -> io::Result<usize> {
        relay.send(self.shared(), writer, most)
    }
}

impl CopyFrom for File {}

macro_rules! from {
    ($($stream:ty),*) => { $(
        impl sealed::From for $stream {
            fn move_some<W: AsFd + Send + Sync + 'static>(
                &self,
                relay: &mut Relay,
                writer: &Async<W>,
                most: usize,
            ) -> io::Result<usize> {
                sealed::From::move_some(self.as_async(), relay, writer, most)
            }
        }

        impl CopyFrom for $stream {}
    )* };
}

macro_rules! to {
    ($($stream:ty: $io:ty),*) => { $(
        impl sealed::To for $stream {
            type Io = $io;

            fn stream(&self) -> &Async<$io> {
                self.as_async()
            }
        }

        impl CopyTo for $stream {}
    )* };
}

from!(ours::TcpStream, local::UnixStream, pipe::Reader);
to!(ours::TcpStream: net::TcpStream, local::UnixStream: unix::net::UnixStream, pipe::Writer: PipeWriter);
