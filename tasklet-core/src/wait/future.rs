//! An attempt as a future, for async code.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::attempt::{Attempt, Ended, Found, abandon};
use super::list::{CLAIMED, CLOSED, IDLE, LINKED, Node, SERVED, Waiter};
use crate::current;

/// An attempt that async code waits for.
///
/// Dropped before it was ready, it has done nothing: what it would have given is dropped with it, and what it was given meanwhile goes back
/// to the place, as the next to be taken.
#[must_use = "futures do nothing unless polled"]
pub struct WaitFuture<A: Attempt> {
    attempt: A,
    node: Node<A::Message>,
    is_over: bool,
}

// SAFETY: the node is the lock's while it is linked, else the future's own; what is in it moves between threads.
unsafe impl<A: Attempt<Message: Send> + Send> Send for WaitFuture<A> {}
// SAFETY: a shared reference gives access to the attempt alone.
unsafe impl<A: Attempt + Sync> Sync for WaitFuture<A> {}

impl<A: Attempt> WaitFuture<A> {
    /// A future; what it gives is `message`.
    pub fn new(attempt: A, message: Option<A::Message>) -> WaitFuture<A> {
        WaitFuture { attempt, node: Node::new(message), is_over: false }
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
        assert!(!this.is_over, "a future that was ready is polled again");
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
                        LINKED => {
                            // SAFETY: the lock is held, and it is linked.
                            let waiter = unsafe { this.node.waiter() };
                            if matches!(waiter, Waiter::Async(old) if old.will_wake(context.waker())) {
                                return Poll::Pending;
                            }
                            let Some(waker) = waker.take() else {
                                drop(guard);
                                waker = Some(context.waker().clone());
                                continue;
                            };
                            let replaced = std::mem::replace(waiter, Waiter::Async(waker));
                            drop(guard);
                            drop(replaced);
                            return Poll::Pending;
                        }
                        // Claimed by somebody who has leaked the claim: nobody will ever wake it.
                        CLAIMED => return Poll::Pending,
                        _ => continue,
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
                            unsafe { waiters.push(&this.node, Waiter::Async(waker), std::ptr::null()) };
                            return Poll::Pending;
                        }
                        Found::Done => break Ended::Done,
                        Found::Woke(woken, _) => {
                            drop(guard);
                            woken.wake();
                            break Ended::Done;
                        }
                    }
                }
            }
        };
        this.node.reset();
        this.is_over = true;
        // SAFETY: the node is not linked any more, so it is ours.
        Poll::Ready(this.attempt.finish(unsafe { this.node.cell() }, ended))
    }
}

impl<A: Attempt> Drop for WaitFuture<A> {
    fn drop(&mut self) {
        if self.node.state() != IDLE {
            abandon(&mut self.attempt, &self.node);
        }
    }
}
