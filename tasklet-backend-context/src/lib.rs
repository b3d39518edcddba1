//! Switches the stacks of tasklets with Boost.Context, through the crate [context].
//!
//! # Costs
//!
//! | | |
//! |---|---|
//! | resume + suspend | 11 ns where both are inlined, up to 20 ns elsewhere (its jump puts the return predictor out of step); no thread-local lookup, no system call |
//! | stack | one of ours: no mapping of its own, one page touched when idle |
//! | create, finish and reuse | no system call, no allocation |
//! | signal handlers, panic hook | untouched |
//! | floating-point control words (MXCSR, x87) | saved and restored at every switch (x86, x86-64): a coroutine keeps its own |
//! | backtraces, debuggers, profilers | end at the coroutine's root: there is no CFI across the switch |
//! | C compiler | needed at build time, for the assembly |
//!
//! # Platforms
//!
//! | | ELF (Linux, BSD) | Mach-O (Darwin) |
//! |---|---|---|
//! | x86-64, AArch64 | yes | yes |
//! | x86 | yes | yes |
//! | Arm | yes | yes |
//! | MIPS32 (o32), PowerPC32, PowerPC64 | yes | PowerPC |
//!
//! That is the release on the registry, 3.0.0. RISC-V, LoongArch64 and s390x, which newer Boost has, are not in it. The crate
//! also knows Windows; our stacks do not yet.
//!
//! # Limits
//!
//! - The crate is frozen: 3.0.0 is its last release.
//! - No CET shadow stack is switched: the assembly has the code, but the crate never compiles it. Where the kernel has enabled
//!   shadow stacks for the process (`ARCH_SHSTK_STATUS`), the first switch faults: start such a process with shadow stacks off.
//! - Sanitizers cannot follow the switch: use the corosensei backend (AddressSanitizer) or the thread-backed reference backend of
//!   `tasklet-testkit` (ThreadSanitizer) there.
//!
//! [context]: https://docs.rs/context

use std::cell::Cell;
use std::fmt;
use std::mem::{ManuallyDrop, transmute_copy};
use std::ptr::{self, NonNull};

use context::{Context, Transfer};
use tasklet_core::backend::{Backend, Entry, Moves, Resumed, StackProvision, StackSource, Swaps};
use tasklet_core::stack::{Stack, StackError};

/// The backend, a type without values.
#[derive(Debug)]
pub enum BoostContext {}

/// A coroutine on one of our stacks.
#[derive(Debug)]
pub struct Coroutine {
    // Where to go on: `Some` while the coroutine can be resumed, `None` while it runs and after it finished.
    context: Option<Context>,
    state: State,
    start: Start,
    // Dropped by our `Drop` alone, and never while suspended.
    stack: ManuallyDrop<Stack>,
}

/// Suspends the coroutine whose entry function it was given to.
pub struct Suspender {
    // Where the last resume came from: `Some` while the coroutine runs, `None` while it is suspended.
    resumer: Cell<Option<Context>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Suspended,
    Finished,
}

/// What the first resume hands to [`root`].
#[derive(Clone, Copy)]
struct Start {
    entry: Entry<BoostContext>,
    argument: *mut (),
}

const _: () = assert!(size_of::<Context>() == size_of::<NonNull<u8>>(), "a context is a stack pointer");

/// What a switch back to the resumer carries.
const SUSPENDED: usize = 0;
const FINISHED: usize = 1;

// SAFETY: obligation by obligation.
// B1: `Context::new` prepares the stack's first words and runs nothing.
// B2, B3: a `Context` is used up by each switch, so a stack is left and entered in turns; jump_fcontext saves the registers that
//     the calling convention preserves, MXCSR and the x87 control word.
// B4: `StackSource::Ours` brings the size and the guard; make_fcontext aligns to 16 bytes and leaves room for a return address.
// B5: a suspender holds the context of whoever resumed *its* coroutine. Suspending hands over wherever the thread is, which may
//     be the stack of an inner coroutine, and the next resume goes on there.
// B6: nothing is done to a panic below the entry function; `root` is `extern "C"`, so one that leaves it aborts.
// B7: there is no list of contexts; a stack is touched only to resume it.
// B8: `Drop for Coroutine`. B9: creation cannot fail, given a stack.
unsafe impl Backend for BoostContext {
    type Coroutine = Coroutine;
    type Suspender = Suspender;

    const NAME: &'static str = "context";
    const STACKS: StackProvision = StackProvision::Ours;
    // B10: neither keeps anything in thread-locals, nor a thread's address on the stack.
    const MOVES: Moves = Moves::Yes;

