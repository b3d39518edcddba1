//! Swapped fibers: many tasklets on a few large stacks, in turns.
//!
//! A *slot* is a large stack of its worker with one coroutine on it, whose entry function is a loop that runs tasklets, as every fiber's. A
//! swapped tasklet sits on a *seat*: its place at one slot, for as long as it has started and has not ended. The bytes of one of a slot's seats,
//! the *occupant*, lie on the slot's stack. Those of the others were copied to blocks of memory, each exactly as large as what the tasklet has on the
//! stack, when somebody else needed the slot; they are copied back, to the same addresses, before their tasklets go on.
//!
//! ```text
//!  a slot's stack                          a seat's block
//!  +--------------------+ top
//!  | the backend's root |
//!  | slot_entry         |  <- base        +--------------------+
//!  |  take_turns        |                 |  take_turns        |
//!  |   run_tasklets     |   <--------->   |   run_tasklets     |
//!  |    the tasklet ... |                 |    the tasklet ... |
//!  +--------------------+  <- sp          +--------------------+
//!  |                    |
//!  +--------------------+ limit
//! ```
//!
//! Nothing is copied as long as nobody else needs the slot: two tasklets that talk to each other and sit at different slots run as fast as on stacks of
//! their own. So a tasklet that starts gets the slot at which the fewest sit, each in turn.
//!
//! # Invariants
//!
//! - **X1** What lies between `base` and `top` is the same whenever the coroutine is suspended: it is of frames that are in the middle of one call, the
//!   same for as long as the slot lives. So what is below `base`, with the address at which it ends, is all there is of a suspended tasklet (B11).
//! - **X2** With an occupant, what lies below `base` is its. Without one, it is what `wait_for_occupant` left when it suspended the coroutine last.
//! - **X3** Copies are made on the root, so nobody runs on the slot meanwhile (Z2); what others refer to of the tasklet is known to the site where it
//!   waits (Z1), or is forbidden by what whoever made it swapped has promised.
//! - **X4** A seat lives until its tasklet has ended; a slot until it has no seats.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ptr::NonNull;

use tasklet_core::backend::{Backend, Resumed, StackSource, Swaps};
use tasklet_core::stack::{Stack, StackError, StackPages, StackSize, StackUsage};
use tasklet_core::swap::Relocation;
use tasklet_core::tasklet::Record;
use tasklet_core::unwind::AbortOnUnwind;

use super::blocks::{Block, Blocks};
use super::trim::{Look, Marks};
use super::{FiberHead, Host};
use crate::swapped::{SlotStats, Slots};

/// What a slot is filled with where a tasklet was, if misuse is to be found.
const POISON: u8 = 0xd1;

/// Takes a stack of a size.
pub(super) type Acquire<'a> = &'a dyn Fn(StackSize) -> Result<Stack, StackError>;

/// A large stack on which tasklets take turns.
struct Slot<B: Backend> {
    coroutine: UnsafeCell<Option<B::Coroutine>>,
    occupant: Cell<Option<NonNull<Seat<B>>>>,
    /// X1; zero until `slot_entry` has begun.
    base: Cell<usize>,
    /// Its lowest address.
    stack: *mut u8,
    pages: StackPages,
    marks: Marks,
    /// What is below `base` without an occupant.
    vacant: RefCell<Vacant>,
    seats: Cell<usize>,
    retire: Cell<bool>,
    host: NonNull<()>,
    suspender: Cell<Option<NonNull<()>>>,
}

#[derive(Default)]
struct Vacant {
    sp: Option<NonNull<u8>>,
    bytes: Box<[u8]>,
}

/// A swapped tasklet's place at a slot.
// Starts with the head: what schedulers know as its fiber.
#[repr(C)]
pub(super) struct Seat<B: Backend> {
    head: FiberHead,
    slot: NonNull<Slot<B>>,
    block: Cell<Option<Block>>,
    /// How far below the slot's base the tasklet was suspended when it was copied away last; zero if it never was.
    depth: Cell<u32>,
    /// Index in `seats`.
    index: Cell<u32>,
}

/// The slots of one engine, and the seats at them.
pub(super) struct Swapper<B: Backend> {
    slots: RefCell<Vec<NonNull<Slot<B>>>>,
    seats: RefCell<Vec<NonNull<Seat<B>>>>,
    blocks: Blocks,
    config: Slots,
    /// The slot that the last seat was made at.
    last: Cell<usize>,
}

