//! Who goes on next on a worker, and what keeps that fair.
//!
//! In this order: the tasklet that a value was just handed to; those that can go on, oldest first; new ones from the worker's own
//! deque, youngest first, so that a tree of tasklets is walked in depth and few stacks are in use at a time. Then, on the root, what
//! others have (`idle`).
//!
//! # The bound
//!
//! A tasklet that can go on, of *s* such on its worker, goes on after at most `(s + 1) * (1 + SLOT_STREAK) * 8 / 7` others. A new
//! tasklet with *d* older ones in its deque starts after at most `256 * (d + 1)` others on that worker, however many new ones are
//! spawned meanwhile and however hot a pair talks beside it. What is in the inbox, the timers that are due and one task of the injector
//! are looked at after at most [`LOOK_EVERY`] choices. All of this counts in turns of tasklets: one that computes for long without a
//! `checkpoint` delays everybody on its worker, and whatever has not started is stolen from there. Up to 8 polls of soft tasklets count as one
//! new tasklet (`soft`).

use std::ptr::NonNull;
use std::sync::Arc;

use crossbeam_deque::Steal;
use tasklet_core::stack::{StackError, StackSize};
use tasklet_core::tasklet::{Record, Spec, StackKind, Unstarted};

use super::starved::News;
use super::task::{PackedTask, Task};
use super::worker::Worker;
use crate::engine::{FiberHead, Host as _};

/// Choices between two looks at the injector, and at the timers' clock, which is dear. A guess.
pub(super) const LOOK_EVERY: u32 = 32;

/// Choices between two looks at the events of the operating system, which take a system call once the worker has waited for any. A guess.
const POLL_EVERY: u32 = 64;

/// Choices between two looks at stacks of those that wait, for a worker that never sleeps.
const STACKS_EVERY: u32 = 1 << 13;

/// Free stacks whose pages are released then: some 2 percent of the time, or less.
const COOL_IN_BETWEEN: usize = 32;

/// One choice in so many begins with a new tasklet.
const NEW_EVERY: u32 = 8;

/// One new tasklet in so many is the oldest one and not the youngest.
const OLDEST_EVERY: u32 = 32;

/// New tasklets that want a stack where there is none, which are passed over at a switch to find one that needs none. A guess.
const PASSED_OVER: usize = 8;

/// Places in the queue that a tasklet is ahead when its stack is fetched into the cache, and twice that when its record is, which tells
/// where the stack is.
const FETCH_AHEAD: usize = 4;

/// How far below a fiber's head the innermost frame of a tasklet that yields from its own function is: an estimate.
const FRAMES: usize = 320;

#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch has no effect but on the cache, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

impl Worker {
    /// The next tasklet that can go on or start here; it has a fiber. `own` is the fiber that the caller has no more use for.
    #[inline(always)]
    pub(super) fn choose(&self, own: Option<NonNull<FiberHead>>) -> Option<Arc<Record>> {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        if self.token.has_requests() || tick.is_multiple_of(NEW_EVERY) {
            return self.choose_rarely(own, tick);
        }
        match self.queue.pop() {
            // SAFETY: what is in the queue belongs to this worker, which has compared it.
            Some(record) if unsafe { record.local_unchecked() }.fiber.get().is_some() => {
                self.fetch_ahead();
                Some(record)
            }
            record => self.choose_new(record, own, tick),
        }
    }

    /// As `choose`, when there is something to look at first.
    #[inline(never)]
    fn choose_rarely(&self, own: Option<NonNull<FiberHead>>, tick: u32) -> Option<Arc<Record>> {
        if self.token.has_requests() || tick.is_multiple_of(LOOK_EVERY) {
            self.look(tick);
        }
        if tick.is_multiple_of(NEW_EVERY)
            && let Some(record) = self.begin_new(own, tick)
        {
            return Some(record);
        }
        self.choose_new(self.queue.pop(), own, tick)
    }

    /// As `choose`, with what the queue gave: one that can go on, one that has not started, or nothing.
    #[inline(never)]
    fn choose_new(
        &self,
        mut next: Option<Arc<Record>>,
        own: Option<NonNull<FiberHead>>,
        tick: u32,
    ) -> Option<Arc<Record>> {
        while let Some(record) = next {
            if self.fiber_of(&record).is_some() {
                return Some(record);
            }
            if let Some(record) = self.begin_own(record, own) {
                return Some(record);
            }
            next = self.queue.pop();
        }
        self.begin_new(own, tick)
    }