    #[inline]
    unsafe fn create(stack: StackSource, entry: Entry<Self>, argument: *mut ()) -> Result<Coroutine, StackError> {
        let StackSource::Ours(stack) = stack else {
            return Err(StackError::from_backend("the context backend has no stacks of its own to run on"));
        };
        // SAFETY: both are ends of the memory `stack` owns, the upper one first.
        let bounds = unsafe { context::stack::Stack::new(stack.top().cast(), stack.limit().cast()) };
        // SAFETY: the memory behind `bounds` stays with the coroutine, which frees it only when this context is used up or was
        // never entered.
        let context = unsafe { Context::new(&bounds, root) };
        Ok(Coroutine {
            context: Some(context),
            state: State::Fresh,
            start: Start { entry, argument },
            stack: ManuallyDrop::new(stack),
        })
    }

    #[inline]
    unsafe fn resume(coroutine: &mut Coroutine) -> Resumed {
        let Some(context) = coroutine.context.take() else { not_resumable() };
        let start = ptr::from_ref(&coroutine.start).expose_provenance();
        // SAFETY: the context is that of a coroutine that is neither running nor finished (the caller's promise), and its stack
        // is alive in `coroutine`. `root` reads `start` before this returns; later switches ignore the number.
        let back = unsafe { context.resume(start) };
        if back.data == SUSPENDED {
            coroutine.context = Some(back.context);
            coroutine.state = State::Suspended;
            Resumed::Suspended
        } else {
            // `back.context` points behind the last switch of `root`: it is dropped, nobody may go there.
            coroutine.state = State::Finished;
            Resumed::Finished
        }
    }

    #[inline]
    unsafe fn suspend(suspender: &Suspender) {
        let Some(resumer) = suspender.resumer.take() else { not_resumable() };
        // SAFETY: the resumer waits in `resume` for exactly this switch, so its stack is alive; the coroutine runs (the caller's
        // promise), so its resumer has not been used up since.
        let back = unsafe { resumer.resume(SUSPENDED) };
        suspender.resumer.set(Some(back.context));
    }

    // B11: a context is the stack pointer of whoever has left its stack, with the registers above it. `root` keeps its resumer on the stack too,
    // while the coroutine runs; suspended, it has none.
    fn swaps() -> Swaps {
        Swaps::Yes
    }

    #[inline]
    fn stack_pointer(coroutine: &Coroutine) -> Option<NonNull<u8>> {
        let context = coroutine.context.as_ref().filter(|_| coroutine.state == State::Suspended)?;
        // SAFETY: a `Context` is one pointer, in C's layout (the size is compared when this is compiled).
        Some(unsafe { transmute_copy::<Context, NonNull<u8>>(context) })
    }

    #[inline]
    unsafe fn set_stack_pointer(coroutine: &mut Coroutine, to: NonNull<u8>) {
        // SAFETY: as above, the other way round; the caller's promise: `to` was the context of this coroutine.
        coroutine.context = Some(unsafe { transmute_copy::<NonNull<u8>, Context>(&to) });
    }

    #[inline]
    fn into_stack(coroutine: Coroutine) -> Option<Stack> {
        if coroutine.state == State::Suspended {
            return None;
        }
        let mut coroutine = ManuallyDrop::new(coroutine);
        // SAFETY: `coroutine` is never dropped, so the stack is taken once. Nothing on it is alive: it never ran or has finished.
        Some(unsafe { ManuallyDrop::take(&mut coroutine.stack) })
    }
}

/// The first frame of every coroutine. Nothing may unwind out of it: `extern "C"` aborts.
extern "C" fn root(transfer: Transfer) -> ! {
    // SAFETY: the first switch to a context is made by `resume`, which passes the address of a `Start` that it keeps alive.
    let start = unsafe { *ptr::with_exposed_provenance::<Start>(transfer.data) };
    let suspender = Suspender { resumer: Cell::new(Some(transfer.context)) };
    // SAFETY: `root` runs once per coroutine, at the first resume; the caller of `create` promised that the call is then allowed.
    unsafe { (start.entry)(start.argument, &suspender) };
    let Some(resumer) = suspender.resumer.take() else { not_resumable() };
    // SAFETY: the resumer waits in `resume` for this switch, and nothing on this stack is needed again.
    unsafe { resumer.resume(FINISHED) };
    not_resumable()
}

/// Somebody broke the promises of `resume` or `suspend`, and the next switch would go to freed memory.
#[cold]
fn not_resumable() -> ! {
    eprintln!(
        "tasklet-backend-context: a coroutine was resumed while running or after it finished, or suspended while suspended"
    );
    std::process::abort()
}

/// Frees the stack of a coroutine that never ran or has finished; leaks a suspended one, and has it counted (B8).
impl Drop for Coroutine {
    fn drop(&mut self) {
        // SAFETY: taken here and nowhere else; nobody uses `stack` after `drop`.
        let stack = unsafe { ManuallyDrop::take(&mut self.stack) };
        if self.state == State::Suspended {
            stack.leak();
        }
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("argument", &self.argument).finish_non_exhaustive()
    }
}

impl fmt::Debug for Suspender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspender").finish_non_exhaustive()
    }
}
