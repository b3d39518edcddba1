//! Fibers: the stacks tasklets sit on, and the only code of the schedulers that knows the backend.
//!
//! A fiber's entry function is a loop that runs tasklets one after another. A tasklet that ends while the next one has not started
//! costs no switch and no stack: the loop goes on with it. Only a tasklet that gives way keeps its fiber. A fiber that has nothing
//! to go on with is idle and is the first to be taken when a stack is needed.
//!
//! A *swapped* fiber is a seat at a stack that several share: see `swap`.
//!
//! The stack of whoever drives a scheduler is the root: the host's, or a worker thread's. It resumes fibers in a loop until the
//! scheduler has none to run. A switch from one tasklet to another is one suspend to the root and one resume from it.
//!
//! # Invariants
//!
//! - **F1** A fiber is alive (in `fibers`) until its coroutine has finished. A fiber whose tasklet refused to die is leaked.
//! - **F2** `Local::fiber` of a started tasklet points to the fiber it sits on; nobody else's does.
//! - **F3** Coroutines are resumed from the root only, by the one call of `run_fibers` or `retire_idle` in progress.
//! - **F4** A fiber lies above the frames on its own stack, in memory set aside there, so that it costs no page of its own; if the
//!   backend brings the stack, in a box. Its coroutine is moved out before the stack or the box is given back.

mod blocks;
mod swap;
mod trim;

use std::cell::{Cell, RefCell, UnsafeCell};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use tasklet_core::backend::{Backend, Resumed, StackProvision, StackSource};
use tasklet_core::operation::SwitchToken;
use tasklet_core::stack::{StackError, StackPool, StackSize, StackStats};
use tasklet_core::tasklet::{Record, StackKind};
use tasklet_core::unwind::AbortOnUnwind;

use crate::stealing::Extras;
use crate::swapped::{SlotStats, Slots};
use swap::Swapper;
pub(crate) use trim::{Trim, Trimmed, Which};

/// What the scheduler knows of a fiber, whatever the backend.
// In this order, and the coroutine next to it: what every switch reads lies together.
#[repr(C)]
pub(crate) struct FiberHead {
    /// The tasklet that sits on this fiber.
    pub(crate) tasklet: Cell<Option<NonNull<Record>>>,
    /// The lowest usable address of the stack; for stacks of the backend's own, an estimate from the first frame.
    pub(crate) limit: Cell<usize>,
    /// Usable bytes of the stack.
    pub(crate) size: StackSize,
    /// It is a seat.
    swapped: bool,
    /// A count of the tasklet lies here: it is neither linked nor at a wait site.
    holds: Cell<bool>,
    /// What few tasklets have: tasklet-local values, a cancel token. Taken when the tasklet ends.
    pub(crate) extras: Cell<Option<Box<Extras>>>,
    /// The scheduler, an `H`; it frees its fibers or leaks them before it goes, so none runs without it. Changes only while the fiber is
    /// suspended.
    pub(crate) host: Cell<NonNull<()>>,
    /// What suspends the fiber, a `B::Suspender`; set by the entry function before anything can be suspended.
    pub(crate) suspender: Cell<Option<NonNull<()>>>,
}

impl FiberHead {
    fn new<H>(limit: usize, size: StackSize, host: &H, swapped: bool) -> FiberHead {
        FiberHead {
            tasklet: Cell::new(None),
            limit: Cell::new(limit),
            size,
            swapped,
            holds: Cell::new(false),
            extras: Cell::new(None),
            host: Cell::new(NonNull::from(host).cast()),
            suspender: Cell::new(None),
        }
    }

    /// Whether it is a seat at a slot.
    pub(crate) fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// Keeps the count of the tasklet that sits here, until it is [taken](Self::take_held).
    pub(crate) fn hold(&self, record: Arc<Record>) {
        debug_assert_eq!(self.tasklet.get(), Some(NonNull::from(&*record)), "a fiber holds its own tasklet");
        if !self.holds.replace(true) {
            std::mem::forget(record);
        }
    }

