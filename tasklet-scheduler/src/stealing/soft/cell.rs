//! Where a soft tasklet lies: one allocation, with the future and later its result at the end of it.
//!
//! # Invariants
//!
//! - **SC1** The slot holds what `stage` says. Whoever owns the future, as `state` says, or the result, changes both.
//! - **SC2** Strong counts are of those who may bring about a poll: wakers, the queue, the poll itself. With the last of them goes the future,
//!   and the share of the runtime. All of them together have one of the two weak counts, the join handle has the other. With the last of
//!   these goes the memory.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll};

use tasklet_core::id::TaskletId;
use tasklet_core::tasklet::{JoinHandle, Promised, Vtable};
use tasklet_core::unwind::{Payload, drop_quietly};

use super::super::cancel::try_mask;
use super::super::shared::Shared;
use super::registry::Links;
use super::state::State;
use crate::primitive::Memory;
use crate::primitive::atomic::{AtomicU8, AtomicU32, Ordering, fence};

/// Nothing is in the slot.
const EMPTY: u8 = 0;
/// The future.
const FUTURE: u8 = 1;
/// The result, which is the poll's.
const BROUGHT: u8 = 2;
/// The result, which is the join handle's when the tasklet has finished.
const RESULT: u8 = 3;

/// A soft tasklet, whatever its future. The order is that of use: a wake reads the second half.
#[repr(C)]
pub(in crate::stealing) struct Header {
    pub(super) promised: Promised,
    strong: AtomicU32,
    pub(super) state: State,
    stage: AtomicU8,
    weak: AtomicU8,
    /// There as long as there are strong counts.
    shared: ManuallyDrop<Arc<Shared>>,
    /// The registry's.
    pub(super) links: UnsafeCell<Links>,
    memory: Memory,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Header>() <= 80, "a header is what a million of them cost");

#[repr(C)]
struct Cell<F: Future> {
    header: Header,
    slot: UnsafeCell<Slot<F>>,
}

union Slot<F: Future> {
    /// Pinned: the cell does not move.
    future: ManuallyDrop<F>,
    result: ManuallyDrop<Result<F::Output, Payload>>,
}

/// A strong count of a soft tasklet.
pub(in crate::stealing) struct Soft(NonNull<Header>);

// SAFETY: what several threads reach of a header is atomic, or behind the registry's locks, or has one owner (SC1). Futures and results are
// `Send`, which `make` asks for.
unsafe impl Send for Soft {}
// SAFETY: as above.
unsafe impl Sync for Soft {}

/// Drops a value where it lies.
struct InPlace<T>(*mut T);

impl<T> Drop for InPlace<T> {
    fn drop(&mut self) {
        // SAFETY: whoever makes one owns the value, and does not use it any more.
        unsafe { self.0.drop_in_place() }
    }
}

