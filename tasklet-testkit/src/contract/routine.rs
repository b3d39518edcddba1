//! A coroutine as the tests of the suite use it: a closure that can suspend, its outcome caught at the root as a scheduler would.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;

use tasklet_core::backend::{Backend, Resumed, StackProvision, StackSource};
use tasklet_core::stack::{Stack, StackError, StackPool, StackSize};

/// The size of stacks whose size does not matter to the test.
pub(super) fn usual_size() -> StackSize {
    size(64 << 10)
}

/// A size that is known to be valid.
pub(super) fn size(bytes: usize) -> StackSize {
    StackSize::new(bytes).expect("a valid stack size")
}

thread_local! {
    static POOL: StackPool = StackPool::default();
}

/// Stacks of this test's that were leaked and counted; `None` if `B` brings its own.
pub(super) fn leaked_stacks<B: Backend>() -> Option<usize> {
    (B::STACKS == StackProvision::Ours).then(|| POOL.with(|pool| pool.stats().leaked))
}

/// What `B` wants to be given for a stack of `size`. The only place of the suite that knows where our stacks come from.
pub(super) fn source<B: Backend>(size: StackSize) -> Result<StackSource, StackError> {
    match B::STACKS {
        StackProvision::Ours => POOL.with(|pool| pool.acquire(size)).map(StackSource::Ours),
        StackProvision::Backend => Ok(StackSource::Backend(size)),
    }
}

/// A closure on a coroutine.
pub(super) struct Routine<B: Backend> {
    // `None` after `into_stack`.
    coroutine: Option<B::Coroutine>,
    body: Box<Body<B>>,
    state: State,
}

/// What a routine suspends itself with, and what inner ones suspend it with.
pub(super) struct Pause<B: Backend>(*const B::Suspender);

/// How the closure of a routine ended: by returning, or with the payload it unwound with.
pub(super) type Outcome = Result<(), Box<dyn Any + Send>>;

type Closure<B> = Box<dyn FnOnce(Pause<B>)>;

struct Body<B: Backend> {
    closure: Cell<Option<Closure<B>>>,
    outcome: Cell<Option<Outcome>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Suspended,
    Finished,
}

impl<B: Backend> Routine<B> {
    /// A routine on a fresh stack of the usual size.
    pub(super) fn new(closure: impl FnOnce(Pause<B>) + 'static) -> Routine<B> {
        Routine::with_size(usual_size(), closure)
    }

    /// A routine on a fresh stack of `size`.
    pub(super) fn with_size(size: StackSize, closure: impl FnOnce(Pause<B>) + 'static) -> Routine<B> {
        Routine::try_on(source::<B>(size).expect("a stack"), closure).expect("a coroutine")
    }

    /// A routine on `stack`.
    pub(super) fn try_on(
        stack: StackSource,
        closure: impl FnOnce(Pause<B>) + 'static,
    ) -> Result<Routine<B>, StackError> {
        let body =
            Box::new(Body { closure: Cell::new(Some(Box::new(closure) as Closure<B>)), outcome: Cell::new(None) });
        let argument = (&raw const *body).cast_mut().cast();
        // SAFETY: `entry` catches what unwinds, and `body` stays where it is until the coroutine has finished or never ran;
        // `Drop` leaks it with a suspended one.
        let coroutine = unsafe { B::create(stack, entry::<B>, argument) }?;
        Ok(Routine { coroutine: Some(coroutine), body, state: State::Fresh })
    }

    /// Resumes, and says how that came back.
    pub(super) fn resume(&mut self) -> Resumed {
        assert!(self.state != State::Finished, "resumed a finished routine");
        let coroutine = self.coroutine.as_mut().expect("a coroutine");
        // SAFETY: it has not finished (checked), is not running (it is borrowed mutably), and tests keep routines on one thread.
        let resumed = unsafe { B::resume(coroutine) };
        self.state = match resumed {
            Resumed::Suspended => State::Suspended,
            Resumed::Finished => State::Finished,
        };
        resumed
    }

    /// Resumes until the closure has ended, and says how it ended.
    pub(super) fn finish(&mut self) -> Outcome {
        while self.resume() == Resumed::Suspended {}
        self.body.outcome.take().expect("an outcome")
    }

    /// The lowest address that it needs, while it is suspended.
    pub(super) fn stack_pointer(&self) -> Option<NonNull<u8>> {
        B::stack_pointer(self.coroutine.as_ref().expect("a coroutine"))
    }

    /// Goes back to an earlier time.
    ///
    /// # Safety
    ///
    /// As [`Backend::set_stack_pointer`] says; the backend swaps.
    pub(super) unsafe fn set_stack_pointer(&mut self, to: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { B::set_stack_pointer(self.coroutine.as_mut().expect("a coroutine"), to) };
        self.state = State::Suspended;
    }

    /// The stack, if the backend gives it back.
    pub(super) fn into_stack(mut self) -> Option<Stack> {
        B::into_stack(self.coroutine.take().expect("a coroutine"))
    }
}

impl<B: Backend> Drop for Routine<B> {
    fn drop(&mut self) {
        if self.state == State::Suspended {
            // The leaked stack refers to the body.
            let nothing = Body { closure: Cell::new(None), outcome: Cell::new(None) };
            mem::forget(mem::replace(&mut self.body, Box::new(nothing)));
        }
    }
}

impl<B: Backend> Pause<B> {
    /// Suspends the routine this belongs to.
    pub(super) fn suspend(self) {
        // SAFETY: tests use a `Pause` only from its own running closure and from routines this one resumed, and never while
        // panicking.
        unsafe { B::suspend(&*self.0) }
    }
}

impl<B: Backend> Clone for Pause<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Pause<B> {}

/// What every routine's coroutine runs.
unsafe fn entry<B: Backend>(argument: *mut (), suspender: &B::Suspender) {
    // SAFETY: `Routine::try_on` passes its body, which outlives the coroutine.
    let body = unsafe { &*argument.cast_const().cast::<Body<B>>() };
    let closure = body.closure.take().expect("entry runs once");
    let pause = Pause(suspender);
    body.outcome.set(Some(panic::catch_unwind(AssertUnwindSafe(|| closure(pause)))));
}

/// A list of what happened, in order, shared by a test and its coroutines.
#[derive(Clone, Default)]
pub(super) struct Events(Rc<RefCell<Vec<&'static str>>>);

impl Events {
    pub(super) fn push(&self, event: &'static str) {
        self.0.borrow_mut().push(event);
    }

    /// What happened since the last call.
    pub(super) fn take(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

/// Records its name when it is dropped.
pub(super) struct OnDrop(pub(super) Events, pub(super) &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.push(self.1);
    }
}
