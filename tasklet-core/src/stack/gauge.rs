//! What counts against a ceiling on resident bytes, between one measuring and the next.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::{Kind, StackError};
use super::os;

/// Stacks without a page in memory that are handed out before the next measuring, at least; beyond that, as many as a quarter of those that
/// exist. To measure takes 0.4 us for each of those, so each that is handed out costs 1.6 us more.
const UNMEASURED: usize = 64;

/// Where the ceiling was found to be hit, it is not measured again for so many times as long as that took, unless something was given back.
const REST: u32 = 16;

/// An estimate of the memory in the slabs of a depot: what was measured, and a page for each stack that was handed out without one since.
#[derive(Debug)]
pub(super) struct Gauge {
    pub(super) ceiling: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes: usize,
    /// Stacks that may be handed out before the next measuring.
    left: usize,
    /// The ceiling is hit, and nothing was given back since.
    full_until: Option<Instant>,
}

impl Gauge {
    pub(super) fn new(ceiling: usize) -> Gauge {
        Gauge { ceiling, state: Mutex::new(State { bytes: 0, left: UNMEASURED, full_until: None }) }
    }

    /// How many of `want` stacks may be handed out now.
    ///
    /// # Errors
    ///
    /// None, before it was [measured](Self::set) again.
    pub(super) fn admit(&self, want: usize) -> Result<usize, StackError> {
        let state = self.state();
        match state.left.min(self.ceiling.saturating_sub(state.bytes) / os::page_size()) {
            0 => Err(Kind::Resident { resident: state.bytes, ceiling: self.ceiling }.into()),
            room => Ok(want.min(room)),
        }
    }

    /// So many were handed out that had no page in memory.
    pub(super) fn add_cold(&self, stacks: usize) {
        let mut state = self.state();
        state.bytes += stacks * os::page_size();
        state.left = state.left.saturating_sub(stacks);
    }

    /// So much was given back to the system. Zero if stacks came back with their pages.
    pub(super) fn subtract(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.full_until = None;
    }

    /// Whether to measure is worth its time.
    pub(super) fn is_worth_measuring(&self) -> bool {
        self.state().full_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Whether a depot with so many bytes in memory has no room for a page more.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        bytes.saturating_add(os::page_size()) > self.ceiling
    }

    /// It was measured, with so many stacks that exist, which took so long.
    pub(super) fn set(&self, bytes: usize, stacks: usize, took: Duration) {
        let full_until = self.is_full(bytes).then(|| Instant::now() + took * REST);
        *self.state() = State { bytes, left: UNMEASURED.max(stacks / 4), full_until };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
