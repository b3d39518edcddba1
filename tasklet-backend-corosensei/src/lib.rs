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

mod tsan;

use std::fmt;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;

use corosensei::stack::StackPointer;
use corosensei::{CoroutineResult, Yielder};
use tasklet_core::backend::{Backend, Entry, Moves, Resumed, StackProvision, StackSource};
use tasklet_core::stack::{Stack, StackError};

/// The backend, a type without values.
#[derive(Debug)]
pub enum Corosensei {}

/// A coroutine on one of our stacks.
pub struct Coroutine {
    // Dropped by our `Drop` alone, and never while suspended: corosensei would unwind it there.
    inner: ManuallyDrop<corosensei::Coroutine<(), (), (), OurStack>>,
    fiber: tsan::Fiber,
}

/// Suspends the coroutine whose entry function it was given to.
// Transparent, so that a reference to corosensei's yielder is a reference to this.
#[repr(transparent)]
pub struct Suspender(Yielder<(), ()>);

/// One of our stacks as corosensei sees it.
struct OurStack(Stack);

/// No page is smaller, and the guard below a stack is at least one page.
const SMALLEST_GUARD: usize = 4096;

// SAFETY: a `Stack` owns its memory until it is dropped, is of at least `StackSize::MIN` (two pages, corosensei asks for one),
// and ends in a guard of at least one page directly below `limit`.
unsafe impl corosensei::stack::Stack for OurStack {
    #[inline]
    fn base(&self) -> StackPointer {
        let top = NonZeroUsize::new(self.0.top().addr());
        // SAFETY: `top` is the end of mapped memory, so it is not null.
        unsafe { top.unwrap_unchecked() }
    }

    // corosensei counts the guard in. It reads this only for sanitizers and for trap handlers, of which we install none.
    #[inline]
    fn limit(&self) -> StackPointer {
        let limit = NonZeroUsize::new(self.0.limit().addr() - SMALLEST_GUARD);
        // SAFETY: the kernel maps nothing at address 0, so a guard starts above it.
        unsafe { limit.unwrap_unchecked() }
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
        let inner = unsafe { corosensei::Coroutine::with_stack_unchecked(OurStack(stack), run) };
        Ok(Coroutine { inner: ManuallyDrop::new(inner), fiber: tsan::Fiber::new() })
    }

    #[inline]
    unsafe fn resume(coroutine: &mut Coroutine) -> Resumed {
        let Coroutine { inner, fiber } = coroutine;
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
        // SAFETY: as above for `inner`. It never ran or has finished, so all that can be on its stack is our closure, which has
        // nothing to drop.
        Some(unsafe { coroutine.take_stack() })
    }
}

impl Coroutine {
    fn is_suspended(&self) -> bool {
        self.inner.started() && !self.inner.done()
    }

    /// Takes the stack out, without unwinding what is on it.
    ///
    /// # Safety
    ///
    /// - `inner` is not used again, nor dropped.
    /// - Nothing on the stack needs dropping, or the stack is leaked.
    unsafe fn take_stack(&mut self) -> Stack {
        // SAFETY: the first promise.
        let mut inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        // SAFETY: the second promise: no frame that needs its destructors to run is cut off, or its memory stays as it is for ever,
        // which is what forgetting the coroutine would come to.
        unsafe { inner.force_reset() };
        inner.into_stack().0
    }
}

/// Frees the stack of a coroutine that never ran or has finished; leaks a suspended one, and has it counted (B8).
impl Drop for Coroutine {
    fn drop(&mut self) {
        if self.is_suspended() {
            // SAFETY: `inner` is taken here and nowhere else, and nobody uses it after `drop`; the stack is leaked.
            unsafe { self.take_stack() }.leak();
        } else {
            // SAFETY: dropped here and nowhere else; nobody uses `inner` after `drop`.
            unsafe { ManuallyDrop::drop(&mut self.inner) }
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
