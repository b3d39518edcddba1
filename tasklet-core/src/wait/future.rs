//! An attempt as a future, for async code.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::attempt::{Attempt, Ended, Found, abandon};
use super::list::{CLAIMED, CLOSED, IDLE, Node, OVER, SERVED, Waiter};
use crate::current;

/// An attempt that async code waits for.
///
/// Dropped before it was ready, it has done nothing: what it would have given is dropped with it, and what it was given meanwhile goes back
/// to the place, as the next to be taken.
#[must_use = "futures do nothing unless polled"]
pub struct WaitFuture<A: Attempt> {
    attempt: A,
    node: Node<A::Message>,
}

// SAFETY: the node is the lock's while it is linked, else the future's own; what is in it moves between threads.
unsafe impl<A: Attempt<Message: Send> + Send> Send for WaitFuture<A> {}
// SAFETY: a shared reference gives access to the attempt alone.
unsafe impl<A: Attempt + Sync> Sync for WaitFuture<A> {}

impl<A: Attempt> WaitFuture<A> {
    /// A future; what it gives is `message`.
    pub fn new(attempt: A, message: Option<A::Message>) -> WaitFuture<A> {
        WaitFuture { attempt, node: Node::new(message) }
    }

    /// As this future, with `map` called with what comes of it. An async function that did this would be larger.
    pub fn map<U, F: FnMut(A::Output) -> U>(self, map: F) -> impl Future<Output = U> + use<A, U, F> {
        MapFuture { wait: self, map }
    }

    /// What it attempts.
    pub fn attempt(&self) -> &A {
        &self.attempt
    }
}

impl<A: Attempt> Future for WaitFuture<A> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A::Output> {
        // SAFETY: the node stays where it is, and the attempt is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        assert_ne!(this.node.state(), OVER, "a future that was ready is polled again");
        let current = current::get();
        let scheduler = current.scheduler();
        // A waker is the user's code: it is cloned and dropped with nothing locked.
        let mut waker = None;
        let ended = loop {
            match this.node.state() {
                SERVED if A::LOOKS_AGAIN => this.node.reset(),
                SERVED => break Ended::Done,
                CLOSED => break Ended::Closed,
                _ => {
                    // SAFETY: A1, as in `Waiting::begin`.
                    let place = unsafe { &*std::ptr::from_ref(this.attempt.place()) };
                    let mut guard = place.lock();
                    match this.node.state() {
                        IDLE => {}
                        SERVED | CLOSED => continue,
                        // Claimed by somebody who has leaked the claim: nobody will ever wake it.
                        CLAIMED => return Poll::Pending,
                        _ => {
                            // SAFETY: the lock is held, and it is linked.
                            let Some(old) = (unsafe { this.node.waker() }) else {
                                unreachable!("a future has a waker")
                            };
                            if old.will_wake(context.waker()) {
                                return Poll::Pending;
                            }
                            let Some(waker) = waker.take() else {
                                drop(guard);
                                waker = Some(context.waker().clone());
                                continue;
                            };
                            let replaced = std::mem::replace(old, waker);
                            drop(guard);
                            drop(replaced);
                            return Poll::Pending;
                        }
                    }
                    // SAFETY: the node is not linked, so it is ours.
                    match this.attempt.attempt(&mut guard, unsafe { this.node.cell() }, scheduler) {
                        Found::Wait => {
                            let Some(waker) = waker.take() else {
                                drop(guard);
                                waker = Some(context.waker().clone());
                                continue;
                            };
                            let waiters = this.attempt.waiters(&mut guard);
                            // SAFETY: the lock is held, A2. N1: the future is pinned, and removes the node when it is dropped.
                            unsafe { waiters.push(&this.node, Waiter::Async(waker)) };
                            return Poll::Pending;
                        }
                        Found::Done => break Ended::Done,
                        Found::Failed(ended) => break ended,
                        Found::Woke(woken, _) => {
                            drop(guard);
                            woken.wake();
                            break Ended::Done;
                        }
                    }
                }
            }
        };
        this.node.set_over();
        // SAFETY: the node is not linked any more, so it is ours.
        Poll::Ready(this.attempt.finish(unsafe { this.node.cell() }, ended))
    }
}

/// See [`WaitFuture::map`].
struct MapFuture<A: Attempt, F> {
    /// Pinned, as this is.
    wait: WaitFuture<A>,
    map: F,
}

impl<A: Attempt, U, F: FnMut(A::Output) -> U> Future for MapFuture<A, F> {
    type Output = U;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<U> {
        // SAFETY: `wait` stays where it is, and nothing else is pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        unsafe { Pin::new_unchecked(&mut this.wait) }.poll(context).map(&mut this.map)
    }
}

impl<A: Attempt> Drop for WaitFuture<A> {
    fn drop(&mut self) {
        if !matches!(self.node.state(), IDLE | OVER) {
            abandon(&mut self.attempt, &self.node);
        }
    }
}
