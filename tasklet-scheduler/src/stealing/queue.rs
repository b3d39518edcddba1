//! The tasklets of one worker that can go on, first in, first out, and the hand-off slot before them.
//!
//! The slot holds the tasklet that a value was just handed to: its data is in the cache, so it goes next. At most
//! [`SLOT_STREAK`] in a row go by the slot, then one by the queue, so that a pair that talks all the time starves nobody.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::sync::Arc;

use tasklet_core::tasklet::Record;

/// Tasklets in a row that go on by the slot. A guess: it makes the bound small and a talking pair alone does not notice.
pub(super) const SLOT_STREAK: u32 = 8;

#[derive(Default)]
pub(super) struct Queue {
    /// Borrowed for the time of one method below, none of which calls anything that could come back here: a record that is moved or
    /// looked at runs no code.
    items: UnsafeCell<VecDeque<Arc<Record>>>,
    slot: Cell<Option<Arc<Record>>>,
    streak: Cell<u32>,
}

impl Queue {
    #[expect(clippy::mut_from_ref, reason = "see the field")]
    #[inline(always)]
    fn items(&self) -> &mut VecDeque<Arc<Record>> {
        // SAFETY: `Queue` is not `Sync`, and callers end the borrow before they call anything else, as the field says.
        unsafe { &mut *self.items.get() }
    }

    /// Appends a tasklet.
    #[inline]
    pub(super) fn push(&self, record: Arc<Record>) {
        self.items().push_back(record);
    }

    /// A value was handed to this one: it goes next. Who was to go next is appended.
    #[inline]
    pub(super) fn push_next(&self, record: Arc<Record>) {
        if let Some(before) = self.slot.replace(Some(record)) {
            self.push(before);
        }
    }

    /// The next tasklet.
    #[inline]
    pub(super) fn pop(&self) -> Option<Arc<Record>> {
        if let Some(record) = self.slot.take() {
            let streak = self.streak.get();
            if streak < SLOT_STREAK || self.items().is_empty() {
                self.streak.set(streak + 1);
                return Some(record);
            }
            self.push(record);
        }
        self.streak.set(0);
        self.items().pop_front()
    }

    /// Tasklets that can go on.
    pub(super) fn len(&self) -> usize {
        let slot = self.slot.take();
        let len = self.items().len() + usize::from(slot.is_some());
        self.slot.set(slot);
        len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one that comes up some places behind the next, to be fetched into the cache by then.
    #[inline]
    pub(super) fn ahead(&self, places: usize) -> Option<&Record> {
        let record = self.items().get(places)?;
        // SAFETY: the queue owns a count of it, and the caller looks at it at once.
        Some(unsafe { &*Arc::as_ptr(record) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasklet_core::driver::{Driver, ThreadDriver};
    use tasklet_core::home::Home;
    use tasklet_core::id::TaskletIds;
    use tasklet_core::tasklet::Spec;

    #[test]
    fn the_slot_goes_first_and_not_for_ever() {
        let token = Home::new(ThreadDriver::default().notifier());
        let mut ids = TaskletIds::default();
        let mut record = || Record::unbound(ids.next_id(), Spec::here(), &token);
        let (waiting, hot) = (record(), record());
        let queue = Queue::default();
        queue.push(waiting.clone());
        let mut turns = 0;
        loop {
            queue.push_next(hot.clone());
            let next = queue.pop().unwrap();
            if Arc::ptr_eq(&next, &waiting) {
                break;
            }
            turns += 1;
        }
        assert_eq!(turns, SLOT_STREAK);
        // The one that had to let it go first is there still, and only once.
        assert!(queue.pop().is_some_and(|next| Arc::ptr_eq(&next, &hot)));
        assert!(queue.pop().is_none());
    }
}
