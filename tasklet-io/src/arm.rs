//! Readiness as what a select waits for.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::guarded::Guarded;
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters};

use crate::source::{Direction, Source, Waiting, Wanted, ask};

/// Waits until the system says that the descriptor is ready: a source's word alone is an opinion, which a call would find out.
pub(crate) struct ReadyArm<'s> {
    source: &'s Arc<Source>,
    direction: Direction,
    fd: BorrowedFd<'s>,
    error: Option<io::Error>,
}

impl<'s> ReadyArm<'s> {
    pub(crate) fn new(source: &'s Arc<Source>, fd: BorrowedFd<'s>, direction: Direction) -> ReadyArm<'s> {
        ReadyArm { source, direction, fd, error: None }
    }

    /// Whether it is ready. If not, it is watched, so that the wait ends when it is.
    fn look(&self) -> io::Result<bool> {
        let direction = self.direction;
        loop {
            // R2, with the question to the system for the call.
            let seen = self.source.seen();
            if seen.allows(direction) {
                if ask(self.fd, direction, Some(Duration::ZERO))? {
                    return Ok(true);
                }
                self.source.clear(direction, seen);
            } else if self.source.watch(self.fd)? {
                return Ok(false);
            } else {
                let message =
                    "cannot wait for a descriptor in a select here: a plain thread has no reactor; do it in a tasklet";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        }
    }
}

// SAFETY: A1, A2, A3: as for `Await`, whose place and list these are.
unsafe impl Attempt for ReadyArm<'_> {
    type State = Waiting;
    type Message = ();
    type Output = io::Result<()>;

    // Who is told of an event looks.
    const LOOKS_AGAIN: bool = true;

    fn place(&self) -> &Guarded<Waiting> {
        self.source.place()
    }

    fn waiters<'s>(&self, state: &'s mut Waiting) -> &'s mut Waiters<()> {
        state.of(Wanted::Ready(self.direction))
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Io
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, _: &mut Waiting, _: &mut Option<()>, _: &dyn Scheduler) -> Found {
        match self.look() {
            Ok(true) => Found::Done,
            Ok(false) => Found::Wait,
            Err(error) => {
                self.error = Some(error);
                Found::Done
            }
        }
    }

    fn finish(&mut self, _: &mut Option<()>, _: Ended) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}
