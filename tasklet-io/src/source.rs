#![doc = include_str!("README.md")]

use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tasklet_core::guarded::{Guarded, Locked};
use tasklet_core::park::ParkReason;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::wait::{Attempt, Claimed, Ended, Found, Waiters};

use crate::primitive::atomic::{AtomicU32, Ordering};
use crate::reactor::{Reactor, Registration};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// There is something to read, or to accept.
    Read,
    /// There is room to write, or a connection has come about.
    Write,
}

/// What a source is ready for, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready(u32);

impl Ready {
    pub(crate) const NOTHING: Ready = Ready(0);
    pub(crate) const READ: Ready = Ready(1);
    pub(crate) const WRITE: Ready = Ready(2);
    /// There will be nothing more to read than what is there: it stays ready for the end.
    pub(crate) const READ_ENDED: Ready = Ready(4);
    /// As above, for writes, which fail.
    pub(crate) const WRITE_ENDED: Ready = Ready(8);
    /// Its owner has closed it: nobody pauses any more.
    pub(crate) const CLOSED: Ready = Ready(16);
    /// There has been an urgent byte: reads end before one, whatever comes after it.
    pub(crate) const URGENT: Ready = Ready(32);

    pub(crate) fn has(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl Direction {
    fn ready(self) -> Ready {
        match self {
            Direction::Read => Ready::READ,
            Direction::Write => Ready::WRITE,
        }
    }

    /// What keeps a call that has done less than it was asked for from having used up all there is.
    fn unspent(self) -> Ready {
        match self {
            Direction::Read => Ready::READ_ENDED | Ready::URGENT,
            Direction::Write => Ready::WRITE_ENDED,
        }
    }
}

/// One event, in the count above the bits of a source's word.
const EVENT: u32 = 64;

/// The word at some time: what the source was ready for, and how many events there had been.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u32);

impl Seen {
    pub(crate) fn allows(self, direction: Direction) -> bool {
        Ready(self.0).has(direction.ready())
    }

    pub(crate) fn is_closed(self) -> bool {
        Ready(self.0).has(Ready::CLOSED)
    }
}

/// Waits of callers elsewhere after which a source moves to where they are.
const STRANGERS: u32 = 16;

/// Something that can be waited for.
pub(crate) struct Source {
    word: AtomicU32,
    place: Locked<Waiting>,
    watched: Mutex<Where>,
    /// Nanoseconds; 0 is none.
    limits: [AtomicU64; 2],
    /// Operations of async code that have found something since the last one that did not. Of several tasks at once some are not counted.
    #[cfg(feature = "futures")]
    streaks: [AtomicU32; 2],
}

/// What the place's lock guards.
pub(crate) struct Waiting {
    readers: Waiters<()>,
    writers: Waiters<()>,
    /// Those who wait for time to pass, or for its being closed.
    pausing: Waiters<()>,
}

impl Waiting {
    /// Those who wait for the same.
    pub(crate) fn of(&mut self, wanted: Wanted) -> &mut Waiters<()> {
        match wanted {
            Wanted::Ready(Direction::Read) => &mut self.readers,
            Wanted::Ready(Direction::Write) => &mut self.writers,
            Wanted::Closed => &mut self.pausing,
        }
    }
}

#[derive(Default)]
struct Where {
    registration: Option<Registration>,
    /// Waits in a row of callers elsewhere.
    strangers: u32,
}

impl Source {
    /// Ready for anything: the first that is done shows whether it is.
    pub(crate) fn new() -> Source {
        Source {
            word: AtomicU32::new((Ready::READ | Ready::WRITE).0),
            place: Locked::new(Waiting { readers: Waiters::new(), writers: Waiters::new(), pausing: Waiters::new() }),
            watched: Mutex::default(),
            limits: [AtomicU64::new(0), AtomicU64::new(0)],
            #[cfg(feature = "futures")]
            streaks: [AtomicU32::new(0), AtomicU32::new(0)],
        }
    }

    /// Where those wait who have found that it is not what they want.
    pub(crate) fn place(&self) -> &Guarded<Waiting> {
        &self.place
    }

    /// What it is ready for.
    pub(crate) fn seen(&self) -> Seen {
        // Acquire: pairs with the release in `tell`; see R2.
        Seen(self.word.load(Ordering::Acquire))
    }

    /// What was tried after `seen` has used up what there was: unless something has happened since, or more may be left to be seen, it is not ready.
    pub(crate) fn clear_spent(&self, direction: Direction, seen: Seen) {
        if !Ready(seen.0).has(direction.unspent()) {
            self.clear(direction, seen);
        }
    }

    /// It was not ready for what was tried after `seen`: unless something has happened since, it is not.
    pub(crate) fn clear(&self, direction: Direction, seen: Seen) {
        let mut now = seen.0;
        // Again if only the other direction's bit has changed.
        while now / EVENT == seen.0 / EVENT {
            let cleared = now & !direction.ready().0;
            match self.word.compare_exchange_weak(now, cleared, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }

    /// It is ready: the caller has waited for it itself.
    pub(crate) fn set(&self, direction: Direction) {
        self.word.fetch_or(direction.ready().0, Ordering::Relaxed);
    }

    /// Something has happened: those who wait for it look again.
    pub(crate) fn tell(&self, ready: Ready) {
        let next = |word: u32| Some((word | ready.0).wrapping_add(EVENT));
        // Release: pairs with the acquire in `seen`.
        let _ = self.word.fetch_update(Ordering::Release, Ordering::Relaxed, next);
        // Those who wait by now, and none who comes later, since that one sees the word (R1): a waker may be one that polls, and waits again at once.
        let mut state = self.place.lock();
        let mut left = TOLD.map(|(bit, wanted)| if ready.has(bit) { state.of(wanted).len() } else { 0 });
        while let Some(at) = left.iter().position(|&left| left > 0) {
            let woken = state.of(TOLD[at].1).claim().map(Claimed::serve);
            drop(state);
            match woken {
                Some(woken) => {
                    left[at] -= 1;
                    woken.wake();
                }
                None => left[at] = 0,
            }
            state = self.place.lock();
        }
    }

    /// Has it watched, by the reactor of the caller's scheduler unless it is watched already. False if there is none.
    pub(crate) fn watch(self: &Arc<Self>, fd: BorrowedFd<'_>) -> io::Result<bool> {
        let mut is_lost = false;
        let watched = Reactor::with_current(|watch| {
            let mut place = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            match &place.registration {
                Some(old) if Arc::ptr_eq(old.watch(), watch) => place.strangers = 0,
                Some(old) if !old.watch().is_over() && place.strangers < STRANGERS => place.strangers += 1,
                _ => {
                    // One at a time: an event is one scheduler's to tell.
                    is_lost = place.registration.take().is_some();
                    place.registration = Some(watch.add(fd.as_raw_fd(), Arc::downgrade(self))?);
                    is_lost = false;
                    place.strangers = 0;
                }
            }
            Ok(())
        });
        if is_lost {
            // Nobody watches it any more, for whoever waits: they look, and have it watched where they wait, or find that it cannot be.
            self.tell(Ready::READ | Ready::WRITE);
        }
        let is_watched = watched.and_then(|added| added.map_or(Ok(false), |added| added.map(|()| true)));
        if !matches!(is_watched, Ok(true)) {
            // Whoever fails to wait goes, and it may be that nobody tells of what comes then: the next one looks.
            self.set(Direction::Read);
            self.set(Direction::Write);
        }
        is_watched
    }

    /// Nobody watches it any more: its descriptor is about to be closed.
    pub(crate) fn forget(&self) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).registration = None;
    }

    /// How many operations of async code have found something at a stretch.
    #[cfg(feature = "futures")]
    pub(crate) fn streak(&self, direction: Direction) -> u32 {
        self.streaks[direction as usize].load(Ordering::Relaxed)
    }

    #[cfg(feature = "futures")]
    pub(crate) fn set_streak(&self, direction: Direction, operations: u32) {
        self.streaks[direction as usize].store(operations, Ordering::Relaxed);
    }

    /// How long an operation may take.
    pub(crate) fn limit(&self, direction: Direction) -> Option<Duration> {
        let nanos = self.limits[direction as usize].load(Ordering::Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    /// Sets how long an operation may take.
    ///
    /// # Errors
    ///
    /// No time at all, as in std.
    pub(crate) fn set_limit(&self, direction: Direction, limit: Option<Duration>) -> io::Result<()> {
        let nanos = match limit {
            None => 0,
            Some(Duration::ZERO) => {
                let message = "cannot set a time limit of zero: nothing could be done; use `None` for no limit";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            // More than 500 years are as good as no limit.
            Some(limit) => u64::try_from(limit.as_nanos()).unwrap_or(0),
        };
        self.limits[direction as usize].store(nanos, Ordering::Relaxed);
        Ok(())
    }
}

/// What somebody waits for at a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That it is ready.
    Ready(Direction),
    /// That it is closed; or that time passes.
    Closed,
}

/// What bits tell of, in the order in which they are told.
const TOLD: [(Ready, Wanted); 3] = [
    (Ready::READ, Wanted::Ready(Direction::Read)),
    (Ready::WRITE, Wanted::Ready(Direction::Write)),
    (Ready::CLOSED, Wanted::Closed),
];

/// Waits for that. `S` borrows the source, or counts it.
pub(crate) struct Await<S> {
    pub(crate) source: S,
    pub(crate) wanted: Wanted,
}

// SAFETY: A1, A2: the place is the source's, which is borrowed or counted; the lists are fields that nobody replaces. A3: sources lie in `Arc`s.
unsafe impl<S: Borrow<Source>> Attempt for Await<S> {
    type State = Waiting;
    type Message = ();
    type Output = Ended;

    fn place(&self) -> &Guarded<Waiting> {
        self.source.borrow().place()
    }

    fn waiters<'s>(&self, state: &'s mut Waiting) -> &'s mut Waiters<()> {
        state.of(self.wanted)
    }

    fn reason(&self) -> ParkReason {
        ParkReason::Io
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempt(&mut self, _: &mut Waiting, _: &mut Option<()>, _: &dyn Scheduler) -> Found {
        // With the lock held: R1.
        let seen = self.source.borrow().seen();
        let is_so = match self.wanted {
            Wanted::Ready(direction) => seen.allows(direction),
            Wanted::Closed => seen.is_closed(),
        };
        if is_so { Found::Done } else { Found::Wait }
    }

    fn finish(&mut self, _: &mut Option<()>, ended: Ended) -> Ended {
        ended
    }
}

/// Asks the system whether a descriptor is ready, and waits until it is, for `limit` at most. False if it is not.
pub(crate) fn ask(fd: BorrowedFd<'_>, direction: Direction, limit: Option<Duration>) -> io::Result<bool> {
    let flags = match direction {
        Direction::Read => PollFlags::IN,
        Direction::Write => PollFlags::OUT,
    };
    let left = limit.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    loop {
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, flags)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) if left.is_none() || limit == Some(Duration::ZERO) => {}
            // The caller knows how much time is left.
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_event_after_the_look_is_not_cleared() {
        let source = Source::new();
        let seen = source.seen();
        source.tell(Ready::READ);
        source.clear(Direction::Read, seen);
        assert!(source.seen().allows(Direction::Read));
        source.clear(Direction::Read, source.seen());
        assert!(!source.seen().allows(Direction::Read));
        assert!(source.seen().allows(Direction::Write), "of one direction alone");
    }

    #[test]
    fn the_other_directions_clearing_is_in_nobodys_way() {
        let source = Source::new();
        let seen = source.seen();
        source.clear(Direction::Write, seen);
        source.clear(Direction::Read, seen);
        assert!(!source.seen().allows(Direction::Read));
        assert!(!source.seen().allows(Direction::Write));
    }

    #[test]
    fn what_comes_after_an_urgent_byte_stays_to_be_read() {
        let source = Source::new();
        source.tell(Ready::READ | Ready::URGENT);
        for _ in 0..2 {
            source.clear_spent(Direction::Read, source.seen());
            assert!(source.seen().allows(Direction::Read));
            source.clear(Direction::Read, source.seen());
            assert!(!source.seen().allows(Direction::Read));
            source.tell(Ready::READ);
        }
    }

    #[test]
    fn the_end_stays_to_be_seen() {
        let source = Source::new();
        source.tell(Ready::READ | Ready::READ_ENDED);
        source.clear_spent(Direction::Read, source.seen());
        assert!(source.seen().allows(Direction::Read));
        source.clear(Direction::Read, source.seen());
        assert!(!source.seen().allows(Direction::Read));
    }
}
