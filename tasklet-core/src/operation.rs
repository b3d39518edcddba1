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
use std::time::Duration;

use crate::backend::Backend;
use crate::channel::HandOver;
use crate::current;
use crate::guarded::FIRST;
use crate::park::{ParkError, Parked, WaitSite, Wake};
use crate::scheduler::{Observed, Scheduler, TimerKey};

/// What is left to do after an operation has looked for a partner.
#[must_use = "an operation is done when its step was driven"]
pub enum Step<'a> {
    /// Nothing.
    Done,
    /// The caller waits: `site` holds what [`Scheduler::begin_park`] gave, under `key`. If `begin_park` was not called, schedulers
    /// panic; if the site does not hold what it gave, the caller waits for ever.
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
    /// For schedulers.
    ///
    /// # Safety
    ///
    /// - `suspender` points to the `Suspender`, of its backend's type, of the fiber that runs, and stays valid until that is suspended.
    /// - `known` is true only if that backend is the one the caller has named in [`Switch::BACKEND`].
    #[inline]
    pub unsafe fn new(suspender: NonNull<()>, known: bool) -> SwitchToken {
        SwitchToken { suspender, known }
    }

    /// The suspender of the fiber.
    #[inline]
    pub fn suspender(&self) -> NonNull<()> {
        self.suspender
    }

    /// Whether the fiber's backend is the one that the caller has named.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.known
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
/// What `finish` needs stays in the operation, which does not move: a value that is written in halves and moved as a whole stalls
/// the processor for longer than a switch takes.
pub trait Operation<'s>: Sized {
    /// What it returns.
    type Output;

    /// Looks for a partner; says what is left to do. The scheduler's [first step](Scheduler::begin_operation) was done, and `observed` is
    /// what came of it.
    fn begin(&mut self, scheduler: &dyn Scheduler, observed: Observed) -> Step<'s>;

    /// Whether [`begin_at_once`](Self::begin_at_once) does something.
    const LOOKS: bool = false;

    /// As [`begin`](Self::begin), unless the caller would wait: then `None`, and nothing has happened.
    fn begin_at_once(&mut self, scheduler: &dyn Scheduler) -> Option<Step<'s>> {
        let _ = scheduler;
        None
    }

    /// The caller goes on: `outcome` tells how its wait ended, if it waited.
    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output;
}

/// What is left to do after a step was prepared: two words, so that they are returned in registers.
struct Started {
    /// What suspends the fiber, if it is to be suspended.
    suspender: Option<NonNull<()>>,
    rest: Rest,
}

/// What follows the switch, and whether the switch's backend is the one that the caller has named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing: the operation is over.
    Nothing,
    /// The caller may have waited.
    Park,
    /// The same, on the caller's backend.
    ParkKnown,
    /// The caller may have given way.
    Switch,
    /// The same, on the caller's backend.
    SwitchKnown,
}

/// Performs an operation under the current scheduler, with the switch inlined into the caller.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller while it has given way.
#[inline(always)]
pub fn perform<'s, S: Switch, O: Operation<'s>>(mut operation: O) -> O::Output {
    let mut outcome = Ok(Wake::Served);
    // SAFETY: what it returns is done below, at once.
    let Started { suspender, rest } = unsafe { start(&mut operation, &mut outcome, S::BACKEND) };
    if let Some(suspender) = suspender {
        // A fiber is suspended, so its scheduler is the active one, and is found again. (The code of a main tasklet may find another.)
        let current = current::get();
        let scheduler = current.scheduler();
        let known = matches!(rest, Rest::ParkKnown | Rest::SwitchKnown);
        // SAFETY: the parts of a token made a moment ago for the fiber that runs, which is suspended with it.
        unsafe { S::switch(scheduler, SwitchToken::new(suspender, known)) }
        if matches!(rest, Rest::Park | Rest::ParkKnown) {
            outcome = scheduler.finish_park();
        } else {
            scheduler.finish_switch();
        }
    }
    operation.finish(outcome)
}

/// As [`perform`], but the wait ends with [`Wake::TimedOut`] when the scheduler's clock shows `at`, if nobody has served the caller.
///
/// # Panics
///
/// As [`perform`].
pub fn perform_until<'s, S: Switch, O: Operation<'s>>(mut operation: O, at: Duration) -> O::Output {
    let current = current::get();
    let scheduler = current.scheduler();
    let Some(key) = scheduler.start_timer(at) else {
        return operation.finish(Err(ParkError::NoTimers));
    };
    let _timer = Timer { scheduler, key };
    perform::<S, O>(operation)
}

