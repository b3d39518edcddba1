//! Reads and writes of any descriptor whose type has them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;

use crate::descriptor::Async;
use crate::source::Direction;

/// Parts that the system takes or fills at a time (`IOV_MAX`), on those that this runs on; std gives it no more. What is beyond was not asked for.
const MOST_PARTS: usize = 1024;

/// How many bytes a vectored read asks for.
pub(crate) fn asked_in(bufs: &[IoSliceMut<'_>]) -> usize {
    bufs.iter().take(MOST_PARTS).map(|buf| buf.len()).sum()
}

/// How many bytes a vectored write asks to be taken.
pub(crate) fn asked_out(bufs: &[IoSlice<'_>]) -> usize {
    bufs.iter().take(MOST_PARTS).map(|buf| buf.len()).sum()
}

impl<T: AsFd + Send + Sync + 'static> Async<T> {
    /// As [`read_with`](Self::read_with), for an `op` that reads `asked` bytes at most.
    #[inline]
    fn read_some(&self, asked: usize, op: impl FnMut(&T) -> io::Result<usize>) -> io::Result<usize> {
        if asked == 0 {
            // Which the system would wait with.
            return Ok(0);
        }
        let is_stream = self.is_stream();
        self.io(Direction::Read, op, |&got| is_stream && 0 < got && got < asked)
    }

    #[inline]
    fn write_some(&self, asked: usize, op: impl FnMut(&T) -> io::Result<usize>) -> io::Result<usize> {
        let is_stream = self.is_stream();
        self.io(Direction::Write, op, |&written| is_stream && written < asked)
    }
}

impl<T: AsFd + Send + Sync + 'static> Read for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let asked = buf.len();
        self.read_some(asked, |mut io| io.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let asked = asked_in(bufs);
        self.read_some(asked, |mut io| io.read_vectored(bufs))
    }
}

impl<T: AsFd + Send + Sync + 'static> Write for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_some(buf.len(), |mut io| io.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_some(asked_out(bufs), |mut io| io.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_with(|mut io| io.flush())
    }
}

impl<T: AsFd + Send + Sync + 'static> Read for Async<T>
where
    for<'a> &'a T: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl<T: AsFd + Send + Sync + 'static> Write for Async<T>
where
    for<'a> &'a T: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
