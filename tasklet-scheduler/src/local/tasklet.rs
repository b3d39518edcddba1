//! Handles to the tasklets of a local scheduler.

use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use tasklet_core::home::Remote;
use tasklet_core::id::{SchedulerId, TaskletId};
use tasklet_core::park::{Direction, ParkError, ParkReason};
use tasklet_core::stack::{StackSize, StackUsage};
use tasklet_core::tasklet::{Record, StackKind};
use tasklet_core::unwind::{self, Payload, TaskletExit};
use tasklet_core::{current, scheduler::Scheduler as _};

use super::error::TaskletStateError;
use super::inner::Inner;
use super::lifecycle::When;
use super::remote::RemoteTasklet;
use super::switch::Kind;

/// What a tasklet is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Never bound, or finished.
    Dead,
    /// Bound or started, in no queue: somebody must insert, run or kill it. Also the caller of `run`.
    Paused,
    /// In the queue.
    Runnable,
    /// The one that runs.
    Running,
    /// Sending on a channel.
    BlockedSending,
    /// Receiving from a channel.
    BlockedReceiving,
    /// Waiting for something else, such as the end of another tasklet.
    Blocked,
}

/// A tasklet of a local scheduler. Clones refer to the same one.
///
/// Dropping the last handle of a tasklet that has not started and is not queued drops its closure; otherwise the tasklet goes on
/// without a handle. It is not [`Send`]: other threads use [`remote`](Self::remote).
///
/// Of its methods, those that have a section *Scheduling* say there whether they switch; the others never do.
///
/// A handle used while *another* scheduler's tasklet runs on the same thread acts as from another thread: it queues and returns.
#[derive(Clone)]
pub struct Tasklet {
    record: Arc<Record>,
    inner: Rc<Inner>,
}

/// How an operation reaches the tasklet's scheduler.
enum Reach {
    /// Directly: one of its tasklets runs, or its host.
    Here,
    /// Through the inbox: another scheduler's tasklet runs.
    Away,
}

impl Tasklet {
    pub(super) fn new(record: Arc<Record>, inner: Rc<Inner>) -> Tasklet {
        Tasklet { record, inner }
    }

    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// In the middle of the scheduler's own work nothing leaves the queue and nothing is bound.
    fn check_not_quiet(&self) -> Result<(), TaskletStateError> {
        if self.inner.hooks.is_quiet() { Err(ParkError::InHook.into()) } else { Ok(()) }
    }

    fn reach(&self) -> Result<Reach, TaskletStateError> {
        if self.inner.closed.get() {
            Err(TaskletStateError::NoScheduler)
        } else if self.inner.is_at_rest() || current::id() == Some(self.inner.home().id()) {
            Ok(Reach::Here)
        } else {
            Ok(Reach::Away)
        }
    }

    fn submit(&self, request: Remote) -> Result<(), TaskletStateError> {
        self.inner.home().submit(request).map_err(|_| TaskletStateError::NoScheduler)
    }

    /// Its identity, never used again.
    pub fn id(&self) -> TaskletId {
        self.record.id()
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.record.name()
    }

    /// Where it was made.
    pub fn spawn_site(&self) -> &'static Location<'static> {
        self.record.site()
    }

    /// Its scheduler, while that exists.
    pub fn scheduler_id(&self) -> Option<SchedulerId> {
        (!self.inner.closed.get()).then(|| self.inner.home().id())
    }

    /// The stack it starts on, at least; if it is [swapped](crate::swapped), the slots'.
    pub fn stack_size(&self) -> StackSize {
        let fields = self.inner.local(&self.record);
        match fields.kind.get() {
            StackKind::Private => fields.stack_size.get(),
            StackKind::Swapped => self.inner.slot_size.get(),
        }
    }