/// Counts as an operation of the caller, for those that look at nothing of ours, such as system calls.
///
/// # Scheduling
///
/// Every so often the caller gives way to others, as with any operation.
///
/// # Panics
///
/// Unwinds with what is thrown at the caller.
#[inline(never)]
pub fn count() {
    let _ = current::begin_operation();
}

/// Stops the timer of a wait when that is over, however it ends.
struct Timer<'a> {
    scheduler: &'a dyn Scheduler,
    key: TimerKey,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.scheduler.stop_timer(self.key);
    }
}

/// Begins an operation and prepares its step, up to the switch: one call, which has returned when the switch comes, and in which the
/// step need not be written to memory.
///
/// # Safety
///
/// If there is a suspender, the caller suspends the running fiber with it at once. Then it does the rest. Else `outcome` tells how the wait
/// has ended, if there was one.
#[inline(never)]
unsafe fn start<'s, O: Operation<'s>>(
    operation: &mut O,
    outcome: &mut Result<Wake, ParkError>,
    backend: &'static TypeId,
) -> Started {
    let Some((scheduler, observed)) = current::begin_operation() else {
        *outcome = on_thread(operation);
        return Started::NOTHING;
    };
    match operation.begin(scheduler, observed) {
        Step::Done => Started::NOTHING,
        Step::Park { site, key } => {
            // SAFETY: our caller promises to use up a token and to call `finish_park`. Nothing in between can switch, a panic in the
            // preparation is the scheduler's to handle (S3), and `site` is borrowed for longer than the operation takes.
            match unsafe { scheduler.prepare_park(site, key, backend) } {
                Some(token) => Started::new(&token, Rest::Park, Rest::ParkKnown),
                // A main tasklet has waited inside the preparation.
                None => {
                    *outcome = scheduler.finish_park();
                    Started::NOTHING
                }
            }
        }
        Step::HandOver { partner, how } => {
            // SAFETY: as above, with `finish_switch`.
            match unsafe { scheduler.prepare_hand_over(partner, how, backend) } {
                Some(token) => Started::new(&token, Rest::Switch, Rest::SwitchKnown),
                None if matches!(how, HandOver::Caller | HandOver::Next) => Started::NOTHING,
                // A main tasklet has given way, if it has, inside the preparation.
                None => {
                    scheduler.finish_switch();
                    Started::NOTHING
                }
            }
        }
    }
}

/// How often a thread looks before it waits, with pauses that become longer, and then letting other threads run: a partner on another
/// processor takes less time than putting a thread to sleep and waking it. The pauses are those of a lock that is taken, and as long: who
/// looks too often takes the lock from whoever is to come. Measured with two threads that send and two that receive: 47 ns per message, 57
/// with pauses from 1 up, 75 to 120 without.
const LOOKS: u32 = if cfg!(loom) { 0 } else { 11 };

/// In how many of these looks it only pauses.
const SHORT: u32 = 3;

/// All of an operation of a thread that is its own scheduler, but its end.
#[cold]
#[inline(never)]
fn on_thread<'s, O: Operation<'s>>(operation: &mut O) -> Result<Wake, ParkError> {
    let scheduler = current::thread();
    let observed = scheduler.begin_operation();
    let at_once = (0..if O::LOOKS { LOOKS } else { 0 }).find_map(|round| {
        if round > SHORT {
            // Whoever is to come may be waiting for this processor.
            std::thread::yield_now();
        } else if round > 0 {
            (0..FIRST << round).for_each(|_| std::hint::spin_loop());
        }
        operation.begin_at_once(&*scheduler)
    });
    match at_once.unwrap_or_else(|| operation.begin(&*scheduler, observed)) {
        Step::Done => Ok(Wake::Served),
        Step::Park { site, key } => {
            // SAFETY: a thread makes no tokens, and `site` is borrowed for longer than the operation takes.
            let token = unsafe { scheduler.prepare_park(site, key, AnyBackend::BACKEND) };
            debug_assert!(token.is_none(), "a thread has no fiber to suspend");
            scheduler.finish_park()
        }
        Step::HandOver { partner, .. } => {
            scheduler.unpark(partner);
            Ok(Wake::Served)
        }
    }
}

impl Started {
    const NOTHING: Started = Started { suspender: None, rest: Rest::Nothing };

    #[inline(always)]
    fn new(token: &SwitchToken, rest: Rest, if_known: Rest) -> Started {
        Started { suspender: Some(token.suspender), rest: if token.known { if_known } else { rest } }
    }
}
