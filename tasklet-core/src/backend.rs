//! What a stack-switching backend must do: the smallest seam that corosensei, context, generator and a pair of OS threads all fit.
//!
//! A backend creates a coroutine on a stack with a fixed entry function, resumes it, and suspends it from inside. Everything
//! else is ours and the same for all backends: panic capture, kill, the meaning of "finished", reuse, and where stacks come
//! from. A backend's own drop, cancel and panic propagation are never relied on.
//!
//! A backend is correct when the contract suite of `tasklet-testkit` passes on it; a third party can write one and run the suite.

use std::ptr::NonNull;

use crate::stack::{Stack, StackError, StackSize};

/// The function a coroutine runs: called once, on the coroutine's own stack, at the first resume.
///
/// `argument` is the pointer given to [`Backend::create`]. The [`Suspender`](Backend::Suspender) stays valid until the entry
/// function returns.
pub type Entry<B> = unsafe fn(argument: *mut (), suspender: &<B as Backend>::Suspender);

/// How a call to [`Backend::resume`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a coroutine that finished must not be resumed again"]
pub enum Resumed {
    /// The coroutine called [`Backend::suspend`]; it can be resumed.
    Suspended,
    /// The entry function returned; the coroutine must not be resumed again, and its stack is free.
    Finished,
}

/// Who provides the memory a coroutine runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackProvision {
    /// [`Backend::create`] is given a [`Stack`] from our slabs.
    Ours,
    /// The backend allocates stacks of its own, of the size it is given, each guarded.
    Backend,
}

/// Whether a suspended coroutine may be resumed on another thread than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// It may, as far as the backend is concerned.
    Yes,
    /// It stays on its thread.
    No,
}

/// Whether what lies on the stack of a suspended coroutine may be copied away and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swaps {
    /// It may: [`Backend::stack_pointer`] tells what there is, and [`Backend::set_stack_pointer`] goes back to it.
    Yes,
    /// It stays where it is. The reason, for people: shown to whoever asks for a swapped tasklet.
    No(&'static str),
}

/// What [`Backend::create`] shall run on.
#[derive(Debug)]
pub enum StackSource {
    /// A stack of ours; always this one when [`Backend::STACKS`] is [`StackProvision::Ours`].
    Ours(Stack),
    /// At least this many usable bytes, allocated by the backend; always this one when [`Backend::STACKS`] is
    /// [`StackProvision::Backend`].
    Backend(StackSize),
}

