//! The waiters of a place, oldest first: a list through nodes that lie where their owners wait.
//!
//! The invariants N1-N4 are in this folder's README.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::{PhantomData, PhantomPinned};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{self, NonNull};
use std::task::Waker;

use super::select::Ticket;
use crate::current;
use crate::park::{Parked, Wake};
use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::swap::Relocation;
use crate::tasklet::Record;
use crate::unwind;

/// In no list, and served by nobody.
pub(super) const IDLE: u8 = 0;
/// Out of the list, by somebody who has done what its owner waits for.
pub(super) const SERVED: u8 = 1;
/// Out of the list: what its owner waits for will not happen.
pub(super) const CLOSED: u8 = 2;
/// Out of the list, and the claimer's until it has stored one of the two above.
pub(super) const CLAIMED: u8 = 3;
/// As idle, of a future that was ready.
pub(super) const OVER: u8 = 4;
/// In its place's list, with a [`Waiter::Direct`]: everything in it is the lock's.
const DIRECT: u8 = 5;
/// The same with a [`Waiter::Arm`].
const ARM: u8 = 6;
/// The same with a [`Waiter::Async`].
const ASYNC: u8 = 7;

/// Who waits, and how to wake them.
pub(super) enum Waiter {
    /// A tasklet or thread that waits here and nowhere else.
    Direct(Parked),
    /// One that waits in several places: whoever claims its ticket may wake it.
    Arm(NonNull<Ticket>, usize),
    /// Async code.
    Async(Waker),
}

/// The place of one waiter in a list, with a cell in which a message is left or found.
pub(super) struct Node<M> {
    state: AtomicU8,
    fields: UnsafeCell<Fields<M>>,
    _pinned: PhantomPinned,
}

struct Fields<M> {
    /// Written when the node enters a list, taken when it leaves it: most operations need not wait, and these would be a third of what they
    /// write.
    link: MaybeUninit<Link<M>>,
    cell: Option<M>,
}

/// What a node has while it is linked.
struct Link<M> {
    next: *const Node<M>,
    prev: *const Node<M>,
    way: Way,
}

/// What is in a [`Waiter`]; the state of the node tells which. An enum would be a word more, of which a million futures have a million.
union Way {
    direct: ManuallyDrop<Parked>,
    arm: (NonNull<Ticket>, usize),
    waker: ManuallyDrop<Waker>,
}

impl Waiter {
    /// What goes into a link, and the state of its node.
    #[inline(always)]
    fn into_parts(self) -> (u8, Way) {
        match self {
            Waiter::Direct(parked) => (DIRECT, Way { direct: ManuallyDrop::new(parked) }),
            Waiter::Arm(ticket, arm) => (ARM, Way { arm: (ticket, arm) }),
            Waiter::Async(waker) => (ASYNC, Way { waker: ManuallyDrop::new(waker) }),
        }
    }

    /// # Safety
    ///
    /// The parts come from [`into_parts`](Self::into_parts), and are used once.
    #[inline(always)]
    unsafe fn from_parts(state: u8, way: Way) -> Waiter {
        // SAFETY: the caller's promise: the state tells what is there.
        unsafe {
            match state {
                DIRECT => Waiter::Direct(ManuallyDrop::into_inner(way.direct)),
                ARM => Waiter::Arm(way.arm.0, way.arm.1),
                _ => Waiter::Async(ManuallyDrop::into_inner(way.waker)),
            }
        }
    }
}

impl<M> Node<M> {
    #[inline(always)]
    pub(super) fn new(cell: Option<M>) -> Node<M> {
        Node {
            state: AtomicU8::new(IDLE),
            fields: UnsafeCell::new(Fields { link: MaybeUninit::uninit(), cell }),
            _pinned: PhantomPinned,
        }
    }

    #[inline(always)]
    pub(super) fn state(&self) -> u8 {
        // Acquire: pairs with the release in `Claimed::end`, so that what was left in the cell is seen.
        self.state.load(Ordering::Acquire)
    }

    /// Whether it is in its place's list.
    #[inline(always)]
    pub(super) fn is_linked(&self) -> bool {
        self.state() >= DIRECT
    }

    /// Its owner has taken note of how the wait has ended.
    pub(super) fn reset(&self) {
        self.rest(IDLE);
    }

    /// As [`reset`](Self::reset), and there will be no other wait.
    pub(super) fn set_over(&self) {
        self.rest(OVER);
    }

