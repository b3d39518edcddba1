//! Who of a runtime's workers has come and gone, and how far its end has come. The protocol is in the README beside this.

#[cfg(all(test, loom))]
mod models;

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::primitive::{Condvar, Mutex, MutexGuard};

pub(super) struct Crew {
    /// Relaxed, all of it: it publishes nothing. Who has to see it does by the lock (C1) or by fences (C3).
    phase: AtomicU8,
    working: Mutex<Working>,
    gone: Condvar,
}

/// Who works.
struct Working {
    stages: Vec<Stage>,
    /// Workers that are about to leave, or have.
    leaving: usize,
    /// Workers that have not gone.
    left: usize,
}

/// How far a worker has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No thread has come for it.
    Waiting,
    /// A thread runs it.
    Running,
    /// It has exited, or is not waited for any more.
    Gone,
}

/// How far the end of a runtime has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// It runs.
    Open,
    /// What is left is killed.
    Closing,
    /// The time is up: what has not ended is leaked.
    Leaking,
}

impl Crew {
    pub(super) fn new(workers: usize) -> Crew {
        Crew {
            phase: AtomicU8::new(Phase::Open as u8),
            working: Mutex::new(Working { stages: vec![Stage::Waiting; workers], leaving: 0, left: workers }),
            gone: Condvar::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Open,
            1 => Phase::Closing,
            _ => Phase::Leaking,
        }
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Open as u8
    }

    /// Moves the end on. Returns the workers that no thread has come for: they are not waited for any more, and the caller has them [leave](Self::leave).
    /// Those that run are to be told.
    pub(super) fn advance(&self, to: Phase) -> Vec<usize> {
        self.phase.fetch_max(to as u8, Ordering::Relaxed);
        // With the lock, after the phase was set: who comes later finds its place gone or, in `enter`, the phase.
        let mut given_up = Vec::new();
        for (index, stage) in self.working().stages.iter_mut().enumerate() {
            if *stage == Stage::Waiting {
                *stage = Stage::Gone;
                given_up.push(index);
            }
        }
        given_up
    }

    /// A thread comes for a worker. False if it is too late: the runtime ends.
    pub(super) fn start(&self, index: usize) -> bool {
        let stage = &mut self.working().stages[index];
        let is_in_time = *stage == Stage::Waiting;
        if is_in_time {
            *stage = Stage::Running;
        }
        is_in_time
    }

    /// `enter` says where a worker that has started can be told something. Returns whether it is to end at once: then nobody may have told it.
    pub(super) fn enter(&self, enter: impl FnOnce()) -> bool {
        let working = self.working();
        enter();
        drop(working);
        self.phase() != Phase::Open
    }

    /// Whether a worker is waited for. If so, it is until it has [exited](Self::exit).
    pub(super) fn awaits(&self, index: usize) -> bool {
        let stage = &mut self.working().stages[index];
        let is_awaited = *stage != Stage::Gone;
        if is_awaited {
            *stage = Stage::Running;
        }
        is_awaited
    }

    /// A worker has exited, or will not start. The runtime is closed, or others work on. Returns whether it was waited for: then the caller has it
    /// [leave](Self::leave).
    pub(super) fn exit(&self, index: usize) -> bool {
        std::mem::replace(&mut self.working().stages[index], Stage::Gone) != Stage::Gone
    }

    /// Nobody waits for so many workers any more. `clear` is called if they are the last, with no lock held: whatever is left is nobody's.
    pub(super) fn leave(&self, workers: usize, clear: impl FnOnce()) {
        if workers == 0 {
            return;
        }
        let mut working = self.working();
        working.leaving += workers;
        if working.leaving == working.stages.len() {
            drop(working);
            clear();
            working = self.working();
        }
        working.left -= workers;
        drop(working);
        self.gone.notify_all();
    }

    /// Waits until all workers have gone, or for `limit`. Returns whether they have.
    pub(super) fn wait(&self, limit: Option<Duration>) -> bool {
        // What is too far away to be told is as good as no limit.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut working = self.working();
        while working.left != 0 {
            working = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.gone.wait(working).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(rest) => self.gone.wait_timeout(working, rest).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    fn working(&self) -> MutexGuard<'_, Working> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
