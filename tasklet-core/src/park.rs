//! Parking: how a tasklet waits, why it waits, and who may wake it.
//!
//! # The right to wake is a value
//!
//! A tasklet that parks is taken out of its scheduler's queue as a [`Parked`]. The value moves into the place it waits at, a
//! [`WaitSite`]: a channel's queue, a list of joiners. Whoever takes it out of there, under the site's own lock, has claimed the
//! waiter: partner, kill, deadlock detection. Nobody else can, because the value cannot be copied, so every park is followed by
//! at most one wake, and a message handed over with the claim has exactly one owner.
//!
//! 1. The running tasklet asks [`may_park`](crate::scheduler::Scheduler::may_park). Nothing has changed if it may not.
//! 2. With the site locked, [`begin_park`](crate::scheduler::Scheduler::begin_park) takes it out of the queue as a [`Parked`],
//!    which goes into the site. The lock is released.
//! 3. The [step](crate::operation::Step) is driven: the scheduler [prepares](crate::scheduler::Scheduler::prepare_park) the switch
//!    to another tasklet, and the fiber is suspended.
//! 4. A claimer takes the [`Parked`] out and gives it to [`unpark`](crate::scheduler::Scheduler::unpark) or
//!    [`prepare_hand_over`](crate::scheduler::Scheduler::prepare_hand_over) of *its own* scheduler, which knows by the record's home
//!    whether the tasklet is its own or lives elsewhere; then the value goes into that home's inbox.
//!
//! The race to fear is a wake between 2 and 3, when the waiter is in the site but still runs. A claimer on the same thread cannot
//! run then; one on another thread can only push into the home's inbox, and the home looks there at its next scheduling point,
//! which comes after the switch of step 3 or is part of it. So a wake can be early, but a tasklet is never resumed while it runs.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::home::{Home, HomeToken};
use crate::id::{ChannelId, TaskletId};
use crate::swap::Relocation;
use crate::tasklet::Record;

/// Which way a value moves, seen from the tasklet that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The tasklet gives a value.
    Send,
    /// The tasklet takes a value.
    Receive,
}

/// Why a tasklet waits; shown in dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParkReason {
    /// In a channel's queue.
    Channel {
        /// Which channel.
        id: ChannelId,
        /// To give or to take a value.
        direction: Direction,
    },
    /// For a tasklet to finish.
    Join(TaskletId),
    /// For a point in time.
    Sleep,
    /// For a descriptor to become ready.
    Io,
    /// For a lock or another primitive of synchronisation, by its number.
    Lock(u64),
    /// In several places, by their number, for whichever can be had first.
    Select(usize),
    /// For whoever holds its resumer.
    Resume,
    /// For a permit that somebody who knows it leaves: see [`Spot`](crate::tasklet::spot::Spot).
    Permit,
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParkReason::Channel { id, direction: Direction::Send } => write!(f, "sending on channel {id}"),
            ParkReason::Channel { id, direction: Direction::Receive } => write!(f, "receiving on channel {id}"),
            ParkReason::Join(id) => write!(f, "joining tasklet {id}"),
            ParkReason::Sleep => f.write_str("sleeping"),
            ParkReason::Io => f.write_str("waiting for I/O"),
            ParkReason::Lock(id) => write!(f, "waiting for lock {id}"),
            ParkReason::Select(arms) => write!(f, "selecting from {arms} arms"),
            ParkReason::Resume => f.write_str("suspended"),
            ParkReason::Permit => f.write_str("parked"),
        }
    }
}

/// What a parked tasklet finds when it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wake {
    /// What it waited for has happened.
    #[default]
    Served,
    /// It will not happen: the place it waited at was closed.
    Closed,
    /// It has not happened in time.
    TimedOut,
    /// It has not happened, and something is to be raised instead.
    Interrupted,
}

/// The right to wake one parked tasklet: made when it parks, consumed by waking it.
///
/// It owns the tasklet's record, which lies at the root of a stack that is in use. So dropping one frees nothing: the tasklet waits
/// for ever, and its record and its stack are leaked. This is what becomes of a wake for a tasklet that its scheduler, when it
/// ended, could not kill.
#[must_use = "a tasklet that nobody can wake any more is leaked"]
pub struct Parked {
    record: ManuallyDrop<Arc<Record>>,
    wake: Wake,
}

impl Parked {
    /// For schedulers: `record` has left the queue, and this is the only value that brings it back.
    ///
    /// # Panics
    ///
    /// The tasklet belongs to another scheduler.
    #[inline]
    pub fn new(record: Arc<Record>, token: &HomeToken) -> Parked {
        assert!(record.is_at(token), "a tasklet was parked by a scheduler it does not belong to");
        Parked { record: ManuallyDrop::new(record), wake: Wake::Served }
    }

