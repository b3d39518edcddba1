//! Reads and writes of any descriptor whose type has them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;

use crate::descriptor::Async;
use crate::source::Direction;

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
        let asked = bufs.iter().map(|buf| buf.len()).sum();
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
        self.write_some(bufs.iter().map(|buf| buf.len()).sum(), |mut io| io.write_vectored(bufs))
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