    pub(crate) fn take_held(&self) -> Option<Arc<Record>> {
        let record = self.tasklet.get().filter(|_| self.holds.replace(false))?;
        // SAFETY: the count that `hold` has kept, taken once.
        Some(unsafe { Arc::from_raw(record.as_ptr()) })
    }

    /// Whether a tasklet that needs such a stack can sit on it.
    #[inline]
    pub(crate) fn fits(&self, size: StackSize, kind: StackKind) -> bool {
        match kind {
            StackKind::Private => self.size >= size && !self.swapped,
            StackKind::Swapped => self.swapped,
        }
    }
}

#[repr(C)]
struct Fiber<B: Backend> {
    head: FiberHead,
    coroutine: UnsafeCell<Option<B::Coroutine>>,
    /// The entry function shall return.
    retire: Cell<bool>,
    /// Index in `fibers`.
    index: Cell<usize>,
    marks: trim::Marks,
}

/// A scheduler, as its fibers see it.
pub(crate) trait Host: Sized + 'static {
    /// Its engine.
    fn engine(&self) -> &dyn Engine<Self>;

    /// On the root: the fiber to resume, if any.
    fn fiber_to_run(&self) -> Option<NonNull<FiberHead>>;

    /// On a fiber that begins to run: makes the scheduler the current one, where the backend's coroutines are OS threads.
    fn enter_fiber(&self);

    /// On a fiber: runs the tasklet that was given it, and then those that can go on on it. Then it [is idle](Engine::set_idle); `false` if it
    /// shall end.
    fn run_tasklets(&self, fiber: NonNull<FiberHead>) -> bool;

    /// On the root: calls `f` while this is the thread's active scheduler.
    fn as_active(&self, f: &mut dyn FnMut());
}

/// Makes, switches and retires fibers; one implementation, over all backends.
pub(crate) trait Engine<H: Host>: Trim {
    /// Takes an idle fiber with a stack of at least `size`, or makes one. Swapped ones have the size of a slot, whatever is asked for.
    fn take_fiber(&self, host: &H, size: StackSize, kind: StackKind) -> Result<NonNull<FiberHead>, StackError>;

    /// A fiber has nothing to run. `false` if it shall end instead of waiting, because enough wait already.
    fn set_idle(&self, fiber: NonNull<FiberHead>) -> bool;

    /// Gives up a suspended fiber, for another engine of the same backend to [take in](Self::take_in).
    fn give_up(&self, fiber: NonNull<FiberHead>);

    /// Takes in a fiber that another engine has given up.
    fn take_in(&self, host: &H, fiber: NonNull<FiberHead>);

    /// Takes back a fiber that was taken and not used.
    fn give_back(&self, fiber: NonNull<FiberHead>);

    /// On the root: resumes the fibers of whichever tasklets are to run, until main is.
    fn run_fibers(&self, host: &H);

    /// On a fiber: suspends it.
    ///
    /// # Safety
    ///
    /// As [`SwitchToken`] says.
    unsafe fn suspend(&self, token: SwitchToken);

    /// The fibers on which a tasklet sits.
    fn occupied(&self) -> Vec<NonNull<FiberHead>>;

    /// Whether a tasklet sits on a fiber of a kind that has such a stack.
    fn has_occupied(&self, size: StackSize, kind: StackKind) -> bool;

    /// On the root: ends the slots of swapped tasklets at which nobody sits, and lets their stacks go back to the system.
    fn end_slots(&self, host: &H);

    /// On the root: ends all idle fibers and lets their stacks go back to the system.
    fn retire_idle(&self, host: &H);

    /// Fibers alive, and how many of them are idle.
    fn counts(&self) -> (usize, usize);

    /// What the slots hold.
    fn slot_stats(&self) -> SlotStats;

    /// Figures of the stacks; zero where the backend brings its own.
    fn stack_stats(&self) -> StackStats;

