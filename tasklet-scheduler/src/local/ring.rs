//! The queue of runnable tasklets: a circle with a pointer to the current one.
//!
//! "The end of the queue" is the place just before the current tasklet. Rules R1-R3 of the Stackless order are the primitives here;
//! everything else is built on them.
//!
//! # Invariants
//!
//! - **L1** A record's `next` and `prev` are set exactly while it is linked in the ring of its home, and the ring then owns one
//!   strong count of it. It was compared with the home's token when it was inserted.
//! - **L2** `current` is linked, unless the ring is empty.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;

use tasklet_core::home::HomeToken;
use tasklet_core::tasklet::{Local, Record};

pub(super) struct Ring {
    current: Cell<Option<NonNull<Record>>>,
    len: Cell<usize>,
    /// The host is to be told of what is linked: it waits, or is about to.
    tells: Cell<bool>,
}

/// What the ring may touch of a record that it links.
#[inline]
fn local(record: &NonNull<Record>) -> &Local {
    // SAFETY: L1, the ring owns a count of every record it links, and the borrow is as short as the caller's use; it was found to
    // belong to the ring's home when it was inserted, and the ring is used by that home alone.
    unsafe { record.as_ref().local_unchecked() }
}

impl Ring {
    pub(super) fn new() -> Ring {
        Ring { current: Cell::new(None), len: Cell::new(0), tells: Cell::new(false) }
    }

    /// Notifies the driver of the next that is linked behind the current one, once.
    pub(super) fn set_tells(&self, tells: bool) {
        self.tells.set(tells);
    }

    #[cold]
    fn tell(&self, token: &HomeToken) {
        self.tells.set(false);
        token.home().notify();
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    pub(super) fn current(&self) -> Option<NonNull<Record>> {
        self.current.get()
    }

    /// Makes a linked record the current one without moving anything.
    pub(super) fn set_current(&self, record: NonNull<Record>) {
        self.current.set(Some(record));
    }

    /// Whether a record is linked.
    #[inline]
    pub(super) fn is_linked(&self, record: &Record, token: &HomeToken) -> bool {
        record.local(token).next.get().is_some()
    }

    /// The one after a linked record.
    #[inline]
    pub(super) fn next(&self, record: &Record, token: &HomeToken) -> Option<NonNull<Record>> {
        record.local(token).next.get()
    }

    /// Links a record at the end of the queue (R1). If the ring was empty, it becomes the current one.
    #[inline]
    pub(super) fn insert(&self, record: Arc<Record>, token: &HomeToken) -> NonNull<Record> {
        match self.current.get() {
            Some(current) => self.link_before(record, current, token),
            None => {
                assert!(record.local(token).next.get().is_none(), "a record is linked once");
                let new = into_raw(record, token);
                let fields = local(&new);
                fields.next.set(Some(new));
                fields.prev.set(Some(new));
                self.current.set(Some(new));
                self.len.set(1);
                new
            }
        }
    }

    /// Links a record just after the current one.
    #[inline]
    pub(super) fn insert_next(&self, record: Arc<Record>, token: &HomeToken) -> NonNull<Record> {
        match self.current.get() {
            Some(current) => {
                let after = local(&current).next.get().unwrap_or(current);
                self.link_before(record, after, token)
            }
            None => self.insert(record, token),
        }
    }

    /// Links a record just before a linked one.
    #[inline]
    pub(super) fn link_before(&self, record: Arc<Record>, at: NonNull<Record>, token: &HomeToken) -> NonNull<Record> {
        let new = into_raw(record, token);
        let fields = local(&new);
        assert!(fields.next.get().is_none(), "a record is linked once");
        let right = local(&at);
        let left = right.prev.get().unwrap_or(at);
        fields.prev.set(Some(left));
        fields.next.set(Some(at));
        right.prev.set(Some(new));
        local(&left).next.set(Some(new));
        self.len.set(self.len.get() + 1);
        if self.tells.get() {
            self.tell(token);
        }
        new
    }

    /// Unlinks a linked record. If it was the current one, its successor becomes current (R2).
    #[inline]
    pub(super) fn remove(&self, record: &Record, token: &HomeToken) -> Arc<Record> {
        let fields = record.local(token);
        let (Some(next), Some(prev)) = (fields.next.take(), fields.prev.take()) else {
            unreachable!("only a linked record is removed");
        };
        let this = NonNull::from(record);
        if next == this {
            self.current.set(None);
        } else {
            local(&prev).next.set(Some(next));
            local(&next).prev.set(Some(prev));
            if self.current.get() == Some(this) {
                self.current.set(Some(next));
            }
        }
        self.len.set(self.len.get() - 1);
        // SAFETY: L1, the record was linked, so the ring owned the count that `into_raw` gave up; it is not linked any more.
        unsafe { Arc::from_raw(this.as_ptr()) }
    }

    /// All linked records, from the current one on.
    pub(super) fn snapshot(&self) -> Vec<Arc<Record>> {
        let mut records = Vec::with_capacity(self.len.get());
        let mut at = self.current.get();
        while let Some(record) = at {
            // SAFETY: L1, a linked record has a strong count that the ring owns.
            records.push(unsafe {
                Arc::increment_strong_count(record.as_ptr());
                Arc::from_raw(record.as_ptr())
            });
            at = local(&record).next.get().filter(|next| Some(*next) != self.current.get());
        }
        records
    }
}

/// Takes over a count, of a record that belongs to the token's home (L1).
#[inline]
fn into_raw(record: Arc<Record>, token: &HomeToken) -> NonNull<Record> {
    record.local(token);
    // The pointer comes from an `Arc`, so it is not null.
    NonNull::new(Arc::into_raw(record).cast_mut()).expect("records have an address")
}
