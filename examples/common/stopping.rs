//! How a server is told to end.

use std::time::Duration;

use tasklet::signal::Signals;
use tasklet::sleep;

/// Between two looks for a signal, where it cannot be waited for.
const TIME_TO_LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits for one of the signals.
pub(crate) fn wait(signals: &Signals) {
    // It fails while there is no descriptor left to wait with; what has come meanwhile is not lost.
    while signals.recv().is_err() {
        sleep(TIME_TO_LOOK_AGAIN);
    }
}
