//! The root of a worker: what it does when none of its tasklets can go on.
//!
//! It looks at the injector, steals, searches for a while, and sleeps; see `sleep` for the protocol. All of this runs on the thread's own
//! stack, never on a tasklet's.
//!
//! # What is stolen
//!
//! A started tasklet stays on its worker, so two that talk and were started on two workers talk across cores for ever. So a thief takes
//! surplus and leaves its owner what it is about to run: from a deque with more than [`SURPLUS`] tasks it takes the oldest, or from a
//! long one a batch. From a shorter one it takes a task only if the owner has not gone on with anything for [`PATIENCE`]: then the owner
//! computes, or its thread does not run, and the task has waited for longer than a pair needs to start.
//!
//! Measured with two workers, beside a thief that takes whatever it sees: the sieve of 2500 primes 329 ms and 480, a ping-pong whose pair one
//! parent spawned 125 ns and 127 (and 1.6 to 22 us if the two are on two workers), work in the children of one producer 112 ms and 113.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crossbeam_deque::Steal;

use super::crew::Phase;
use super::lifecycle::KILL_ATTEMPTS;
use super::sleep::{Leaves, Roused, Searchers};
use super::starved::News;
use super::task::PackedTask;
use super::worker::Worker;
use crate::engine::Host as _;

/// Tasks that a busy worker keeps: a pair that was spawned to talk to each other.
const SURPLUS: usize = 2;

/// From this many tasks on, a thief takes up to half of them: a recursion is less deep, and its oldest task is worth the most.
const LONG: usize = 64;

/// The most that a thief takes at a time.
const BATCH: usize = 32;

/// For how long the owner of a short deque must not have got on before a task is taken from it: a few times what a thief needs to wake.
const PATIENCE: Duration = Duration::from_micros(20);

/// Rounds of a search before the worker sleeps, some 20 microseconds: less than it takes to sleep and to be woken. A search in vain halves
/// them, one that finds something brings them all back: a worker that wakes for timers only does not search at all.
const ROUNDS: u32 = 40;

/// How long a worker sleeps before it looks once more and sleeps for good: a spawn on another worker, which does without a fence, may be
/// missed for as long as a store takes to arrive. It stays in the list of sleepers meanwhile, so there is no second moment to miss one.
const SETTLE: Duration = Duration::from_millis(1);

/// How long a sleeper that left something behind in a deque waits before it looks again, at first and at most.
const WATCH: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(5)];

/// Free stacks whose pages are released at a time: in 50 microseconds, after which a worker looks for work again.
pub(super) const COOL: usize = 64;

/// How many rounds a worker searches at first: alone it has nobody to steal from.
pub(super) fn first_patience(workers: usize) -> u32 {
    if workers == 1 { 0 } else { ROUNDS }
}

/// What a worker remembers of another's deque.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    ticks: u32,
    since: Instant,
}

/// What a look at the others gave.
enum Look {
    Found(PackedTask),
    /// There is something that is left to its owner.
    Left,
    Nothing,
}

/// What a search is made of.
struct Search<'w> {
    worker: &'w Worker,
    sights: Vec<Option<Sight>>,
    is_searching: Cell<bool>,
    random: u32,
}

