//! Tasklets that borrow: their scope waits for them, whatever happens to it.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use tasklet_core::current;
use tasklet_core::tasklet::{JoinError, JoinHandle, Record, spot};
use tasklet_core::unwind::is_tasklet_exit;

use super::cancel::Uncancelled;
use super::spawn::TaskletBuilder;

/// Where tasklets are spawned that may borrow from outside of [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared>,
    /// Neither lifetime may be changed, or a tasklet could borrow what goes before it.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

struct Shared {
    /// Tasklets that have not ended.
    running: AtomicUsize,
    /// Panics that nobody has asked for.
    panicked: AtomicUsize,
    caller: Arc<Record>,
    /// The caller was killed, and its tasklets with it.
    killed: AtomicBool,
    children: Mutex<Vec<JoinKill>>,
}

/// What the scope keeps of a tasklet: enough to kill it.
struct JoinKill(Arc<Record>);

/// Called when a tasklet has ended and nothing of it is left.
impl Wake for Shared {
    fn wake(self: Arc<Shared>) {
        // Release: what the tasklet did happens before the scope goes on; pairs with the acquire in `scope`.
        if self.running.fetch_sub(1, Ordering::Release) == 1 {
            self.caller.spot().unpark();
        }
    }
}

/// Calls `f` with a scope to spawn tasklets in that may borrow what outlives the scope, and waits for all of them. As
/// [`std::thread::scope`].
///
/// If the caller is killed, or `f` panics, it waits for them all the same; a kill, a time limit or an exit of the caller kills them first.
///
/// # Scheduling
///
/// The caller parks until the last tasklet has ended. While its thread is unwinding, because a destructor calls, the thread is blocked
/// instead: then other workers have to run them, and with one worker the call does not return. The same holds for a destructor that a worker
/// runs between two tasklets.
///
/// # Panics
///
/// With what `f` panics with; if a tasklet has panicked whose handle nobody has joined; if there is no runtime here to spawn into; and in a
/// [swapped](crate::swapped) tasklet, whose stack others cannot borrow from while it waits.
///
/// # Examples
///
/// ```
/// # use tasklet_backend_corosensei::Corosensei;
/// # use tasklet_scheduler::stealing::{self, Runtime};
/// # let runtime = Runtime::<Corosensei>::with_defaults()?;
/// # runtime.run(|| {
/// let (left, right) = ([1, 2, 3], [4, 5, 6]);
/// let sum = stealing::scope(|scope| {
///     let left = scope.spawn(|| left.iter().sum::<i32>());
///     right.iter().sum::<i32>() + left.join().unwrap()
/// });
/// assert_eq!(sum, 21);
/// # });
/// # Ok::<(), stealing::BuildError>(())
/// ```
#[track_caller]
pub fn scope<'env, T>(f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
    current::refuse_swapped("scope");
    let scope = Scope {
        shared: Arc::new(Shared {
            running: AtomicUsize::new(0),
            panicked: AtomicUsize::new(0),
            caller: current::record(),
            killed: AtomicBool::new(false),
            children: Mutex::default(),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let shared = &scope.shared;
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    // Panics of `f` are its own business, as they are for threads; but who is told to end does not wait for others to finish.
    if result.as_ref().is_err_and(|payload| is_tasklet_exit(payload) || payload.is::<super::Elapsed>()) {
        shared.kill_all();
    }
    // Acquire: pairs with the release in `wake`.
    let is_done = || shared.running.load(Ordering::Acquire) == 0;
    let thrown = Kills { shared }.wait(is_done);
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(value) => {
            if let Some(payload) = thrown {
                drop(value);
                resume_unwind(payload);
            }
            assert!(shared.panicked.load(Ordering::Relaxed) == 0, "a scoped tasklet panicked");
            value
        }
    }
}

/// Waits, and kills the tasklets when the caller is.
struct Kills<'a> {
    shared: &'a Arc<Shared>,
}

