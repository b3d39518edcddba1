//! What deques and the injector hold, as one word: work that any worker may begin.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use tasklet_core::tasklet::{Record, Unstarted};

use super::fork::ForkRef;
use super::soft::{Header, Soft};

/// Work that any worker may begin. Dropping it packed says that nobody will.
pub(super) enum Task {
    /// A tasklet that has not started.
    Start(Unstarted),
    /// The half of a `join` that its caller has not come to.
    Fork(ForkRef),
    /// A soft tasklet that wants to be polled.
    Poll(Soft),
    /// A tasklet that has started, may move, and can go on.
    Resume(Arc<Record>),
}

/// A [`Task`] as one word: the pointer, with the kind in the two bits that its alignment leaves free.
pub(super) struct PackedTask(NonNull<()>);

// SAFETY: a `Task` is `Send`, and this is one.
unsafe impl Send for PackedTask {}

const KIND: usize = 3;
const START: usize = 0;
const FORK: usize = 1;
const POLL: usize = 2;
const RESUME: usize = 3;

const _: () = assert!(align_of::<Record>() > KIND && align_of::<Header>() > KIND);

impl Task {
    #[inline]
    pub(super) fn pack(self) -> PackedTask {
        let (pointer, kind) = match self {
            Task::Start(unstarted) => (unstarted.into_raw().cast::<()>(), START),
            Task::Fork(fork) => (fork.into_raw().cast(), FORK),
            Task::Poll(soft) => (soft.into_raw().cast(), POLL),
            Task::Resume(record) => {
                // The pointer comes from an `Arc`, so it is not null.
                (NonNull::new(Arc::into_raw(record).cast_mut()).expect("records have an address").cast(), RESUME)
            }
        };
        PackedTask(pointer.map_addr(|address| address | kind))
    }
}

impl PackedTask {
    #[inline]
    pub(super) fn unpack(self) -> Task {
        let this = ManuallyDrop::new(self);
        let kind = this.0.addr().get() & KIND;
        let pointer = this.0.as_ptr().map_addr(|address| address & !KIND);
        // SAFETY: `pack` has added the kind to a pointer that is not null.
        let pointer = unsafe { NonNull::new_unchecked(pointer) };
        match kind {
            // SAFETY: `pack` has taken it from `into_raw`, and `self` is used up.
            START => Task::Start(unsafe { Unstarted::from_raw(pointer.cast()) }),
            // SAFETY: as above.
            FORK => Task::Fork(unsafe { ForkRef::from_raw(pointer.cast()) }),
            // SAFETY: as above.
            POLL => Task::Poll(unsafe { Soft::from_raw(pointer.cast()) }),
            // SAFETY: as above.
            _ => Task::Resume(unsafe { Arc::from_raw(pointer.as_ptr().cast()) }),
        }
    }

    /// Whether it is this fork.
    #[inline]
    pub(super) fn is_fork(&self, fork: NonNull<()>) -> bool {
        self.0 == fork.map_addr(|address| address | FORK)
    }

    /// Gives up a fork that its own caller has taken back.
    #[inline]
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for PackedTask {
    fn drop(&mut self) {
        match PackedTask(self.0).unpack() {
            Task::Poll(soft) => soft.discard(),
            // Its stack is in use, so it is leaked with all that it holds. `discard_unstarted` takes such out of deques before they are
            // dropped.
            Task::Resume(record) => std::mem::forget(record),
            task => drop(task),
        }
    }
}
