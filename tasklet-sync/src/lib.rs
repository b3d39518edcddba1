//! Locks and other synchronisation, for tasklets of both schedulers and plain threads together: the caller is recognised.
//!
//! The names, guards and error types are std's. A tasklet that has to wait parks, so the others of its worker run; a plain thread that has
//! to wait sleeps. All of them rest on the wait queue of `tasklet-core`: who waits costs a node on its own stack.
//!
//! | type | what it is | in what order waiters go on |
//! |---|---|---|
//! | [`Mutex`] | exclusion | whoever comes first; [`Mutex::new_fair`], [`MutexGuard::unlock_fair`]: oldest first |
//! | [`RwLock`] | one writer or many readers | oldest first, so that neither kind starves |
//! | [`Condvar`] | waiting for a condition on what a mutex guards | oldest first |
//! | [`Semaphore`] | a number of permits | oldest first |
//! | [`Barrier`] | a number of parties that meet, again and again | all at once |
//! | [`WaitGroup`] | waiting until all clones are gone | all at once |
//! | [`Event`] | something that has happened, until it is reset | all at once |
//! | [`Once`], [`OnceCell`], [`LazyLock`] | what is done or made once | all at once |
//!
//! # Rules
//!
//! **Scheduling.** What need not wait is no scheduling point: it neither switches nor is interrupted. What has to wait parks. Whoever ends a
//! wait makes the waiter runnable and goes on.
//!
//! **Guards stay where they are.** A guard is not `Send`. It may be held while its tasklet waits for something else, since a started tasklet
//! stays on its thread.
//!
//! **Poisoning** is std's: a lock whose guard is dropped by a panic is poisoned. The unwinding of a kill counts as one, since it leaves what
//! is guarded half done as well.
//!
//! **Kills and time limits** end waits, and nothing is lost: what a waiter was given that goes away without looking, a lock, a permit or a
//! notification, is passed on to the next.
//!
//! **A caller that may not wait.** The forms with a time limit return that as an error. The others have none to return, and do this:
//!
//! - Under a cancelled token, what waits for a short time by its nature ([`Mutex`], [`RwLock`], [`Once`] and its like) goes on waiting, and a kill
//!   waits too: clean-up needs locks. A cancellation that comes while somebody waits costs them their place: they wait anew, behind those who have
//!   come meanwhile. What may wait for long ([`Condvar`], [`Semaphore`], [`Barrier`], [`WaitGroup`], [`Event`]) unwinds as a kill does.
//! - While the thread unwinds from a panic or a kill, where a panic would end the process, the caller waits in its turn as others do, but the
//!   thread is blocked until it is over. If another tasklet of the same thread would have to end the wait, that is for ever: destructors had better
//!   not wait for what tasklets hold for long.
//! - Else, such as under a block trap of the local scheduler or in one of its hooks, it panics with the text of the
//!   [`ParkError`](tasklet_core::park::ParkError).
//!
//! **Deadlock.** Any thread may release a lock, so the local scheduler's rule of deadlock leaves waits of this crate out: it does not report
//! them as a `Deadlock`. Builds with debug assertions look for circles of locks instead. A wait without a time limit for a [`Mutex`], an
//! [`RwLock`], or a function of [`Once`] and its like that would close one panics, with the tasklets, where each was spawned, and the locks; a
//! plain thread is called by its name. Other builds wait for ever, and have nothing of it. A reader that waits behind a writer counts as one that
//! waits for those who read, also if the writer has a time limit and may go away.
//!
//! # Differences from other libraries
//!
//! | | here | std | parking_lot | tokio::sync | Go |
//! |---|---|---|---|---|---|
//! | who waits | tasklets and threads | threads | threads | async tasks | goroutines |
//! | a free mutex is taken by | whoever comes first; after eight wakes in vain the oldest waiter; with [`Mutex::new_fair`] always the oldest | whoever comes first | whoever comes first, the oldest about every half a millisecond | the oldest | whoever comes first, after a millisecond of waiting the oldest |
//! | readers and writers | oldest first | as the system has it | no new readers while a writer waits | oldest first | no new readers while a writer waits |
//! | reading twice | waits for ever if a writer has come in between | may | may; has `read_recursive` | as here | as here |
//! | poisoning | by panics and kills | by panics | none | none | none |
//! | time limits | everywhere but in what is done once | [`Condvar`] | everywhere but in `Once` | from outside | none |
//! | guards are `Send` | permits are, guards are not | no | with a feature | yes | anybody may unlock |
//! | guards of a part of the value | none | unstable | yes | yes | |
//! | one condition variable, several mutexes | yes | may panic | panics | has none | one |
//! | wakes without a notification | may be | may be | none | | none |
//! | semaphores | oldest first, owned permits, never closed | none | none | oldest first, owned permits, can be closed | in another module, oldest first |
//! | deadlocks | circles, in builds with debug assertions | | circles, with a feature, when asked | | if nobody can run at all |

#[macro_use]
mod primitive;

mod barrier;
mod condvar;
mod cycles;
mod event;
mod gate;
mod lazy_lock;
#[cfg(all(test, loom))]
mod models;
mod mutex;
mod once;
mod once_cell;
mod permits;
mod poison;
mod raw_mutex;
mod rwlock;
mod semaphore;
mod wait_group;
mod waiting;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use event::Event;
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceState};
pub use once_cell::OnceCell;
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
pub use wait_group::WaitGroup;

pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
pub use waiting::WaitError;
