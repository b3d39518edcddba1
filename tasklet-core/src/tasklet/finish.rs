//! The end of a tasklet, as its home, those who wait for it and its join handle agree on it. The protocol is in this folder's README.
//!
//! Apart from the record, over any type of waiter, so that loom's models can look at it alone.

mod joiners;

pub(super) use joiners::Parts;

use self::joiners::{Joiners, NONE, Stored};
use crate::guarded::RawLock;
use crate::primitive::UnsafeCell;
use crate::primitive::atomic::{AtomicU16, Ordering};

/// The tasklet has finished; its result, if it is kept, belongs to the join handle.
const FINISHED: u16 = 1;
/// Somebody waits, or has waited, for it to finish.
const JOINERS: u16 = 2;
/// The join handle is gone: whoever comes second, it or the end of the tasklet, drops the result.
const DETACHED: u16 = 4;
/// It was made with a join handle, so it is never bound again: the handle reads the body from any thread.
const JOINABLE: u16 = 8;
/// It has a home. Set when it is made, or, for one that any worker may start, when a worker does.
const HOMED: u16 = 16;
/// Somebody has asked for its end. Whoever sets it before `HOMED` owns the body and ends the tasklet.
const KILLED: u16 = 32;
/// A foreign thread is about to use the pointer to the home, which the end of the tasklet waits for.
const ACCESS: u16 = 64;
/// Any worker may start it: closure and result are `Send`, and the home is not counted.
const FREE: u16 = 128;
/// It has no record: whoever polls a future brings its result.
const PROMISED: u16 = 256;

/// Whether a tasklet has begun and finished, who waits for its end, and who owns its closure and its result.
pub(super) struct Finish<W: Parts> {
    shared: AtomicU16,
    /// Of the list. A byte, and so one word with the bits: a lock of std's would be eight more in each tasklet.
    lock: RawLock,
    /// What is in `joiners`.
    kind: UnsafeCell<u8>,
    joiners: UnsafeCell<Stored<W>>,
}

// SAFETY: waiters are stored as what is in them.
unsafe impl<W: Parts + Send> Send for Finish<W> {}
// SAFETY: the list is reached by one at a time, who may move waiters away or drop them.
unsafe impl<W: Parts + Send> Sync for Finish<W> {}

/// What whoever ends a tasklet owes.
#[must_use = "the joiners wait, and a result without a handle is to be dropped"]
pub(super) struct Finished<W> {
    /// The join handle is gone: the result is the caller's to drop.
    pub(super) detached: bool,
    joiners: Joiners<W>,
}

impl<W> Finished<W> {
    /// Gives each of those who wait to `wake`, the one that came first at first.
    pub(super) fn wake_joiners(self, wake: impl FnMut(W)) {
        self.joiners.drain(wake);
    }
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The waiter is in the list: whoever finishes or unlinks it has it.
    Registered,
    /// The tasklet has finished; no waiter was made.
    Finished,
}

/// What came of starting a tasklet that has no home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a tasklet that was killed must not run"]
pub(super) enum Start {
    /// The body is the caller's to run.
    Run,
    /// It was killed before: whoever did that owns the body, and the end.
    Killed,
}

/// What whoever kills a tasklet has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a kill is a request until somebody acts on it"]
pub(super) enum Kill {
    /// It has not begun and never will: the body is the caller's, who drops the closure and ends the tasklet.
    Claimed,
    /// It has a home, which is to be asked.
    Ask,
    /// Nothing: it has finished, or another kill has claimed it.
    Nothing,
}

impl<W: Parts> Finish<W> {
    fn with(bits: u16) -> Finish<W> {
        let (kind, joiners) = (UnsafeCell::new(NONE), UnsafeCell::new(Stored::EMPTY));
        Finish { shared: AtomicU16::new(bits), lock: RawLock::new(), kind, joiners }
    }

    /// For a tasklet without a join handle.
    pub(super) fn new() -> Finish<W> {
        Self::with(HOMED)
    }

    /// For a tasklet with a join handle.
    pub(super) fn joinable() -> Finish<W> {
        Self::with(HOMED | JOINABLE)
    }

