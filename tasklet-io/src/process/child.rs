//! What runs.

use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::process::{self, ExitStatus, Output};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use tasklet_core::blocking::blocking_owned;

use super::{ChildStderr, ChildStdin, ChildStdout};
use crate::descriptor::Async;
use crate::pipe::Reader;

/// A process that this one has started, as [`std::process::Child`]. It goes on when this is dropped; see the [module](super).
#[derive(Debug)]
pub struct Child {
    child: process::Child,
    /// Readable when it has ended. Opened by the first who waits.
    end: Option<Async<OwnedFd>>,
    /// What it reads, if that is [piped](super::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// What it writes, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// What it says of errors, if that is piped.
    pub stderr: Option<ChildStderr>,
}

/// The most that is read at a time, before others have their turn.
const PIECE: usize = 1 << 16;

impl Child {
    pub(super) fn of(mut child: process::Child) -> io::Result<Child> {
        let stdin = child.stdin.take().map(ChildStdin::try_from).transpose()?;
        let stdout = child.stdout.take().map(ChildStdout::try_from).transpose()?;
        let stderr = child.stderr.take().map(ChildStderr::try_from).transpose()?;
        Ok(Child { child, end: None, stdin, stdout, stderr })
    }

    /// The number that the system knows it by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, by SIGKILL. Nothing if it is known to have ended.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    ///
    /// As in std.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until it has ended, after closing its input, as in std.
    ///
    /// # Scheduling
    ///
    /// The caller parks. On a plain thread it blocks. Where the system has no descriptors of processes (Linux before 5.3), or none is left, a thread of the
    /// pool waits, and a kill of the caller takes effect when the child has ended.
    ///
    /// # Errors
    ///
    /// As in std; or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits. The child goes on, and can be waited for again.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if self.end.is_none() {
            // Its number is its own as long as nobody has taken its status.
            let opened = rustix::process::pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty());
            self.end = opened.ok().and_then(|end| Async::new(end).ok());
        }
        let Child { child, end: Some(end), .. } = self else { return self.wait_in_pool() };
        end.read_with(|_| child.try_wait()?.ok_or_else(|| io::ErrorKind::WouldBlock.into()))
    }

    #[cold]
    fn wait_in_pool(&mut self) -> io::Result<ExitStatus> {
        let pid = Pid::from_child(&self.child);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            // Its status stays, for whoever asks next.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            match blocking_owned(move || rustix::process::waitid(WaitId::Pid(pid), options)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Closes its input, collects what it writes into its pipes, and waits until it has ended.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As in std; or the caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits. The child goes on without pipes, and nobody waits for it.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        self.collect()
    }

    pub(super) fn collect(&mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let [stdout, stderr] = match (self.stdout.take(), self.stderr.take()) {
            (Some(stdout), Some(stderr)) => read_both(&[stdout, stderr])?,
            (stdout, stderr) => [read_all(stdout)?, read_all(stderr)?],
        };
        Ok(Output { status: self.wait()?, stdout, stderr })
    }
}

fn read_all(end: Option<Reader>) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(mut end) = end {
        end.read_to_end(&mut read)?;
    }
    Ok(read)
}

/// Reads both to their ends, whichever has something: a child that waits for room in one does not write to the other.
///
/// A poller for two, which is itself a descriptor that can be waited for. It reports states, not changes.
fn read_both(ends: &[Reader; 2]) -> io::Result<[Vec<u8>; 2]> {
    let either = Async::new(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
    for (at, end) in ends.iter().enumerate() {
        epoll::add(&either, end, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
    }
    let (mut read, mut open) = ([Vec::new(), Vec::new()], ends.len());
    let mut ready = Vec::with_capacity(ends.len());
    while open > 0 {
        ready.clear();
        either.read_with(|either| {
            let found = epoll::wait(either, rustix::buffer::spare_capacity(&mut ready), Some(&Timespec::default()))?;
            if found > 0 { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        })?;
        for event in &ready {
            let at = event.data.u64() as usize;
            if has_ended(ends[at].as_async().get_ref(), &mut read[at])? {
                epoll::delete(&either, &ends[at])?;
                open -= 1;
            }
        }
    }
    Ok(read)
}

/// Appends what is there. Whether there will be nothing more.
fn has_ended(end: &PipeReader, read: &mut Vec<u8>) -> io::Result<bool> {
    match end.take(PIECE as u64).read_to_end(read) {
        Ok(got) => Ok(got < PIECE),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// A child that nobody else knows: it does not outlive this.
pub(super) struct Owned(pub(super) Child);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // If there is nothing to kill, there is nothing to wait for; and it ends soon, so the thread may wait.
            let _ = self.0.kill().and_then(|()| self.0.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Stdio};

    /// As on a system without descriptors of processes.
    #[test]
    fn without_a_descriptor_a_thread_waits() {
        let mut child = Command::new("sh").args(["-c", "read line; exit 7"]).stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        let stdin = child.stdin.take();
        let waits = std::thread::spawn(move || child.wait_in_pool().map(|status| (status, child.try_wait())));
        drop(stdin);
        let (status, again) = waits.join().unwrap().unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(again.unwrap(), Some(status));
    }
}
