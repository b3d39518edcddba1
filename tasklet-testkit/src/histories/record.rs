//! What happens in a history: who calls what when, and what is answered.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use super::search::{Event, Model, is_linearizable};

/// A clock that orders calls and answers, and what everybody has done by it.
pub(super) struct History<M: Model> {
    // SeqCst: one order of all calls and answers, which agrees with what happens in between.
    clock: AtomicU64,
    events: Mutex<(Vec<usize>, Vec<Event<M>>)>,
}

impl<M: Model> History<M> {
    pub(super) fn new() -> Arc<History<M>> {
        Arc::new(History { clock: AtomicU64::new(0), events: Mutex::new((Vec::new(), Vec::new())) })
    }

    /// Records one operation. If `call` unwinds, it has no answer.
    pub(super) fn record(&self, actor: usize, op: M::Op, call: impl FnOnce(&M::Op) -> M::Answer) {
        let called = self.clock.fetch_add(1, SeqCst);
        let at = {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.0.push(actor);
            events.1.push(Event { op: op.clone(), called, answered: None });
            events.0.len() - 1
        };
        // The first clock reading is before the call and the second after it: what overlaps here may overlap less in truth, never more.
        let answer = call(&op);
        let answered = self.clock.fetch_add(1, SeqCst);
        self.events.lock().unwrap_or_else(PoisonError::into_inner).1[at].answered = Some((answered, answer));
    }

    /// The last answer that this actor has had.
    pub(super) fn last_answer(&self, actor: usize) -> Option<M::Answer> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let at = events.0.iter().rposition(|who| *who == actor)?;
        Some(events.1[at].answered.as_ref()?.1.clone())
    }

    /// After all have ended.
    #[track_caller]
    pub(super) fn check(&self, model: &M)
    where
        M: std::fmt::Debug,
    {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if is_linearizable(model, &events.1) {
            return;
        }
        let lines: Vec<_> = events
            .0
            .iter()
            .zip(&events.1)
            .map(|(actor, Event { op, called, answered })| match answered {
                Some((at, answer)) => format!("  {called:>3} to {at:>3}  actor {actor}: {op:?}, {answer:?}"),
                None => format!("  {called:>3} to end  actor {actor}: {op:?}, no answer"),
            })
            .collect();
        panic!("no order of these operations is one of {model:?}:\n{}", lines.join("\n"));
    }
}