    fn rest(&self, state: u8) {
        debug_assert!(!self.is_linked(), "a node that is linked is the list's");
        self.state.store(state, Ordering::Relaxed);
    }

    /// The cell.
    ///
    /// # Safety
    ///
    /// The caller owns the node, which is not linked (N2), or holds the lock of its place; and no other reference to the cell is alive.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "what excludes others is the lock or the node's state")]
    pub(super) unsafe fn cell(&self) -> &mut Option<M> {
        // SAFETY: the caller's promise.
        unsafe { &mut (*self.fields.get()).cell }
    }

    /// The waker of a node that is linked, if it has one.
    ///
    /// # Safety
    ///
    /// The caller holds the lock of its place, and no other reference to its link is alive.
    #[expect(clippy::mut_from_ref, reason = "what excludes others is the lock")]
    pub(super) unsafe fn waker(&self) -> Option<&mut Waker> {
        // SAFETY: the caller's promise, and the state tells that it is there.
        (self.state() == ASYNC).then(|| unsafe { &mut *(*self.link()).way.waker })
    }

    /// The tasklet that waits, of a node that is linked; null for async code.
    ///
    /// # Safety
    ///
    /// The caller holds the lock of its place.
    #[inline(always)]
    unsafe fn record(&self) -> *const Record {
        let link = self.link();
        // SAFETY: the caller's promise, and the state tells what is there. N3: a ticket is alive.
        unsafe {
            match self.state.load(Ordering::Relaxed) {
                DIRECT => ptr::from_ref((*link).way.direct.record()),
                ARM => (*link).way.arm.0.as_ref().record(),
                _ => ptr::null(),
            }
        }
    }

    /// Where its link is.
    fn link(&self) -> *mut Link<M> {
        // SAFETY: the fields are there, and no reference to them is made. What is there of the link is what the caller knows.
        unsafe { (&raw mut (*self.fields.get()).link).cast() }
    }
}

/// The waiters of a place, oldest first. Part of the state behind the place's lock.
pub struct Waiters<M> {
    head: *const Node<M>,
    tail: *const Node<M>,
    len: usize,
    _cells: PhantomData<M>,
}

// SAFETY: it points to nodes that the lock of its place guards, like itself; what is in a node is a `Parked`, a `Waker`, a ticket whose
// claim is an atomic, and a message, which moves between threads.
unsafe impl<M: Send> Send for Waiters<M> {}

impl<M> Waiters<M> {
    /// Nobody waits.
    pub const fn new() -> Waiters<M> {
        Waiters { head: ptr::null(), tail: ptr::null(), len: 0, _cells: PhantomData }
    }

