//! Pipes, as [`std::io::pipe`].

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::descriptor::Async;

/// The end of a pipe that is read. The caller of a read parks while there is nothing to read.
pub struct Reader(Async<PipeReader>);

/// The end of a pipe that is written to. The caller of a write parks while there is no room.
pub struct Writer(Async<PipeWriter>);

/// Makes a pipe. What is for another process is made by [`std::io::pipe`], and only the end that stays here becomes a [`Reader`] or [`Writer`].
///
/// # Errors
///
/// As in std: too many descriptors.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tasklet_io::pipe::pipe;
///
/// let (mut reader, mut writer) = pipe()?;
/// writer.write_all(b"hello")?;
/// drop(writer);
/// let mut greeting = String::new();
/// reader.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe() -> io::Result<(Reader, Writer)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.try_into()?, writer.try_into()?))
}

macro_rules! end {
    ($end:ident, $std:ident from $($like:ident),*) => {
        impl $end {
            /// Another handle of the same descriptor, which is closed with the last of them.
            ///
            /// # Errors
            ///
            /// None; it has std's signature.
            pub fn try_clone(&self) -> io::Result<$end> {
                Ok($end(self.0.clone()))
            }

            /// The descriptor, blocking again, for whoever expects that: another process.
            ///
            /// # Errors
            ///
            /// There is another handle; this one is dropped.
            pub fn into_std(self) -> io::Result<$std> {
                let shared = |_| io::Error::other("cannot give away an end of a pipe that another handle refers to: drop its clones first");
                let end = self.0.try_into_inner().map_err(shared)?;
                rustix::io::ioctl_fionbio(&end, false)?;
                Ok(end)
            }

            /// As what can be waited for.
            pub fn as_async(&self) -> &Async<$std> {
                &self.0
            }
        }

        impl TryFrom<$std> for $end {
            type Error = io::Error;

            /// Makes it non-blocking, for all who share it; not the other end.
            fn try_from(end: $std) -> io::Result<$end> {
                Async::new(end).map($end)
            }
        }

        $(impl TryFrom<$like> for $end {
            type Error = io::Error;

            /// Makes our end non-blocking, for all who share it; not the child's.
            fn try_from(end: $like) -> io::Result<$end> {
                $std::from(OwnedFd::from(end)).try_into()
            }
        })*

        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $end {
            fn as_raw_fd(&self) -> RawFd {
                self.0.get_ref().as_raw_fd()
            }
        }

        impl fmt::Debug for $end {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.get_ref().fmt(f)
            }
        }
    };
}

end!(Reader, PipeReader from ChildStdout, ChildStderr);
end!(Writer, PipeWriter from ChildStdin);

impl Read for &Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Of nothing there is always enough.
        if buf.is_empty() { Ok(0) } else { (&self.0).read(buf) }
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.0).read_vectored(bufs)
    }
}

impl Write for &Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() { Ok(0) } else { (&self.0).write(buf) }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.0).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
