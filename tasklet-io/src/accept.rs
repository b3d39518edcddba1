//! What listeners do besides listening.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, SocketAddrAny, SocketFlags};
#[cfg(feature = "futures")]
use tasklet_core::current;
use tasklet_core::park::ParkError;

use crate::descriptor::Async;

/// After an error that says that something is used up, in milliseconds: long beside an `accept`, short beside what people notice.
const FIRST_PAUSE: u32 = 5;
/// The pauses become longer up to this. What is used up may be so for long.
const LONGEST_PAUSE: u32 = 1000;

/// A connection, and who has connected if the system says so.
pub(crate) type Accepted = (OwnedFd, Option<SocketAddrAny>);

/// A listener, and how long the next `accept` pauses.
#[derive(Debug)]
pub(crate) struct Acceptor<L> {
    pub(crate) listener: L,
    /// Milliseconds; 0 after a success.
    pause: AtomicU32,
}

impl<L> From<L> for Acceptor<L> {
    fn from(listener: L) -> Acceptor<L> {
        Acceptor { listener, pause: AtomicU32::new(0) }
    }
}

impl<L: AsFd> AsFd for Acceptor<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl<L: AsRawFd> AsRawFd for Acceptor<L> {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl<L: AsFd + Send + Sync + 'static> Async<Acceptor<L>> {
    /// Accepts a connection, which is non-blocking.
    pub(crate) fn accept(&self) -> io::Result<Accepted> {
        let waited = self.rest()?;
        self.note(waited, self.read_with(|acceptor| self.accept_now(acceptor)))
    }

    /// As [`accept`](Self::accept), for async code.
    #[cfg(feature = "futures")]
    pub(crate) async fn accept_async(&self) -> io::Result<Accepted> {
        // A pause would block the thread of another executor.
        if self.get_ref().pause.load(Ordering::Relaxed) > 0 && current::with_driver(|_| ()).is_none() {
            return Err(crate::futures::no_reactor());
        }
        // It keeps the stack of who polls, which is rare, and then there is nothing to do for a listener.
        let waited = self.rest()?;
        self.note(waited, self.read_with_async(|acceptor| self.accept_now(acceptor)).await)
    }

    /// Pauses if something was used up the last time. Returns for how many milliseconds.
    fn rest(&self) -> io::Result<u32> {
        let waits = self.get_ref().pause.load(Ordering::Relaxed);
        if waits > 0 && !self.is_closed() {
            self.pause(Duration::from_millis(waits.into()))?;
        }
        Ok(waits)
    }

    /// Notes whether the next one pauses, after a pause like that.
    fn note(&self, waited: u32, accepted: io::Result<Accepted>) -> io::Result<Accepted> {
        let pause = &self.get_ref().pause;
        match &accepted {
            Ok(_) if waited > 0 => pause.store(0, Ordering::Relaxed),
            Err(error) if is_used_up(error) => {
                let next = (2 * waited).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                pause.store(next, Ordering::Relaxed);
            }
            _ => {}
        }
        accepted
    }

    fn accept_now(&self, acceptor: &Acceptor<L>) -> io::Result<Accepted> {
        if self.is_closed() {
            return Err(closed());
        }
        match rustix::net::acceptfrom_with(acceptor, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(accepted) => Ok(accepted),
            // Of the connection, which is gone, and not of the listener: the next one is tried at once.
            Err(
                Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH,
            ) => Err(io::ErrorKind::Interrupted.into()),
            Err(Errno::INVAL) if self.is_closed() => Err(closed()),
            Err(error) => Err(error.into()),
        }
    }

    /// Accepts nobody any more.
    pub(crate) fn close_listener(&self) {
        // First, so that whoever is woken by what follows sees why.
        self.close();
        // It fails if it was closed already, or where a listener cannot be shut down: there it listens until its last handle goes.
        let _ = rustix::net::shutdown(self, Shutdown::Both);
        // Those who are connected already, where shutting down does not refuse them. Closed at once.
        while rustix::net::accept_with(self, SocketFlags::CLOEXEC).is_ok() {}
    }
}

#[cold]
fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "cannot accept: the listener was closed")
}

/// Whether an error goes away when somebody else frees something, and comes back at once until then.
fn is_used_up(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno))
}

/// Whether an error is not the listener's, but says that its caller may not park, and would not the next time.
pub(crate) fn cannot_wait(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<ParkError>())
}