impl Worker {
    /// On the root: finds a tasklet to run and makes it the running one. Sleeps as long as there is none. `false` if the worker is to
    /// exit.
    #[cold]
    pub(super) fn find_work(&self) -> bool {
        self.looks.disturb();
        self.begin_to_starve();
        let mut search = Search {
            worker: self,
            sights: Vec::new(),
            is_searching: Cell::new(false),
            random: self.tick.get().wrapping_mul(2654435761) | 1,
        };
        let (mut rounds, mut watch, mut has_told) = (0, WATCH[0], false);
        loop {
            if self.token.has_requests() {
                self.take_requests();
            }
            self.fire_timers();
            if let Some(next) = self.choose(None) {
                if rounds != 0 {
                    self.patience.set(first_patience(self.shared.seats.len()));
                }
                search.stop();
                self.set_running(next);
                return true;
            }
            if !self.queue.is_empty() {
                // The end of one that could not start has woken it.
                continue;
            }
            if self.closing.get() {
                if self.is_done() {
                    search.stop();
                    return false;
                }
                continue;
            }
            let look = if self.starved.get() { Look::Nothing } else { search.look() };
            let left = match look {
                Look::Found(task) => {
                    self.patience.set(first_patience(self.shared.seats.len()));
                    search.stop();
                    match self.begin(task, None) {
                        Ok(Some(next)) => {
                            self.set_running(next);
                            return true;
                        }
                        Ok(None) => {}
                        Err(task) => self.deque.push(task),
                    }
                    continue;
                }
                Look::Left => true,
                Look::Nothing => false,
            };
            if rounds < self.patience.get() && search.may_search() {
                rounds += 1;
                if rounds % 8 == 1 {
                    self.poll_driver();
                } else if rounds % 8 == 0 {
                    std::thread::yield_now();
                } else {
                    (0..1 << rounds.min(6)).for_each(|_| std::hint::spin_loop());
                }
                continue;
            }
            self.trim_slots();
            self.give_idle_stacks();
            if self.shared.config.depot.cool(COOL) != 0 {
                // Somebody may have come meanwhile.
                continue;
            }
            self.patience.set(self.patience.get() / 2);
            self.look_at_stacks();
            if !std::mem::replace(&mut has_told, true) {
                // Since the last time, something has run here.
                self.tell_starved(News::Perhaps);
            }
            let limit = left.then_some(watch).into_iter().chain(self.hunger_limit()).min();
            if search.sleep(limit) {
                // Somebody called: it is worth a search.
                self.patience.set(first_patience(self.shared.seats.len()));
            }
            rounds = 0;
            self.starve_on();
            watch = (watch * 2).min(WATCH[1]);
        }
    }

    /// Whether a worker whose runtime ends, and that has nothing to run, is done: all its tasklets have ended, or will not.
    fn is_done(&self) -> bool {
        let left = self.engine().occupied().len();
        if left == 0 || self.shared.phase() == Phase::Leaking {
            return true;
        }
        // Counted over the times that the tasklets run in between, and anew when one of them has ended.
        let (attempts, before) = self.kills.get();
        let attempts = if left < before { 0 } else { attempts };
        if attempts < KILL_ATTEMPTS {
            self.kills.set((attempts + 1, left));
            self.kill_started();
            if !self.queue.is_empty() {
                return false;
            }
        } else if !self.has_masked() {
            return true;
        }
        // Another thread has claimed one, or what must not be cut short goes on elsewhere: a wake is on the way.
        self.wait(self.timers.earliest());
        false
    }

    /// Waits on the driver, until the clock shows `until` at the latest.
    fn wait(&self, until: Option<Duration>) {
        let limit = until.map(|at| at.saturating_sub(self.now()));
        self.wait_for(limit);
    }

    fn wait_for(&self, limit: Option<Duration>) {
        let _quiet = self.quiet();
        let guard = tasklet_core::unwind::AbortOnUnwind::new("a worker's driver");
        self.counters().slept.add(1);
        self.note_slots();
        self.wait_on_driver(limit);
        guard.disarm();
    }
}

