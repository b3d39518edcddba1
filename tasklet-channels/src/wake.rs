//! Waking those who wait, one at a time and with nothing locked: who is woken is the user's code, perhaps.

use tasklet_core::guarded::Guarded;
use tasklet_core::wait::{Claimed, Waiters, Woken};

/// Wakes one that has been taken out of a place.
pub(crate) fn wake(woken: Option<Woken>) {
    if let Some(woken) = woken {
        woken.wake();
    }
}

/// Wakes whoever `next` takes out of the place, until it finds nobody.
pub(crate) fn wake_all<S>(place: &Guarded<S>, mut next: impl FnMut(&mut S) -> Option<Woken>) {
    loop {
        let woken = next(&mut place.lock());
        match woken {
            Some(woken) => woken.wake(),
            None => return,
        }
    }
}

/// Tells those who wait now to look again. Who looks and waits again meanwhile has seen what has changed.
pub(crate) fn tell_all<S>(place: &Guarded<S>, waiters: fn(&mut S) -> &mut Waiters<()>) {
    let mut left = waiters(&mut place.lock()).len();
    wake_all(place, |state| {
        left = left.checked_sub(1)?;
        waiters(state).claim().map(Claimed::serve)
    });
}
