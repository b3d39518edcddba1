//! Switches the stacks of tasklets with the crate [generator], which brings its own stacks.
//!
//! # Costs
//!
//! | | |
//! |---|---|
//! | resume + suspend | 10 ns where all is inlined, 20 to 40 ns elsewhere (its jump puts the return predictor out of step); one thread-local lookup each |
//! | stack | the crate's own: two mappings each (the stack and its guard), two pages touched when idle |
//! | create | 15 us: `mmap`, `mprotect`, two page faults, two small allocations, and a trial `mmap` and `munmap` of ours |
//! | finish and reuse | no reuse: a finished coroutine's stack is unmapped |
//! | signal handlers | the crate's SIGSEGV and SIGBUS handlers are taken out again at once, see below |
//! | panic hook | wrapped once, at first use, to hide the crate's own control-flow panics; all others pass through |
//! | floating-point control words (MXCSR, x87) | not saved: shared with whoever resumes |
//! | backtraces, debuggers, profilers | end at the coroutine's root: there is no CFI across the switch |
//! | C compiler | only on Windows |
//!
//! # Platforms
//!
//! Linux on x86-64, x86, AArch64, Arm, RISC-V 64, LoongArch64, PowerPC64 (little endian) and s390x; macOS on x86-64 and AArch64.
//! The crate also knows Windows; this one does not yet.
//!
//! # Limits
//!
//! - **A ceiling near 32,000 coroutines**: each stack takes two of the mappings that `vm.max_map_count` (65,530 by default) allows a
//!   process. `create` reports it as an error and leaves some mappings to the rest of the process; the crate itself would panic.
//!   So are address-space limits (RLIMIT_AS) and the *hard* limit of RLIMIT_STACK, which the crate applies to its stacks.
//! - A coroutine that used its stack to the very last word is leaked when it is dropped: the crate would panic there.
//! - No CET shadow stack is switched. Where the kernel has enabled one for the process (`ARCH_SHSTK_STATUS`), the first switch
//!   faults: start such a process with shadow stacks off.
//! - Sanitizers cannot follow the switch: use the corosensei backend (AddressSanitizer) or the thread-backed reference backend of
//!   `tasklet-testkit` (ThreadSanitizer) there.
//! - The crate's overflow handler prints, allocates and takes a lock inside a signal handler, then drops the overflowed stack
//!   without running destructors. It installs itself once per process, at the first use of any generator. Our first `create`
//!   provokes that and puts the previous handlers back, so an overflow ends the process as it does on a thread, and handlers of the
//!   program stay as they were. Generators that the program makes of its own lose that "recovery"; where it used one before our
//!   first `create`, the handlers stay, and an overflow in a coroutine aborts.
//! - Generators made inside a coroutine work, and suspending from inside of them suspends them with it. The exception is a
//!   generator with local data set, another scheduler's coroutine: suspending across it is not possible.
//!
//! [generator]: https://docs.rs/generator

mod limits;
mod setup;

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use tasklet_core::backend::{Backend, Entry, Resumed, StackProvision, StackSource, Swaps};
use tasklet_core::stack::{Stack, StackError};

use crate::limits::Reservation;

/// The backend, a type without values.
#[derive(Debug)]
pub enum Generator {}

/// A coroutine on a stack of the generator crate.
pub struct Coroutine {
    // Both are dropped by our `Drop` alone, and never while suspended: the crate would cancel it there.
    inner: ManuallyDrop<generator::Generator<'static, (), ()>>,
    room: ManuallyDrop<Reservation>,
    // The crate's local data of `inner`, made by `Box::into_raw`: it stays behind when the coroutine is leaked.
    suspender: *mut Suspender,
    state: State,
}

/// Suspends the coroutine whose entry function it was given to.
#[derive(Debug)]
pub struct Suspender {
    // Bounds of the coroutine's stack, a little too narrow: set before the entry function runs.
    top: Cell<usize>,
    size: usize,
    // Set by an inner coroutine's `suspend` to the outer one that it wants suspended. See `Backend::resume`.
    on_behalf_of: Cell<*const Suspender>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Suspended,
    Finished,
}

/// What a coroutine's root calls, in a form that the crate takes: it asks for `Send`.
struct Start {
    entry: Entry<Generator>,
    argument: *mut (),
    suspender: *const Suspender,
}

// SAFETY: the crate asks for `Send` because its generators are `Send`. Our `Coroutine` is not (it holds a raw pointer), and
// whoever moves it to another thread all the same answers for `argument`; `suspender` is used by the coroutine alone.
unsafe impl Send for Start {}

// SAFETY: obligation by obligation.
// B1: `new_opt` moves the closure to the stack and runs nothing.
// B2, B3: the crate's resume and co_yield_with, which save the registers that the calling convention preserves; `resume` hands
//     on the suspensions that inner coroutines ask for on behalf of outer ones.
// B4: one page more than asked for makes up for what the crate keeps at the top; below is its guard page. It aligns to 16 bytes.
// B5: co_yield_with suspends the innermost generator that has local data, with all generators above it. Ours all have, so an
//     inner coroutine that wants an outer one suspended suspends itself, and its `resume`, one stack further out, goes on.
// B6: panics below the entry function are not looked at; `resume` aborts on one that left it.
// B7: the crate touches a suspended stack only to resume it, and `Drop` never reaches a suspended one.
// B8: `Drop for Coroutine`. B9: `limits` refuses what the crate would panic on.
unsafe impl Backend for Generator {
    type Coroutine = Coroutine;
    type Suspender = Suspender;

