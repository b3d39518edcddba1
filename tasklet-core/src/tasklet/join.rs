//! Waiting for a tasklet's result.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::finish::Awaited;
use super::head::{Head, Joiner};
use super::promised::Promised;
use super::record::Record;
use super::spot;
use crate::current;
use crate::id::TaskletId;
use crate::operation::{self, AnyBackend, Operation, Step};
use crate::park::{ParkError, Wake};
use crate::scheduler::{Observed, Scheduler};
use crate::stack::StackError;
use crate::unwind::{self, Payload};
use crate::wait::{Arm, Found, TypedArm};

/// The right to the result of a tasklet, as [`std::thread::JoinHandle`] is to a thread's.
///
/// Dropping it detaches the tasklet: it goes on, and its result or panic is dropped.
///
/// # Differences from `std::thread::JoinHandle`
///
/// - Joining from a tasklet parks the tasklet, not its thread; a plain thread is parked.
/// - A tasklet that was killed gives [`JoinError::is_killed`], not a payload.
/// - Waiting for oneself, or for a tasklet that nobody will ever run again, is an error where it can be told.
/// - It is a [`Future`], for async code.
/// - Any number of callers may [`wait`](Self::wait) on it; one takes the result.
pub struct JoinHandle<T> {
    target: Target,
    /// The result moves to whoever joins: the handle may travel only if it may.
    result: PhantomData<T>,
}

/// What a join handle points to: the head of a tasklet, which lies in its record or is the beginning of a promised one. The handle owns a count of
/// the record, or what [`Vtable::release`](super::Vtable::release) gives back.
struct Target(NonNull<Head>);

// SAFETY: records and promised tasklets may be shared by threads. What the handle alone may do is its owner's, whatever the thread; the result is
// another field's matter.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// Which of the two it is.
enum Whole {
    /// A borrowed count.
    Record(ManuallyDrop<Arc<Record>>),
    Promised(NonNull<Promised>),
}

