//! The system calls, and what stands for them where a system has none.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// A pipe, when there is one.
pub(super) enum Pipe {
    Unmade,
    Made {
        reader: OwnedFd,
        writer: OwnedFd,
    },
    /// There is none, or it is of no use for what is copied.
    Impossible,
}

impl Pipe {
    /// The end to fill, of a pipe that is made if it is not.
    pub(super) fn writer(&mut self) -> Option<BorrowedFd<'_>> {
        if let Pipe::Unmade = self {
            *self = made();
        }
        match &*self {
            Pipe::Made { writer, .. } => Some(writer.as_fd()),
            _ => None,
        }
    }

    /// The end to empty.
    pub(super) fn reader(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Pipe::Made { reader, .. } => Some(reader.as_fd()),
            _ => None,
        }
    }
}

/// Whether an error says that the system cannot do so with these descriptors, rather than that the copy has failed.
pub(super) fn is_unfit(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Whether it is a socket of bytes, in which a read that takes a part leaves the rest.
pub(super) fn is_stream(io: impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(io).is_ok_and(|kind| kind == rustix::net::SocketType::STREAM)
}

/// Whether a splice has found nothing, for now or for good.
pub(super) fn is_at_end(spliced: &io::Result<usize>) -> bool {
    spliced.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |&got| got == 0)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod calls {
    use rustix::pipe::{PipeFlags, SpliceFlags};

    use super::{AsFd, Pipe, io};

    pub(in super::super) fn made() -> Pipe {
        match rustix::pipe::pipe_with(PipeFlags::CLOEXEC) {
            Ok((reader, writer)) => Pipe::Made { reader, writer },
            // No descriptors, or no memory.
            Err(_) => Pipe::Impossible,
        }
    }

    pub(in super::super) fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        Ok(rustix::pipe::splice(from, None, to, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
    }

    /// From the file's position on, which moves.
    pub(in super::super) fn sendfile(file: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        Ok(rustix::fs::sendfile(to, file, None, most)?)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod calls {
    use super::{AsFd, Errno, Pipe, io};

    pub(in super::super) fn made() -> Pipe {
        Pipe::Impossible
    }

    pub(in super::super) fn splice(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(Errno::NOSYS.into())
    }

    pub(in super::super) fn sendfile(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(Errno::NOSYS.into())
    }
}

use self::calls::made;
pub(super) use self::calls::{sendfile, splice};