    /// For a tasklet with a join handle that any worker may start.
    pub(super) fn free() -> Finish<W> {
        Self::with(FREE | JOINABLE)
    }

    /// For one that is [promised](super::Promised): `HOMED` says that the promise is kept.
    pub(super) fn promised() -> Finish<W> {
        Self::with(PROMISED | JOINABLE)
    }

    /// Whether it is promised, and has no record.
    #[inline]
    pub(super) fn is_promised(&self) -> bool {
        self.shared.load(Ordering::Relaxed) & PROMISED != 0
    }

    pub(super) fn is_joinable(&self) -> bool {
        self.shared.load(Ordering::Relaxed) & JOINABLE != 0
    }

    /// Whether closure and result may be dropped anywhere, and the home is not counted.
    pub(super) fn is_free(&self) -> bool {
        self.shared.load(Ordering::Relaxed) & FREE != 0
    }

    /// Whether the result is there.
    pub(super) fn is_finished(&self) -> bool {
        // Acquire: pairs with the release in `finish`, so that the result is seen.
        self.shared.load(Ordering::Acquire) & FINISHED != 0
    }

    /// The tasklet begins anew. Only for one without a join handle: nobody else waits for it or looks at it.
    pub(super) fn reset(&self) {
        self.shared.store(HOMED, Ordering::Relaxed);
    }

    /// A worker is about to run a free tasklet; it has stored its home.
    pub(super) fn start(&self) -> Start {
        // Release: publishes the home to `request_kill` and `access`. Acquire: pairs with the release in `request_kill`, whose caller
        // has the body if it came first. One modification order, so one of the two is first.
        let before = self.shared.fetch_or(HOMED, Ordering::AcqRel);
        debug_assert_eq!(before & HOMED, 0, "a tasklet starts once");
        if before & KILLED == 0 { Start::Run } else { Start::Killed }
    }

    /// Somebody asks for the end of the tasklet.
    pub(super) fn request_kill(&self) -> Kill {
        // AcqRel: pairs with `start`, as said there.
        let before = self.shared.fetch_or(KILLED, Ordering::AcqRel);
        if before & FINISHED != 0 {
            Kill::Nothing
        } else if before & HOMED != 0 {
            Kill::Ask
        } else if before & KILLED != 0 {
            Kill::Nothing
        } else {
            Kill::Claimed
        }
    }

    /// Takes back the request of a kill, for whoever fulfils it.
    pub(super) fn take_kill(&self) -> bool {
        // AcqRel: as `request_kill`. Whoever asked before this found no home to ask, or has asked it.
        self.shared.fetch_and(!KILLED, Ordering::AcqRel) & KILLED != 0
    }