impl Search<'_> {
    /// Whether there is something that this worker would begin now.
    fn has_work(&self, limit: Option<Duration>) -> bool {
        let (worker, shared) = (self.worker, &self.worker.shared);
        // An event that the driver has waited for may have made somebody runnable here.
        if !worker.queue.is_empty() {
            return true;
        }
        if worker.starved.get() {
            return false;
        }
        let is_others = |at: usize| at != worker.index;
        let mut seats = shared.seats.iter().enumerate();
        !worker.deque.is_empty()
            || !shared.injector.is_empty()
            || (limit.is_none() && seats.any(|(at, seat)| is_others(at) && !seat.stealer.is_empty()))
    }

    fn may_search(&self) -> bool {
        if !self.is_searching.get() {
            self.is_searching.set(self.worker.shared.sleep.start_searching());
        }
        self.is_searching.get()
    }

    /// There is something to run. The last searcher calls another, if there may be something for that one too.
    fn stop(&self) {
        if !self.is_searching.replace(false) {
            return;
        }
        let shared = &self.worker.shared;
        if shared.sleep.stop_searching() == Searchers::None && self.has_more() {
            shared.notify(shared.sleep.call());
        }
    }

    fn has_more(&self) -> bool {
        let shared = &self.worker.shared;
        !shared.injector.is_empty() || shared.seats.iter().any(|seat| seat.stealer.len() > SURPLUS)
    }

    /// Looks at the injector and at all deques once.
    fn look(&mut self) -> Look {
        let shared = &self.worker.shared;
        loop {
            match shared
                .injector
                .steal_batch_with_limit_and_pop(&self.worker.deque, BATCH / shared.seats.len().max(1) + 1)
            {
                Steal::Success(task) => return Look::Found(task),
                Steal::Empty => break,
                Steal::Retry => {}
            }
        }
        let seats = shared.seats.len();
        self.sights.resize(seats, None);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let start = self.random as usize % seats;
        let mut left = false;
        for victim in (0..seats).map(|at| (start + at) % seats).filter(|victim| *victim != self.worker.index) {
            match self.look_at(victim) {
                Look::Nothing => {}
                Look::Left => left = true,
                found => return found,
            }
        }
        if left { Look::Left } else { Look::Nothing }
    }

    fn look_at(&mut self, victim: usize) -> Look {
        let seat = &self.worker.shared.seats[victim];
        let len = seat.stealer.len();
        if len == 0 {
            self.sights[victim] = None;
            return Look::Nothing;
        }
        let ticks = seat.ticks.load(std::sync::atomic::Ordering::Relaxed);
        let now = Instant::now();
        let sight = match self.sights[victim] {
            Some(sight) if sight.ticks == ticks => sight,
            _ => *self.sights[victim].insert(Sight { ticks, since: now }),
        };
        let is_offered = seat.offered.load(std::sync::atomic::Ordering::Relaxed) != 0;
        if len <= SURPLUS && !is_offered && now.duration_since(sight.since) < PATIENCE {
            return Look::Left;
        }
        let stolen = if len < LONG {
            seat.stealer.steal()
        } else {
            seat.stealer.steal_batch_with_limit_and_pop(&self.worker.deque, BATCH)
        };
        match stolen {
            Steal::Success(task) => {
                self.worker.counters().stolen.add(1 + self.worker.deque.len() as u64);
                Look::Found(task)
            }
            // Somebody else was there too.
            Steal::Retry => Look::Left,
            Steal::Empty => Look::Nothing,
        }
    }

    /// Sleeps until there may be something to do, for `limit` at most, if there is something that this worker leaves alone for so long.
    /// Returns whether the worker was called to search.
    fn sleep(&mut self, limit: Option<Duration>) -> bool {
        let (worker, shared) = (self.worker, &self.worker.shared);
        shared.sleep.enter(worker.index, self.is_searching.replace(false));
        // F3 of the protocol.
        let mut has_work = self.has_work(limit);
        if !has_work && !worker.token.has_requests() {
            let timer = || worker.timers.earliest().map(|at| at.saturating_sub(worker.now()));
            if limit.is_none() && shared.seats.len() > 1 {
                // Once more, without leaving the list in between.
                worker.wait_for(timer().map_or(Some(SETTLE), |timer| Some(timer.min(SETTLE))));
                has_work = self.has_work(limit);
            }
            let is_due = timer().is_some_and(|left| left.is_zero());
            if !has_work && !is_due && !worker.token.has_requests() && shared.sleep.is_listed(worker.index) {
                let look = worker.looks.due().map(|at| at.saturating_sub(worker.now()));
                worker.wait_for(limit.into_iter().chain(timer()).chain(look).min());
            }
        }
        let called =
            shared.sleep.leave(worker.index, if has_work { Leaves::Searching } else { Leaves::Busy }) == Roused::Called;
        self.is_searching.set(called || has_work);
        called
    }
}
