//! Cancellation that is asked for politely: a tree of tokens, looked at where tasklets wait. And guards that put it, and kills, off.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use slab::Slab;
use tasklet_core::current;
use tasklet_core::home::Remote;
use tasklet_core::scheduler::Scheduler;
use tasklet_core::tasklet::Record;
use tasklet_core::unwind;
use tasklet_core::wait::{Arm, Found, TypedArm};

use super::extras::Extras;
use super::worker::Worker;
use crate::engine::FiberHead;

/// Asks tasklets to stop. Clones are the same token; a [child](Self::child) is cancelled with its parent.
///
/// A tasklet that [runs under](Self::run) a token which is cancelled finds [`ParkError::Cancelled`] wherever it waits or would wait:
/// channel operations and joins return it as their error, and a message that could not be sent comes back; [`sleep`](super::sleep) returns
/// early. Nothing unwinds, so the tasklet decides how it ends; but `select!`, which has no error to return, panics where it would have to wait
/// without an arm for the token or a `default`. What need not wait goes on as ever.
///
/// [`ParkError::Cancelled`]: tasklet_core::park::ParkError::Cancelled
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<Node>,
}

struct Node {
    cancelled: AtomicBool,
    state: Mutex<State>,
    /// Keeps the way up, so that a token in the middle which nobody holds passes a cancellation on.
    _parent: Option<Arc<Node>>,
}

#[derive(Default)]
struct State {
    children: Vec<Weak<Node>>,
    /// Those that run under it.
    tasklets: Slab<Arc<Record>>,
    /// Of selects that wait for the cancellation. Empty once it has come.
    wakers: Slab<Waker>,
}

impl CancelToken {
    /// A token without a parent.
    pub fn new() -> CancelToken {
        CancelToken {
            node: Arc::new(Node { cancelled: AtomicBool::new(false), state: Mutex::default(), _parent: None }),
        }
    }

    /// A token that is cancelled with this one, and can be cancelled alone.
    pub fn child(&self) -> CancelToken {
        let mut state = self.node.lock();
        let node = Arc::new(Node {
            cancelled: AtomicBool::new(self.is_cancelled()),
            state: Mutex::default(),
            _parent: Some(self.node.clone()),
        });
        if state.children.len() == state.children.capacity() {
            state.children.retain(|child| child.strong_count() != 0);
        }
        state.children.push(Arc::downgrade(&node));
        drop(state);
        CancelToken { node }
    }

    /// Cancels it and its children, for good. Never parks.
    pub fn cancel(&self) {
        let mut nodes = vec![self.node.clone()];
        let mut cancelled = Vec::new();
        while let Some(node) = nodes.pop() {
            let mut state = node.lock();
            // Release: pairs with the acquire in `is_cancelled`. Under the lock, so that who enters the list later sees it.
            if node.cancelled.swap(true, Ordering::Release) {
                continue;
            }
            cancelled.extend(state.tasklets.iter().map(|(_, record)| record.clone()));
            let wakers = std::mem::take(&mut state.wakers);
            nodes.extend(state.children.iter().filter_map(Weak::upgrade));
            drop(state);
            wakers.into_iter().for_each(|(_, waker)| unwind::wake_quietly(waker));
        }
        // Last, so that a select with an arm for one of these tokens, in a tasklet that runs under another, finds that arm ready.
        for record in cancelled {
            if let Some(home) = record.home() {
                let _ = home.submit(Remote::Cancel(record));
            }
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        // Acquire: pairs with the release in `cancel`.
        self.node.cancelled.load(Ordering::Acquire)
    }

    /// Its cancellation, as an arm of a select.
    pub fn cancelled_arm(&self) -> impl TypedArm<Output = ()> + use<'_> {
        CancelArm { node: &self.node, waker: None }
    }

    /// Calls `f` with the calling tasklet under this token, and under those that it runs under already.
    ///
    /// # Scheduling
    ///
    /// As `f`.
    ///
    /// # Panics
    ///
    /// As `f`, and if no tasklet of the stealing scheduler calls.
    #[track_caller]
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        // SAFETY: the worker is used for the list of the running tasklet.
        let entered = unsafe { current::with_scheduler(|worker: &Worker| worker.enter_token(self)) };
        assert!(entered == Some(true), "could not run under a cancel token: no tasklet of a runtime calls");
        let key = self.node.lock().tasklets.insert(current::record());
        let enlisted = Enlisted { node: &self.node, key };
        let result = catch_unwind(AssertUnwindSafe(f));
        drop(enlisted);
        // SAFETY: as above.
        unsafe { current::with_scheduler(Worker::leave_token) };
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// Waits for a cancellation, among other things.
struct CancelArm<'t> {
    node: &'t Node,
    /// Of the waker that it has left with the token.
    waker: Option<usize>,
}