    /// How much memory its stack takes, which is measured: about 1 us for a stack of the default size. `None` if it has not started or has ended,
    /// is the main tasklet, its scheduler is gone, and if the backend brings its own stacks.
    pub fn stack_usage(&self) -> Option<StackUsage> {
        if self.inner.closed.get() { None } else { self.inner.stack_usage_of(&self.record) }
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        if !self.is_alive() {
            State::Dead
        } else if self.is_current() {
            State::Running
        } else if self.inner.is_linked(&self.record) {
            State::Runnable
        } else {
            match self.park_reason() {
                None => State::Paused,
                Some(ParkReason::Channel { direction: Direction::Send, .. }) => State::BlockedSending,
                Some(ParkReason::Channel { direction: Direction::Receive, .. }) => State::BlockedReceiving,
                Some(_) => State::Blocked,
            }
        }
    }

    /// Has a closure to run, or has started and not ended.
    pub fn is_alive(&self) -> bool {
        !self.inner.closed.get() && self.inner.is_alive(&self.record)
    }

    /// Alive and in no list; also the caller of `run`.
    pub fn is_paused(&self) -> bool {
        self.state() == State::Paused
    }

    /// Waits in a channel or for a result.
    pub fn is_blocked(&self) -> bool {
        self.inner.is_blocked(&self.record)
    }

    /// In any list: the queue, or a channel's. Stackless's `scheduled`.
    pub fn is_scheduled(&self) -> bool {
        self.inner.is_linked(&self.record) || self.is_blocked()
    }

    /// The one that runs, on its scheduler.
    pub fn is_current(&self) -> bool {
        !self.inner.closed.get() && NonNull::from(&*self.record) == self.inner.running.get()
    }

    /// Stands for the host's own stack.
    pub fn is_main(&self) -> bool {
        self.inner.is_main(NonNull::from(&*self.record))
    }

    /// Why it waits, if it does.
    pub fn park_reason(&self) -> Option<ParkReason> {
        if self.is_blocked() { self.inner.local(&self.record).reason() } else { None }
    }

    /// The name of the channel it waits at, if it waits at one that was given a name.
    pub fn waits_for(&self) -> Option<String> {
        if self.is_blocked() { self.inner.local(&self.record).waits_for() } else { None }
    }

    /// The one after it in the queue; `None` if it is not in the queue.
    pub fn next(&self) -> Option<Tasklet> {
        self.neighbour(self.inner.local(&self.record).next.get())
    }

    /// The one before it in the queue; `None` if it is not in the queue.
    pub fn prev(&self) -> Option<Tasklet> {
        self.neighbour(self.inner.local(&self.record).prev.get())
    }

    fn neighbour(&self, record: Option<NonNull<Record>>) -> Option<Tasklet> {
        // SAFETY: a neighbour is linked, so the ring owns a count of it.
        record.map(|record| Tasklet::new(self.inner.share(unsafe { record.as_ref() }), self.inner.clone()))
    }

    /// Sets whether it is an error for this tasklet to block; returns what was set before.
    pub fn set_block_trap(&self, trapped: bool) -> bool {
        self.inner.local(&self.record).block_trap.replace(trapped)
    }

    /// Whether blocking is an error for this tasklet.
    pub fn block_trap(&self) -> bool {
        self.inner.local(&self.record).block_trap.get()
    }

    /// Whether a guard made by [`atomic`](super::atomic) is alive in this tasklet.
    pub fn is_atomic(&self) -> bool {
        self.inner.local(&self.record).atomic.get() != 0
    }

    /// Appends it to the queue. Does nothing if it is in the queue.
    ///
    /// # Scheduling
    ///
    /// Never switches.
    ///
    /// # Errors
    ///
    /// It is blocked or dead.
    pub fn insert(&self) -> Result<(), TaskletStateError> {
        if let Reach::Away = self.reach()? {
            return self.submit(Remote::Insert(self.record.clone()));
        }
        self.link()
    }

