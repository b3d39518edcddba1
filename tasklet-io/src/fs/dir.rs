//! Directories.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use std::fs::{self, FileType, Metadata};

use tasklet_core::blocking::blocking_owned;

/// Entries that are read in one call. A guess.
const BATCH: usize = 64;

/// What a directory contains, in no order; see [`read_dir`](super::read_dir).
///
/// # Scheduling
///
/// [`next`](Iterator::next) parks the caller at each 64th entry.
///
/// # Panics
///
/// [`next`](Iterator::next) unwinds with what is thrown at the caller; then no more entries come.
#[derive(Debug)]
pub struct ReadDir {
    read: vec::IntoIter<io::Result<DirEntry>>,
    /// `None` at the end.
    rest: Option<fs::ReadDir>,
}

/// Something in a directory.
#[derive(Debug)]
pub struct DirEntry {
    entry: Arc<fs::DirEntry>,
    /// Known when the entry was read, most often without asking the disk.
    file_type: Option<FileType>,
}

/// In the pool.
pub(super) fn read(path: PathBuf) -> io::Result<ReadDir> {
    Ok(ReadDir::begin(fs::read_dir(path)?))
}

impl ReadDir {
    /// In the pool.
    fn begin(mut rest: fs::ReadDir) -> ReadDir {
        let entry = |entry: fs::DirEntry| DirEntry { file_type: entry.file_type().ok(), entry: Arc::new(entry) };
        let read: Vec<_> = rest.by_ref().take(BATCH).map(|found| found.map(entry)).collect();
        let is_over = read.len() < BATCH;
        ReadDir { read: read.into_iter(), rest: (!is_over).then_some(rest) }
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if let Some(entry) = self.read.next() {
            return Some(entry);
        }
        let rest = self.rest.take()?;
        *self = blocking_owned(move || ReadDir::begin(rest));
        self.read.next()
    }
}

impl DirEntry {
    /// The directory's path and the name.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// The name.
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }

    /// What is known of it; of a symbolic link itself.
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
    pub fn metadata(&self) -> io::Result<Metadata> {
        let entry = self.entry.clone();
        blocking_owned(move || entry.metadata())
    }

    /// What it is. Most file systems say that with the name, and nobody waits.
    ///
    /// # Scheduling
    ///
    /// If the file system has not said it, as [`metadata`](Self::metadata).
    ///
    /// # Errors
    ///
    /// As in std.
    ///
    /// # Panics
    ///
    /// As [`metadata`](Self::metadata).
    pub fn file_type(&self) -> io::Result<FileType> {
        self.file_type.map_or_else(|| Ok(self.metadata()?.file_type()), Ok)
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.entry.ino()
    }
}

/// Makes directories, as [`std::fs::DirBuilder`].
#[derive(Debug)]
pub struct DirBuilder {
    recursive: bool,
    mode: u32,
}

impl DirBuilder {
    /// One that makes a single directory, which everybody may use as far as the process's mask allows.
    #[expect(clippy::new_without_default, reason = "as in std")]
    pub fn new() -> DirBuilder {
        DirBuilder { recursive: false, mode: 0o777 }
    }

    /// Whether to make those too that it lies in. Then it may exist already.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// Makes the directory.
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
    pub fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref().to_owned();
        let DirBuilder { recursive, mode } = *self;
        blocking_owned(move || fs::DirBuilder::new().recursive(recursive).mode(mode).create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = mode;
        self
    }
}