    /// Forgets the fibers that still hold a tasklet. Returns how many.
    fn leak_occupied(&self) -> usize;
}

pub(crate) struct Fibers<B: Backend, H: Host> {
    host: PhantomData<fn(&H)>,
    fibers: RefCell<Vec<NonNull<Fiber<B>>>>,
    idle: RefCell<Vec<NonNull<Fiber<B>>>>,
    swapper: Swapper<B>,
    stacks: StackPool,
    relief: trim::Relief,
    max_idle: usize,
}

impl<B: Backend, H: Host> Fibers<B, H> {
    pub(crate) fn new(stacks: StackPool, max_idle: usize, slots: Slots) -> Fibers<B, H> {
        Fibers {
            host: PhantomData,
            fibers: RefCell::default(),
            idle: RefCell::default(),
            swapper: Swapper::new(slots),
            stacks,
            relief: trim::Relief::default(),
            max_idle,
        }
    }

    /// The fiber of a head.
    fn fiber(head: NonNull<FiberHead>) -> NonNull<Fiber<B>> {
        // `Fiber` is `repr(C)` and starts with its head, and all heads of this engine are made in `make`.
        head.cast()
    }

    fn make(&self, host: &H, size: StackSize) -> Result<NonNull<Fiber<B>>, StackError> {
        let (source, place, limit) = match B::STACKS {
            StackProvision::Ours => {
                let mut stack = self.stacks.acquire(size).or_else(|error| self.retry(error, size))?;
                let place = stack.set_aside(size_of::<Fiber<B>>()).cast::<Fiber<B>>();
                let limit = stack.limit() as usize;
                (StackSource::Ours(stack), place, limit)
            }
            StackProvision::Backend => {
                (StackSource::Backend(size), Box::into_raw(Box::<Fiber<B>>::new_uninit()).cast(), 0)
            }
        };
        const { assert!(align_of::<Fiber<B>>() <= 64, "a fiber is aligned as the top of a stack is") };
        let head = FiberHead::new(limit, size, host, false);
        let coroutine = UnsafeCell::new(None);
        // SAFETY: F4: `place` is memory for a `Fiber<B>` that nobody else uses: set aside on the stack, or a box.
        unsafe {
            let (retire, index, marks) = (Cell::new(false), Cell::new(0), trim::Marks::default());
            place.write(Fiber { head, coroutine, retire, index, marks });
        }
        // A stack's memory is not at address zero, nor is a box.
        let fiber = NonNull::new(place).expect("memory has an address");
        // SAFETY: `entry` takes a `Fiber<B>` and aborts rather than unwinds; F1 keeps the fiber alive while it can be resumed.
        match unsafe { B::create(source, entry::<B, H>, fiber.as_ptr().cast()) } {
            Ok(coroutine) => {
                let mut fibers = self.fibers.borrow_mut();
                // SAFETY: made above, and nobody else knows it yet.
                let this = unsafe { fiber.as_ref() };
                // SAFETY: as above.
                unsafe { *this.coroutine.get() = Some(coroutine) };
                this.index.set(fibers.len());
                fibers.push(fiber);
                Ok(fiber)
            }
            Err(error) => {
                // On a stack of ours it is gone with the stack, and had nothing to drop.
                Self::free_box(fiber);
                Err(error)
            }
        }
    }

    /// Frees a fiber's memory, if it is not on its stack.
    fn free_box(fiber: NonNull<Fiber<B>>) {
        if B::STACKS == StackProvision::Backend {
            // SAFETY: F4, `make` has taken it from a box; callers have given up the fiber, and nothing points to it any more.
            drop(unsafe { Box::from_raw(fiber.as_ptr()) });
        }
    }