impl<F> Cell<F>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    const VTABLE: Vtable = Vtable {
        poll: Self::poll,
        clear: Self::clear,
        free: Self::free,
        take: Self::take,
        killed: Header::killed,
        release: Header::release,
    };

    fn slot(this: NonNull<Promised>) -> *mut Slot<F> {
        // SAFETY: this table is of cells of this type, whose beginning `this` points to; no reference to the slot is made.
        unsafe { UnsafeCell::raw_get(&raw const (*this.cast::<Cell<F>>().as_ptr()).slot) }
    }

    unsafe fn poll(this: NonNull<Promised>, context: &mut Context<'_>) -> bool {
        let slot = Self::slot(this);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the caller owns the future, which is there (SC1), and does not move before it is dropped.
            let future = unsafe { Pin::new_unchecked(&mut *(*slot).future) };
            future.poll(context)
        }));
        let result = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => {
                // SAFETY: a cell begins with its header.
                let header = unsafe { this.cast::<Header>().as_ref() };
                let promised = &header.promised;
                header.shared.on_panic(promised.id(), promised.name(), promised.site(), &payload);
                Err(payload)
            }
        };
        // SAFETY: as above; its place is written next.
        drop_quietly(InPlace(unsafe { &raw mut (*slot).future }.cast::<F>()));
        // SAFETY: the slot holds nothing.
        unsafe { slot.write(Slot { result: ManuallyDrop::new(result) }) };
        // SAFETY: a cell begins with its header.
        unsafe { Header::at(this.cast()) }.stage.store(BROUGHT, Ordering::Relaxed);
        true
    }

    unsafe fn clear(this: NonNull<Promised>) {
        let slot = Self::slot(this);
        // SAFETY: a cell begins with its header.
        let stage = unsafe { Header::at(this.cast()) }.stage.swap(EMPTY, Ordering::Relaxed);
        match stage {
            EMPTY => {}
            // SAFETY: SC1, and the caller is the owner.
            FUTURE => drop_quietly(InPlace(unsafe { &raw mut (*slot).future }.cast::<F>())),
            // SAFETY: as above.
            _ => drop_quietly(unsafe { ManuallyDrop::take(&mut (*slot).result) }),
        }
    }

    unsafe fn take(this: NonNull<Promised>, to: NonNull<()>) {
        // SAFETY: a cell begins with its header.
        let header = unsafe { Header::at(this.cast()) };
        // Relaxed: `RESULT` was stored before the tasklet has finished, which the handle has seen. Anything else is not the handle's.
        let result = (header.stage.load(Ordering::Relaxed) == RESULT).then(|| {
            header.stage.store(EMPTY, Ordering::Relaxed);
            // SAFETY: SC1, and it is the handle's.
            unsafe { ManuallyDrop::take(&mut (*Self::slot(this)).result) }
        });
        // SAFETY: the handle's promise.
        unsafe { to.cast::<Option<Result<F::Output, Payload>>>().write(result) }
    }

    unsafe fn free(this: NonNull<Promised>) {
        // SAFETY: the last count of any kind is gone, and the memory is there.
        if unsafe { Header::at(this.cast()) }.memory.end() {
            // SAFETY: as above; it comes from `Box::leak` in `make`.
            drop(unsafe { Box::from_raw(this.cast::<Cell<F>>().as_ptr()) });
        }
    }
}

/// A soft tasklet that is in no queue yet, but counts as being in one, and in no registry.
#[inline]
pub(super) fn make<F>(
    shared: &Arc<Shared>,
    id: TaskletId,
    site: &'static Location<'static>,
    name: Option<String>,
    future: F,
) -> (Soft, JoinHandle<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let header = Header {
        promised: Promised::new(id, site, name, const { &Cell::<F>::VTABLE }),
        strong: AtomicU32::new(1),
        state: State::queued(),
        stage: AtomicU8::new(FUTURE),
        weak: AtomicU8::new(2),
        shared: ManuallyDrop::new(shared.clone()),
        links: UnsafeCell::default(),
        memory: Memory::default(),
    };
    let slot = UnsafeCell::new(Slot { future: ManuallyDrop::new(future) });
    let cell = NonNull::from(Box::leak(Box::new(Cell { header, slot })));
    // SAFETY: one handle, which has one of the two weak counts.
    let handle = unsafe { Promised::handle(cell.cast()) };
    (Soft(cell.cast()), handle)
}

impl Header {
    /// # Safety
    ///
    /// The memory is there, and stays for as long as the reference is used.
    #[inline(always)]
    pub(super) unsafe fn at<'a>(this: NonNull<Header>) -> &'a Header {
        // SAFETY: the caller's promise.
        let header = unsafe { this.as_ref() };
        header.memory.touch();
        header
    }

    /// The runtime. The caller has, or is, a strong count.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn promised_at(this: NonNull<Header>) -> NonNull<Promised> {
        this.cast()
    }

    unsafe fn killed(this: NonNull<Promised>) {
        // Whoever polls it next drops the future; if nobody can wake it any more, whoever let go of it does.
        // SAFETY: the handle keeps the memory.
        if let Some(soft) = unsafe { Soft::upgrade(this.cast()) } {
            soft.wake();
        }
    }

    /// One of the two weak counts goes.
    unsafe fn release(this: NonNull<Promised>) {
        // SAFETY: the caller's count keeps it. Release: pairs with the acquire below; what one has done is seen by the other, who frees it.
        if unsafe { Header::at(this.cast()) }.weak.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: SC2, nobody has a count any more; whoever had the strong ones, or took the result, has emptied the slot.
            unsafe { (Header::at(this.cast()).promised.vtable().free)(this) };
        }
    }
}