    fn link(&self) -> Result<(), TaskletStateError> {
        if self.inner.is_linked(&self.record) {
            Ok(())
        } else if self.inner.is_blocked(&self.record) {
            Err(TaskletStateError::Blocked)
        } else if self.inner.is_alive(&self.record) {
            self.inner.insert(&self.record);
            Ok(())
        } else {
            Err(TaskletStateError::Dead)
        }
    }

    /// Takes it out of the queue; it is paused. Does nothing if it is in no list.
    ///
    /// # Scheduling
    ///
    /// Never switches.
    ///
    /// # Errors
    ///
    /// It is blocked, or it is the one that runs, or another scheduler's tasklet calls.
    pub fn remove(&self) -> Result<(), TaskletStateError> {
        self.check_not_quiet()?;
        if let Reach::Away = self.reach()? {
            return Err(TaskletStateError::OtherScheduler);
        }
        if self.inner.is_blocked(&self.record) {
            return Err(TaskletStateError::Blocked);
        }
        if self.is_current() {
            return Err(TaskletStateError::Current);
        }
        if self.inner.is_linked(&self.record) {
            self.inner.pause(&self.record);
            if self.inner.local(&self.record).fiber.get().is_none() {
                self.inner.remember(&self.record);
            }
        }
        Ok(())
    }

    /// Runs it now: inserts it if it is paused, and switches to it.
    ///
    /// # Scheduling
    ///
    /// The caller stays in the queue. A target that is queued already is not moved: control jumps to its place, and the tasklets
    /// behind it run before the caller. In flat mode it is moved to the front, and the caller is last. See
    /// [`Scheduler::set_flat`](super::Scheduler::set_flat). If the target is the caller, it goes on.
    ///
    /// # Errors
    ///
    /// It is blocked or dead, or a switch is not allowed.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller while it has given way.
    pub fn run(&self) -> Result<(), TaskletStateError> {
        self.run_now(false)
    }

