//! Leaving the queue until somebody brings a value: Stackless's `schedule_remove` and `tempval`, with a type.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use tasklet_core::park::ParkError;

use super::tasklet::Tasklet;

/// The right to bring one suspended tasklet back, once, with a value. Made by [`suspend`](super::suspend).
///
/// Dropping it brings the tasklet back without a value.
pub struct Resumer<T> {
    tasklet: Tasklet,
    slot: Rc<Cell<Slot<T>>>,
}

pub(super) enum Slot<T> {
    Waiting,
    Value(T),
    Abandoned,
}

/// A suspended tasklet came back without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuspendError {
    /// The resumer was dropped.
    Abandoned,
    /// Somebody inserted or ran the tasklet, not its resumer.
    Inserted,
    /// It could not leave the queue.
    Park(ParkError),
}

impl fmt::Display for SuspendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SuspendError::Abandoned => f.write_str("the resumer of the suspended tasklet was dropped"),
            SuspendError::Inserted => {
                f.write_str("the suspended tasklet was brought back by somebody else than its resumer")
            }
            SuspendError::Park(error) => write!(f, "could not suspend the tasklet: {error}"),
        }
    }
}

impl std::error::Error for SuspendError {}

impl<T> Resumer<T> {
    pub(super) fn new(tasklet: Tasklet) -> (Resumer<T>, Rc<Cell<Slot<T>>>) {
        let slot = Rc::new(Cell::new(Slot::Waiting));
        (Resumer { tasklet, slot: slot.clone() }, slot)
    }

    /// The tasklet that waits.
    pub fn tasklet(&self) -> &Tasklet {
        &self.tasklet
    }

    /// Brings the tasklet back with a value: it is appended to the queue. A tasklet that has died gets nothing, and the value is
    /// dropped.
    ///
    /// # Scheduling
    ///
    /// Never switches.
    pub fn resume(self, value: T) {
        self.slot.set(Slot::Value(value));
    }
}

impl<T> Drop for Resumer<T> {
    fn drop(&mut self) {
        if let Slot::Value(value) = self.slot.replace(Slot::Abandoned) {
            self.slot.set(Slot::Value(value));
        }
        // Whoever waits holds the slot. If nobody does, the tasklet is back already, or dead, and may wait for somebody else.
        if Rc::strong_count(&self.slot) > 1 {
            // If it has not left the queue yet, it finds the slot filled.
            let _ = self.tasklet.insert();
        }
    }
}

impl<T> fmt::Debug for Resumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resumer").field(&self.tasklet).finish()
    }
}

/// What a tasklet that is back finds.
pub(super) fn outcome<T>(slot: &Cell<Slot<T>>) -> Result<T, SuspendError> {
    match slot.replace(Slot::Waiting) {
        Slot::Value(value) => Ok(value),
        Slot::Abandoned => Err(SuspendError::Abandoned),
        Slot::Waiting => Err(SuspendError::Inserted),
    }
}