impl Soft {
    pub(super) fn header(&self) -> NonNull<Header> {
        self.0
    }

    /// A count more, if there is one left.
    ///
    /// # Safety
    ///
    /// The memory is there.
    pub(super) unsafe fn upgrade(header: NonNull<Header>) -> Option<Soft> {
        let more = |count| (count != 0).then_some(count + 1);
        // SAFETY: the caller's promise.
        let strong = unsafe { &Header::at(header).strong };
        strong.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then_some(Soft(header))
    }

    /// As one word, for queues and wakers.
    #[inline]
    pub(in crate::stealing) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// Out of a queue.
    ///
    /// # Safety
    ///
    /// The pointer is from [`into_raw`](Self::into_raw), and is used once.
    #[inline]
    pub(in crate::stealing) unsafe fn from_raw(raw: NonNull<Header>) -> Soft {
        Soft(raw)
    }

    /// Polls it. Returns whether the result is there, in the place of the future.
    ///
    /// # Safety
    ///
    /// The future is there, and the caller's.
    pub(super) unsafe fn poll(&self, context: &mut Context<'_>) -> bool {
        // SAFETY: the caller's promise.
        unsafe { (self.promised.vtable().poll)(Header::promised_at(self.0), context) }
    }

    /// The result is there: it goes to the join handle.
    ///
    /// # Safety
    ///
    /// It is the caller's, who calls once.
    pub(super) unsafe fn finish(&self) {
        if self.promised.keep() {
            // Relaxed: the end of the tasklet publishes it.
            self.stage.store(RESULT, Ordering::Relaxed);
            // SAFETY: it is the caller's if the handle is gone.
            self.promised.end(|| unsafe { self.clear() });
        } else {
            // SAFETY: a kill has ended it, and leaves the result to the caller.
            unsafe { self.clear() };
        }
    }

    /// Drops the future and, unless that has happened, ends the tasklet as a kill does.
    ///
    /// # Safety
    ///
    /// The future is there, and the caller's, who calls once.
    pub(super) unsafe fn give_up(&self) {
        // A kill of whoever drops the future, a helper of a runtime that ends or the owner of a waker, is not for what its destructors do.
        let _mask = try_mask();
        // SAFETY: the caller's promise.
        unsafe { self.clear() };
        if self.promised.keep() {
            self.promised.end(|| {});
        }
    }

    /// # Safety
    ///
    /// What is in the slot is the caller's.
    unsafe fn clear(&self) {
        // SAFETY: the caller's promise.
        unsafe { (self.promised.vtable().clear)(Header::promised_at(self.0)) }
    }

    /// The last strong count is gone.
    #[cold]
    fn abandon(&self) {
        // Nobody can wake it any more. Relaxed: whoever let go of it last has synchronised with the others.
        if self.stage.load(Ordering::Relaxed) == FUTURE {
            self.shared.softs.remove(self);
            // SAFETY: nobody polls or discards it, since that takes a strong count.
            unsafe { self.give_up() };
        }
    }
}

impl Deref for Soft {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: SC2.
        unsafe { Header::at(self.0) }
    }
}

impl Clone for Soft {
    #[inline]
    fn clone(&self) -> Soft {
        // Relaxed: as for an `Arc`, a count is made from a count.
        if self.strong.fetch_add(1, Ordering::Relaxed) > u32::MAX / 2 {
            // Wakers are leaked without end.
            std::process::abort();
        }
        Soft(self.0)
    }
}

impl Drop for Soft {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the acquire below, so that whoever is last has seen what all others did.
        if self.strong.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        self.abandon();
        // SAFETY: SC2: the strong counts' share, which nobody uses any more, and their weak count, which keeps the memory until here. Read and
        // not taken, since others may refer to the header, though not to this.
        unsafe {
            drop(ptr::read(&*self.shared));
            Header::release(Header::promised_at(self.0));
        }
    }
}

#[cfg(all(test, loom))]
mod models;
