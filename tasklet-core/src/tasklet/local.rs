//! What only a tasklet's home touches of its record.

use std::cell::Cell;
use std::ptr::NonNull;

use super::record::Record;
use crate::park::{ParkError, ParkReason, WaitSite, Wake};
use crate::stack::StackSize;
use crate::swap::Relocation;
use crate::unwind::Payload;

/// What only a tasklet's home reads and writes.
#[repr(C)]
pub struct Local {
    /// The next in the queue; `None` while not linked.
    pub next: Cell<Option<NonNull<Record>>>,
    /// The one before in the queue; `None` while not linked.
    pub prev: Cell<Option<NonNull<Record>>>,
    /// The fiber it sits on, in its scheduler's own terms; `None` before it starts and after it ends.
    pub fiber: Cell<Option<NonNull<()>>>,
    /// Raised when it continues.
    /// Boxed again, since few ever have one: a word.
    interrupt: Cell<Option<Box<Payload>>>,
    /// A budget ran out while it could not be interrupted.
    pub pending_interrupt: Cell<bool>,
    /// The timer of the wait that it is about to begin has gone off.
    pub timed_out: Cell<bool>,
    /// It may go on on another worker's thread.
    pub movable: Cell<bool>,
    /// It has been in its scheduler's queue, or has started: nobody puts it there as a new one again.
    pub admitted: Cell<bool>,
    /// Somebody was given a count of its record since it began, who may keep it, or may have left a permit.
    pub lent: Cell<bool>,
    /// Blocking is an error.
    pub block_trap: Cell<bool>,
    /// How its last park ended.
    pub wake: Cell<Wake>,
    /// How its park failed, if it did.
    pub fault: Cell<Option<ParkError>>,
    /// What becomes of its panic, in its scheduler's own terms.
    pub policy: Cell<u8>,
    /// Depth of guards against involuntary switches, or against kills and cancellation, as its scheduler has it.
    pub atomic: Cell<u16>,
    /// It counts as waiting at `site`.
    waits: Cell<bool>,
    /// What kind of stack it needs.
    pub kind: Cell<StackKind>,
    /// Where it waits, or waited and has not gone on since.
    site: Cell<Option<NonNull<dyn WaitSite>>>,
    wait_key: Cell<u32>,
    /// The stack it needs, in bytes.
    pub stack_size: Cell<StackSize>,
}

/// What kind of stack a tasklet has when it has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StackKind {
    /// One of its own.
    #[default]
    Private,
    /// One that it shares with others, in turns: what it has there is [copied away](crate::swap) when another needs it.
    Swapped,
}

/// Where a tasklet waits, and with which key.
#[derive(Clone, Copy)]
pub struct Wait<'a> {
    /// The place that holds the tasklet's [`Parked`](crate::park::Parked) until somebody claims it.
    pub site: &'a dyn WaitSite,
    /// The key it parked with.
    pub key: usize,
}

impl Local {
    pub(super) fn new(stack_size: StackSize, kind: StackKind) -> Local {
        Local {
            next: Cell::new(None),
            prev: Cell::new(None),
            fiber: Cell::new(None),
            interrupt: Cell::new(None),
            waits: Cell::new(false),
            kind: Cell::new(kind),
            site: Cell::new(None),
            wait_key: Cell::new(0),
            stack_size: Cell::new(stack_size),
            wake: Cell::new(Wake::Served),
            fault: Cell::new(None),
            block_trap: Cell::new(false),
            atomic: Cell::new(0),
            pending_interrupt: Cell::new(false),
            timed_out: Cell::new(false),
            admitted: Cell::new(false),
            movable: Cell::new(false),
            lent: Cell::new(false),
            policy: Cell::new(0),
        }
    }

    /// The tasklet counts as waiting at `site` from now on.
    ///
    /// # Safety
    ///
    /// `site` stays valid until [`clear_wait`](Self::clear_wait), which is called when the tasklet goes on, before the borrow of
    /// `site` ends. (If it never goes on, because its stack was leaked, the borrow never ends either.)
    #[inline]
    pub unsafe fn set_wait(&self, site: &dyn WaitSite, key: usize) {
        // SAFETY: only the lifetime changes, as the caller promises to make up for.
        let site = unsafe { std::mem::transmute::<&dyn WaitSite, &'static dyn WaitSite>(site) };
        self.site.set(Some(NonNull::from(site)));
        self.waits.set(true);
        self.wait_key.set(u32::try_from(key).expect("the key of a wait fits into 32 bits"));
    }

    /// The tasklet does not wait any more. It has not gone on yet.
    #[inline]
    pub fn end_wait(&self) {
        self.waits.set(false);
    }

    /// The tasklet goes on.
    #[inline]
    pub fn clear_wait(&self) {
        self.waits.set(false);
        self.site.set(None);
    }

    /// How a copy of the tasklet's stack is to be aligned. Not while it runs.
    pub fn site_alignment(&self) -> usize {
        // SAFETY: as in `relocate`.
        self.site.get().map_or(1, |site| unsafe { site.as_ref() }.alignment())
    }

    /// The tasklet's stack is copied, with its site if that lies there. Not while it runs.
    pub fn relocate(&self, relocation: &Relocation) {
        let Some(site) = self.site.get() else { return relocation.copy() };
        // SAFETY: the promise of `set_wait`: the tasklet has not gone on since.
        unsafe { site.as_ref() }.relocate(relocation);
        self.site.set(NonNull::new(relocation.map(site.as_ptr()).cast_mut()));
    }

    /// Where the tasklet waits, if it does.
    pub fn wait(&self) -> Option<Wait<'_>> {
        self.site.get().filter(|_| self.waits.get()).map(|site| {
            // SAFETY: the promise of `set_wait`. The reference does not outlive the caller's next switch: schedulers look and let go.
            Wait { site: unsafe { site.as_ref() }, key: self.wait_key.get() as usize }
        })
    }

    /// Why the tasklet waits, if it does.
    pub fn reason(&self) -> Option<ParkReason> {
        self.wait().map(|wait| wait.site.reason(wait.key))
    }

    /// The name of what the tasklet waits for, if it has one.
    pub fn waits_for(&self) -> Option<String> {
        self.wait().and_then(|wait| wait.site.name(wait.key))
    }

    /// Whether something will be raised when the tasklet continues.
    #[inline]
    pub fn has_interrupt(&self) -> bool {
        let interrupt = self.interrupt.take();
        let has = interrupt.is_some();
        self.interrupt.set(interrupt);
        has
    }

    /// Stores what will be raised when the tasklet continues; returns what it replaces.
    pub fn set_interrupt(&self, payload: Option<Payload>) -> Option<Payload> {
        self.interrupt.replace(payload.map(Box::new)).map(|payload| *payload)
    }

    /// Takes what is to be raised.
    #[inline]
    pub fn take_interrupt(&self) -> Option<Payload> {
        self.interrupt.take().map(|payload| *payload)
    }
}
