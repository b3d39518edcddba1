//! Open files.

use std::fmt;
use std::fs::{self, FileTimes, Metadata, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::SystemTime;

use tasklet_core::blocking::blocking_owned;

use crate::pool;

/// An open file, as [`std::fs::File`]. It may be used by several tasklets and threads at the same time, through references.
///
/// A read or write is a call of its own, with the costs that the [module](super) tells of: for small pieces, wrap it in a
/// [`BufReader`](std::io::BufReader) or [`BufWriter`](std::io::BufWriter). A read goes into the caller's buffer, and a write comes from it; a swapped
/// tasklet's goes through a copy, of a mebibyte at most.
///
/// It is closed where it is dropped, as in std.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Seek, Write};
/// use tasklet_io::fs::{self, File};
///
/// let path = std::env::temp_dir().join(format!("tasklet-file-{}", std::process::id()));
/// let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
/// file.write_all(b"hello")?;
/// file.rewind()?;
/// let mut content = String::new();
/// file.read_to_string(&mut content)?;
/// assert_eq!(content, "hello");
/// fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
// The others are with calls that have not returned yet, whose callers wait for that.
pub struct File(Arc<fs::File>);

/// How a file is opened, as [`std::fs::OpenOptions`].
#[derive(Clone, Debug)]
pub struct OpenOptions(fs::OpenOptions);

/// Methods whose arguments are moved.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($($value:ident: $type:ty)?) -> $result:ty;)*) => { $(
        $(#[$doc])*
        ///
        /// # Scheduling
        ///
        /// The caller parks until it is done; see the [module](super).
        ///
        /// # Errors
        ///
        /// As in std.
        ///
        /// # Panics
        ///
        /// Unwinds with what is thrown at the caller, when it is done.
        pub fn $name(&self $(, $value: $type)?) -> $result {
            let file = self.0.clone();
            blocking_owned(move || file.$name($($value)?))
        }
    )* };
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Scheduling
    ///
    /// The caller parks until it is open; see the [module](super).
    ///
    /// # Errors
    ///
    /// As in std.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller, when it is done; then the file has been closed.
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        File::options().read(true).open(path)
    }

    /// Opens a file for writing, empty.
    ///
    /// # Scheduling
    ///
    /// As [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// As in std.
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        File::options().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, and opens it for reading and writing.
    ///
    /// # Scheduling
    ///
    /// As [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// As in std: there is such a file.
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        File::options().read(true).write(true).create_new(true).open(path)
    }

    /// For other ways to open a file.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// For a call that may go on when this is gone.
    pub(crate) fn shared(&self) -> &Arc<fs::File> {
        &self.0
    }

    methods! {
        /// Waits until content and metadata are on the disk.
        sync_all() -> io::Result<()>;
        /// Waits until the content is on the disk.
        sync_data() -> io::Result<()>;
        /// Cuts it off, or fills it up with zeros.
        set_len(len: u64) -> io::Result<()>;
        /// What is known of it.
        metadata() -> io::Result<Metadata>;
        /// Changes who may do what with it.
        set_permissions(permissions: Permissions) -> io::Result<()>;
        /// Changes when it was used and changed.
        set_times(times: FileTimes) -> io::Result<()>;
        /// Changes when it was changed.
        set_modified(time: SystemTime) -> io::Result<()>;
        /// Locks it for this handle and its [clones](Self::try_clone) alone, among those who lock it. Takes a thread of the pool until it is free: where many
        /// wait, [`try_lock`](Self::try_lock) and sleep.
        lock() -> io::Result<()>;
        /// As [`lock`](Self::lock), for any number of handles that share it.
        lock_shared() -> io::Result<()>;
        /// Locks it if it is free.
        try_lock() -> Result<(), TryLockError>;
        /// Locks it if nobody has it alone.
        try_lock_shared() -> Result<(), TryLockError>;
        /// Ends the lock.
        unlock() -> io::Result<()>;
    }

    /// Another descriptor of the same open file, with the same position.
    ///
    /// # Errors
    ///
    /// As in std: too many descriptors.
    pub fn try_clone(&self) -> io::Result<File> {
        self.0.try_clone().map(File::from)
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let file = self.0.clone();
        pool::fill(buf, move |buf| (&*file).read(buf))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let file = self.0.clone();
        pool::append(buf, move |buf| (&*file).read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        let file = self.0.clone();
        pool::append_text(buf, move |buf| (&*file).read_to_end(buf))
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let file = self.0.clone();
        pool::drain(buf, move |buf| (&*file).write(buf))
    }

    /// Nothing: what was written is the system's.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // It waits for a read or write by others, who move the same position.
        let file = self.0.clone();
        blocking_owned(move || (&*file).seek(to))
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.0.clone();
        pool::fill(buf, move |buf| file.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let file = self.0.clone();
        pool::drain(buf, move |buf| file.write_at(buf, offset))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> File {
        File(Arc::new(file))
    }
}

impl From<File> for fs::File {
    fn from(file: File) -> fs::File {
        // A call drops its handle before its caller goes on.
        Arc::into_inner(file.0).expect("nobody calls what is moved")
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        fs::File::from(file).into()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        fs::File::from(fd).into()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        fs::File::from(file).into()
    }
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        pub fn $name(&mut self, $name: bool) -> &mut OpenOptions {
            self.0.$name($name);
            self
        }
    )* };
}

impl OpenOptions {
    /// One that allows nothing.
    #[expect(clippy::new_without_default, reason = "as in std")]
    pub fn new() -> OpenOptions {
        OpenOptions(fs::OpenOptions::new())
    }

    options! {
        /// Whether it may be read.
        read;
        /// Whether it may be written.
        write;
        /// Whether all that is written goes to its end.
        append;
        /// Whether it becomes empty.
        truncate;
        /// Whether it is made if it is not there.
        create;
        /// Whether it is made, and must not be there.
        create_new;
    }

    /// Opens a file so.
    ///
    /// # Scheduling
    ///
    /// As [`File::open`].
    ///
    /// # Errors
    ///
    /// As in std.
    ///
    /// # Panics
    ///
    /// As [`File::open`].
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (options, path) = (self.0.clone(), path.as_ref().to_owned());
        blocking_owned(move || options.open(path).map(File::from))
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags(flags);
        self
    }
}
