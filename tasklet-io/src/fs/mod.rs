//! Files, with the names of [`std::fs`].
//!
//! The system has nothing to wait for with files: a call takes as long as the disk does. So calls are made in the scheduler's pool of threads, as by
//! [`blocking`](tasklet_core::blocking), while the tasklet parks and its worker goes on with others. Under the local scheduler, which has no pool, and on a
//! plain thread, the thread waits.
//!
//! # Costs
//!
//! A call costs the way to another thread and back beside what it does: some 20 us where a read of what is in memory takes half of one, measured with
//! two busy cores. So few calls with much each: [`read()`], [`write()`] and [`read_to_string`](std::io::Read::read_to_string) are one call; a [`File`]
//! that is read or written in small pieces belongs into a [`BufReader`](std::io::BufReader) or [`BufWriter`](std::io::BufWriter).
//!
//! # Kills and time limits
//!
//! A call that has begun is not interrupted. A kill, and what else is thrown at a tasklet, takes effect when it has returned: what was
//! done is done, and what came of it is dropped. With a named pipe, or a [lock](File::lock), that may take long.

mod dir;
mod file;

use std::io;
use std::path::{Path, PathBuf};

use tasklet_core::blocking::blocking_owned;

pub use dir::{DirBuilder, DirEntry, ReadDir};
pub use file::{File, OpenOptions};
pub use std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};

use crate::pool;

/// Functions whose arguments are paths, and values that are moved.
macro_rules! functions {
    ($($(#[$doc:meta])* $std:path => $name:ident($($path:ident),+ $(; $value:ident: $type:ty)?) -> $result:ty;)*) => { $(
        $(#[$doc])*
        ///
        /// # Scheduling
        ///
        /// The caller parks until it is done; see the [module](self).
        ///
        /// # Errors
        ///
        /// As in std.
        ///
        /// # Panics
        ///
        /// Unwinds with what is thrown at the caller, when it is done.
        pub fn $name($($path: impl AsRef<Path>),+ $(, $value: $type)?) -> io::Result<$result> {
            $(let $path = $path.as_ref().to_owned();)+
            blocking_owned(move || $std($($path),+ $(, $value)?))
        }
    )* };
}

functions! {
    /// The whole content of a file.
    std::fs::read => read(path) -> Vec<u8>;
    /// The whole content of a file, which is UTF-8.
    std::fs::read_to_string => read_to_string(path) -> String;
    /// What is known of a file; of that which a symbolic link leads to.
    std::fs::metadata => metadata(path) -> Metadata;
    /// What is known of a file, or of a symbolic link itself.
    std::fs::symlink_metadata => symlink_metadata(path) -> Metadata;
    /// Whether there is such a file.
    std::fs::exists => exists(path) -> bool;
    /// The absolute path, without symbolic links.
    std::fs::canonicalize => canonicalize(path) -> PathBuf;
    /// Where a symbolic link leads to.
    std::fs::read_link => read_link(path) -> PathBuf;
    /// Makes a directory.
    std::fs::create_dir => create_dir(path) -> ();
    /// Makes a directory and those that it lies in.
    std::fs::create_dir_all => create_dir_all(path) -> ();
    /// Removes a directory that is empty.
    std::fs::remove_dir => remove_dir(path) -> ();
    /// Removes a directory and what it contains.
    std::fs::remove_dir_all => remove_dir_all(path) -> ();
    /// Removes a file.
    std::fs::remove_file => remove_file(path) -> ();
    /// Gives a file another name; replaces what had that.
    std::fs::rename => rename(from, to) -> ();
    /// Copies content and permissions of a file. Gives the number of bytes.
    std::fs::copy => copy(from, to) -> u64;
    /// Gives a file a second name.
    std::fs::hard_link => hard_link(original, link) -> ();
    /// Makes a symbolic link, as [`std::os::unix::fs::symlink`].
    std::os::unix::fs::symlink => symlink(original, link) -> ();
    /// Changes who may do what with a file.
    std::fs::set_permissions => set_permissions(path; permissions: Permissions) -> ();
    /// What a directory contains.
    dir::read => read_dir(path) -> ReadDir;
}

/// Writes a file with this content; replaces one that was there.
///
/// # Scheduling
///
/// The caller parks until it is done; see the [module](self).
///
/// # Errors
///
/// As in std.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller, when it is done.
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    pool::with_bytes(contents.as_ref(), move |contents| std::fs::write(path, contents))
}
