//! What every test of I/O begins with: a connection over the loopback device, bytes to send, a directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tasklet_io::net::{TcpListener, TcpStream};

pub(super) use crate::channels::setup::{give_way, run, run_virtual, spawn, until};
pub(super) use crate::stealing::setup::Flag;

/// Both ends of a new connection.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = listener();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, from) = listener.accept().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    (client, server)
}

/// Listens at a port that is free.
pub(super) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Bytes of which no two stretches are the same.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).flat_map(|at| (at.wrapping_mul(0x9E37_79B9) >> 8).to_le_bytes()).take(count).collect()
}

/// A directory of the test's own, which goes with what is in it.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Directory {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tasklet-io-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A path for a socket, which goes with this.
pub(super) struct Place {
    path: PathBuf,
    _directory: Directory,
}

impl Place {
    pub(super) fn new() -> Place {
        let directory = Directory::new();
        Place { path: directory.join("socket"), _directory: directory }
    }
}

impl AsRef<Path> for Place {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}