// SAFETY: it has no place, and is in no list.
unsafe impl Arm for CancelArm<'_> {
    fn look(&mut self, _: &dyn Scheduler) -> Found {
        // Acquire: pairs with the release in `cancel`.
        if self.node.cancelled.load(Ordering::Acquire) { Found::Done } else { Found::Wait }
    }

    fn ring(&mut self, waker: &mut dyn FnMut() -> Waker) {
        let waker = waker();
        let mut state = self.node.lock();
        // Under the lock, as in `cancel`. Acquire: as above.
        if self.node.cancelled.load(Ordering::Acquire) {
            drop(state);
            waker.wake();
        } else {
            self.waker = Some(state.wakers.insert(waker));
        }
    }

    fn delist(&mut self) {
        if let Some(key) = self.waker.take() {
            // Out of the lock: it is the executor's code that drops it. It is gone if the cancellation has come.
            let removed = self.node.lock().wakers.try_remove(key);
            drop(removed);
        }
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl TypedArm for CancelArm<'_> {
    type Output = ();

    fn output(&mut self) {}
}

struct Enlisted<'a> {
    node: &'a Node,
    key: usize,
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        let record = self.node.lock().tasklets.remove(self.key);
        drop(record);
    }
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held but for want of memory, which leaves the lists whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// While it lives, kills, time limits and cancellations of the tasklet wait. Made by [`mask`].
#[must_use = "the tasklet is masked while the guard lives"]
#[derive(Debug)]
pub struct Mask {
    record: Arc<Record>,
    _not_send: PhantomData<*mut ()>,
}

/// Keeps the calling tasklet from being ended or disturbed while the guard lives: for what must be done as a whole, such as two sends that
/// belong together. What comes meanwhile takes effect at its first scheduling point afterwards.
///
/// # Panics
///
/// No tasklet of the stealing scheduler calls.
#[track_caller]
pub fn mask() -> Mask {
    try_mask().unwrap_or_else(|| panic!("could not mask kills: no tasklet of a runtime calls"))
}

/// As [`mask`]; none if no tasklet of the stealing scheduler calls.
pub(super) fn try_mask() -> Option<Mask> {
    let enter = |worker: &Worker| {
        worker.is_in_tasklet().then(|| {
            worker.set_masked(true);
            worker.current_record()
        })
    };
    // SAFETY: the worker is used for a count.
    let record = unsafe { current::with_scheduler(enter) }.flatten()?;
    Some(Mask { record, _not_send: PhantomData })
}

impl Drop for Mask {
    fn drop(&mut self) {
        let leave = |worker: &Worker| {
            // A guard that was passed on to another tasklet of the worker masks nobody any more.
            if self.record.is_at(&worker.token) && !self.record.is_finished() {
                let fields = worker.local(&self.record);
                fields.atomic.set(fields.atomic.get().saturating_sub(1));
                if fields.has_interrupt() {
                    worker.spend_budget();
                }
            }
        };
        // SAFETY: as above.
        unsafe { current::with_scheduler(leave) };
    }
}

/// While it lives, the calling tasklet waits as if it was under no token: for a wait that a cancellation must not end, and a kill may.
pub(super) struct Uncancelled(Vec<CancelToken>);

impl Uncancelled {
    pub(super) fn new() -> Uncancelled {
        let take = |worker: &Worker| {
            let has_extras = worker.current_head().is_some_and(FiberHead::has_extras);
            has_extras.then(|| worker.with_extras(|extras| std::mem::take(&mut extras.borrow_mut().tokens))).flatten()
        };
        // SAFETY: the worker is used to move a list.
        Uncancelled(unsafe { current::with_scheduler(take) }.flatten().unwrap_or_default())
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let tokens = std::mem::take(&mut self.0);
        if !tokens.is_empty() {
            // SAFETY: as above.
            unsafe {
                current::with_scheduler(|worker: &Worker| {
                    worker.with_extras(|extras| extras.borrow_mut().tokens = tokens);
                })
            };
        }
    }
}

impl Worker {
    fn enter_token(&self, token: &CancelToken) -> bool {
        if !self.is_in_tasklet() {
            return false;
        }
        self.with_extras(|extras: &RefCell<Extras>| extras.borrow_mut().tokens.push(token.clone())).is_some()
    }

    fn leave_token(&self) {
        let token = self.with_extras(|extras| extras.borrow_mut().tokens.pop());
        drop(token);
    }

    /// Whether a token of this tasklet was cancelled.
    pub(super) fn is_under_cancelled(&self, record: &Record) -> bool {
        let Some(head) = self.fiber_of(record) else { return false };
        // SAFETY: F1 and F2.
        let head = unsafe { head.as_ref() };
        let extras = head.extras.take();
        let is_under = extras.as_ref().is_some_and(|extras| extras.tokens.iter().any(CancelToken::is_cancelled));
        head.extras.set(extras);
        is_under
    }

    /// Whether a token of the running tasklet was cancelled, and it has not masked that.
    #[cold]
    pub(super) fn is_cancelled(&self) -> bool {
        if self.is_masked() {
            return false;
        }
        self.with_extras(|extras| extras.borrow().tokens.iter().any(CancelToken::is_cancelled)).unwrap_or(false)
    }
}

/// Whether a token of the calling tasklet was cancelled.
pub fn is_cancelled() -> bool {
    // SAFETY: the worker is looked at and let go.
    unsafe { current::with_scheduler(|worker: &Worker| !worker.is_on_root() && worker.is_cancelled()) }.unwrap_or(false)
}