    /// Calls `f` while the home of a tasklet that has one stays what it is; `None` if the tasklet has none, or has finished.
    pub(super) fn access<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        self.access_if(|seen| seen & HOMED != 0 && seen & FINISHED == 0, f)
    }

    /// Calls `f` while nobody is in [`access`](Self::access).
    pub(super) fn exclude<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        self.access_if(|_| true, f)
    }

    fn access_if<R>(&self, may: impl Fn(u16) -> bool, f: impl FnOnce() -> R) -> Option<R> {
        loop {
            let seen = self.shared.load(Ordering::Relaxed);
            if !may(seen) {
                return None;
            }
            // Acquire: pairs with the release in `start`, so that the home is seen, and with the one below: one at a time has the bit,
            // for a few instructions.
            let won = seen & ACCESS == 0
                && self.shared.compare_exchange_weak(seen, seen | ACCESS, Ordering::Acquire, Ordering::Relaxed).is_ok();
            if won {
                break;
            }
            spin();
        }
        let result = f();
        // Release: pairs with the acquire above and in `finish`, which lets go of the home after this.
        self.shared.fetch_and(!ACCESS, Ordering::Release);
        Some(result)
    }

    /// The result is there.
    pub(super) fn finish(&self) -> Finished<W> {
        // Release: publishes the result to `is_finished`, `await_with` and `detach`. Acquire: pairs with the setting of `JOINERS` and
        // `DETACHED` there.
        let before = self.shared.fetch_or(FINISHED, Ordering::AcqRel);
        if before & FINISHED != 0 {
            // Wrong code ends it again: there is nothing left to do.
            return Finished { detached: false, joiners: Joiners::None };
        }
        if before & ACCESS != 0 {
            // Acquire: pairs with the release in `access`: the home is not used any more. Nobody begins to after `FINISHED`.
            while self.shared.load(Ordering::Acquire) & ACCESS != 0 {
                spin();
            }
        }
        let joiners = if before & JOINERS != 0 { self.lock().with(std::mem::take) } else { Joiners::None };
        Finished { detached: before & DETACHED != 0, joiners }
    }

    /// Puts a waiter into the list, unless the tasklet has finished. `replaces` tells which one it takes the place of, if that is
    /// there.
    pub(super) fn await_with(&self, replaces: impl FnMut(&W) -> bool, make: impl FnOnce() -> W) -> Awaited {
        // The lock is held until the waiter is in the list: `finish` waits for it.
        let joiners = self.lock();
        // Acquire: the result is seen if `FINISHED` is. Release: pairs with the acquire in `finish`.
        if self.shared.fetch_or(JOINERS, Ordering::AcqRel) & FINISHED != 0 {
            return Awaited::Finished;
        }
        let replaced = joiners.with(|list| {
            let replaced = list.remove(replaces);
            list.push(make());
            replaced
        });
        drop(joiners);
        // The user's code: not under the lock.
        drop(replaced);
        Awaited::Registered
    }

    /// The join handle is gone. Returns whether the tasklet has finished, so that the result is the caller's to drop.
    pub(super) fn detach(&self) -> bool {
        // Acquire: the result is seen if `FINISHED` is. Release: pairs with the acquire in `finish`.
        self.shared.fetch_or(DETACHED, Ordering::AcqRel) & FINISHED != 0
    }

    /// Whether somebody waits, or has waited, for the end.
    pub(super) fn has_joiners(&self) -> bool {
        self.shared.load(Ordering::Relaxed) & JOINERS != 0
    }

    /// Takes one waiter out of the list, if it is in there.
    pub(super) fn unlink(&self, is_it: impl FnMut(&W) -> bool) -> Option<W> {
        self.lock().with(|list| list.remove(is_it))
    }

    fn lock(&self) -> Locked<'_, W> {
        self.lock.lock();
        Locked(self)
    }
}

/// The lock of the list is ours while this lives.
struct Locked<'a, W: Parts>(&'a Finish<W>);

impl<W: Parts> Locked<'_, W> {
    /// If `f` panics, those who wait are lost.
    fn with<R>(&self, f: impl FnOnce(&mut Joiners<W>) -> R) -> R {
        // SAFETY: the lock is ours, and `f` does not come back here: `Locked` is made by methods that do not give it away.
        let mut list = unsafe { self.0.take() };
        let result = f(&mut list);
        let (kind, stored) = list.into_parts();
        // SAFETY: as above. Nothing is stored there.
        self.0.kind.with_mut(|place| unsafe { place.write(kind) });
        // SAFETY: as above.
        self.0.joiners.with_mut(|place| unsafe { place.write(stored) });
        result
    }
}

impl<W: Parts> Finish<W> {
    /// What is stored; nobody is left there.
    ///
    /// # Safety
    ///
    /// Nobody else looks at it.
    unsafe fn take(&self) -> Joiners<W> {
        // SAFETY: the caller's promise.
        let kind = self.kind.with_mut(|kind| unsafe { kind.replace(NONE) });
        // SAFETY: as above; what was there is of that kind, and does not count any more.
        self.joiners.with_mut(|stored| unsafe { Joiners::from_parts(kind, stored.read()) })
    }
}

impl<W: Parts> Drop for Finish<W> {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        drop(unsafe { self.take() });
    }
}

impl<W: Parts> Drop for Locked<'_, W> {
    fn drop(&mut self) {
        self.0.lock.unlock();
    }
}

/// Waits for a few instructions of another thread.
fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::thread::yield_now();
}

#[cfg(all(test, loom))]
mod models;
