//! Operations that may switch: begun by a channel or a join, driven here, with the switch compiled into the caller.
//!
//! A processor predicts where a function returns to from the calls it has seen. A switch leaves that prediction out of step for every
//! call that is open when it happens: measured, 16 ns for the first open call and 1 ns for each further one, where the switch itself
//! takes 3 ns. So whatever an operation does before and after the switch happens in calls that have returned, and the switch is
//! inlined into the tasklet's own code. That needs the backend's type at compile time: [`On`] names it, [`AnyBackend`] does without
//! and is slower. Both work under every scheduler.
//!
//! 1. `begin` looks for a partner with the site locked, and says in a [`Step`] what the caller has to do.
//! 2. The scheduler prepares the step, up to the switch, and gives a [`SwitchToken`] if there is to be one.
//! 3. The token is used up by suspending the running fiber.
//! 4. The scheduler finishes the step: raises what was thrown at the tasklet meanwhile, or tells how its wait ended.

use std::any::TypeId;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::backend::Backend;
use crate::channel::HandOver;
use crate::current;
use crate::park::{ParkError, Parked, WaitSite, Wake};
use crate::scheduler::Scheduler;

/// What is left to do after an operation has looked for a partner.
#[must_use = "an operation is done when its step was driven"]
pub enum Step<'a> {
    /// Nothing.
    Done,
    /// The caller waits: `site` holds what [`Scheduler::begin_park`] gave, under `key`.
    Park {
        /// Where it waits.
        site: &'a (dyn WaitSite + 'a),
        /// With which key.
        key: usize,
    },
    /// There was a partner, which becomes runnable.
    HandOver {
        /// The partner.
        partner: Parked,
        /// Who goes on.
        how: HandOver,
    },
}

/// The duty to suspend the running fiber: everything else of a switch has been done, so another tasklet counts as running already.
///
/// Whoever holds one suspends the fiber it runs on, which is the token's, before it does anything else; the thread is not panicking.
#[must_use = "another tasklet counts as running until this one is suspended"]
pub struct SwitchToken {
    suspender: NonNull<()>,
    known: bool,
}

impl SwitchToken {
    /// For schedulers: `suspender` is a `Suspender` of the running fiber's backend, and `known` says whether that backend is the one
    /// the caller has named in [`Switch::BACKEND`].
    #[inline]
    pub fn new(suspender: NonNull<()>, known: bool) -> SwitchToken {
        SwitchToken { suspender, known }
    }

    /// The suspender of the fiber.
    pub fn suspender(&self) -> NonNull<()> {
        self.suspender
    }
}

/// How the caller of an operation suspends its fiber: [`On`] a backend it knows, or on [`AnyBackend`].
///
/// # Safety
///
/// **O1** `switch` suspends the token's fiber, or leaves that to [`Scheduler::suspend`].
pub unsafe trait Switch {
    /// The backend whose switch is compiled in, if there is one. Schedulers compare it with their own when they make a token. By
    /// reference, because two words written and read as one at every switch would cost more than the switch.
    const BACKEND: &'static TypeId;

    /// Suspends the running fiber.
    ///
    /// # Safety
    ///
    /// As [`SwitchToken`] says.
    unsafe fn switch(scheduler: &dyn Scheduler, token: SwitchToken);
}

/// The backend is looked up at run time.
#[derive(Debug)]
pub enum AnyBackend {}

/// The switch of backend `B` is compiled in; on others it is looked up.
#[derive(Debug)]
pub struct On<B>(PhantomData<B>);

// SAFETY: O1.
unsafe impl Switch for AnyBackend {
    const BACKEND: &'static TypeId = &TypeId::of::<AnyBackend>();

    #[inline(always)]
    unsafe fn switch(scheduler: &dyn Scheduler, token: SwitchToken) {
        // SAFETY: the caller's promise.
        unsafe { scheduler.suspend(token) }
    }
}

// SAFETY: O1.
unsafe impl<B: Backend> Switch for On<B> {
    const BACKEND: &'static TypeId = &TypeId::of::<B>();

    #[inline(always)]
    unsafe fn switch(scheduler: &dyn Scheduler, token: SwitchToken) {
        if token.known {
            // SAFETY: the scheduler has found that its backend is `B`, so the suspender is `B`'s, and belongs to the fiber that runs; a suspender lives until
            // its entry function returns, which has not. The caller promises that the thread is not panicking.
            unsafe { B::suspend(token.suspender.cast::<B::Suspender>().as_ref()) }
        } else {
            // SAFETY: the caller's promise.
            unsafe { scheduler.suspend(token) }
        }
    }
}

/// An operation that may switch. Its methods are called one after the other on the caller's stack; only the switch between them is
/// inlined there.
///
/// What `finish` needs stays in the operation, which does not move between the two calls: a value that is written in halves and
/// moved as a whole stalls the processor for longer than a switch takes.
pub trait Operation<'s>: Sized {
    /// What it returns.
    type Output;

    /// Looks for a partner; says what is left to do.
    fn begin(&mut self, scheduler: &dyn Scheduler) -> Step<'s>;

    /// The caller goes on: `outcome` tells how its wait ended, if it waited.
    fn finish(self, outcome: Result<Wake, ParkError>) -> Self::Output;
}

/// Performs an operation under the current scheduler, with the switch inlined into the caller.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller while it has given way.
#[inline(always)]
pub fn perform<'s, S: Switch, O: Operation<'s>>(mut operation: O) -> O::Output {
    let current = current::get();
    let scheduler = current.scheduler();
    let step = operation.begin(scheduler);
    let outcome = drive::<S>(scheduler, step);
    operation.finish(outcome)
}

/// Drives a step to its end; returns how a wait ended.
#[inline(always)]
fn drive<S: Switch>(scheduler: &dyn Scheduler, step: Step<'_>) -> Result<Wake, ParkError> {
    match step {
        Step::Done => Ok(Wake::Served),
        Step::Park { site, key } => {
            // SAFETY: the site holds the caller's `Parked`, as `Step::Park` says; a token is used up in the next line, nothing in between
            // can panic or switch, and `site` is borrowed for longer than this call.
            if let Some(token) = unsafe { scheduler.prepare_park(site, key, S::BACKEND) } {
                // SAFETY: made a moment ago for the fiber that runs.
                unsafe { S::switch(scheduler, token) }
            }
            scheduler.finish_park()
        }
        Step::HandOver { partner, how } => {
            // SAFETY: as above.
            if let Some(token) = unsafe { scheduler.prepare_hand_over(partner, how, S::BACKEND) } {
                // SAFETY: as above.
                unsafe { S::switch(scheduler, token) }
            }
            // Without a token too: a main tasklet has given way, if it has, inside the preparation.
            if how != HandOver::Caller {
                scheduler.finish_switch();
            }
            Ok(Wake::Served)
        }
    }
}