impl<B: Backend> Swapper<B> {
    pub(super) fn new(config: Slots) -> Swapper<B> {
        Swapper {
            slots: RefCell::default(),
            seats: RefCell::default(),
            blocks: Blocks::new(),
            config,
            last: Cell::new(0),
        }
    }

    /// A seat for a tasklet that is about to start.
    pub(super) fn take<H: Host>(&self, host: &H, acquire: Acquire<'_>) -> Result<NonNull<FiberHead>, StackError> {
        let slot = self.choose::<H>(host, acquire)?;
        // SAFETY: X4, it is in `slots`.
        let this = unsafe { slot.as_ref() };
        this.seats.set(this.seats.get() + 1);
        let mut seats = self.seats.borrow_mut();
        let head = FiberHead::new(this.limit(), self.config.size, host, true);
        let index = u32::try_from(seats.len()).expect("fewer than four billion tasklets");
        let seat = Seat { head, slot, block: Cell::new(None), depth: Cell::new(0), index: Cell::new(index) };
        let seat = self.blocks.keep(seat);
        seats.push(seat);
        Ok(seat.cast())
    }

    /// The slot at which the fewest sit, the next after the last one of several; another one as long as there may be more.
    fn choose<H: Host>(&self, host: &H, acquire: Acquire<'_>) -> Result<NonNull<Slot<B>>, StackError> {
        let mut slots = self.slots.borrow_mut();
        let count = slots.len();
        // SAFETY: X4.
        let seats = |at: usize| unsafe { slots[at].as_ref() }.seats.get();
        let fewest = (1..=count).map(|step| (self.last.get() + step) % count).min_by_key(|at| seats(*at));
        if let Some(at) = fewest.filter(|at| count >= self.config.count || seats(*at) == 0) {
            self.last.set(at);
            return Ok(slots[at]);
        }
        match Slot::make::<H>(host, acquire, &self.config) {
            Ok(slot) => {
                self.last.set(count);
                slots.push(slot);
                Ok(slot)
            }
            // Fewer will do.
            Err(error) => fewest.map(|at| slots[at]).ok_or(error),
        }
    }

    /// On the root: resumes the tasklet of a seat.
    pub(super) fn resume(&self, head: NonNull<FiberHead>) {
        let seat = head.cast::<Seat<B>>();
        // SAFETY: X4, a tasklet that is to run sits on it.
        let slot = unsafe { seat.as_ref().slot.as_ref() };
        if slot.occupant.get() != Some(seat) {
            self.load(slot, seat);
        }
        // SAFETY: X2, the occupant's bytes are on the stack, or `slot_entry` is about to run it.
        if unsafe { slot.resume() } == Resumed::Finished {
            unreachable!("a slot ends when it is told to");
        }
    }

    /// On the root: makes a seat the occupant.
    #[inline(never)]
    fn load(&self, slot: &Slot<B>, seat: NonNull<Seat<B>>) {
        let guard = AbortOnUnwind::new("copying a swapped tasklet's stack");
        slot.begin();
        let was_occupied = self.vacate(slot);
        // SAFETY: X4.
        let this = unsafe { seat.as_ref() };
        if this.depth.get() != 0 {
            self.restore(slot, this);
        } else {
            if was_occupied {
                slot.restore_vacant();
            }
            this.head.suspender.set(slot.suspender.get());
        }
        slot.occupant.set(Some(seat));
        guard.disarm();
    }

    /// Copies the occupant away, if there is one. Another is to become the occupant, or the vacant state restored.
    fn vacate(&self, slot: &Slot<B>) -> bool {
        let Some(seat) = slot.occupant.take() else { return false };
        // SAFETY: X4: a seat is nobody's occupant any more when it is freed.
        let seat = unsafe { seat.as_ref() };
        let sp = slot.stack_pointer();
        let record = seat.head.tasklet.get().expect("an occupant has a tasklet");
        // SAFETY: F2, a tasklet that sits on a fiber is alive; it belongs to the worker whose root this is.
        let fields = unsafe { record.as_ref().local_unchecked() };
        // At the same distance from a multiple of its alignment is whatever others refer to.
        let align = fields.site_alignment().max(16);
        let low = NonNull::new(sp.as_ptr().map_addr(|at| at & !(align - 1))).expect("a stack is not at address zero");
        let bytes = slot.base.get() - low.as_ptr().addr();
        assert!(low.as_ptr().addr() >= slot.limit(), "no room below a swapped tasklet's frames to align its copy");
        let block = self.blocks.fit(seat.block.take(), bytes, align);
        // SAFETY: what is copied lies on the slot's stack, where nobody runs (X3), and goes to a block of that size. X3: what others refer to.
        fields.relocate(&unsafe { Relocation::new(low, block.data(), bytes) });
        seat.block.set(Some(block));
        // A stack is of 1 GiB at most.
        seat.depth.set((slot.base.get() - sp.as_ptr().addr()) as u32);
        if self.config.poison {
            // SAFETY: as above; it was copied.
            unsafe { low.write_bytes(POISON, bytes) };
        }
        true
    }