    /// Changes what the tasklet finds.
    pub fn with(self, wake: Wake) -> Parked {
        Parked { wake, ..self }
    }

    /// The tasklet that waits.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The scheduler of the tasklet. It stays while the tasklet waits.
    #[inline]
    pub fn home(&self) -> &Home {
        // SAFETY: a tasklet that waits has started, and does not finish before somebody has used up this value.
        unsafe { self.record.home_unchecked() }
    }

    /// As [`home`](Self::home), for a caller that gives this value away meanwhile.
    pub fn share_home(&self) -> Arc<Home> {
        self.record.home().expect("a tasklet that waits has a home")
    }

    /// For schedulers: the tasklet returns to a queue of its home.
    #[inline]
    pub fn into_record(self, token: &HomeToken) -> Arc<Record> {
        let fields = self.record.local(token);
        fields.wake.set(self.wake);
        // From now on it is queued, or paused if it is removed: its site does not hold it any more.
        fields.end_wait();
        ManuallyDrop::into_inner(self.record)
    }
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parked").field(&self.record.id()).finish()
    }
}

/// A place where tasklets wait: holds the [`Parked`] of each until somebody claims it.
///
/// # Safety
///
/// - **P1** [`unlink`](Self::unlink) returns the `Parked` of `who` or none: schedulers take it that this tasklet is the one they may
///   run.
/// - **P2** [`relocate`](Self::relocate) copies once. Afterwards nobody refers to what was copied, but to the copy; and what the other methods
///   need lies in the site itself, or where the tasklet's stack is not.
pub unsafe trait WaitSite {
    /// Why a tasklet waits here; `key` is the one it parked with.
    fn reason(&self, key: usize) -> ParkReason;

    /// The name of what a tasklet waits for here, if it was given one; shown in dumps.
    fn name(&self, key: usize) -> Option<String> {
        let _ = key;
        None
    }

    /// Claims one waiter to wake it for another reason than the site's: kill, throw, deadlock. `None` if it was claimed already;
    /// its wake is then on the way.
    fn unlink(&self, who: TaskletId, key: usize) -> Option<Parked>;

    /// The stack of the tasklet that waits here, or did and has not gone on yet, is [copied](crate::swap). A site that lies on that stack, and that
    /// somebody refers to, has to see to that; others need only copy, which is what this does if it is not written.
    fn relocate(&self, relocation: &Relocation) {
        relocation.copy();
    }

    /// How that copy is to be aligned, for what others refer to in it.
    fn alignment(&self) -> usize {
        align_of_val(self)
    }

    /// Whether somebody outside the waiter's scheduler can claim the one that parked with `key`. If nobody inside can run either, and
    /// this is false for all that wait, they wait for ever: deadlock.
    fn is_shared(&self, key: usize) -> bool;
}

/// A tasklet could not park, or nobody will ever wake it. Nothing has changed: it is in its queue and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParkError {
    /// The tasklet's block trap is set.
    BlockTrapped,
    /// The scheduler's switch trap is set.
    SwitchTrapped,
    /// It is the last runnable tasklet, and no other thread can wake one.
    Deadlock,
    /// The main tasklet waits, the last other tasklet has ended, and no other thread can wake it.
    MainDeserted(Direction),
    /// The thread is unwinding: a switch would mix up the panics of two tasklets.
    Unwinding,
    /// The call came from a hook of the scheduler, which must not switch.
    InHook,
    /// A tasklet would wait for itself to finish.
    SelfJoin,
    /// The scheduler is in the middle of its own tasklets, and the caller is not one of them.
    Elsewhere,
    /// The tasklet's cancel token was cancelled.
    Cancelled,
    /// The scheduler has no timers. Those of this project have.
    NoTimers,
}

impl fmt::Display for ParkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParkError::BlockTrapped => "the tasklet's block trap is set, and the operation would block",
            ParkError::SwitchTrapped => "the switch trap is set, and the operation would switch",
            ParkError::Deadlock => "deadlock: the last runnable tasklet cannot be blocked",
            ParkError::MainDeserted(Direction::Receive) => "the main tasklet is receiving without a sender available",
            ParkError::MainDeserted(Direction::Send) => "the main tasklet is sending without a receiver available",
            ParkError::Unwinding => "a tasklet cannot switch while its thread is unwinding from a panic or a kill",
            ParkError::InHook => "a hook of the scheduler must not switch",
            ParkError::SelfJoin => "a tasklet cannot wait for itself to finish",
            ParkError::Cancelled => "the tasklet's cancel token was cancelled",
            ParkError::NoTimers => "the scheduler has no timers: wait without a limit, or under one that has them",
            ParkError::Elsewhere => "a scheduler whose tasklets run cannot be driven by another scheduler's tasklet",
        })
    }
}

impl std::error::Error for ParkError {}
