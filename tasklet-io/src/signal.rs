//! Signals, as something that tasklets wait for.
//!
//! A handler, which is the process's as the system wants it, sets a flag and writes a byte into a pipe; a tasklet that waits reads that pipe. Whoever
//! listens to a signal is told of it, each with a pipe of its own.
//!
//! A signal that somebody has listened to does not do any more what it does by itself, not even when nobody listens any longer: an interrupt does
//! not end the process.
//!
//! A handler runs on the stack that it finds, which may be that of any tasklet: leave room for what the processor's registers take there, some 4 KiB on
//! machines with wide vectors (`AT_MINSIGSTKSZ` tells), and for the handler, a few hundred bytes.

use std::borrow::Borrow;
use std::fmt;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::FORBIDDEN;
use signal_hook::{SigId, flag, low_level};

pub use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,
    SIGUSR1, SIGUSR2, SIGWINCH,
};

use tasklet_core::wait::TypedArm;

use crate::descriptor::Async;
use crate::source::Direction;

/// Signals to wait for. It listens until it is dropped.
///
/// A signal that comes while nobody waits is kept; if it comes again before it was received, that is one, as with the system itself. Several tasklets
/// may wait for the same `Signals`, and one of them gets the signal; each of several `Signals` gets it.
///
/// # Examples
///
/// ```
/// use tasklet_io::signal::{SIGHUP, SIGUSR1, Signals};
///
/// let signals = Signals::new([SIGHUP, SIGUSR1])?;
/// assert_eq!(signals.try_recv()?, None);
/// let me = std::process::id().to_string();
/// tasklet_io::process::Command::new("kill").args(["-USR1", &me]).status()?;
/// assert_eq!(signals.recv()?, SIGUSR1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Signals {
    // Dropped first: a handler that writes into a pipe which nobody can read raises another signal.
    listening: Vec<Listening>,
    /// A byte for each flag that is set, and maybe more.
    pipe: Async<PipeReader>,
}

/// To one signal.
struct Listening {
    signal: i32,
    has_come: Arc<AtomicBool>,
    actions: [Option<SigId>; 2],
}

/// Listens to the interrupt from the terminal, SIGINT: `ctrl_c()?.recv()?` waits for one.
///
/// # Errors
///
/// As [`Signals::new`].
pub fn ctrl_c() -> io::Result<Signals> {
    Signals::new([SIGINT])
}

impl Signals {
    /// Listens to signals from now on.
    ///
    /// # Errors
    ///
    /// None is given; one of them cannot be listened to (SIGKILL, SIGSTOP, and those of faults: SIGSEGV, SIGILL, SIGFPE) or does not exist; too many
    /// descriptors.
    pub fn new(signals: impl IntoIterator<Item = impl Borrow<i32>>) -> io::Result<Signals> {
        let (reader, writer) = io::pipe()?;
        // Those that are listened to already are no longer if another cannot be.
        let mut all = Signals { listening: Vec::new(), pipe: Async::new(reader)? };
        for signal in signals {
            let signal = *signal.borrow();
            if FORBIDDEN.contains(&signal) {
                return Err(refused(signal, "the system or the process itself needs it"));
            }
            let has_come = Arc::new(AtomicBool::new(false));
            all.listening.push(Listening { signal, has_come: has_come.clone(), actions: [None, None] });
            let Some(Listening { actions: [first, second], .. }) = all.listening.last_mut() else { continue };
            let refused = |error| refused(signal, error);
            // In this order: a byte comes after its flag.
            *first = Some(flag::register(signal, has_come).map_err(refused)?);
            *second = Some(low_level::pipe::register(signal, writer.try_clone()?).map_err(refused)?);
        }
        if all.listening.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot listen to no signal: name one"));
        }
        Ok(all)
    }

    /// Takes a signal that has come, or waits for one.
    ///
    /// # Scheduling
    ///
    /// The caller parks until a signal comes. On a plain thread it blocks.
    ///
    /// # Errors
    ///
    /// The caller cannot wait.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits; then it has taken none.
    pub fn recv(&self) -> io::Result<i32> {
        self.pipe.read_with(|pipe| self.take(pipe))
    }

    /// Takes a signal that has come.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn try_recv(&self) -> io::Result<Option<i32>> {
        loop {
            return match self.take(self.pipe.get_ref()) {
                Ok(signal) => Ok(Some(signal)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// An arm that takes a signal that has come, or waits for one. In a `select!` it is `recv(signals) -> signal => ..`.
    ///
    /// Its output is an error on a plain thread that would have to wait: no reactor is there.
    pub fn recv_arm(&self) -> impl TypedArm<Output = io::Result<i32>> + use<'_> {
        self.pipe.arm_with(Direction::Read, || self.try_recv())
    }

    /// Each byte is one look at the flags. There are never fewer than flags that are set: a flag is set before its byte is written, and one byte at a time
    /// is taken, for one flag.
    fn take(&self, mut pipe: &PipeReader) -> io::Result<i32> {
        while pipe.read(&mut [0])? > 0 {
            // Acquire: pairs with the handler's store.
            let has_come = |listening: &&Listening| listening.has_come.swap(false, Ordering::Acquire);
            if let Some(listening) = self.listening.iter().find(has_come) {
                return Ok(listening.signal);
            }
        }
        unreachable!("the handlers keep the pipe open")
    }
}

fn refused(signal: i32, why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("cannot listen to signal {signal}: {why}"))
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.actions.iter_mut().filter_map(Option::take).for_each(|action| {
            low_level::unregister(action);
        });
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.listening.iter().map(|listening| listening.signal)).finish()
    }
}