    /// Fetches the hot end of a stack that comes up soon: with many of them, each switch would wait for memory.
    #[inline(always)]
    fn fetch_ahead(&self) {
        let Some(later) = self.queue.ahead(2 * FETCH_AHEAD) else { return };
        // The record is counted, so the counts lie before it; what is needed is its first line.
        prefetch(std::ptr::from_ref(later).cast());
        if let Some(soon) = self.queue.ahead(FETCH_AHEAD) {
            // SAFETY: what is in the queue belongs to this worker, which has compared it.
            let fiber = unsafe { soon.local_unchecked() }.fiber.get();
            if let Some(fiber) = fiber {
                // What the scheduler knows of it, and the frames below, which the switch returns to.
                prefetch(fiber.as_ptr().cast());
                prefetch(fiber.as_ptr().cast::<u8>().wrapping_sub(FRAMES));
            }
        }
    }

    /// Looks at what is not looked at for every choice.
    #[cold]
    fn look(&self, tick: u32) {
        if self.token.has_requests() {
            self.take_requests();
        }
        if !tick.is_multiple_of(LOOK_EVERY) {
            return;
        }
        self.fire_timers();
        if tick.is_multiple_of(POLL_EVERY) {
            self.poll_driver();
        }
        self.note_slots();
        if tick.is_multiple_of(STACKS_EVERY) {
            self.looks.disturb();
            self.look_at_stacks();
            self.shared.config.depot.cool(COOL_IN_BETWEEN);
            // Their stacks may have come back to the depot, and tasklets may wait now.
            self.tell_starved(News::Perhaps);
        }
        // One at a time: more would take them from workers that have nothing to do.
        if let Steal::Success(task) = self.shared.injector.steal() {
            self.deque.push(task);
        }
    }

    /// For [`Metrics`](super::Metrics).
    pub(super) fn note_slots(&self) {
        let (stats, counters) = (self.engine().slot_stats(), self.counters());
        counters.slots.set(stats.slots);
        counters.seats.set(stats.tasklets);
        counters.copied.set(stats.bytes);
    }

    /// Begins something from the worker's own deque.
    fn begin_new(&self, own: Option<NonNull<FiberHead>>, tick: u32) -> Option<Arc<Record>> {
        if self.starved.get() && own.is_none() {
            return self.begin_without_stack();
        }
        let oldest = tick.is_multiple_of(NEW_EVERY * OLDEST_EVERY);
        loop {
            let next = if oldest { self.steal_own() } else { self.deque.pop() };
            match self.begin(next?, own) {
                Ok(Some(record)) => return Some(record),
                // It was killed before it began.
                Ok(None) => {}
                Err(task) => {
                    self.deque.push(task);
                    return if own.is_none() { self.begin_without_stack() } else { None };
                }
            }
        }
    }

    /// There is no stack for new tasklets. Those that may move and have started have their own, and swapped ones need none: the newest that can
    /// go on is begun, also if older ones wait for it to get a stack. The root, which has nothing else to do, looks at all.
    #[cold]
    fn begin_without_stack(&self) -> Option<Arc<Record>> {
        let most = if self.is_on_root() { usize::MAX } else { PASSED_OVER };
        let (mut passed_over, mut begun) = (Vec::new(), None);
        while passed_over.len() < most
            && let Some(task) = self.deque.pop()
        {
            let task = task.unpack();
            let needs_stack = match &task {
                Task::Resume(_) => false,
                Task::Start(unstarted) => unstarted.kind() == StackKind::Private,
                Task::Fork(_) | Task::Poll(_) => true,
            };
            if needs_stack {
                passed_over.push(task.pack());
                continue;
            }
            match self.begin(task.pack(), None) {
                Ok(None) => {}
                Ok(record) => {
                    begun = record;
                    break;
                }
                // There is not even a slot.
                Err(task) => passed_over.push(task),
            }
        }
        passed_over.into_iter().rev().for_each(|task| self.deque.push(task));
        begun
    }

