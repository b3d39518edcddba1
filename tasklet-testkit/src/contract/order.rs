//! Create, resume, suspend and finish happen in turns (B1, B2, B3), again and again.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;

use tasklet_core::backend::{Backend, Resumed, StackProvision, StackSource};

use super::Instance;
use super::routine::{Events, Routine, source, usual_size};

/// B1: the closure runs at the first resume, not before.
pub fn creating_runs_nothing<B: Backend>(_: Instance) {
    let events = Events::default();
    let log = events.clone();
    let mut routine = Routine::<B>::new(move |_| log.push("ran"));
    assert!(events.take().is_empty());

    assert_eq!(routine.resume(), Resumed::Finished);

    assert_eq!(events.take(), ["ran"]);
}

/// B2, B3: resume returns at a suspend or at the end, suspend returns at the next resume.
pub fn resume_suspend_and_finish_alternate<B: Backend>(_: Instance) {
    let events = Events::default();
    let log = events.clone();
    let mut routine = Routine::<B>::new(move |pause| {
        log.push("first");
        pause.suspend();
        log.push("second");
        pause.suspend();
        log.push("third");
    });

    for expected in [Resumed::Suspended, Resumed::Suspended, Resumed::Finished] {
        events.push("resume");
        assert_eq!(routine.resume(), expected);
        events.push("back");
    }

    let order = ["resume", "first", "back", "resume", "second", "back", "resume", "third", "back"];
    assert_eq!(events.take(), order);
}

/// Coroutines are created, run to the end and taken apart again on the same memory.
pub fn one_stack_serves_many_coroutines_in_turn<B: Backend>(instance: Instance) {
    let mut stack = source::<B>(usual_size()).expect("a stack");
    let finished = Rc::new(Cell::new(0));
    for round in 0..instance.rounds() {
        let counter = Rc::clone(&finished);
        let mut routine = Routine::<B>::try_on(stack, move |pause| {
            // Every other one leaves its stack by way of a suspend.
            if round % 2 == 0 {
                pause.suspend();
            }
            counter.set(counter.get() + 1);
        })
        .expect("a coroutine");
        routine.finish().expect("no panic");
        stack = match (routine.into_stack(), B::STACKS) {
            (Some(stack), StackProvision::Ours) => StackSource::Ours(stack),
            (None, StackProvision::Backend) => StackSource::Backend(usual_size()),
            (stack, provision) => panic!("into_stack gave {stack:?} although stacks are {provision:?}"),
        };
    }
    assert_eq!(finished.get(), instance.rounds());
}

/// Locals are what they were after each of many suspends.
pub fn a_coroutine_suspends_many_times<B: Backend>(instance: Instance) {
    let rounds = instance.rounds();
    let seen = Rc::new(Cell::new(0));
    let shared = Rc::clone(&seen);
    let mut routine = Routine::<B>::new(move |pause| {
        for turn in 1..=rounds {
            shared.set(turn);
            pause.suspend();
        }
    });
    for turn in 1..=rounds {
        assert_eq!(routine.resume(), Resumed::Suspended);
        assert_eq!(seen.get(), turn);
    }
    assert_eq!(routine.resume(), Resumed::Finished);
}

/// A started coroutine does not change threads, and neither does what it reads of its thread.
pub fn every_resume_runs_on_the_same_thread<B: Backend>(_: Instance) {
    thread_local! {
        static MARK: Cell<usize> = const { Cell::new(0) };
    }
    let mut routine = Routine::<B>::new(|pause| {
        let home = thread::current().id();
        for turn in 0..100 {
            MARK.set(turn);
            pause.suspend();
            assert_eq!(thread::current().id(), home);
            assert_eq!(MARK.get(), turn);
        }
    });
    routine.finish().expect("the same thread at every resume");
}
