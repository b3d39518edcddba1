//! Tasklets that wait for a stack: when their worker looks for one again, and who tells it that there may be one.
//!
//! A worker for whose new tasklets there is no stack is *starved*. What else it has goes on; a tasklet that ends leaves its stack to one that
//! waits. A starved worker with nothing to run looks again after a pause that doubles as long as it finds nothing, and sooner if another tells it:
//!
//! - one that was asked for stacks, and has given some memory back, or stacks at which nobody sat: at once;
//! - one that has nothing more to run, or is busy and has run many: since then tasklets of it may wait, and stacks may have come back to the depot. Then
//!   the starved one looks when [`SPACING`] has passed since its last look.
//!
//! Two starved workers do not wake each other in turns: one that is asked, and has nothing to give, says nothing and goes on with its pause. A
//! starved worker that is about to sleep, and is missed by who would have told it, is late by one pause; so are stacks that come back from elsewhere, from
//! another runtime or a local scheduler at the same depot.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_deque::Steal;
use tasklet_core::home::Remote;

use super::stacks::with_worker;
use super::worker::Worker;

/// The pauses of a worker that has nothing to run but tasklets without a stack: the first, and the longest.
const PAUSE: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(320)];

/// From one look to the next, where somebody says that there may be a stack.
const SPACING: Duration = Duration::from_millis(5);

/// Tasklets that wait for a stack which are looked at again at a time. A guess.
const RETRIES: usize = 64;

/// Tasks that it takes from the injector with each look, beside other workers: some six in a second when its pauses are longest.
const INJECTED: usize = 2;

/// What a starved worker is told.
#[derive(Clone, Copy)]
pub(super) enum News {
    /// Memory was given back.
    Given,
    /// Something has run.
    Perhaps,
}

/// When a starved worker looks again, on the runtime's clock.
#[derive(Default)]
pub(super) struct Hunger {
    pause: Cell<Duration>,
    looked: Cell<Duration>,
    next: Cell<Duration>,
    /// Others have asked for stacks.
    others: Cell<bool>,
}

impl Worker {
    /// There is no stack, for want of memory or of something else: the other workers give back what their tasklets do not need, and, when they have
    /// nothing to run, the stacks at which nobody sits. This one has.
    #[cold]
    pub(super) fn ask_for_stacks(&self, needs_memory: bool) {
        let others = self.shared.seats.iter().enumerate().filter(|(at, _)| *at != self.index);
        for (_, seat) in others {
            let Some(home) = seat.home() else { continue };
            // Relaxed: one request at a time is enough, and one too few is made up for when the caller looks again.
            if seat.asked.swap(true, Ordering::Relaxed) {
                continue;
            }
            let relieve = move |worker: &Worker| {
                worker.shared.seats[worker.index].asked.store(false, Ordering::Relaxed);
                worker.hunger.others.set(true);
                if needs_memory && worker.engine.relieve() {
                    worker.hear(News::Given);
                    worker.tell_starved(News::Given);
                }
            };
            let _ = home.submit(Remote::Call(Box::new(move |worker| with_worker(worker, relieve))));
        }
    }

    /// On the root, with nothing to run: gives stacks at which nobody sits to those that have asked.
    pub(super) fn give_idle_stacks(&self) {
        if self.hunger.others.take() && self.engine.counts().1 != 0 {
            self.engine.retire_idle(self);
            self.tell_starved(News::Given);
        }
    }

    /// Tells the others that are starved, each once.
    pub(super) fn tell_starved(&self, news: News) {
        for (at, seat) in self.shared.seats.iter().enumerate() {
            // Relaxed: one that is missed looks after its pause.
            if at == self.index || !seat.starved.load(Ordering::Relaxed) || !seat.starved.swap(false, Ordering::Relaxed)
            {
                continue;
            }
            if let Some(home) = seat.home() {
                let _ = home.submit(Remote::Call(Box::new(move |worker| {
                    with_worker(worker, |worker| worker.hear(news));
                })));
            }
        }
    }

    fn hear(&self, news: News) {
        let hunger = &self.hunger;
        let next = match news {
            News::Given => Duration::ZERO,
            News::Perhaps => hunger.looked.get().saturating_add(SPACING),
        };
        hunger.next.set(hunger.next.get().min(next));
    }

    /// Whether tasklets wait for a stack. Those that were looked at last may all have got one, and others be left.
    fn is_hungry(&self) -> bool {
        self.starved.get() || !self.waiting_for_stack.borrow().is_empty()
    }

    /// On the root, with nothing that can go on, after something has: looks whether there is a stack, if some wait for one.
    pub(super) fn begin_to_starve(&self) {
        if self.is_hungry() {
            self.hunger.pause.set(PAUSE[0]);
            self.look_for_stack();
            self.take_injected(0);
        }
    }

    /// How long a starved worker may sleep.
    pub(super) fn hunger_limit(&self) -> Option<Duration> {
        if !self.is_hungry() {
            return None;
        }
        // Relaxed: see `tell_starved`.
        self.shared.seats[self.index].starved.store(true, Ordering::Relaxed);
        Some(self.hunger.next.get().saturating_sub(self.now()))
    }

    /// On the root, awake again: looks whether there is a stack, if it is time.
    pub(super) fn starve_on(&self) {
        if !self.is_hungry() {
            return;
        }
        let is_time = self.now() >= self.hunger.next.get();
        if is_time {
            self.hunger.pause.set((self.hunger.pause.get() * 2).clamp(PAUSE[0], PAUSE[1]));
            self.look_for_stack();
        }
        self.take_injected(if is_time { INJECTED } else { 0 });
    }

    /// Takes so many tasks of the injector, where a starved worker does not look otherwise: one of them may need no stack. All, if there is no other
    /// worker, which might have stacks for them.
    fn take_injected(&self, most: usize) {
        let injector = &self.shared.injector;
        let most = if self.shared.seats.len() == 1 { usize::MAX } else { most };
        for _ in 0..injector.len().min(most) {
            match injector.steal() {
                Steal::Success(task) => self.deque.push(task),
                Steal::Retry => {}
                Steal::Empty => return,
            }
        }
    }

    fn look_for_stack(&self) {
        let now = self.now();
        self.hunger.looked.set(now);
        self.hunger.next.set(now.saturating_add(self.hunger.pause.get()));
        self.retry_starved();
    }

    /// On the root, with nothing that can go on: who waits for a stack is looked at once more, because the tasklets that sit on stacks may
    /// wait for them in turn, and one that needs a larger stack than any of those has to be told.
    #[cold]
    fn retry_starved(&self) {
        self.starved.set(false);
        let mut waiting = self.waiting_for_stack.borrow_mut();
        for _ in 0..waiting.len().min(RETRIES) {
            if let Some(record) = waiting.pop_front() {
                self.queue.push(record);
            }
        }
    }
}