    /// Takes the oldest of the worker's own deque.
    fn steal_own(&self) -> Option<PackedTask> {
        loop {
            match self.shared.seats[self.index].stealer.steal() {
                Steal::Success(task) => return Some(task),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Begins a task, on `own` or on another fiber. Gives it back if there is no stack for it now; `None` if nothing is left of it.
    pub(super) fn begin(
        &self,
        task: PackedTask,
        own: Option<NonNull<FiberHead>>,
    ) -> Result<Option<Arc<Record>>, PackedTask> {
        match task.unpack() {
            Task::Start(unstarted) => {
                self.begin_tasklet(unstarted, own).map_err(|unstarted| Task::Start(unstarted).pack())
            }
            Task::Resume(record) => Ok(Some(self.take_in(record))),
            Task::Fork(fork) => match self.take_fiber(self.shared.config.stack_size, StackKind::Private, own) {
                Err(_) => Err(Task::Fork(fork).pack()),
                Ok(fiber) => {
                    let spec = Spec { stack_size: self.shared.config.stack_size, ..Spec::here() };
                    let record = Record::detached(self.next_id(), spec, &self.token, move || fork.run());
                    Ok(Some(self.settle(record, fiber)))
                }
            },
            Task::Poll(soft) => match self.take_fiber(self.shared.config.stack_size, StackKind::Private, own) {
                Err(_) => Err(Task::Poll(soft).pack()),
                Ok(fiber) => {
                    self.counters().polled.add(1);
                    let record = self.runner(move || soft.run());
                    Ok(Some(self.settle(record, fiber)))
                }
            },
        }
    }

    fn begin_tasklet(
        &self,
        unstarted: Unstarted,
        own: Option<NonNull<FiberHead>>,
    ) -> Result<Option<Arc<Record>>, Unstarted> {
        let fiber = match self.take_fiber(unstarted.stack_size(), unstarted.kind(), own) {
            Ok(fiber) => fiber,
            Err(Some(error)) => {
                // It would never fit. Its closure is the user's code.
                let _quiet = self.quiet();
                unstarted.fail(Box::new(error));
                return Ok(None);
            }
            Err(None) => return Err(unstarted),
        };
        // SAFETY: H1: the worker's token has a count, and lives until its last tasklet has ended, or `finish_up` leaks one.
        match unsafe { unstarted.start(&self.token) } {
            Some(record) => Ok(Some(self.settle(record, fiber))),
            None => {
                if own != Some(fiber) {
                    self.engine().give_back(fiber);
                }
                Ok(None)
            }
        }
    }

    /// Begins a tasklet that was spawned onto this worker. `None` if it cannot start now; it stays queued, or was failed.
    fn begin_own(&self, record: Arc<Record>, own: Option<NonNull<FiberHead>>) -> Option<Arc<Record>> {
        if record.is_finished() {
            return None;
        }
        // To drop its closure takes no stack of its own, which there might not be.
        if let Some(payload) = self.local(&record).take_interrupt() {
            self.fail_own(&record, payload);
            return None;
        }
        let fields = self.local(&record);
        match self.take_fiber(fields.stack_size.get(), fields.kind.get(), own) {
            Ok(fiber) => Some(self.settle(record, fiber)),
            Err(Some(error)) => {
                self.fail_own(&record, Box::new(error));
                None
            }
            Err(None) => {
                self.waiting_for_stack.borrow_mut().push_back(record);
                None
            }
        }
    }

    /// Sits a tasklet down on its fiber.
    #[inline]
    fn settle(&self, record: Arc<Record>, fiber: NonNull<FiberHead>) -> Arc<Record> {
        self.counters().started.add(1);
        let fields = self.local(&record);
        fields.admitted.set(true);
        fields.fiber.set(Some(fiber.cast()));
        if let Some(name) = record.name() {
            self.shared.add_name(record.id(), name, record.site());
        }
        // SAFETY: F1, just taken or the caller's own.
        unsafe { fiber.as_ref() }.tasklet.set(Some(NonNull::from(&*record)));
        record
    }

    /// A fiber with a stack of at least this size. `Err(None)`: not now, but when a tasklet of this worker ends.
    fn take_fiber(
        &self,
        size: StackSize,
        kind: StackKind,
        own: Option<NonNull<FiberHead>>,
    ) -> Result<NonNull<FiberHead>, Option<StackError>> {
        // SAFETY: F1, the caller runs on its own fiber.
        if let Some(own) = own.filter(|own| unsafe { own.as_ref() }.fits(size, kind)) {
            return Ok(own);
        }
        match self.engine().take_fiber(self, size, kind) {
            Ok(fiber) => Ok(fiber),
            Err(error) if error.is_beyond_ceiling() => Err(Some(error)),
            Err(error) => {
                // Once, until it is tried again.
                if !self.starved.get() {
                    self.ask_for_stacks(error.is_resident_ceiling());
                }
                self.no_fiber(size, kind, own)
            }
        }
    }

    /// Stacks have run out. As long as tasklets of this worker sit on some that are large enough, one that ends leaves its own behind.
    #[cold]
    fn no_fiber(
        &self,
        size: StackSize,
        kind: StackKind,
        own: Option<NonNull<FiberHead>>,
    ) -> Result<NonNull<FiberHead>, Option<StackError>> {
        // F3: a fiber without a tasklet does not count as the root.
        let is_on_root = own.is_none() && self.is_on_root();
        if !is_on_root || self.engine().has_occupied(size, kind) {
            self.starved.set(true);
            return Err(None);
        }
        // Idle ones of other sizes may be in the way. One of the default size stays, or goes back to the runtime if there is none.
        self.engine().retire_idle(self);
        if let Ok(fiber) = self.engine().take_fiber(self, self.shared.config.stack_size, StackKind::Private) {
            self.engine().give_back(fiber);
        }
        self.engine().take_fiber(self, size, kind).map_err(Some)
    }
}
