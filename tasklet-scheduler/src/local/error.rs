//! What can go wrong in the local scheduler, one type per kind of operation.

use std::fmt;

use tasklet_core::id::TaskletId;
use tasklet_core::park::ParkError;
use tasklet_core::stack::StackError;
use tasklet_core::unwind::{self, Payload};

/// An operation on a tasklet was refused. Queue, channels and tasklets are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskletStateError {
    /// It waits in a channel or for a result; only its partner, kill and throw may wake it.
    Blocked,
    /// It has no closure: it was never bound, or it has finished.
    Dead,
    /// It has a closure already, or is running or queued.
    Alive,
    /// It is the tasklet that runs.
    Current,
    /// It was made with a join handle, which is bound to one result.
    Joinable,
    /// It belongs to another scheduler, and the operation works within one only.
    OtherScheduler,
    /// Its scheduler is gone.
    NoScheduler,
    /// The operation would switch, and may not.
    Park(ParkError),
}

impl From<ParkError> for TaskletStateError {
    fn from(error: ParkError) -> Self {
        TaskletStateError::Park(error)
    }
}

impl fmt::Display for TaskletStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskletStateError::Blocked => "the tasklet is blocked; only its partner, kill and throw may wake it",
            TaskletStateError::Dead => "the tasklet is dead: it was never bound or has finished",
            TaskletStateError::Alive => "the tasklet is alive and cannot be bound",
            TaskletStateError::Current => "the tasklet is the one that runs",
            TaskletStateError::Joinable => "a tasklet with a join handle cannot be bound again",
            TaskletStateError::OtherScheduler => "the tasklet belongs to a different scheduler",
            TaskletStateError::NoScheduler => "the tasklet's scheduler is gone",
            TaskletStateError::Park(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for TaskletStateError {}

/// A tasklet ended with a panic or an interrupt that nobody caught.
pub struct TaskletError {
    id: TaskletId,
    name: Option<String>,
    payload: Payload,
}

impl TaskletError {
    pub(super) fn new(id: TaskletId, name: Option<String>, payload: Payload) -> TaskletError {
        TaskletError { id, name, payload }
    }

    /// Which tasklet.
    pub fn id(&self) -> TaskletId {
        self.id
    }

    /// Its name, if it had one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The text of the panic, if it has one.
    pub fn message(&self) -> &str {
        unwind::message(&self.payload)
    }

    /// What it ended with.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// What it ended with, to be raised again with [`std::panic::resume_unwind`] or examined.
    pub fn into_payload(self) -> Payload {
        self.payload
    }
}

impl fmt::Display for TaskletError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "tasklet '{name}' (id {}) failed: {}", self.id, self.message()),
            None => write!(f, "tasklet {} failed: {}", self.id, self.message()),
        }
    }
}

impl fmt::Debug for TaskletError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskletError({self})")
    }
}

impl std::error::Error for TaskletError {}

/// Why [`run`](super::run) came back other than by itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A tasklet failed and nobody handled it. The others are still queued, in order; `run` can be called again.
    Tasklet(TaskletError),
    /// A tasklet could not start for want of a stack. It is still queued, and so are the others; `run` can be called again when
    /// memory or a limit allows.
    Stack {
        /// The tasklet that could not start.
        tasklet: TaskletId,
        /// What limit was hit.
        error: StackError,
    },
    /// The caller may not switch.
    Park(ParkError),
    /// A budget that can never be used up or is empty.
    Budget(&'static str),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Tasklet(error) => error.fmt(f),
            RunError::Stack { tasklet, error } => write!(f, "tasklet {tasklet} could not start: {error}"),
            RunError::Park(error) => write!(f, "could not run tasklets: {error}"),
            RunError::Budget(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Stack { error, .. } => Some(error),
            RunError::Park(error) => Some(error),
            RunError::Tasklet(_) | RunError::Budget(_) => None,
        }
    }
}
