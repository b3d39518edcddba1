//! An attempt as a future, for async code.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::attempt::{Attempt, Ended, Found, abandon};
use super::list::{CLOSED, IDLE, LINKED, Node, SERVED, Waiter};
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
// SAFETY: a shared reference gives access to nothing.
unsafe impl<A: Attempt> Sync for WaitFuture<A> {}

impl<A: Attempt> WaitFuture<A> {
    /// A future; what it gives is `message`.
    pub fn new(attempt: A, message: Option<A::Message>) -> WaitFuture<A> {
        WaitFuture { attempt, node: Node::new(message), is_over: false }
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
        let ended = loop {
            match this.node.state() {
                SERVED if A::LOOKS_AGAIN => this.node.reset(),
                SERVED => break Ended::Done,
                CLOSED => break Ended::Closed,
                state => {
                    // SAFETY: A1, as in `Waiting::begin`.
                    let place = unsafe { &*std::ptr::from_ref(this.attempt.place()) };
                    let mut guard = place.lock();
                    if state == LINKED {
                        if this.node.state() != LINKED {
                            continue;
                        }
                        // SAFETY: the lock is held, and it is linked.
                        let replaced = unsafe { this.node.set_waker(context.waker()) };
                        drop(guard);
                        drop(replaced);
                        return Poll::Pending;
                    }
                    // SAFETY: the node is not linked, so it is ours.
                    match this.attempt.attempt(&mut guard, unsafe { this.node.cell() }, scheduler) {
                        Found::Wait => {
                            let waiters = this.attempt.waiters(&mut guard);
                            let waiter = Waiter::Async(context.waker().clone());
                            // SAFETY: the lock is held, A2. N1: the future is pinned, and removes the node when it is dropped.
                            unsafe { waiters.push(&this.node, waiter, std::ptr::null()) };
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
