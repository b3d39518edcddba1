//! What the timers of a worker do, and how late they may be.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tasklet_core::tasklet::Record;

/// What happens when the time has come.
pub(super) enum Timer {
    /// The wait of a tasklet ends.
    Wait(Arc<Record>),
    /// A `timeout` of a tasklet, by its number, is over.
    Elapsed(Arc<Record>, u64),
    /// Async code goes on.
    Wake(Waker),
}

/// A sleep may end later than asked for by this part of its length, so that timers of the same magnitude go off together: each wakes
/// its worker, which costs more than what most tasklets then do.
const SLACK_PART: u32 = 32;

/// The time at which a timer goes off that is asked for at `at`: up to a 32nd of its length later, and `limit` at most.
pub(super) fn coalesced(at: Duration, now: Duration, limit: Duration) -> Duration {
    let slack = (at.saturating_sub(now) / SLACK_PART).min(limit);
    // The same steps for all timers of a magnitude: powers of two.
    let step = match slack.as_nanos() {
        0 | 1 => return at,
        nanos => 1u128 << nanos.ilog2(),
    };
    let rounded = at.as_nanos().next_multiple_of(step);
    u64::try_from(rounded).map_or(at, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_go_off_together_and_little_late() {
        let (now, limit) = (Duration::from_millis(5), Duration::from_millis(1));
        let mut times = std::collections::BTreeSet::new();
        for micros in 0..1_000_000u64 {
            let asked = now + Duration::from_micros(micros);
            let at = coalesced(asked, now, limit);
            assert!(at >= asked && at - asked <= limit && at - asked <= Duration::from_micros(micros) / SLACK_PART);
            times.insert(at);
        }
        assert!(times.len() < 4000, "{} times", times.len());
        let exact = now + Duration::from_nanos(123_456_789);
        assert_eq!(coalesced(exact, now, Duration::ZERO), exact);
        assert_eq!(coalesced(Duration::MAX, now, limit), Duration::MAX);
    }
}