    /// Copies a seat's bytes back.
    fn restore(&self, slot: &Slot<B>, seat: &Seat<B>) {
        let block = seat.block.take().expect("one that was copied away has a block");
        let record: NonNull<Record> = seat.head.tasklet.get().expect("one that was copied away has a tasklet");
        // SAFETY: as in `vacate`.
        let fields = unsafe { record.as_ref().local_unchecked() };
        let below = |bytes: usize| NonNull::new(slot.stack.wrapping_add(slot.base.get() - slot.limit() - bytes));
        let below = |bytes| below(bytes).expect("a stack is not at address zero");
        let (low, sp) = (below(block.used()), below(seat.depth.get() as usize));
        // SAFETY: as in `vacate`, the other way.
        fields.relocate(&unsafe { Relocation::new(block.data(), low, block.used()) });
        seat.block.set(Some(block));
        // SAFETY: B11: what is below `base` is what it was when the tasklet was suspended with this address, by the copy; the rest by X1.
        unsafe { slot.set_stack_pointer(sp) };
    }

    /// On a slot's own stack, or before a seat was used: its tasklet has ended, and nothing of it is left.
    pub(super) fn free(&self, head: NonNull<FiberHead>) {
        let seat = head.cast::<Seat<B>>();
        // SAFETY: X4, and it is known to nobody else any more.
        let this = unsafe { self.blocks.take(seat) };
        // SAFETY: X4.
        let slot = unsafe { this.slot.as_ref() };
        if slot.occupant.get() == Some(seat) {
            slot.occupant.set(None);
        }
        slot.seats.set(slot.seats.get() - 1);
        if let Some(block) = this.block.take() {
            self.blocks.give(block);
        }
        self.remove(&this);
    }

    /// Takes a seat out of the list.
    fn remove(&self, seat: &Seat<B>) {
        let mut seats = self.seats.borrow_mut();
        let index = seat.index.get();
        seats.swap_remove(index as usize);
        if let Some(moved) = seats.get(index as usize) {
            // SAFETY: X4.
            unsafe { moved.as_ref() }.index.set(index);
        }
    }