    /// Resumes one fiber and frees it if it finished. Inlined, because a return that is open at a switch is mispredicted.
    #[inline(always)]
    fn resume(&self, fiber: NonNull<Fiber<B>>) {
        // SAFETY: F1, the fiber is alive.
        let coroutine = unsafe { fiber.as_ref() }.coroutine.get();
        // SAFETY: F3, only the root resumes and it is here, so nobody else touches the coroutine.
        let Some(coroutine) = (unsafe { &mut *coroutine }) else { unreachable!("a fiber has a coroutine") };
        // SAFETY: it has not finished, else it would not be in `fibers` any more; all resumes come from the scheduler's thread.
        if unsafe { B::resume(coroutine) } == Resumed::Finished {
            self.free(fiber);
        }
    }

    /// Takes a fiber out of the list.
    fn remove(&self, fiber: NonNull<Fiber<B>>) {
        let mut fibers = self.fibers.borrow_mut();
        // SAFETY: F1, callers pass one that is in the list.
        let index = unsafe { fiber.as_ref() }.index.get();
        fibers.swap_remove(index);
        if let Some(moved) = fibers.get(index) {
            // SAFETY: F1, it is in `fibers`.
            unsafe { moved.as_ref() }.index.set(index);
        }
    }

    #[cold]
    fn free(&self, fiber: NonNull<Fiber<B>>) {
        self.remove(fiber);
        // SAFETY: F1, as above; F3, nothing is resumed meanwhile. The coroutine has finished, and nobody knows the fiber any more.
        let coroutine = unsafe { (*fiber.as_ref().coroutine.get()).take() };
        Self::free_box(fiber);
        // A stack of ours goes back to its pool here, with the fiber on it.
        let _stack = coroutine.and_then(B::into_stack);
    }
}

impl<B: Backend, H: Host> Engine<H> for Fibers<B, H> {
    #[inline]
    fn take_fiber(&self, host: &H, size: StackSize, kind: StackKind) -> Result<NonNull<FiberHead>, StackError> {
        if kind == StackKind::Swapped {
            let acquire = |size| self.stacks.acquire(size).or_else(|error| self.retry(error, size));
            return self.swapper.take(host, &acquire);
        }
        let mut idle = self.idle.borrow_mut();
        // The last one is the warmest, and nearly always large enough.
        // SAFETY: F1, idle fibers are alive.
        let fits = |fiber: &NonNull<Fiber<B>>| unsafe { fiber.as_ref() }.head.size >= size;
        if let Some(at) = idle.iter().rposition(fits) {
            return Ok(idle.swap_remove(at).cast());
        }
        drop(idle);
        self.make(host, size).map(NonNull::cast)
    }

