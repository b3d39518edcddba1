//! All soft tasklets of a runtime that have not ended, for its end: lists through the tasklets themselves, each behind a lock of its own.
//!
//! # Invariant
//!
//! **SR** A tasklet that is linked has not been freed, nor has what it keeps of its runtime: whoever drops its future takes it out of the list
//! before. The lists own no count; so whoever finds one there gets one only if there is another left.

use std::ptr::NonNull;
use std::sync::PoisonError;

use crossbeam_utils::CachePadded;

use super::cell::{Header, Soft};
use crate::primitive::{Mutex, MutexGuard};

/// A power of two: more than most machines have workers that make and end soft tasklets all the time, each of which has one list for 256 of
/// them. A model has one, where all meet.
const SHARDS: usize = if cfg!(loom) { 1 } else { 16 };

/// Where a soft tasklet is in its list. Behind the list's lock.
#[derive(Default)]
pub(super) struct Links {
    next: Option<NonNull<Header>>,
    prev: Option<NonNull<Header>>,
}

#[derive(Default)]
struct List {
    first: Option<NonNull<Header>>,
}

// SAFETY: soft tasklets may be reached by any thread, and their links are behind the list's lock.
unsafe impl Send for List {}

/// All soft tasklets that have not ended.
#[derive(Default)]
pub(in crate::stealing) struct Registry {
    lists: [CachePadded<Mutex<List>>; SHARDS],
}

impl Registry {
    /// The list of one. Identities come in blocks of 256, each of which one worker gives out.
    fn list_of(&self, soft: &Header) -> MutexGuard<'_, List> {
        lock(&self.lists[(soft.promised.id().get() / 256) as usize % self.lists.len()])
    }

    /// Enters one, which has its future.
    pub(super) fn add(&self, soft: &Soft) {
        let at = soft.header();
        let mut list = self.list_of(soft);
        let first = list.first.replace(at);
        // SAFETY: the list's lock is held, and SR.
        unsafe {
            (*soft.links.get()).next = first;
            if let Some(first) = first {
                (*Header::at(first).links.get()).prev = Some(at);
            }
        }
    }

    /// Takes one out, if the end of the runtime has not.
    pub(super) fn remove(&self, soft: &Header) {
        self.list_of(soft).remove(soft);
    }

    #[cfg(all(test, loom))]
    pub(super) fn is_empty(&self) -> bool {
        self.lists.iter().all(|list| lock(list).first.is_none())
    }

    /// Drops the futures of all that are not being polled.
    pub(in crate::stealing) fn discard_all(&self) {
        for list in &self.lists {
            loop {
                let mut locked = lock(list);
                let Some(first) = locked.first else { break };
                // SAFETY: SR.
                let soft = unsafe {
                    locked.remove(Header::at(first));
                    Soft::upgrade(first)
                };
                drop(locked);
                // The user's code: not under the lock.
                if let Some(soft) = soft {
                    soft.discard();
                }
            }
        }
    }
}

impl List {
    fn remove(&mut self, soft: &Header) {
        let at = NonNull::from(soft);
        // SAFETY: the list's lock is held, and SR, for this one and its neighbours.
        unsafe {
            let Links { next, prev } = std::mem::take(&mut *soft.links.get());
            match prev {
                Some(prev) => (*Header::at(prev).links.get()).next = next,
                None if self.first == Some(at) => self.first = next,
                None => return,
            }
            if let Some(next) = next {
                (*Header::at(next).links.get()).prev = prev;
            }
        }
    }
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    // Nothing panics while the lock is held.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