impl Target {
    #[inline(always)]
    fn head(&self) -> &Head {
        // SAFETY: the handle keeps it alive.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn whole(&self) -> Whole {
        if self.head().finish.is_promised() {
            return Whole::Promised(self.0.cast());
        }
        // SAFETY: the pointer was made from a record's in `JoinHandle::of_record`, whose count the handle owns; it is not dropped here.
        Whole::Record(ManuallyDrop::new(unsafe {
            Arc::from_raw(self.0.byte_sub(offset_of!(Record, head)).cast::<Record>().as_ptr())
        }))
    }
}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// It is the only handle, and owns what [`Target`] says.
    #[inline]
    pub(super) unsafe fn new(head: NonNull<Head>) -> JoinHandle<T> {
        JoinHandle { target: Target(head), result: PhantomData }
    }

    /// The handle of a tasklet that was made with a record.
    #[inline]
    pub(super) fn of_record(record: Arc<Record>) -> JoinHandle<T> {
        // The pointer comes from an `Arc`, so it is not null.
        let record = NonNull::new(Arc::into_raw(record).cast_mut()).expect("records have an address");
        // SAFETY: the head lies in the record, whose count is the handle's from now on; callers make one.
        unsafe { JoinHandle::new(record.byte_add(offset_of!(Record, head)).cast()) }
    }

    /// The tasklet's identity.
    pub fn id(&self) -> TaskletId {
        self.target.head().id
    }

    /// The tasklet's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.target.head().label.name()
    }

    /// The tasklet's record, for schedulers. One that is a future has none.
    pub fn record(&self) -> Option<Arc<Record>> {
        match self.target.whole() {
            Whole::Record(record) => Some(Arc::clone(&record)),
            Whole::Promised(_) => None,
        }
    }

    /// Wakes `waker` when the tasklet has finished, and what it may have left without an owner has been dropped.
    ///
    /// # Errors
    ///
    /// The waker, if the tasklet has finished already.
    pub fn on_finish(&self, waker: Waker) -> Result<(), Waker> {
        self.target.head().on_finish(waker)
    }

    /// Whether [`join`](Self::join) would return at once. Never parks.
    pub fn is_finished(&self) -> bool {
        self.target.head().finish.is_finished()
    }

    /// Parks the caller until the tasklet has finished.
    ///
    /// # Scheduling
    ///
    /// If the tasklet has finished, the caller goes on. Else it parks, and the next in the queue runs; when the tasklet has finished,
    /// the caller is appended to the queue.
    ///
    /// # Errors
    ///
    /// The caller may not park, or nobody would ever wake it: see [`ParkError`]. The handle can be used again.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller, or with an error of a tasklet if the caller is the main tasklet.
    pub fn wait(&self) -> Result<(), ParkError> {
        if self.is_finished() {
            return Ok(());
        }
        operation::perform::<AnyBackend, _>(Await { target: &self.target, refused: None }).map(|_| ())
    }

    /// The end of the tasklet, as an arm of a select: [`join`](Self::join) does not wait then. That of the caller itself never comes.
    pub fn join_arm(&self) -> impl TypedArm<Output = ()> + use<'_, T> {
        JoinArm { head: self.target.head(), waker: None }
    }

    /// Waits until the tasklet has finished, whatever happens: what is thrown at the caller meanwhile is kept and given back.
    ///
    /// # Scheduling
    ///
    /// As [`spot::wait_until`].
    pub fn wait_through(&self) -> Option<Payload> {
        if self.on_finish(Waker::from(current::record())).is_err() {
            return None;
        }
        spot::wait_until(|| self.is_finished())
    }

    /// Parks the caller until the tasklet has finished, for `limit` at most. Returns whether it has.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`ParkError::NoTimers`] under a scheduler that has none.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, ParkError> {
        if self.is_finished() {
            return Ok(true);
        }
        let at = current::now().saturating_add(limit);
        let wake = operation::perform_until::<AnyBackend, _>(Await { target: &self.target, refused: None }, at)?;
        Ok(wake != Wake::TimedOut || self.is_finished())
    }

    /// Waits for the tasklet for `limit` at most, and returns its result; the handle comes back if it has not finished.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The handle, if the time is up, the tasklet runs on, or the caller [could not wait](Self::wait_timeout).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn join_timeout(self, limit: Duration) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        if self.wait_timeout(limit).is_ok_and(|finished| finished) { Ok(self.result()) } else { Err(self) }
    }

    /// Asks for the end of the tasklet, from any thread: it unwinds from where it waits, or from its next scheduling point, and
    /// its destructors run. One that has not begun never runs; its closure is dropped, by the caller if no worker has it yet. On one
    /// that has finished, nothing happens.
    ///
    /// A tasklet may catch the exit and go on; it can be killed again.
    ///
    /// # Scheduling
    ///
    /// Never parks and never switches: a tasklet that kills itself goes on to its next scheduling point.
    pub fn kill(&self) {
        match self.target.whole() {
            Whole::Record(record) => record.kill(),
            // SAFETY: this is its join handle.
            Whole::Promised(promised) => unsafe { Promised::kill(promised) },
        }
    }

    /// Lets the tasklet go on by itself; the same as dropping the handle.
    pub fn detach(self) {}

    /// Waits for the tasklet and returns its result.
    ///
    /// # Scheduling
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The tasklet panicked or was killed, or [`wait`](Self::wait) failed. In the last case the result is lost with the handle; call
    /// `wait` first where that can happen.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn join(self) -> Result<T, JoinError> {
        self.wait().map_err(|error| JoinError { cause: Cause::Park(error) })?;
        self.result()
    }

    /// The result of a tasklet that has finished. The handle is not used for that again.
    fn result(&self) -> Result<T, JoinError> {
        debug_assert!(self.is_finished(), "there is no result before the end");
        match self.take_result() {
            Some(Ok(value)) => Ok(value),
            Some(Err(payload)) if unwind::is_tasklet_exit(&payload) => Err(JoinError { cause: Cause::Killed }),
            Some(Err(payload)) => match payload.downcast::<StackError>() {
                Ok(error) => Err(JoinError { cause: Cause::Stack(*error) }),
                Err(payload) => Err(JoinError { cause: Cause::Panic(payload) }),
            },
            None => Err(JoinError { cause: Cause::Killed }),
        }
    }

    /// Moves the result of a tasklet that has finished out of it, if it is there.
    #[inline]
    fn take_result(&self) -> Option<Result<T, Payload>> {
        match self.target.whole() {
            // SAFETY: the record was made together with this one handle, for the closure's own type; the tasklet has finished, and the
            // callers give up the handle, or, as a future, answer once.
            Whole::Record(record) => unsafe { record.take_result::<T>() },
            Whole::Promised(promised) => {
                let mut result = MaybeUninit::<Option<Result<T, Payload>>>::uninit();
                // SAFETY: as above; `handle` was called for the type of the table, which writes a result or none.
                unsafe {
                    (promised.as_ref().vtable().take)(promised, NonNull::from(&mut result).cast());
                    result.assume_init()
                }
            }
        }
    }
}

/// Waits for a tasklet to finish, among other things.
struct JoinArm<'r> {
    head: &'r Head,
    /// What it has left with the tasklet.
    waker: Option<Waker>,
}

