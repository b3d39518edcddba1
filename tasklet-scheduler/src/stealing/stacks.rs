//! The stacks of a worker's tasklets: measured for whoever asks, and trimmed.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use tasklet_core::current;
use tasklet_core::home::Remote;
use tasklet_core::stack::StackUsage;
use tasklet_core::tasklet::{JoinHandle, Record, spot};
use tasklet_core::unwind;

use super::runtime::Handle;
use super::worker::Worker;
use crate::engine::Which;

/// What a worker says of a tasklet's stack.
#[derive(Clone, Copy)]
enum Answer {
    Usage(Option<StackUsage>),
    /// The tasklet is not, or not any more, that worker's.
    Elsewhere,
}

/// Who asks a worker, and what it has answered.
struct Question {
    asker: Arc<Record>,
    answer: OnceLock<Answer>,
}

/// The worker's side of a question: answers it when it is dropped, in case that nobody has.
struct Asked(Arc<Question>);

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.0.answer.set(Answer::Elsewhere);
        self.0.asker.spot().unpark();
    }
}

impl Worker {
    /// Where there is time: looks at some stacks, if they are due.
    pub(super) fn look_at_stacks(&self) {
        if self.looks.are_wanted() {
            let trimmed = self.looks.look(self.now(), &*self.engine);
            self.counters().trimmed.add(trimmed.bytes as u64);
        }
    }

    #[cold]
    fn trim_stacks(&self) {
        let trimmed = self.engine.trim(Which::All, 0..usize::MAX, usize::MAX);
        self.counters().trimmed.add(trimmed.bytes as u64);
        self.slots_to_trim.set(true);
    }

    /// On the root: ends the slots at which nobody sits, if somebody has asked for that.
    pub(super) fn trim_slots(&self) {
        if self.slots_to_trim.take() {
            self.engine.end_slots(self);
            self.note_slots();
        }
    }

    /// How much memory the stack takes that a tasklet of this worker sits on.
    pub(super) fn stack_usage_of(&self, record: &Record) -> Option<StackUsage> {
        self.fiber_of(record).and_then(|fiber| self.engine.stack_usage(fiber))
    }

    fn answer(&self, record: &Record) -> Answer {
        if record.is_at(&self.token) { Answer::Usage(self.stack_usage_of(record)) } else { Answer::Elsewhere }
    }
}

/// Calls `f` if a worker calls.
pub(super) fn with_worker(scheduler: &dyn Any, f: impl FnOnce(&Worker)) {
    if let Some(worker) = scheduler.downcast_ref::<Worker>() {
        f(worker);
    }
}

impl Handle {
    /// Gives back to the system what is in memory and of no use: the pages of tasklets' stacks, and of slots, below where each is suspended, and
    /// [free stacks](tasklet_core::stack::Depot::trim); and the slots at which no [swapped](crate::swapped) tasklet sits, when their worker has nothing else
    /// to do. Tasklets notice nothing but a page fault for each page that they use again.
    ///
    /// Each worker does its part when it looks at its inbox, so a little later; one whose tasklet computes, when that gives way. It costs a
    /// worker about 7 us for a stack that has 100 KiB to give back, and 1.3 us for one that has nothing; [`Metrics::trimmed`](super::Metrics::trimmed)
    /// tells what came of it. Workers do the same by themselves for tasklets that have waited [for a while](super::Builder::trim_after).
    ///
    /// # Scheduling
    ///
    /// Never switches.
    pub fn trim(&self) {
        for home in self.shared().seats.iter().filter_map(|seat| seat.home()) {
            // One that has ended has nothing.
            let _ = home.submit(Remote::Call(Box::new(|worker| with_worker(worker, Worker::trim_stacks))));
        }
        self.depot().trim();
    }

    /// How much memory the stack of a tasklet of this runtime takes. `None` if it has not started or has ended, is soft, if the backend
    /// brings its own stacks, and for a tasklet of another scheduler; and for one that [may move](super::spawn_migratable) while no worker has it: it has
    /// yielded, and waits for one that takes it.
    ///
    /// Its worker is asked, which measures in between two tasklets.
    ///
    /// # Scheduling
    ///
    /// The caller goes on at once if the tasklet is on its own worker. Else it parks until the other worker has looked at its inbox; one whose
    /// tasklet computes looks when that gives way. Nothing ends the wait early: what is thrown at the caller meanwhile is raised after it. A tasklet of
    /// a local scheduler inside of a tasklet of this runtime must not ask about one of the same worker, which it blocks.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller.
    pub fn stack_usage<T>(&self, tasklet: &JoinHandle<T>) -> Option<StackUsage> {
        let record = tasklet.record()?;
        loop {
            let home = record.home()?;
            if !self.shared().seats.iter().filter_map(|seat| seat.home()).any(|seat| Arc::ptr_eq(seat, &home)) {
                return None;
            }
            // SAFETY: the worker is looked at and let go.
            let here = unsafe { current::with_scheduler(|worker: &Worker| worker.answer(&record)) };
            if let Some(Answer::Usage(usage)) = here {
                return usage;
            }
            let question = Arc::new(Question { asker: current::record(), answer: OnceLock::new() });
            let (asked, about) = (Asked(question.clone()), record.clone());
            let call = move |worker: &dyn Any| {
                with_worker(worker, |worker| {
                    let _ = asked.0.answer.set(worker.answer(&about));
                });
                drop(asked);
            };
            let refused = home.submit(Remote::Call(Box::new(call))).err();
            let is_open = refused.is_none();
            drop(refused);
            if let Some(payload) = spot::wait_until(|| question.answer.get().is_some()) {
                unwind::raise(payload);
            }
            match question.answer.get() {
                Some(Answer::Usage(usage)) => return *usage,
                // It has moved, or ended: then it has no home any more, or one that does not answer.
                _ if is_open && !record.is_finished() => {}
                _ => return None,
            }
        }
    }
}