    /// Seats on which a tasklet sits.
    pub(super) fn occupied(&self) -> Vec<NonNull<FiberHead>> {
        let heads = self.seats.borrow();
        // SAFETY: X4.
        let is_taken = |head: &NonNull<FiberHead>| unsafe { head.as_ref() }.tasklet.get().is_some();
        heads.iter().map(|seat| seat.cast()).filter(is_taken).collect()
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Looks at a slot. What is below its stack pointer is nobody's, whether or not it has an occupant (X2).
    ///
    /// # Safety
    ///
    /// As [`Look::stack`].
    pub(super) unsafe fn look(&self, at: usize, look: &mut Look<'_>) {
        // SAFETY: X4, it is in `slots`.
        let slot = unsafe { self.slots.borrow()[at].as_ref() };
        let stack_pointer = || {
            // SAFETY: F3 and the caller's promise: it is not the one that is being resumed, so nobody has its coroutine.
            unsafe { &*slot.coroutine.get() }.as_ref().and_then(B::stack_pointer)
        };
        // SAFETY: the caller's promise.
        unsafe { look.stack(slot.pages, stack_pointer, &slot.marks) };
    }

    /// How much memory a seat takes, and the slot that it is at.
    pub(super) fn stack_usage(&self, head: NonNull<FiberHead>) -> StackUsage {
        // SAFETY: X4, callers pass one that is alive.
        let seat = unsafe { head.cast::<Seat<B>>().as_ref() };
        // SAFETY: X4.
        let slot = unsafe { seat.slot.as_ref() };
        let block = seat.block.take();
        let copied = block.as_ref().map_or(0, Block::room);
        seat.block.set(block);
        slot.marks.usage(slot.pages).shared(slot.seats.get(), copied)
    }

    /// On the root: ends the slots at which nobody sits, and lets unused memory go.
    #[cold]
    pub(super) fn trim<H: Host>(&self, host: &H) {
        let unused: Vec<_> = {
            let mut slots = self.slots.borrow_mut();
            // SAFETY: X4.
            let (used, unused) = slots.iter().copied().partition(|slot| unsafe { slot.as_ref() }.seats.get() != 0);
            *slots = used;
            unused
        };
        for slot in unused {
            // SAFETY: X4: it has no seats, and is known to nobody else any more.
            let slot = unsafe { Box::from_raw(slot.as_ptr()) };
            host.as_active(&mut || slot.end());
        }
        self.blocks.trim();
    }

    /// Forgets the seats that still have a tasklet, with their copies; the stacks of occupants are leaked. Returns how many.
    pub(super) fn leak_occupied(&self) -> usize {
        let leaked = self.occupied();
        for head in &leaked {
            // SAFETY: X4.
            let seat = unsafe { head.cast::<Seat<B>>().as_ref() };
            self.remove(seat);
            // SAFETY: X4.
            let slot = unsafe { seat.slot.as_ref() };
            slot.seats.set(slot.seats.get() - 1);
            if slot.occupant.get() == Some(head.cast()) {
                slot.occupant.set(None);
                // SAFETY: F3, nothing is resumed meanwhile. Dropping a suspended coroutine leaks its stack (B8); it is never resumed.
                drop(unsafe { (*slot.coroutine.get()).take() });
            }
        }
        leaked.len()
    }

    pub(super) fn stats(&self) -> SlotStats {
        SlotStats { slots: self.slots(), tasklets: self.seats.borrow().len(), bytes: self.blocks.in_use() }
    }
}

impl<B: Backend> Slot<B> {
    fn make<H: Host>(host: &H, acquire: Acquire<'_>, config: &Slots) -> Result<NonNull<Slot<B>>, StackError> {
        if let Swaps::No(reason) = B::swaps() {
            return Err(StackError::from_backend(reason));
        }
        let stack = acquire(config.size)?;
        let slot = Slot {
            coroutine: UnsafeCell::new(None),
            occupant: Cell::new(None),
            base: Cell::new(0),
            stack: stack.limit(),
            pages: stack.pages(),
            marks: Marks::default(),
            vacant: RefCell::default(),
            seats: Cell::new(0),
            retire: Cell::new(false),
            host: NonNull::from(host).cast(),
            suspender: Cell::new(None),
        };
        let slot = NonNull::from(Box::leak(Box::new(slot)));
        // SAFETY: `slot_entry` takes a `Slot<B>` and aborts rather than unwinds; X4 keeps the slot while it can be resumed.
        match unsafe { B::create(StackSource::Ours(stack), slot_entry::<B, H>, slot.as_ptr().cast()) } {
            Ok(coroutine) => {
                // SAFETY: made above, and nobody else knows it yet.
                unsafe { *slot.as_ref().coroutine.get() = Some(coroutine) };
                Ok(slot)
            }
            Err(error) => {
                // SAFETY: as above.
                drop(unsafe { Box::from_raw(slot.as_ptr()) });
                Err(error)
            }
        }
    }

    /// On the root, the first time: lets `slot_entry` come to where it waits for a tasklet, and keeps what that looks like.
    fn begin(&self) {
        if self.base.get() != 0 {
            return;
        }
        // SAFETY: it was never resumed, so there is nothing else on the stack.
        let resumed = unsafe { self.resume() };
        debug_assert_eq!(resumed, Resumed::Suspended, "a slot waits first");
        let sp = self.stack_pointer();
        let bytes = self.base.get() - sp.as_ptr().addr();
        // SAFETY: from the stack pointer of a suspended coroutine up to a frame of it.
        let bytes = unsafe { std::slice::from_raw_parts(sp.as_ptr(), bytes) };
        *self.vacant.borrow_mut() = Vacant { sp: Some(sp), bytes: bytes.into() };
    }

    fn restore_vacant(&self) {
        let vacant = self.vacant.borrow();
        let sp = vacant.sp.expect("a slot that was occupied has begun");
        // SAFETY: back to where it was copied from; nobody runs there (X3).
        unsafe { sp.copy_from_nonoverlapping(NonNull::from(&*vacant.bytes).cast(), vacant.bytes.len()) };
        // SAFETY: as in `restore`.
        unsafe { self.set_stack_pointer(sp) };
    }

