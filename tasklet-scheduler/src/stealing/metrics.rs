//! Figures of a runtime.

use std::sync::atomic::Ordering;

use tasklet_core::stack::StackStats;

use super::blocking::PoolStats;
use super::shared::Shared;
use crate::swapped::SlotStats;

/// What a runtime has done and holds. The counts of different workers are read one after the other: they add up exactly when nothing runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Tasklets made, soft ones included.
    pub spawned: u64,
    /// Tasklets that have begun to run, polls of soft ones and taken halves of [`join`](super::join) included.
    pub started: u64,
    /// The same, that have ended; and those that could not start.
    pub finished: u64,
    /// Times a worker took something from another's deque.
    pub stolen: u64,
    /// Polls of soft tasklets.
    pub polled: u64,
    /// Times a worker waited on its driver.
    pub slept: u64,
    /// Bytes of stacks in use, slots among them, that were given back to the system: see [`Handle::trim`](super::Handle::trim). What was given back for want of a
    /// stack is not counted.
    pub trimmed: u64,
    /// Workers that sleep.
    pub sleeping: usize,
    /// Tasklets that were leaked, since they would not end.
    pub leaked: u64,
    /// Tasks in the injector and in the workers' deques: nobody has begun them.
    pub queued: usize,
    /// Stacks, if the backend uses ours.
    pub stacks: StackStats,
    /// What the slots of [swapped](crate::swapped) tasklets hold, as each worker has seen it before it slept, or at most 32 choices ago.
    pub swapped: SlotStats,
    /// Threads and calls of [`blocking`](super::blocking).
    pub blocking: PoolStats,
}

impl Metrics {
    pub(super) fn of(shared: &Shared) -> Metrics {
        let sum = |of: fn(&super::shared::Counters) -> u64| -> u64 {
            shared.seats.iter().map(|seat| of(&seat.counters)).sum()
        };
        Metrics {
            spawned: shared.spawned_outside.load(Ordering::Relaxed) + sum(|counters| counters.spawned.get()),
            started: sum(|counters| counters.started.get()),
            finished: sum(|counters| counters.finished.get()),
            stolen: sum(|counters| counters.stolen.get()),
            polled: sum(|counters| counters.polled.get()),
            slept: sum(|counters| counters.slept.get()),
            trimmed: sum(|counters| counters.trimmed.get()),
            sleeping: shared.sleep.sleeping(),
            leaked: shared.leaked.load(Ordering::Relaxed),
            queued: shared.injector.len() + shared.seats.iter().map(|seat| seat.stealer.len()).sum::<usize>(),
            stacks: shared.config.depot.stats(),
            swapped: SlotStats {
                slots: sum(|counters| counters.slots.get()) as usize,
                tasklets: sum(|counters| counters.seats.get()) as usize,
                bytes: sum(|counters| counters.copied.get()) as usize,
            },
            blocking: shared.config.pool.stats(),
        }
    }
}