impl Kills<'_> {
    fn wait(&self, is_done: impl Fn() -> bool) -> Option<tasklet_core::unwind::Payload> {
        // Not masked at first: a kill is to be passed on. A cancellation of the caller is not one.
        let _uncancelled = Uncancelled::new();
        let mut thrown = None;
        let mut taken = false;
        while !is_done() && thrown.is_none() {
            match catch_unwind(AssertUnwindSafe(spot::park)) {
                Ok(Ok(_)) => taken = true,
                // Cancelled, or in a place where nobody may park.
                Ok(Err(_)) => break,
                Err(payload) => {
                    self.shared.kill_all();
                    thrown = Some(payload);
                }
            }
        }
        let later = spot::wait_until(is_done);
        if taken {
            // It may have been meant for another wait of the caller's.
            self.shared.caller.spot().unpark();
        }
        thrown.or(later)
    }
}

impl Shared {
    fn kill_all(&self) {
        // First, so that what is spawned from now on is killed by its spawner.
        self.killed.store(true, Ordering::Relaxed);
        let children = std::mem::take(&mut *self.children.lock().unwrap_or_else(PoisonError::into_inner));
        for JoinKill(record) in children {
            record.kill();
        }
    }

    fn add(&self, record: Arc<Record>) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        if children.len() == children.capacity() {
            children.retain(|JoinKill(child)| !child.is_finished());
        }
        // Relaxed: under the lock, which `kill_all` takes after it has set the flag.
        if self.killed.load(Ordering::Relaxed) {
            drop(children);
            record.kill();
            return;
        }
        children.push(JoinKill(record));
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Makes a tasklet that may borrow. Never switches.
    ///
    /// # Panics
    ///
    /// There is no runtime here to spawn into.
    #[track_caller]
    pub fn spawn<T, F>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn_with(TaskletBuilder::at(Location::caller()), f)
    }

    /// As [`spawn`](Self::spawn), with a name or a stack size.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_with<T, F>(&'scope self, builder: TaskletBuilder, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let shared = self.shared.clone();
        let watched = move || match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => value,
            Err(payload) => {
                if !is_tasklet_exit(&payload) {
                    shared.panicked.fetch_add(1, Ordering::Relaxed);
                }
                resume_unwind(payload)
            }
        };
        // Relaxed: the tasklet is not there yet.
        self.shared.running.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Some(self.shared.clone()));
        // SAFETY: `scope` does not return, nor unwind, before `running` is zero, which the tasklet's end brings about when nothing of its
        // closure is left, nor of its result unless the handle owns that; and the handle's type ends with the scope.
        let handle = unsafe { builder.spawn_unchecked(watched) };
        let handle = handle.unwrap_or_else(|error| panic!("could not spawn a scoped tasklet: {error}"));
        let record = handle.record().expect("what has a stack has a record");
        counted.until_end_of(&record);
        self.shared.add(record);
        ScopedJoinHandle { handle, shared: self.shared.clone(), scope: PhantomData }
    }
}

/// One of `running`, until a tasklet has ended.
struct Counted(Option<Arc<Shared>>);

impl Counted {
    fn until_end_of(mut self, record: &Record) {
        if let Some(shared) = self.0.take()
            && let Err(waker) = record.on_finish(Waker::from(shared))
        {
            waker.wake();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.wake();
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("running", &self.shared.running.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

/// The right to the result of a scoped tasklet.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    shared: Arc<Shared>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the tasklet and returns its result. See [`JoinHandle::join`].
    ///
    /// # Scheduling
    ///
    /// As [`JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`]. A panic that is asked for here does not make [`scope`] panic.
    ///
    /// # Panics
    ///
    /// As [`JoinHandle::join`].
    pub fn join(self) -> Result<T, JoinError> {
        let result = self.handle.join();
        if result.as_ref().is_err_and(JoinError::is_panic) {
            self.shared.panicked.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }

    /// Whether [`join`](Self::join) would return at once.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks for the end of the tasklet: see [`JoinHandle::kill`].
    pub fn kill(&self) {
        self.handle.kill();
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