    /// As [`run`](Self::run), but the caller leaves the queue: it is paused until somebody brings it back.
    ///
    /// # Scheduling
    ///
    /// The target runs now, as by [`run`](Self::run). The caller runs when it has been brought back and its turn comes. If the target
    /// is the caller, it goes on.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and another scheduler's tasklet calls.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn switch(&self) -> Result<(), TaskletStateError> {
        self.run_now(true)
    }

    fn run_now(&self, leave: bool) -> Result<(), TaskletStateError> {
        if let Reach::Away = self.reach()? {
            if leave {
                return Err(TaskletStateError::OtherScheduler);
            }
            return self.submit(Remote::Run(self.record.clone()));
        }
        let inner = &*self.inner;
        inner.poll();
        if self.is_current() {
            if !leave {
                // No switch, but a moment at which a soft budget may end the run.
                Inner::raise(inner.switch_to(&self.record, NonNull::from(&*self.record), Kind::Free));
            }
            return Ok(());
        }
        if inner.is_blocked(&self.record) {
            return Err(TaskletStateError::Blocked);
        }
        if !inner.is_alive(&self.record) {
            return Err(TaskletStateError::Dead);
        }
        inner.may_switch()?;
        let caller = inner.current();
        self.link()?;
        if inner.flat.get() {
            inner.move_next(&self.record);
        }
        if leave {
            inner.hold(inner.ring.remove(caller, &inner.token));
        }
        Inner::raise(inner.switch_to(caller, NonNull::from(&*self.record), Kind::Free));
        Ok(())
    }

    /// Ends it by unwinding from where it waits: destructors run, in order. Does nothing if it is dead.
    ///
    /// A tasklet that has not started is dropped instead of run. One that catches the exit
    /// ([`TaskletExit`](tasklet_core::unwind::TaskletExit)) goes on living. One that is suspended below a foreign frame that cannot
    /// unwind (an `extern "C"` callback) aborts the process, as any panic through such a frame does.
    ///
    /// # Scheduling
    ///
    /// Switches to the tasklet at once. One that was blocked or paused gives control straight back when it is dead; for one that was
    /// queued, control jumps to its place, and the tasklets behind it run before the caller.
    ///
    /// # Panics
    ///
    /// Unwinds with the exit itself if the tasklet kills itself, else with what is thrown at the caller while it has given way.
    ///
    /// # Errors
    ///
    /// A switch is not allowed.
    pub fn kill(&self) -> Result<(), TaskletStateError> {
        self.throw(TaskletExit)
    }

    /// As [`kill`](Self::kill), but it dies when its turn comes; a queued tasklet keeps its place, another is appended.
    ///
    /// # Scheduling
    ///
    /// Never switches.
    ///
    /// # Panics
    ///
    /// Unwinds with the exit, at once, if the tasklet kills itself.
    ///
    /// # Errors
    ///
    /// None so far: what is dead, or gone with its scheduler, is killed already.
    pub fn kill_later(&self) -> Result<(), TaskletStateError> {
        self.throw_later(TaskletExit)
    }

    /// Raises a payload in it, where it waits. No panic hook runs.
    ///
    /// # Scheduling
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Panics
    ///
    /// Unwinds with the payload if the tasklet throws at itself, else with what is thrown at the caller while it has given way.
    ///
    /// # Errors
    ///
    /// It is dead and the payload is not an exit, or a switch is not allowed.
    pub fn throw(&self, payload: impl std::any::Any + Send) -> Result<(), TaskletStateError> {
        self.throw_payload(Box::new(payload), When::Now)
    }

    /// As [`throw`](Self::throw), but it is raised when the tasklet's turn comes. A later one replaces it.
    ///
    /// # Scheduling
    ///
    /// Never switches. A queued tasklet keeps its place, another is appended.
    ///
    /// # Panics
    ///
    /// Unwinds with the payload, at once, if the tasklet throws at itself.
    ///
    /// # Errors
    ///
    /// It is dead and the payload is not an exit.
    pub fn throw_later(&self, payload: impl std::any::Any + Send) -> Result<(), TaskletStateError> {
        self.throw_payload(Box::new(payload), When::Later)
    }

    fn throw_payload(&self, payload: Payload, when: When) -> Result<(), TaskletStateError> {
        match self.reach() {
            Ok(Reach::Here) => self.inner.throw(&self.record, payload, when),
            Ok(Reach::Away) => self.submit(Remote::Throw(self.record.clone(), payload)),
            // What is gone is dead: killing it does nothing.
            Err(_) if unwind::is_tasklet_exit(&payload) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives a tasklet that is dead or has not started another closure. It is paused; the handle and the identity stay.
    ///
    /// # Errors
    ///
    /// It is queued, blocked or running, has started, or was made with a join handle.
    pub fn bind(&self, f: impl FnOnce() + 'static) -> Result<(), TaskletStateError> {
        self.check_not_quiet()?;
        if let Reach::Away = self.reach()? {
            return Err(TaskletStateError::OtherScheduler);
        }
        if self.is_current() {
            return Err(TaskletStateError::Current);
        }
        if self.record.is_joinable() {
            return Err(TaskletStateError::Joinable);
        }
        let started = self.inner.local(&self.record).fiber.get().is_some();
        if started || self.is_scheduled() || self.is_main() {
            return Err(TaskletStateError::Alive);
        }
        self.record.clear_body(&self.inner.token);
        self.record.bind(&self.inner.token, f);
        self.inner.remember(&self.record);
        Ok(())
    }

    /// A handle for other threads.
    pub fn remote(&self) -> RemoteTasklet {
        RemoteTasklet::new(&self.record, self.inner.home())
    }
}

impl PartialEq for Tasklet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }
}

impl Eq for Tasklet {}

impl fmt::Debug for Tasklet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasklet")
            .field("id", &self.id().get())
            .field("name", &self.name())
            .field("state", &self.state())
            .field("reason", &self.park_reason())
            .field("waits_for", &self.waits_for())
            .field("site", &format_args!("{}", self.spawn_site()))
            .finish()
    }
}
