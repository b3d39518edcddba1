//! A number of parties that meet.

use std::fmt;
use std::time::Duration;

use crate::gate::Gate;
use crate::waiting::{AtEnd, Limit, WaitError};

/// Lets nobody pass until a number of parties have come, again and again.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use tasklet_scheduler::stealing::{self, Runtime};
/// use tasklet_sync::Barrier;
/// # use tasklet_backend_corosensei::Corosensei;
///
/// let barrier = Arc::new(Barrier::new(3));
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// let meet = || {
///     let barrier = barrier.clone();
///     runtime.spawn(move || barrier.wait().is_leader())
/// };
/// let others = [meet(), meet()];
/// // The third party is a plain thread.
/// let mut leaders = usize::from(barrier.wait().is_leader());
/// leaders += others.into_iter().map(|other| usize::from(other.join().unwrap())).sum::<usize>();
/// assert_eq!(leaders, 1);
/// # Ok::<(), stealing::BuildError>(())
/// ```
///
/// # Differences from std
///
/// - A party whose wait ends by a kill or a time limit has not come: the others wait for another one in its place.
/// - [`BarrierWaitResult`] is a type of this crate, since std's cannot be made.
pub struct Barrier {
    parties: usize,
    /// The epochs are the rounds; inside is how many have come in this one.
    gate: Gate<usize>,
}

/// What the end of a round tells each party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether the caller was the last to come. One of each round is.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    constant! {
        /// A barrier for so many parties. For none it is one for one: nobody waits.
        pub const fn new(parties: usize) -> Barrier {
            Barrier { parties, gate: Gate::new(0) }
        }
    }

    /// Waits until all parties of this round have come.
    ///
    /// # Scheduling
    ///
    /// The last one makes the others runnable, oldest first, and goes on. The others park.
    ///
    /// # Panics
    ///
    /// The caller may not wait: see the [crate](crate#rules). Unwinds with what is thrown at the caller while it waits.
    pub fn wait(&self) -> BarrierWaitResult {
        let Some(round) = self.come() else { return BarrierWaitResult(true) };
        let leave = AtEnd(|| {
            self.leave(round);
        });
        self.gate.wait_long(round);
        leave.disarm();
        BarrierWaitResult(false)
    }

    /// As [`wait`](Self::wait), for at most this long on the clock of the caller's scheduler.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The time was up, or the caller may not wait; and it counts as not having come.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it waits.
    pub fn wait_timeout(&self, limit: Duration) -> Result<BarrierWaitResult, WaitError> {
        let Some(round) = self.come() else { return Ok(BarrierWaitResult(true)) };
        let limit = Limit::after(limit);
        let leave = AtEnd(|| {
            self.leave(round);
        });
        let ended = self.gate.wait(round, limit);
        leave.disarm();
        match ended {
            // The round may have ended between the end of the wait and now.
            Err(error) if self.leave(round) => Err(error),
            _ => Ok(BarrierWaitResult(false)),
        }
    }

    /// The caller has come; in which round it has to wait, if it is not the last.
    fn come(&self) -> Option<u64> {
        let came = self.gate.with(|inside| {
            inside.own += 1;
            if inside.own < self.parties {
                return Ok(inside.epoch());
            }
            inside.own = 0;
            Err(inside.end_epoch())
        });
        match came {
            Ok(round) => Some(round),
            Err(next) => {
                self.gate.release(next);
                None
            }
        }
    }

    /// The caller does not wait any more. Whether its round had not ended.
    fn leave(&self, round: u64) -> bool {
        self.gate.with(|inside| {
            let early = inside.epoch() == round;
            inside.own -= usize::from(early);
            early
        })
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came = self.gate.with(|inside| inside.own);
        f.debug_struct("Barrier").field("parties", &self.parties).field("came", &came).finish()
    }
}
