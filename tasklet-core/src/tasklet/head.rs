//! What a join handle points to: the part that tasklets with a stack and those without have in common.

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::task::Waker;

use super::finish::{Awaited, Finish, Parts};
use super::label::Label;
use crate::id::TaskletId;
use crate::park::{ParkReason, Parked, WaitSite};
use crate::unwind;

/// Identity and end of a tasklet. It lies in a [`Record`](super::Record) or in a [`Promised`](super::Promised), as `finish` tells.
// In this order: each switch reads the first two, which lie in a record beside what else it reads.
#[repr(C)]
pub(super) struct Head {
    pub(super) id: TaskletId,
    pub(super) label: Label,
    pub(super) finish: Finish<Joiner>,
}

/// Who waits for a tasklet to finish.
pub(super) enum Joiner {
    /// A tasklet, or a thread.
    Parked(Parked),
    /// The tasklet's own join handle, as a future.
    Waker(Waker),
    /// Something that goes on for as long as the tasklet does: a scope, a future that it stands for.
    Other(Waker),
}

/// What is in a [`Joiner`].
pub(super) union Content {
    parked: ManuallyDrop<Parked>,
    waker: ManuallyDrop<Waker>,
}

impl Parts for Joiner {
    type Content = Content;

    fn into_parts(self) -> (u8, Content) {
        match self {
            Joiner::Parked(parked) => (0, Content { parked: ManuallyDrop::new(parked) }),
            Joiner::Waker(waker) => (1, Content { waker: ManuallyDrop::new(waker) }),
            Joiner::Other(waker) => (2, Content { waker: ManuallyDrop::new(waker) }),
        }
    }

    unsafe fn from_parts(kind: u8, content: Content) -> Joiner {
        // SAFETY: the caller's promise: the kind tells what is there.
        unsafe {
            match kind {
                0 => Joiner::Parked(ManuallyDrop::into_inner(content.parked)),
                1 => Joiner::Waker(ManuallyDrop::into_inner(content.waker)),
                _ => Joiner::Other(ManuallyDrop::into_inner(content.waker)),
            }
        }
    }
}

impl Joiner {
    pub(super) fn is_waker(&self) -> bool {
        matches!(self, Joiner::Waker(_))
    }

    /// `unpark` is how the caller's scheduler wakes tasklets.
    pub(super) fn wake(self, unpark: impl FnOnce(Parked)) {
        match self {
            Joiner::Parked(parked) => unpark(parked),
            Joiner::Waker(waker) | Joiner::Other(waker) => unwind::wake_quietly(waker),
        }
    }
}

impl Head {
    #[inline]
    pub(super) fn new(
        id: TaskletId,
        site: &'static Location<'static>,
        name: Option<String>,
        finish: Finish<Joiner>,
    ) -> Head {
        Head { id, label: Label::new(site, name), finish }
    }

    /// See [`Record::on_finish`](super::Record::on_finish).
    pub(super) fn on_finish(&self, waker: Waker) -> Result<(), Waker> {
        let mut waker = Some(waker);
        let make = || Joiner::Other(waker.take().expect("called once"));
        match self.finish.await_with(|_| false, make) {
            Awaited::Registered => Ok(()),
            Awaited::Finished => Err(waker.expect("it was not used")),
        }
    }
}

// SAFETY: P1, `unlink` looks for it. The key tells whether the waiter belongs to another scheduler.
unsafe impl WaitSite for Head {
    fn reason(&self, _: usize) -> ParkReason {
        ParkReason::Join(self.id)
    }

    fn unlink(&self, who: TaskletId, _: usize) -> Option<Parked> {
        match self.finish.unlink(|joiner| matches!(joiner, Joiner::Parked(parked) if parked.record().id() == who))? {
            Joiner::Parked(parked) => Some(parked),
            Joiner::Waker(_) | Joiner::Other(_) => None,
        }
    }

    fn is_shared(&self, key: usize) -> bool {
        // A tasklet of another scheduler finishes whatever this one does.
        key != 0
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasklet")
            .field("id", &self.id.get())
            .field("name", &self.label.name())
            .field("site", &format_args!("{}", self.label.site()))
            .finish()
    }
}