    /// On the root.
    ///
    /// # Safety
    ///
    /// X2 holds: what is on the stack is a suspended state of the coroutine.
    #[inline(always)]
    unsafe fn resume(&self) -> Resumed {
        // SAFETY: F3, only the root resumes and it is here, so nobody else touches the coroutine.
        let coroutine = unsafe { &mut *self.coroutine.get() }.as_mut().expect("a slot has a coroutine");
        // SAFETY: it has not finished, which it does in `end`, and all resumes come from the scheduler's thread. The caller's promise.
        unsafe { B::resume(coroutine) }
    }

    fn limit(&self) -> usize {
        self.stack.addr()
    }

    /// Where its coroutine was suspended.
    fn stack_pointer(&self) -> NonNull<u8> {
        // SAFETY: F3, as in `resume`.
        let coroutine = unsafe { &*self.coroutine.get() }.as_ref().expect("a slot has a coroutine");
        let sp = B::stack_pointer(coroutine).expect("a coroutine that is suspended has a stack pointer");
        let at = sp.as_ptr().addr();
        assert!(
            self.limit() <= at && at < self.base.get(),
            "a swapped tasklet was suspended on another stack than its own"
        );
        sp
    }

    /// # Safety
    ///
    /// As [`Backend::set_stack_pointer`].
    unsafe fn set_stack_pointer(&self, to: NonNull<u8>) {
        // SAFETY: F3, as in `resume`.
        let coroutine = unsafe { &mut *self.coroutine.get() }.as_mut().expect("a slot has a coroutine");
        // SAFETY: the caller's promise; a slot is made only where the backend swaps.
        unsafe { B::set_stack_pointer(coroutine, to) };
    }

    /// On the root: lets the coroutine of a slot without seats finish, and gives its stack back.
    fn end(&self) {
        // SAFETY: F3, as in `resume`.
        if unsafe { &*self.coroutine.get() }.is_none() {
            // It was leaked.
            return;
        }
        if self.base.get() != 0 {
            self.retire.set(true);
            // SAFETY: X2: without an occupant, `slot_entry` is where it waits.
            let resumed = unsafe { self.resume() };
            assert_eq!(resumed, Resumed::Finished, "a slot that is told to ends");
        }
        // SAFETY: F3, as in `resume`.
        let coroutine = unsafe { (*self.coroutine.get()).take() };
        let _stack = coroutine.and_then(B::into_stack);
    }
}

/// Runs on a slot's stack, from its first resume to its end.
///
/// # Safety
///
/// `argument` is a `Slot<B>` that lives until this returns.
unsafe fn slot_entry<B: Backend, H: Host>(argument: *mut (), suspender: &B::Suspender) {
    // SAFETY: the caller's promise.
    let slot = unsafe { &*argument.cast::<Slot<B>>() };
    slot.suspender.set(Some(NonNull::from(suspender).cast()));
    // X1: an address in this frame, which stays as it is while the one call lasts in which everything happens.
    let base = Base(0);
    slot.base.set(std::ptr::from_ref(std::hint::black_box(&base)).addr());
    take_turns::<B, H>(slot, suspender);
    std::hint::black_box(&base);
}

/// Aligned as copies are.
#[repr(align(16))]
struct Base(#[expect(dead_code, reason = "only its address is of use")] u8);

/// Runs occupants, each with those that follow it on its seat, until the slot ends. Not inlined: what it knows of them is below `base`. Its frame is copied
/// with each, so there is little in it: what would unwind out of it aborts by its calling convention, without a guard.
#[inline(never)]
extern "C" fn take_turns<B: Backend, H: Host>(slot: &Slot<B>, suspender: &B::Suspender) {
    while wait_for_occupant(slot, suspender) {
        // SAFETY: the scheduler lives while its fibers are resumed, and they are resumed by it alone.
        let host = unsafe { slot.host.cast::<H>().as_ref() };
        let head: NonNull<FiberHead> = slot.occupant.get().expect("a slot is resumed for its occupant").cast();
        let stays = host.run_tasklets(head);
        debug_assert!(stays, "a slot stays");
    }
}

/// Returns whether there is one; else the slot ends. Not inlined: a function that suspends has many registers to save.
#[inline(never)]
fn wait_for_occupant<B: Backend>(slot: &Slot<B>, suspender: &B::Suspender) -> bool {
    // SAFETY: this is the slot's own stack, and the tasklet's panics were caught at its root.
    unsafe { B::suspend(suspender) };
    !slot.retire.get()
}