    const NAME: &'static str = "generator";
    const STACKS: StackProvision = StackProvision::Backend;

    fn swaps() -> Swaps {
        Swaps::No("the generator crate brings its own stacks and does not tell how much of one is in use")
    }

    unsafe fn create(stack: StackSource, entry: Entry<Self>, argument: *mut ()) -> Result<Coroutine, StackError> {
        let StackSource::Backend(size) = stack else {
            return Err(StackError::from_backend(
                "the generator backend runs on stacks of its own, not on a given one",
            ));
        };
        setup::once()?;
        let room = Reservation::new(size)?;
        let suspender = Suspender { top: Cell::new(0), size: size.bytes(), on_behalf_of: Cell::new(ptr::null()) };
        let suspender = Box::into_raw(Box::new(suspender));
        let start = Start { entry, argument, suspender };
        let made =
            panic::catch_unwind(AssertUnwindSafe(|| generator::Gn::<()>::new_opt(room.words(), move || start.run())));
        let Ok(mut inner) = made else {
            // SAFETY: made by `Box::into_raw` above, and no generator got hold of it.
            drop(unsafe { Box::from_raw(suspender) });
            return Err(room.lost_race());
        };
        inner.set_local_data(suspender.cast());
        Ok(Coroutine { inner: ManuallyDrop::new(inner), room: ManuallyDrop::new(room), suspender, state: State::Fresh })
    }

    #[inline]
    unsafe fn resume(coroutine: &mut Coroutine) -> Resumed {
        loop {
            coroutine.inner.resume();
            if coroutine.inner.is_done() {
                if coroutine.inner.get_panic_data().is_some() {
                    left_by_unwinding();
                }
                coroutine.state = State::Finished;
                return Resumed::Finished;
            }
            coroutine.state = State::Suspended;
            // SAFETY: the box lives as long as `coroutine`, and only its coroutine, which is suspended, writes to it.
            let outer = unsafe { &(*coroutine.suspender).on_behalf_of }.replace(ptr::null());
            if outer.is_null() {
                return Resumed::Suspended;
            }
            // SAFETY: the inner coroutine was asked to suspend this outer one, which therefore runs, and below us: whoever resumed
            // the inner one did so on the outer one's stack or further in. The caller answers for the thread not panicking.
            unsafe { Self::suspend(&*outer) };
        }
    }

    #[inline]
    unsafe fn suspend(suspender: &Suspender) {
        if !suspender.is_on_stack() {
            let innermost = generator::get_local_data().cast::<Suspender>().cast_const();
            if !ptr::eq(innermost, suspender) {
                // SAFETY: local data of a running coroutine; all with local data are ours (a documented limit).
                unsafe { (*innermost).on_behalf_of.set(suspender) };
            }
        }
        generator::co_yield_with(());
    }

    fn into_stack(coroutine: Coroutine) -> Option<Stack> {
        drop(coroutine);
        None
    }
}

impl Start {
    fn run(self) {
        // SAFETY: the box outlives the coroutine.
        let suspender = unsafe { &*self.suspender };
        suspender.top.set(approximate_stack_pointer());
        // SAFETY: this runs once, at the first resume; the caller of `create` promised that the call is then allowed.
        unsafe { (self.entry)(self.argument, suspender) }
    }
}

impl Suspender {
    /// Whether the caller surely runs on this coroutine's own stack: no thread-local lookup needed then.
    #[inline]
    fn is_on_stack(&self) -> bool {
        self.top.get().wrapping_sub(approximate_stack_pointer()) < self.size
    }
}

/// The address of a local. A sanitizer may keep it elsewhere; it then lies on no stack.
#[inline(always)]
fn approximate_stack_pointer() -> usize {
    let local = 0u8;
    std::hint::black_box(&raw const local).addr()
}

/// An entry function unwound, or overflowed its stack under a handler that the program itself let the crate install.
#[cold]
fn left_by_unwinding() -> ! {
    eprintln!("tasklet-backend-generator: a coroutine overflowed its stack, or a panic left its entry function");
    std::process::abort()
}

/// Frees a coroutine that never ran or has finished; leaks a suspended one (B8).
impl Drop for Coroutine {
    fn drop(&mut self) {
        let (total, used) = self.inner.stack_usage();
        if self.state == State::Suspended || used >= total {
            // The stack stays mapped, so `room` stays taken.
            return;
        }
        // SAFETY: each is dropped here and nowhere else. The generator never ran or is done, so dropping it resumes nothing.
        unsafe {
            ManuallyDrop::drop(&mut self.inner);
            ManuallyDrop::drop(&mut self.room);
        }
        // SAFETY: made by `Box::into_raw`; the generator that pointed to it is gone.
        drop(unsafe { Box::from_raw(self.suspender) });
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine").field("state", &self.state).finish_non_exhaustive()
    }
}

const _: () = assert!(size_of::<Coroutine>() <= 40);
