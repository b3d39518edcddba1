//! Tasklets without a record: futures that somebody polls, as their join handles see them.

use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;
use std::task::Context;

use super::finish::{Finish, Kill, Start};
use super::head::Head;
use super::join::JoinHandle;
use crate::current;
use crate::id::TaskletId;

/// The beginning of a tasklet that has no record: what its join handle sees. The rest is its owner's, who polls it, and whose [`Vtable`] knows
/// of what type the rest is.
///
/// **The promise** is to end it. One alone does: whoever [keeps](Self::keep) it, or the first kill.
#[repr(C)]
pub struct Promised {
    pub(super) head: Head,
    vtable: &'static Vtable,
}

/// What can be done with a promised tasklet, whatever its type. The pointers are to the [`Promised`], and may be used for all that it is the
/// beginning of.
pub struct Vtable {
    /// For the owner alone: polls the future. Returns whether it is over: then it is dropped, and the result has its place.
    pub poll: unsafe fn(NonNull<Promised>, &mut Context<'_>) -> bool,
    /// For the owner alone: drops the future or the result, whichever is there.
    pub clear: unsafe fn(NonNull<Promised>),
    /// For the owner alone: frees the memory, in which neither is any more.
    pub free: unsafe fn(NonNull<Promised>),
    /// Called by the join handle of one that has finished, with the address of an `Option<Result<T, Payload>>` that is not initialised: moves
    /// the result there. None if it was killed, or the result was moved before.
    pub take: unsafe fn(NonNull<Promised>, NonNull<()>),
    /// Called by the join handle when its kill has ended the tasklet: nobody polls it any more, and its future is to go.
    pub killed: unsafe fn(NonNull<Promised>),
    /// Called by the join handle when it goes, last: it does not use the pointer any more.
    pub release: unsafe fn(NonNull<Promised>),
}

impl Promised {
    /// One that has not ended.
    #[inline]
    pub fn new(
        id: TaskletId,
        site: &'static Location<'static>,
        name: Option<String>,
        vtable: &'static Vtable,
    ) -> Promised {
        Promised { head: Head::new(id, site, name, Finish::promised()), vtable }
    }

    /// Its join handle.
    ///
    /// # Safety
    ///
    /// - It is the only one, and `T` is the type for which the table of functions was made.
    /// - The tasklet stays where it is until [`Vtable::release`] is called.
    #[inline]
    pub unsafe fn handle<T>(this: NonNull<Promised>) -> JoinHandle<T> {
        // SAFETY: the head is the first field.
        unsafe { JoinHandle::new(this.cast()) }
    }

    /// What can be done with it.
    #[inline]
    pub fn vtable(&self) -> &'static Vtable {
        self.vtable
    }

    /// Its identity.
    #[inline]
    pub fn id(&self) -> TaskletId {
        self.head.id
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.head.label.name()
    }

    /// Where it was made.
    pub fn site(&self) -> &'static Location<'static> {
        self.head.label.site()
    }

    /// Whether it has ended.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.head.finish.is_finished()
    }

    /// The caller is about to end it; it is asked once. `false` if a kill has ended it before: then the result is the caller's.
    #[must_use = "one that was killed must not be ended again"]
    #[inline]
    pub fn keep(&self) -> bool {
        self.head.finish.start() == Start::Run
    }

    /// Ends it, for whoever [keeps](Self::keep) the promise: its result is there, if there is one, and belongs to the join handle from now on.
    /// If that is gone, calls `drop_result`. Then wakes whoever waits for the end.
    ///
    /// # Scheduling
    ///
    /// Whoever waits is appended to the queue of its scheduler; the caller goes on.
    #[inline]
    pub fn end(&self, drop_result: impl FnOnce()) {
        let finished = self.head.finish.finish();
        if finished.detached {
            drop_result();
        }
        finished.wake_joiners(|joiner| joiner.wake(current::unpark));
    }

    /// See [`JoinHandle::kill`].
    ///
    /// # Safety
    ///
    /// The caller is the join handle.
    pub(super) unsafe fn kill(this: NonNull<Promised>) {
        // SAFETY: the handle keeps it alive.
        let promised = unsafe { this.as_ref() };
        match promised.head.finish.request_kill() {
            // `Ask`: somebody is about to end it.
            Kill::Nothing | Kill::Ask => {}
            Kill::Claimed => {
                promised.end(|| {});
                // SAFETY: the handle calls.
                unsafe { (promised.vtable.killed)(this) };
            }
        }
    }
}

impl fmt::Debug for Promised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.fmt(f)
    }
}

impl fmt::Debug for Vtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vtable").finish_non_exhaustive()
    }
}