    fn set_idle(&self, fiber: NonNull<FiberHead>) -> bool {
        // SAFETY: F1, the caller runs on it.
        if unsafe { fiber.as_ref() }.swapped {
            self.swapper.free(fiber);
            return true;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.max_idle {
            return false;
        }
        idle.push(Self::fiber(fiber));
        true
    }

    fn give_up(&self, fiber: NonNull<FiberHead>) {
        self.remove(Self::fiber(fiber));
    }

    fn take_in(&self, host: &H, fiber: NonNull<FiberHead>) {
        let fiber = Self::fiber(fiber);
        // SAFETY: F1, it was given up to be taken in here.
        let this = unsafe { fiber.as_ref() };
        this.head.host.set(NonNull::from(host).cast());
        let mut fibers = self.fibers.borrow_mut();
        this.index.set(fibers.len());
        fibers.push(fiber);
    }

    fn give_back(&self, fiber: NonNull<FiberHead>) {
        // SAFETY: F1, it was just taken.
        if unsafe { fiber.as_ref() }.swapped {
            return self.swapper.free(fiber);
        }
        self.idle.borrow_mut().push(Self::fiber(fiber));
    }

    fn run_fibers(&self, host: &H) {
        while let Some(fiber) = host.fiber_to_run() {
            self.relief.disturb();
            // SAFETY: F1, a tasklet that is to run sits on it.
            if unsafe { fiber.as_ref() }.swapped {
                self.swapper.resume(fiber);
            } else {
                self.resume(Self::fiber(fiber));
            }
        }
    }

    #[inline]
    unsafe fn suspend(&self, token: SwitchToken) {
        // SAFETY: the token is of this engine's backend, and its fiber runs; a suspender lives until the entry function returns. The
        // caller promises the rest.
        unsafe { B::suspend(token.suspender().cast::<B::Suspender>().as_ref()) }
    }

    fn occupied(&self) -> Vec<NonNull<FiberHead>> {
        let fibers = self.fibers.borrow();
        // SAFETY: F1.
        fibers
            .iter()
            .map(|fiber| fiber.cast())
            .filter(|head: &NonNull<FiberHead>| unsafe { head.as_ref() }.tasklet.get().is_some())
            .chain(self.swapper.occupied())
            .collect()
    }

    fn has_occupied(&self, size: StackSize, kind: StackKind) -> bool {
        let is_one = |head: NonNull<FiberHead>| {
            // SAFETY: F1; a seat is alive too, X4.
            let head = unsafe { head.as_ref() };
            head.tasklet.get().is_some() && head.fits(size, kind)
        };
        match kind {
            StackKind::Private => self.fibers.borrow().iter().any(|fiber| is_one(fiber.cast())),
            StackKind::Swapped => self.swapper.occupied().into_iter().any(is_one),
        }
    }

    fn retire_idle(&self, host: &H) {
        loop {
            let Some(fiber) = self.idle.borrow_mut().pop() else { break };
            // SAFETY: F1.
            unsafe { fiber.as_ref() }.retire.set(true);
            host.as_active(&mut || self.resume(fiber));
        }
        self.end_slots(host);
    }

    fn end_slots(&self, host: &H) {
        self.swapper.trim(host);
        self.stacks.trim();
    }

    fn slot_stats(&self) -> SlotStats {
        self.swapper.stats()
    }

    fn counts(&self) -> (usize, usize) {
        (self.fibers.borrow().len(), self.idle.borrow().len())
    }

    fn stack_stats(&self) -> StackStats {
        self.stacks.stats()
    }

    fn leak_occupied(&self) -> usize {
        let (mut kept, mut leaked) = (0, 0);
        self.fibers.borrow_mut().retain(|fiber| {
            // SAFETY: F1.
            let fiber = unsafe { fiber.as_ref() };
            let keep = fiber.head.tasklet.get().is_none();
            if keep {
                fiber.index.set(kept);
                kept += 1;
            } else {
                leaked += 1;
                // SAFETY: F3, nothing is resumed meanwhile. Dropping a suspended coroutine leaks its stack (B8); it is never resumed.
                drop(unsafe { (*fiber.coroutine.get()).take() });
            }
            keep
        });
        leaked + self.swapper.leak_occupied()
    }
}

/// Runs on the fiber's stack, from its first resume to its end.
///
/// # Safety
///
/// `argument` is a `Fiber<B>` that lives until this returns.
unsafe fn entry<B: Backend, H: Host>(argument: *mut (), suspender: &B::Suspender) {
    // SAFETY: the caller's promise.
    let fiber = unsafe { &*argument.cast::<Fiber<B>>() };
    let guard = AbortOnUnwind::new("a fiber's run loop");
    fiber.head.suspender.set(Some(NonNull::from(suspender).cast()));
    if fiber.head.limit.get() == 0 {
        // The backend brought the stack: its bounds are known only from here.
        let top = std::ptr::from_ref(&guard) as usize;
        fiber.head.limit.set(top.saturating_sub(fiber.head.size.bytes()));
    }
    // SAFETY: the scheduler lives while its fibers are resumed, and they are resumed by it alone.
    let host = || unsafe { fiber.head.host.get().cast::<H>().as_ref() };
    host().enter_fiber();
    while !fiber.retire.get() {
        if !host().run_tasklets(NonNull::from(&fiber.head)) {
            break;
        }
        // SAFETY: this is the fiber's own stack, and the tasklet's panics were caught at its root.
        unsafe { B::suspend(suspender) };
    }
    guard.disarm();
}
