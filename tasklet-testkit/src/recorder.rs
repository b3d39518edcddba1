//! A list of what happened, in order: what tests of an order assert.

use std::cell::RefCell;
use std::rc::Rc;

/// Records events; clones write to the same list.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Rc<RefCell<Vec<String>>>);

impl Recorder {
    /// An empty list.
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// Appends an event.
    pub fn log(&self, event: impl Into<String>) {
        self.0.borrow_mut().push(event.into());
    }

    /// The events so far, separated by spaces; the list is empty afterwards.
    pub fn take(&self) -> String {
        self.0.take().join(" ")
    }

    /// Compares the events since the last look with those expected, separated by spaces.
    ///
    /// # Panics
    ///
    /// They differ.
    #[track_caller]
    pub fn assert(&self, expected: &str) {
        assert_eq!(self.take(), expected);
    }
}