// SAFETY: it has no place, and is in no list.
unsafe impl Arm for JoinArm<'_> {
    fn look(&mut self, _: &dyn Scheduler) -> Found {
        if self.head.finish.is_finished() { Found::Done } else { Found::Wait }
    }

    fn ring(&mut self, waker: &mut dyn FnMut() -> Waker) {
        let waker = waker();
        match self.head.on_finish(waker.clone()) {
            Ok(()) => self.waker = Some(waker),
            Err(waker) => waker.wake(),
        }
    }

    fn delist(&mut self) {
        if let Some(waker) = self.waker.take() {
            let is_ours = |joiner: &Joiner| matches!(joiner, Joiner::Other(other) if other.will_wake(&waker));
            drop(self.head.finish.unlink(is_ours));
        }
    }

    fn is_shared(&self) -> bool {
        // It may be killed by whoever has a handle.
        true
    }
}

impl TypedArm for JoinArm<'_> {
    type Output = ();

    fn output(&mut self) {}
}

/// Waits for a tasklet to finish.
struct Await<'r> {
    target: &'r Target,
    refused: Option<ParkError>,
}

impl<'r> Operation<'r> for Await<'r> {
    type Output = Result<Wake, ParkError>;

    fn begin(&mut self, scheduler: &dyn Scheduler, _: Observed) -> Step<'r> {
        let head = self.target.head();
        if scheduler.current_id() == head.id {
            self.refused = Some(ParkError::SelfJoin);
            return Step::Done;
        }
        self.refused = scheduler.may_park().err();
        if self.refused.is_some() {
            return Step::Done;
        }
        match head.finish.await_with(|_| false, || Joiner::Parked(scheduler.begin_park())) {
            Awaited::Finished => Step::Done,
            Awaited::Registered => {
                let foreign = match self.target.whole() {
                    Whole::Record(record) => record.home().is_none_or(|home| home.id() != scheduler.home().id()),
                    Whole::Promised(_) => true,
                };
                Step::Park { site: head, key: usize::from(foreign) }
            }
        }
    }

    fn finish(&mut self, outcome: Result<Wake, ParkError>) -> Self::Output {
        self.refused.map_or(outcome, Err)
    }
}

/// The tasklet's result, for async code. It is given out once; polled again, the handle says that the tasklet was killed.
impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_finished() {
            let waker = context.waker().clone();
            // There is one handle, so one waker, the last.
            match self.target.head().finish.await_with(Joiner::is_waker, || Joiner::Waker(waker)) {
                Awaited::Registered => return Poll::Pending,
                Awaited::Finished => {}
            }
        }
        Poll::Ready(self.result())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let finish = &self.target.head().finish;
        // Once it has finished nobody else looks at the result, so the second look, which is dearer, is for the race alone.
        if finish.is_finished() || finish.detach() {
            // The result may be `!Send`, but then so is the handle.
            unwind::drop_quietly(self.take_result());
        } else if finish.has_joiners() {
            drop(finish.unlink(Joiner::is_waker));
        }
        match self.target.whole() {
            // Given back for reuse.
            Whole::Record(record) => Record::release(ManuallyDrop::into_inner(record)),
            // SAFETY: the handle calls, and does not use it any more.
            Whole::Promised(promised) => unsafe { (promised.as_ref().vtable().release)(promised) },
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinHandle").field(self.target.head()).finish()
    }
}

/// A tasklet has no result to give.
pub struct JoinError {
    cause: Cause,
}

enum Cause {
    Panic(Payload),
    Killed,
    Park(ParkError),
    Stack(StackError),
}

impl JoinError {
    /// The tasklet was killed before it returned.
    pub fn is_killed(&self) -> bool {
        matches!(self.cause, Cause::Killed)
    }

    /// The tasklet panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }

    /// Why the caller could not wait, if that is the cause.
    pub fn park_error(&self) -> Option<ParkError> {
        match self.cause {
            Cause::Park(error) => Some(error),
            _ => None,
        }
    }

    /// Why no stack could be had for the tasklet, if that is the cause: it never ran.
    pub fn stack_error(&self) -> Option<&StackError> {
        match &self.cause {
            Cause::Stack(error) => Some(error),
            _ => None,
        }
    }

    /// What the tasklet panicked with.
    pub fn into_panic(self) -> Option<Payload> {
        match self.cause {
            Cause::Panic(payload) => Some(payload),
            _ => None,
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Panic(payload) => write!(f, "the tasklet panicked: {}", unwind::message(payload)),
            Cause::Killed => f.write_str("the tasklet was killed"),
            Cause::Park(error) => write!(f, "could not wait for the tasklet: {error}"),
            Cause::Stack(error) => write!(f, "the tasklet could not start: {error}"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
