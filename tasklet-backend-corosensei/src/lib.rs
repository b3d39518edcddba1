//! Switches the stacks of tasklets with [corosensei]: the default backend.
//!
//! # Costs
//!
//! | | |
//! |---|---|
//! | resume + suspend | 2 to 3 ns where both are inlined, see below; no thread-local lookup, no system call |
//! | stack | one of ours: no mapping of its own, one page touched when idle |
//! | create, finish and reuse | no system call, no allocation |
//! | signal handlers, panic hook | untouched |
//! | floating-point control words (MXCSR, x87) | not saved: shared with whoever resumes |
//! | backtraces, debuggers, profilers | walk from a coroutine into its resumer (CFI and frame pointers) |
//! | C compiler | not needed |
//!
//! The switch keeps the processor's return predictor in step, but only for the two frames that switch. Each further frame that
//! returns after a switch, before it calls again, is mispredicted: with one function that is not inlined around `suspend` a round
//! trip measured 15 ns, with one around `resume` 5 ns. So both are `#[inline]`, and what calls them should be where it can.
//!
//! # Platforms
//!
//! | | ELF (Linux, BSD) | Darwin |
//! |---|---|---|
//! | x86-64 | yes | yes |
//! | x86 | yes | yes |
//! | AArch64 | yes | yes |
//! | Arm, RISC-V, LoongArch64, PowerPC64 | yes | |
//!
//! corosensei also knows Windows; our stacks do not yet.
//!
//! # Limits
//!
//! - A change of rounding mode or exception mask inside a coroutine stays in force after it suspends: restore it before.
//! - No CET shadow stack is switched. Where the kernel has enabled one for the process (`ARCH_SHSTK_STATUS`), the first suspend
//!   faults: start such a process with shadow stacks off.
//! - A suspended coroutine is resumed or leaked. corosensei's forced unwinding is never used.
//! - AddressSanitizer needs the feature `sanitizer`, which announces each switch to it; without the feature it takes a switch for
//!   a stack overflow. ThreadSanitizer needs the feature `tsan`, and crashes without it; a program with that feature links only
//!   under `-Zsanitizer=thread`. It knows some 8,000 threads and coroutines together, and reports races in code that sleeps on
//!   std's locks unless std is instrumented too (`-Zbuild-std`). Valgrind runs, with false reports.
//!
//! [corosensei]: https://docs.rs/corosensei

mod saved;
mod tsan;

use std::fmt;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use corosensei::stack::StackPointer;
use corosensei::{CoroutineResult, Yielder};
use tasklet_core::backend::{Backend, Entry, Moves, Resumed, StackProvision, StackSource, Swaps};
use tasklet_core::stack::{Stack, StackError};

/// The backend, a type without values.
#[derive(Debug)]
pub enum Corosensei {}

/// A coroutine on one of our stacks.
pub struct Coroutine {
    // Dropped by our `Drop` alone, and never while suspended: corosensei would unwind it there.
    inner: ManuallyDrop<Inner>,
    /// Taken once: by `into_stack`, or by `Drop`.
    stack: ManuallyDrop<Stack>,
    fiber: tsan::Fiber,
}

type Inner = corosensei::Coroutine<(), (), (), Bounds>;

/// Suspends the coroutine whose entry function it was given to.
// Transparent, so that a reference to corosensei's yielder is a reference to this.
#[repr(transparent)]
pub struct Suspender(Yielder<(), ()>);

/// One of our stacks as corosensei sees it: two addresses. The `Stack` itself lives as long, in `Coroutine`.
struct Bounds {
    base: StackPointer,
    limit: StackPointer,
}

/// No page is smaller, and the guard below a stack is at least one page.
const SMALLEST_GUARD: usize = 4096;

impl Bounds {
    fn of(stack: &Stack) -> Bounds {
        // The kernel maps nothing at address 0, so a guard starts above it.
        let address = |at: usize| NonZeroUsize::new(at).expect("a stack does not begin at address zero");
        // corosensei counts the guard in. It reads the limit only for sanitizers and for trap handlers, of which we install none.
        Bounds { base: address(stack.top().addr()), limit: address(stack.limit().addr() - SMALLEST_GUARD) }
    }
}

// SAFETY: a `Stack` owns its memory until it is dropped, which is after the coroutine (`Coroutine`), is of at least `StackSize::MIN` (two pages,
// corosensei asks for one), and ends in a guard of at least one page directly below `limit`.
unsafe impl corosensei::stack::Stack for Bounds {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

// SAFETY: obligation by obligation.
// B1: `with_stack_unchecked` writes the closure to the stack and runs nothing.
// B2, B3: corosensei's resume and suspend; it saves or declares clobbered every register the compiler may keep values in.
// B4: `StackSource::Ours` brings the size and the guard; corosensei aligns to its STACK_ALIGNMENT, the platform's.
// B5: the yielder is a link to whoever resumed *its* coroutine, and the coroutine keeps the stack pointer it was left at, which
//     may lie on the stack of an inner one.
// B6: nothing is done to a panic below the entry function; if that unwinds, corosensei panics while panicking, which aborts.
// B7: corosensei keeps no list of coroutines and touches a stack only to resume it.
// B8: `Drop for Coroutine`. B9: creation cannot fail, given a stack.
unsafe impl Backend for Corosensei {
    type Coroutine = Coroutine;
    type Suspender = Suspender;

