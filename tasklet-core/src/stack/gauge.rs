//! What counts against a ceiling on resident bytes, between one measuring and the next.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::{Kind, StackError};
use super::os;

/// Stacks without a page in memory that are handed out before the next measuring, at least; beyond that, as many as a quarter of those that
/// exist. To measure takes 0.4 us for each of those, so each that is handed out costs 1.6 us more.
const UNMEASURED: usize = 64;

/// Where the ceiling was found to be hit, it is not measured again for so many times as long as that took, at first and at most: twice as many each
/// time that it was found to be hit although nothing has made room meanwhile. In between, what is given back is known without measuring.
const REST: [u32; 2] = [16, 1024];

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
    /// The ceiling was hit when it was measured last, and it is not measured again before that.
    full_until: Option<Instant>,
    /// How many times as long as that took; zero if there has been room since.
    rest: u32,
}

impl State {
    /// Pages for which there is room under a ceiling.
    fn room(&self, ceiling: usize) -> usize {
        ceiling.saturating_sub(self.bytes) / os::page_size()
    }
}

impl Gauge {
    pub(super) fn new(ceiling: usize) -> Gauge {
        Gauge { ceiling, state: Mutex::new(State { bytes: 0, left: UNMEASURED, full_until: None, rest: 0 }) }
    }

    /// How many of `want` stacks may be handed out now.
    ///
    /// # Errors
    ///
    /// None, before it was [measured](Self::set) again.
    pub(super) fn admit(&self, want: usize) -> Result<usize, StackError> {
        let state = self.state();
        match state.left.min(state.room(self.ceiling)) {
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

    /// So much was given back to the system.
    pub(super) fn subtract(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
        if state.room(self.ceiling) != 0 {
            state.rest = 0;
        }
    }

    /// Whether to measure is worth its time: as many were handed out as may be without, or the ceiling may not be hit any more.
    pub(super) fn is_worth_measuring(&self) -> bool {
        let state = self.state();
        state.room(self.ceiling) != 0 || state.full_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Whether a depot with so many bytes in memory has no room for a page more.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        bytes.saturating_add(os::page_size()) > self.ceiling
    }

    /// It was measured, with so many stacks that exist, which took so long.
    pub(super) fn set(&self, bytes: usize, stacks: usize, took: Duration) {
        let mut state = self.state();
        let rest = if self.is_full(bytes) { (state.rest * 2).clamp(REST[0], REST[1]) } else { 0 };
        let full_until = (rest != 0).then(|| Instant::now() + took * rest);
        *state = State { bytes, left: UNMEASURED.max(stacks / 4), full_until, rest };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_given_back_makes_room_without_measuring_and_less_does_not() {
        let page = os::page_size();
        let gauge = Gauge::new(100 * page);
        gauge.set(100 * page, 100, HOUR);
        assert!(gauge.admit(1).is_err() && !gauge.is_worth_measuring(), "it was just found to be full");
        gauge.subtract(0);
        gauge.subtract(page - 1);
        assert!(gauge.admit(1).is_err() && !gauge.is_worth_measuring(), "less than a page was given back");
        gauge.subtract(1);
        assert_eq!(gauge.admit(5).unwrap(), 1);
        gauge.add_cold(1);
        assert!(gauge.admit(1).is_err() && !gauge.is_worth_measuring(), "what there was is used");
        gauge.subtract(80 * page);
        assert_eq!(gauge.admit(100).unwrap(), UNMEASURED - 1);
        gauge.add_cold(UNMEASURED - 1);
        assert!(gauge.admit(1).is_err() && gauge.is_worth_measuring(), "there may be room");
    }

    #[test]
    fn pauses_grow_as_long_as_nothing_makes_room() {
        let page = os::page_size();
        let gauge = Gauge::new(page);
        let pause = || {
            let before = Instant::now();
            gauge.set(page, 1, HOUR);
            let until = gauge.state().full_until.unwrap();
            ((until - before).as_secs() / 3600) as u32
        };
        let pauses: Vec<u32> = (0..9).map(|_| pause()).collect();
        assert_eq!(pauses, [16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
        gauge.subtract(page);
        assert_eq!(pause(), 16);
        gauge.set(0, 1, HOUR);
        assert!(gauge.state().full_until.is_none());
        assert_eq!(pause(), 16);
    }
}
