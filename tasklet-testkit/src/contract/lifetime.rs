//! What becomes of a coroutine, and of its stack, when it is dropped or taken apart (B7, B8).

use std::cell::Cell;
use std::rc::Rc;

use tasklet_core::backend::{Backend, Resumed, StackProvision, StackSource};

use super::Instance;
use super::routine::{Events, OnDrop, Routine, leaked_stacks, source, usual_size};

const PATTERN: u64 = 0x5aa5_0ff0_c33c_9669;

/// A routine, suspended, with a drop counter and a pattern on its stack; where the pattern is.
fn suspended_with_pattern<B: Backend>(events: &Events) -> (Routine<B>, *const [u64; 64]) {
    let log = events.clone();
    let address = Rc::new(Cell::new(std::ptr::null()));
    let told = Rc::clone(&address);
    let mut routine = Routine::new(move |pause| {
        let _local = OnDrop(log, "dropped");
        let pattern = [PATTERN; 64];
        told.set(&raw const pattern);
        pause.suspend();
        std::hint::black_box(&pattern);
    });
    assert_eq!(routine.resume(), Resumed::Suspended);
    (routine, address.get())
}

/// Creates and finishes coroutines that write all over their stacks.
fn scribble<B: Backend>() {
    let routines: Vec<_> = (0..20)
        .map(|_| {
            let mut routine = Routine::<B>::new(|pause| {
                let mut junk = [0xee_u8; 32 << 10];
                std::hint::black_box(&mut junk);
                pause.suspend();
            });
            assert_eq!(routine.resume(), Resumed::Suspended);
            routine
        })
        .collect();
    for mut routine in routines {
        routine.finish().expect("no panic");
    }
}

fn assert_intact(address: *const [u64; 64]) {
    // SAFETY: the array lies on a leaked stack: it is never freed, and nobody runs there.
    let found = unsafe { address.read_volatile() };
    assert!(found.iter().all(|&word| word == PATTERN), "a leaked stack was written to");
}

/// B8: no drop runs, and nobody else is given the memory.
pub fn a_suspended_coroutine_that_is_dropped_is_leaked_intact<B: Backend>(_: Instance) {
    let events = Events::default();
    let (routine, pattern) = suspended_with_pattern::<B>(&events);

    drop(routine);
    assert!(leaked_stacks::<B>().is_none_or(|leaked| leaked == 1), "a leaked stack is counted");
    scribble::<B>();

    assert!(events.take().is_empty());
    assert_intact(pattern);
}

/// The same by way of `into_stack`.
pub fn into_stack_of_a_suspended_coroutine_leaks_it<B: Backend>(_: Instance) {
    let events = Events::default();
    let (routine, pattern) = suspended_with_pattern::<B>(&events);

    assert!(routine.into_stack().is_none());
    assert!(leaked_stacks::<B>().is_none_or(|leaked| leaked == 1), "a leaked stack is counted");
    scribble::<B>();

    assert!(events.take().is_empty());
    assert_intact(pattern);
}

/// B8: neither the entry function nor what its argument points to is touched, and the stack is free.
pub fn a_coroutine_that_never_ran_gives_its_stack_back<B: Backend>(_: Instance) {
    let events = Events::default();
    let (log, local) = (events.clone(), OnDrop(events.clone(), "the routine's own drop"));
    let stack = source::<B>(usual_size()).expect("a stack");
    let top = top_of(&stack);
    let routine = Routine::<B>::try_on(stack, move |_| {
        let _local = local;
        log.push("ran");
    })
    .expect("a coroutine");

    check_given_back::<B>(routine, top);

    assert_eq!(events.take(), ["the routine's own drop"]);
}

/// B8: the stack that comes back is the one that was given.
pub fn a_finished_coroutine_gives_its_stack_back<B: Backend>(_: Instance) {
    let stack = source::<B>(usual_size()).expect("a stack");
    let top = top_of(&stack);
    let mut routine = Routine::<B>::try_on(stack, |pause| pause.suspend()).expect("a coroutine");
    routine.finish().expect("no panic");

    check_given_back::<B>(routine, top);
}

/// B8: memory, mappings, threads: whatever a fresh coroutine holds is freed, or this runs out of it.
pub fn dropping_ten_thousand_that_never_ran_frees_them<B: Backend>(_: Instance) {
    for _ in 0..10 {
        let mut stack = source::<B>(usual_size()).expect("a stack");
        for _ in 0..1000 {
            let routine = Routine::<B>::try_on(stack, |_| unreachable!("never resumed")).expect("a coroutine");
            stack = match routine.into_stack() {
                Some(stack) => StackSource::Ours(stack),
                None => StackSource::Backend(usual_size()),
            };
        }
    }
}

fn top_of(stack: &StackSource) -> Option<usize> {
    match stack {
        StackSource::Ours(stack) => Some(stack.top().addr()),
        StackSource::Backend(_) => None,
    }
}

fn check_given_back<B: Backend>(routine: Routine<B>, top: Option<usize>) {
    let stack = routine.into_stack();
    assert_eq!(stack.is_some(), B::STACKS == StackProvision::Ours);
    assert_eq!(stack.map(|stack| stack.top().addr()), top);
}