    const NAME: &'static str = "corosensei";
    const STACKS: StackProvision = StackProvision::Ours;
    // B10: neither keeps anything in thread-locals, nor a thread's address on the stack.
    const MOVES: Moves = Moves::Yes;

    // B11: what a suspended coroutine needs and is not on its stack is its stack pointer (`saved`); the parent link at the top is written by each
    // resume.
    fn swaps() -> Swaps {
        if cfg!(feature = "tsan") {
            return Swaps::No(
                "ThreadSanitizer keeps a list of calls for each stack, not for each that takes its turn on it",
            );
        }
        match saved::place() {
            Some(_) => Swaps::Yes,
            None => Swaps::No("this build of corosensei does not show where it keeps a coroutine's stack pointer"),
        }
    }

    #[inline]
    fn stack_pointer(coroutine: &Coroutine) -> Option<NonNull<u8>> {
        if !coroutine.is_suspended() {
            return None;
        }
        saved::place().and_then(|place| place.read(&coroutine.inner))
    }

    #[inline]
    unsafe fn set_stack_pointer(coroutine: &mut Coroutine, to: NonNull<u8>) {
        if let Some(place) = saved::place() {
            // SAFETY: the caller's promise.
            unsafe { place.write(&mut coroutine.inner, to) }
        }
    }

    #[inline]
    unsafe fn create(stack: StackSource, entry: Entry<Self>, argument: *mut ()) -> Result<Coroutine, StackError> {
        let StackSource::Ours(stack) = stack else {
            return Err(StackError::from_backend("the corosensei backend has no stacks of its own to run on"));
        };
        let run = move |yielder: &Yielder<(), ()>, ()| {
            // SAFETY: `Suspender` is a transparent wrapper of `Yielder`, and the yielder outlives the entry function.
            let suspender = unsafe { &*std::ptr::from_ref(yielder).cast::<Suspender>() };
            // SAFETY: this runs once, at the first resume; the caller of `create` promised that the call is then allowed.
            unsafe { entry(argument, suspender) }
        };
        // SAFETY: `run` borrows nothing. What `argument` points to is the caller's business, as the contract says.
        let inner = unsafe { Inner::with_stack_unchecked(Bounds::of(&stack), run) };
        Ok(Coroutine { inner: ManuallyDrop::new(inner), stack: ManuallyDrop::new(stack), fiber: tsan::Fiber::new() })
    }

    #[inline]
    unsafe fn resume(coroutine: &mut Coroutine) -> Resumed {
        let Coroutine { inner, fiber, .. } = coroutine;
        match fiber.enter(|| inner.resume(())) {
            CoroutineResult::Yield(()) => Resumed::Suspended,
            CoroutineResult::Return(()) => Resumed::Finished,
        }
    }

    #[inline]
    unsafe fn suspend(suspender: &Suspender) {
        suspender.0.suspend(());
    }

    #[inline]
    fn into_stack(coroutine: Coroutine) -> Option<Stack> {
        if coroutine.is_suspended() {
            return None;
        }
        let mut coroutine = ManuallyDrop::new(coroutine);
        // SAFETY: `coroutine` is never dropped, so its fiber is taken once.
        let _fiber = unsafe { std::ptr::read(&raw const coroutine.fiber) };
        // SAFETY: as above for `inner` and `stack`.
        Some(unsafe { coroutine.take_stack() })
    }
}

impl Coroutine {
    fn is_suspended(&self) -> bool {
        self.inner.started() && !self.inner.done()
    }

    /// Takes the stack, without unwinding what is on it.
    ///
    /// # Safety
    ///
    /// `inner` and `stack` are not used again, nor dropped.
    unsafe fn take_stack(&mut self) -> Stack {
        // SAFETY: the caller's promise. What is on the stack of one that was never resumed is our closure, which has nothing to drop; no frame is cut
        // off, because whoever takes the stack of a suspended one leaks it.
        unsafe { self.inner.force_reset() };
        // SAFETY: as above.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        // SAFETY: as above.
        unsafe { ManuallyDrop::take(&mut self.stack) }
    }
}

/// Frees the stack of a coroutine that never ran or has finished; leaks a suspended one, and has it counted (B8).
impl Drop for Coroutine {
    fn drop(&mut self) {
        let is_suspended = self.is_suspended();
        // SAFETY: called here, where nobody uses either afterwards, and in `into_stack`, which never drops the coroutine.
        let stack = unsafe { self.take_stack() };
        if is_suspended {
            stack.leak();
        }
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine").field("suspended", &self.is_suspended()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Suspender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspender").finish_non_exhaustive()
    }
}