    /// How many wait. Those count that wait in several places, until they have gone on.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Claims the oldest waiter that can be claimed: the caller is the one who ends its wait.
    #[inline(always)]
    pub fn claim(&mut self) -> Option<Claimed<'_, M>> {
        while let Some(node) = NonNull::new(self.head.cast_mut()) {
            // SAFETY: N1, a linked node is alive, and N2, the caller holds the lock: it has the list.
            let woken = match unsafe { self.remove(node.as_ref()) } {
                Waiter::Direct(parked) => Some(Woken::Parked(parked)),
                Waiter::Async(waker) => Some(Woken::Waker(waker)),
                // SAFETY: N3, the ticket of a linked node is alive.
                Waiter::Arm(ticket, arm) => unsafe { ticket.as_ref() }.claim(arm).map(Woken::Parked),
            };
            match woken {
                Some(woken) => {
                    // Not before: an owner that finds it linked takes the lock, so the node lives until we have let go of it.
                    // SAFETY: N4.
                    unsafe { node.as_ref() }.state.store(CLAIMED, Ordering::Relaxed);
                    return Some(Claimed { node, woken: Some(woken), _list: PhantomData });
                }
                // Somebody else has claimed it elsewhere. Release: pairs with the acquire in `Node::state`.
                // SAFETY: N1: its owner takes the lock, or sees this store, before it lets the node go.
                None => unsafe { node.as_ref() }.state.store(IDLE, Ordering::Release),
            }
        }
        None
    }

    /// The tasklet that is the oldest waiter: the next to be claimed, unless it is claimed elsewhere before. `None` if nobody waits, or
    /// the oldest is async code.
    #[inline]
    pub fn oldest(&mut self) -> Option<&Record> {
        while let Some(node) = NonNull::new(self.head.cast_mut()) {
            // SAFETY: N1, N2; N3, the ticket of an arm is alive.
            let is_claimed = unsafe {
                node.as_ref().state.load(Ordering::Relaxed) == ARM
                    && !(*node.as_ref().link()).way.arm.0.as_ref().is_open()
            };
            if !is_claimed {
                // SAFETY: N1: a tasklet whose node is linked has not finished, so its record is alive.
                return unsafe { node.as_ref().record().as_ref() };
            }
            // Release: pairs with the acquire in `Node::state`.
            // SAFETY: it is in this list, whose lock the caller holds. N1, as in `claim`.
            unsafe {
                self.remove(node.as_ref());
                node.as_ref().state.store(IDLE, Ordering::Release);
            }
        }
        None
    }

    /// Whether the oldest waiter left or wants a message: whether there is something in its cell.
    #[inline]
    pub fn first_has_message(&self) -> bool {
        let node = NonNull::new(self.head.cast_mut());
        // SAFETY: N1, N2.
        node.is_some_and(|node| unsafe { (*node.as_ref().fields.get()).cell.is_some() })
    }

    /// What is in the cell of the oldest waiter.
    #[inline]
    pub fn first_message(&self) -> Option<&M> {
        let node = NonNull::new(self.head.cast_mut())?;
        // SAFETY: N1, N2.
        unsafe { (*node.as_ref().fields.get()).cell.as_ref() }
    }

    /// The tasklets that wait, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            loop {
                let node = NonNull::new(at.cast_mut())?;
                // SAFETY: N1, N2.
                at = unsafe { (*node.as_ref().link()).next };
                // SAFETY: N1: a tasklet whose node is linked has not finished, so its record is alive.
                if let Some(record) = unsafe { node.as_ref().record().as_ref() } {
                    return Some(record);
                }
            }
        })
    }

    /// Appends a node.
    ///
    /// # Safety
    ///
    /// - The list is that of a place whose lock the caller holds, and the node is not linked.
    /// - N1: the node is not moved, and not freed before it was removed.
    /// - N3: a ticket in `waiter` lives as long.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, node: &Node<M>, waiter: Waiter) {
        debug_assert!(!node.is_linked(), "a node is in one list at most");
        let (state, way) = waiter.into_parts();
        // SAFETY: the node is its owner's, who calls.
        unsafe { node.link().write(Link { next: ptr::null(), prev: self.tail, way }) };
        node.state.store(state, Ordering::Relaxed);
        let this = ptr::from_ref(node);
        match NonNull::new(self.tail.cast_mut()) {
            None => self.head = this,
            // SAFETY: N1, N2.
            Some(tail) => unsafe { (*tail.as_ref().link()).next = this },
        }
        self.tail = this;
        self.len += 1;
    }

    /// Takes a node out of the list, and gives back how it would have been woken; its state is the caller's to set.
    ///
    /// # Safety
    ///
    /// The node is in this list.
    #[inline(always)]
    unsafe fn remove(&mut self, node: &Node<M>) -> Waiter {
        // SAFETY: N2. The link is used no more.
        let Link { next, prev, way } = unsafe { node.link().read() };
        match NonNull::new(prev.cast_mut()) {
            None => self.head = next,
            // SAFETY: N1, N2.
            Some(prev) => unsafe { (*prev.as_ref().link()).next = next },
        }
        match NonNull::new(next.cast_mut()) {
            None => self.tail = prev,
            // SAFETY: N1, N2.
            Some(next) => unsafe { (*next.as_ref().link()).prev = prev },
        }
        self.len -= 1;
        // SAFETY: the state is that of `push` for as long as the node is linked.
        unsafe { Waiter::from_parts(node.state.load(Ordering::Relaxed), way) }
    }

    /// A node may have been copied, and others of the list with it: if it was in the list, the list leads to the copy from now on. With `ticket`,
    /// its ticket was copied as well.
    ///
    /// # Safety
    ///
    /// - The caller holds the lock; `node` is in this list or in none, and has not changed since the copy was made.
    /// - Whatever else of this list was copied is relinked before the lock is released.
    /// - N1, N3: the copy is not moved, and stays until it was removed; so does the ticket, which is that of `node`, or its copy.
    pub(super) unsafe fn relink(&mut self, node: &Node<M>, relocation: &Relocation, ticket: Option<NonNull<Ticket>>) {
        if !node.is_linked() {
            return;
        }
        let copy = relocation.map(node);
        // SAFETY: N2; a copy of a linked node is one.
        let link = unsafe { &mut *(*copy).link() };
        if let (ARM, Some(ticket)) = (node.state(), ticket) {
            link.way.arm.0 = ticket;
        }
        // Neighbours that lie on the same stack were copied as well.
        link.prev = relocation.map(link.prev);
        link.next = relocation.map(link.next);
        match NonNull::new(link.prev.cast_mut()) {
            None => self.head = copy,
            // SAFETY: N1, N2.
            Some(prev) => unsafe { (*prev.as_ref().link()).next = copy },
        }
        match NonNull::new(link.next.cast_mut()) {
            None => self.tail = copy,
            // SAFETY: N1, N2.
            Some(next) => unsafe { (*next.as_ref().link()).prev = copy },
        }
    }

    /// Takes a node out of the list if it is in there, for its owner, and gives back how it would have been woken.
    ///
    /// # Safety
    ///
    /// The caller holds the lock, and the node is in this list or in none.
    pub(super) unsafe fn unlink(&mut self, node: &Node<M>) -> Option<Waiter> {
        if !node.is_linked() {
            return None;
        }
        // SAFETY: it is linked, in this list by the caller's promise.
        let waiter = unsafe { self.remove(node) };
        node.state.store(IDLE, Ordering::Relaxed);
        Some(waiter)
    }
}