/// Creates, resumes and suspends coroutines.
///
/// # Safety
///
/// An implementor promises:
///
/// 1. **B1** `create` neither runs `entry` nor touches `argument`; the first `resume` calls `entry(argument, suspender)` on the
///    coroutine's stack.
/// 2. **B2** `resume` returns only when the coroutine suspends or its entry function returns, and says which.
/// 3. **B3** `suspend` returns only when the coroutine is resumed again; everything on the coroutine's stack, and every register
///    the platform's calling convention preserves, is as it was.
/// 4. **B4** A coroutine runs on a stack of at least the size asked for, aligned as the platform's calling convention says at a
///    function's entry, that ends in an inaccessible guard of at least one page: running past the end faults.
/// 5. **B5** Coroutines nest: a coroutine may create and resume others, to any depth its stack allows. Suspending a coroutine
///    returns to whoever resumed *that* coroutine, also when it is called while inner coroutines are active above it.
/// 6. **B6** Panics may be raised and caught on a coroutine's stack. The entry function never unwinds; the backend may abort if
///    it does.
/// 7. **B7** Between resumes a suspended coroutine's stack is neither moved, freed nor written to.
/// 8. **B8** Dropping a `Coroutine` that never ran or has finished frees what it holds and runs no user code. Dropping a suspended
///    one leaks its stack: it is neither unwound by the backend nor freed. A stack of ours is given to [`Stack::leak`], which counts
///    it.
/// 9. **B9** `create` reports every failure as an error: it does not panic, print or abort.
#[diagnostic::on_unimplemented(
    message = "`{Self}` switches no stacks: select a backend",
    note = "turn on one of the features `backend-corosensei` (the default), `backend-context`, `backend-generator` of `tasklet`"
)]
pub unsafe trait Backend: Sized + 'static {
    /// An owned coroutine.
    type Coroutine;

    /// What the entry function suspends itself with. It lives on the coroutine's stack or in the backend's own memory.
    type Suspender;

    /// The backend's name in messages and in the names of tests.
    const NAME: &'static str;

    /// Who provides stacks.
    const STACKS: StackProvision;

    /// Whether a suspended coroutine may be resumed on another thread than before. A backend that says yes promises:
    ///
    /// - **B10** Nothing of the backend's own, on the coroutine's stack or elsewhere, belongs to the thread it ran on.
    ///
    /// What the coroutine's code left on its stack is another matter, and its author's.
    const MOVES: Moves = Moves::No;

    /// Whether what lies on the stack of a suspended coroutine may be copied away and back. A backend that says yes promises:
    ///
    /// - **B11** [`stack_pointer`](Self::stack_pointer) tells the lowest address that a suspended coroutine needs, and nothing of one that
    ///   runs. What lies from there to the top of its stack, and that address, are all there is of it: when both are what they were at an earlier time at which it was
    ///   suspended, the next resume goes on from there, as that one would have.
    ///
    /// What the coroutine's code has on its stack that others point to is another matter, and its author's.
    fn swaps() -> Swaps {
        Swaps::No("it does not tell how much of a stack is in use")
    }

    /// The lowest address of its stack that a suspended coroutine needs, on a stack of ours; none if the backend does not know, or the
    /// coroutine runs, never ran or has finished. It lies elsewhere if the coroutine was suspended by code that had changed to another stack on top of
    /// its own.
    fn stack_pointer(coroutine: &Self::Coroutine) -> Option<NonNull<u8>> {
        let _ = coroutine;
        None
    }

    /// Takes a suspended coroutine back to an earlier time at which it was suspended. Does nothing where [`swaps`](Self::swaps) says no.
    ///
    /// # Safety
    ///
    /// - `swaps` says yes, and the coroutine is suspended.
    /// - `to` is what [`stack_pointer`](Self::stack_pointer) told at that time, and the memory from there to the top of the stack is as it was.
    unsafe fn set_stack_pointer(coroutine: &mut Self::Coroutine, to: NonNull<u8>) {
        let _ = (coroutine, to);
    }

    /// Creates a coroutine that will run `entry(argument, ..)` on `stack`. It does not run yet.
    ///
    /// # Errors
    ///
    /// The stack could not be had; `stack` has been returned to its pool.
    ///
    /// # Safety
    ///
    /// `entry` must be callable with `argument` at the first resume, must not unwind, and must stay callable for as long as the
    /// coroutine can be resumed.
    unsafe fn create(stack: StackSource, entry: Entry<Self>, argument: *mut ()) -> Result<Self::Coroutine, StackError>;

    /// Runs the coroutine until it suspends or finishes.
    ///
    /// # Safety
    ///
    /// - The coroutine has not finished and is not running.
    /// - The caller is on the same OS thread as at every earlier resume of this coroutine, unless [`MOVES`](Self::MOVES) says that it need
    ///   not be, and whoever wrote the coroutine's code has promised the same of that.
    unsafe fn resume(coroutine: &mut Self::Coroutine) -> Resumed;

    /// Suspends the coroutine that `suspender` belongs to: its [`resume`](Self::resume) returns [`Resumed::Suspended`].
    ///
    /// # Safety
    ///
    /// - `suspender` was given to the entry function of a coroutine that is running, and the caller runs on that coroutine's
    ///   stack (or on the stack of a coroutine it resumed).
    /// - The thread is not panicking: `std` counts panics per thread, and the count does not follow a switch.
    unsafe fn suspend(suspender: &Self::Suspender);

    /// Gives the stack of a coroutine that never ran or has finished back for reuse, if it was [`StackSource::Ours`].
    ///
    /// Returns `None` if the backend owns the stack, or if the coroutine is suspended (it is then leaked, as by dropping it).
    fn into_stack(coroutine: Self::Coroutine) -> Option<Stack>;
}
