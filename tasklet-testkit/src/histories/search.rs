//! Whether a history could have come of one operation after the other: the search of Wing and Gong, with a memory of where it has been.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What an object does when one operation follows the other.
pub trait Model {
    /// The object's state.
    type State: Clone + Eq + Hash;
    /// What can be asked of it.
    type Op: Clone + Debug;
    /// What it answers.
    type Answer: Clone + Debug + PartialEq;

    /// The state at the beginning.
    fn start(&self) -> Self::State;

    /// The state after an operation with this answer. `None` if it cannot have that answer in this state.
    fn step(&self, state: &Self::State, op: &Self::Op, answer: &Self::Answer) -> Option<Self::State>;

    /// The state after two operations that can only happen together, such as a send and a receive without a buffer. `None` if they cannot.
    fn meet(&self, _state: &Self::State, _one: &Did<Self>, _other: &Did<Self>) -> Option<Self::State> {
        None
    }

    /// The answers that an operation may have had of which nobody has heard.
    fn answers(&self, _op: &Self::Op) -> Vec<Self::Answer> {
        Vec::new()
    }
}

/// An operation with its answer.
pub type Did<M> = (<M as Model>::Op, <M as Model>::Answer);

/// One operation of a history.
#[derive(Debug)]
pub struct Event<M: Model + ?Sized> {
    /// What was asked.
    pub op: M::Op,
    /// When.
    pub called: u64,
    /// When it was answered, and how. `None`: whoever has called was ended meanwhile, so it may have happened or not.
    pub answered: Option<(u64, M::Answer)>,
}

/// Whether there is an order of the operations in which each has its answer, and one that was answered before another was called comes
/// before it. Of those without an answer each may happen after its call, or not at all.
///
/// # Panics
///
/// There are more than 64.
pub fn is_linearizable<M: Model>(model: &M, history: &[Event<M>]) -> bool {
    assert!(history.len() <= 64, "a history has 64 operations at most");
    // Each operation with all that it may have done.
    let done: Vec<Vec<Did<M>>> = history
        .iter()
        .map(|event| match &event.answered {
            Some((_, answer)) => vec![(event.op.clone(), answer.clone())],
            None => model.answers(&event.op).into_iter().map(|answer| (event.op.clone(), answer)).collect(),
        })
        .collect();
    let bits = |wanted: &dyn Fn(&Event<M>) -> bool| {
        history.iter().enumerate().filter(|(_, event)| wanted(event)).fold(0_u64, |bits, (at, _)| bits | (1 << at))
    };
    let answered = bits(&|event| event.answered.is_some());
    let mut seen = HashSet::new();
    let mut paths = vec![(0_u64, model.start())];
    while let Some((placed, state)) = paths.pop() {
        if placed & answered == answered {
            return true;
        }
        if !seen.insert((placed, state.clone())) {
            continue;
        }
        let left = || history.iter().enumerate().filter(|(at, _)| placed & (1 << at) == 0);
        let horizon = left().filter_map(|(_, event)| event.answered.as_ref()).map(|(at, _)| *at).min();
        let next: Vec<usize> =
            left().filter(|(_, event)| horizon.is_none_or(|at| event.called < at)).map(|(at, _)| at).collect();
        for (index, &one) in next.iter().enumerate() {
            for did in &done[one] {
                paths.extend(model.step(&state, &did.0, &did.1).map(|state| (placed | (1 << one), state)));
                for &other in &next[index + 1..] {
                    let met = done[other].iter().filter_map(|with| model.meet(&state, did, with));
                    paths.extend(met.map(|state| (placed | (1 << one) | (1 << other), state)));
                }
            }
        }
    }
    false
}