impl<M> Default for Waiters<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for Waiters<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.records().map(Record::id)).finish()
    }
}

/// A waiter whose wait the holder ends, by [`serve`](Self::serve) or [`close`](Self::close), with the place still locked.
#[must_use = "a waiter that was claimed is woken by the claimer or by nobody"]
pub struct Claimed<'w, M> {
    node: NonNull<Node<M>>,
    woken: Option<Woken>,
    _list: PhantomData<&'w mut Waiters<M>>,
}

impl<M> Claimed<'_, M> {
    /// Where its message lies, or is left.
    #[inline(always)]
    pub fn cell(&mut self) -> &mut Option<M> {
        // SAFETY: N4: it was claimed, so its owner does not go on before it is woken, or, if it is async code, before it has seen the
        // state that `end` stores.
        unsafe { self.node.as_ref().cell() }
    }

    /// The tasklet that waits; `None` if it is async code.
    pub fn record(&self) -> Option<&Record> {
        match &self.woken {
            Some(Woken::Parked(parked)) => Some(parked.record()),
            _ => None,
        }
    }

    /// What it waits for has happened. It is to be woken with the lock released.
    #[inline(always)]
    pub fn serve(self) -> Woken {
        self.end(SERVED)
    }

    /// What it waits for will not happen.
    pub fn close(self) -> Woken {
        match self.end(CLOSED) {
            Woken::Parked(parked) => Woken::Parked(parked.with(Wake::Closed)),
            woken => woken,
        }
    }

    #[inline(always)]
    fn end(mut self, state: u8) -> Woken {
        // Release: pairs with the acquire in `Node::state`. The node may be gone after this, if it is async code's.
        // SAFETY: N4.
        unsafe { self.node.as_ref() }.state.store(state, Ordering::Release);
        let woken = self.woken.take();
        debug_assert!(woken.is_some(), "a claim ends once");
        std::mem::forget(self);
        match woken {
            Some(woken) => woken,
            None => unreachable!("a claim has somebody to wake"),
        }
    }
}

impl<M> Drop for Claimed<'_, M> {
    fn drop(&mut self) {
        // Only if what the claimer did has panicked: as if the place was closed for this one.
        // SAFETY: N4.
        unsafe { self.node.as_ref() }.state.store(CLOSED, Ordering::Release);
        if let Some(woken) = self.woken.take() {
            woken.wake();
        }
    }
}

/// Somebody whose wait has ended and who is to be told, with no lock held.
#[must_use = "who is not woken waits for ever"]
pub enum Woken {
    /// A tasklet or a thread.
    Parked(Parked),
    /// Async code.
    Waker(Waker),
}

impl Woken {
    /// Makes it runnable. The caller goes on.
    pub fn wake(self) {
        match self {
            Woken::Parked(parked) => current::unpark(parked),
            Woken::Waker(waker) => unwind::wake_quietly(waker),
        }
    }
}

impl fmt::Debug for Woken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Woken::Parked(parked) => parked.fmt(f),
            Woken::Waker(waker) => waker.fmt(f),
        }
    }
}
