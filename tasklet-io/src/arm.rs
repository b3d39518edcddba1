//! Readiness as what a select waits for.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use tasklet_core::guarded::Guarded;
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Ended, Found, Waiters};

use crate::source::{Direction, Source, Waiting, Wanted};

/// Waits until `take` gives something, which is called whenever the descriptor may be ready.
pub(crate) struct ReadyArm<'s, F, R> {
    source: &'s Arc<Source>,
    direction: Direction,
    fd: BorrowedFd<'s>,
    take: F,
    taken: Option<io::Result<R>>,
}

impl<'s, F: FnMut() -> io::Result<Option<R>>, R> ReadyArm<'s, F, R> {
    pub(crate) fn new(source: &'s Arc<Source>, fd: BorrowedFd<'s>, direction: Direction, take: F) -> Self {
        ReadyArm { source, direction, fd, take, taken: None }
    }

    /// What is there. If there is nothing, it is watched, so that the wait ends when there is.
    fn look(&mut self) -> io::Result<Option<R>> {
        let direction = self.direction;
        loop {
            // R2, with `take` for the call.
            let seen = self.source.seen();
            if seen.allows(direction) {
                if let Some(taken) = (self.take)()? {
                    return Ok(Some(taken));
                }
                self.source.clear(direction, seen);
            } else if self.source.watch(self.fd)? {
                return Ok(None);
            } else {
                let message =
                    "cannot wait for a descriptor in a select here: a plain thread has no reactor; do it in a tasklet";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        }
    }
}

// SAFETY: A1, A2, A3: as for `Await`, whose place and list these are.
unsafe impl<F: FnMut() -> io::Result<Option<R>>, R> Attempt for ReadyArm<'_, F, R> {
    type State = Waiting;
    type Message = ();
    type Output = io::Result<R>;

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
            Ok(None) => Found::Wait,
            Ok(Some(taken)) => {
                self.taken = Some(Ok(taken));
                Found::Done
            }
            Err(error) => {
                self.taken = Some(Err(error));
                Found::Done
            }
        }
    }

    fn finish(&mut self, _: &mut Option<()>, _: Ended) -> io::Result<R> {
        self.taken.take().expect("an arm that was chosen has taken something")
    }
}
