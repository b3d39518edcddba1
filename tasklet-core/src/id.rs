//! Identities: 64 bits wide, handed out once, never reused.
//!
//! Tasklets, channels and schedulers are named by number in dumps, hooks and errors, across schedulers and threads, so the
//! counters are the process's. Nothing else in this crate is.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $counter:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        static $counter: AtomicU64 = AtomicU64::new(1);

        impl $name {
            /// The number; never zero.
            pub const fn get(self) -> u64 {
                self.0.get()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

identity! {
    /// Names a tasklet.
    TaskletId, NEXT_TASKLET
}
identity! {
    /// Names a channel.
    ChannelId, NEXT_CHANNEL
}
identity! {
    /// Names a scheduler.
    SchedulerId, NEXT_SCHEDULER
}

/// Takes `count` numbers. Wrapping would need centuries of spawning.
fn take(counter: &AtomicU64, count: u64) -> NonZeroU64 {
    NonZeroU64::new(counter.fetch_add(count, Ordering::Relaxed)).expect("64-bit identities are exhausted")
}

impl ChannelId {
    /// The next unused identity.
    pub fn next() -> ChannelId {
        ChannelId(take(&NEXT_CHANNEL, 1))
    }
}

impl SchedulerId {
    /// The next unused identity.
    pub fn next() -> SchedulerId {
        SchedulerId(take(&NEXT_SCHEDULER, 1))
    }
}

/// Hands out tasklet identities to one scheduler, in blocks, so that spawning on many threads does not fight for one counter.
#[derive(Debug, Default)]
pub struct TaskletIds {
    next: u64,
    end: u64,
}

impl TaskletIds {
    /// Identities taken from the process's counter at a time: a guess, large enough to make the shared counter free.
    const BLOCK: u64 = 256;

    /// The next unused identity.
    #[inline]
    pub fn next_id(&mut self) -> TaskletId {
        if self.next == self.end {
            self.next = take(&NEXT_TASKLET, Self::BLOCK).get();
            self.end = self.next + Self::BLOCK;
        }
        let id = self.next;
        self.next += 1;
        TaskletId(NonZeroU64::new(id).expect("blocks start above zero"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identities_of_two_owners_never_meet() {
        let (mut a, mut b) = (TaskletIds::default(), TaskletIds::default());
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(a.next_id()));
            assert!(seen.insert(b.next_id()));
        }
    }
}
