//! What a suspended coroutine needs of its stack (B11): nothing below its stack pointer, and nothing else than what is above.

use std::cell::RefCell;
use std::hint::black_box;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use tasklet_core::backend::{Backend, Resumed, StackSource, Swaps};

use super::Instance;
use super::routine::{Pause, Routine, source, usual_size};

/// Fills what must not be needed.
const POISON: u8 = 0xd1;

/// A routine on a stack of ours, and the bounds of that; `None` if the backend does not tell stack pointers.
fn routine<B: Backend>(closure: impl FnOnce(Pause<B>) + 'static) -> Option<(Routine<B>, *mut u8, *mut u8)> {
    if !matches!(B::swaps(), Swaps::Yes) {
        return None;
    }
    let StackSource::Ours(stack) = source::<B>(usual_size()).expect("a stack") else {
        panic!("a backend that swaps runs on stacks of ours")
    };
    let (limit, top) = (stack.limit(), stack.top());
    Some((Routine::try_on(StackSource::Ours(stack), closure).expect("a coroutine"), limit, top))
}

fn poison(limit: *mut u8, sp: NonNull<u8>) {
    // SAFETY: the stack from its limit up is alive, and B11 says that a suspended coroutine needs nothing below `sp`.
    unsafe { ptr::write_bytes(limit, POISON, sp.as_ptr().addr() - limit.addr()) };
}

/// Suspends at the end of a recursion with frames of different sizes, and adds up what lies in them.
fn descend<B: Backend>(depth: u64, pause: Pause<B>) -> u64 {
    let small = black_box([depth; 3]);
    let sum = if depth == 0 {
        pause.suspend();
        1
    } else if depth.is_multiple_of(3) {
        let large = black_box([depth as u8; 700]);
        descend(depth - 1, pause) + large.iter().map(|&byte| u64::from(byte)).sum::<u64>()
    } else {
        descend(depth - 1, pause)
    };
    sum + small.iter().sum::<u64>()
}

fn expected(depth: u64) -> u64 {
    (1..=depth).map(|depth| 3 * depth + if depth.is_multiple_of(3) { 700 * depth } else { 0 }).sum::<u64>() + 1
}

/// B11: whatever lies below the stack pointer may be overwritten, at any depth and with anything in registers.
pub fn nothing_below_the_stack_pointer_is_needed<B: Backend>(_: Instance) {
    let sums = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&sums);
    let told = routine::<B>(move |pause| {
        let (mut float, mut kept) = (black_box(1.5_f64), black_box([1_u64, 2, 3, 4, 5, 6, 7, 8]));
        for depth in 0..20 {
            let sum = descend(depth, pause);
            log.borrow_mut().push(sum);
            float *= 1.25;
            kept.iter_mut().for_each(|number| *number = number.wrapping_mul(depth + 3));
        }
        let kept = kept.iter().fold(0_u64, |sum, number| sum.wrapping_add(*number));
        log.borrow_mut().push(float.to_bits().wrapping_add(kept));
    });
    let Some((mut routine, limit, _)) = told else { return };

    while routine.resume() == Resumed::Suspended {
        poison(limit, routine.stack_pointer().expect("a suspended coroutine has a stack pointer"));
    }

    let float = (0..20).fold(1.5_f64, |float, _| float * 1.25);
    let kept = (1..=8_u64).map(|number| (0..20).fold(number, |number, depth| number.wrapping_mul(depth + 3)));
    let last = float.to_bits().wrapping_add(kept.fold(0, u64::wrapping_add));
    let expected: Vec<u64> = (0..20).map(expected).chain([last]).collect();
    assert_eq!(*sums.borrow(), expected);
}

/// B11: nothing else than the stack from its stack pointer up, and that address, tells how a coroutine goes on.
pub fn a_suspended_coroutine_goes_on_from_an_earlier_time<B: Backend>(_: Instance) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let told = routine::<B>(move |pause| {
        for round in 0..6_u64 {
            let sum = descend(round, pause);
            log.borrow_mut().push((round, sum));
        }
    });
    let Some((mut routine, limit, top)) = told else { return };

    assert_eq!(routine.stack_pointer(), None, "one that never ran has none");
    let mut times = Vec::new();
    for _ in 0..6 {
        assert_eq!(routine.resume(), Resumed::Suspended);
        let sp = routine.stack_pointer().expect("a suspended coroutine has a stack pointer");
        let mut bytes = vec![0_u8; top.addr() - sp.as_ptr().addr()];
        // SAFETY: from the stack pointer of a suspended coroutine to the top of its stack, which nobody writes to.
        unsafe { ptr::copy_nonoverlapping(sp.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
        times.push((sp, bytes));
    }
    for (sp, bytes) in [&times[4], &times[0], &times[2], &times[2], &times[5]] {
        poison(limit, NonNull::new(top).expect("an address"));
        // SAFETY: the memory that the bytes are from, with the coroutine suspended.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), sp.as_ptr(), bytes.len()) };
        // SAFETY: the stack is what it was when `sp` was told. What the closure drops, it drops once: at its end, which is reached once.
        unsafe { routine.set_stack_pointer(*sp) };
        seen.borrow_mut().clear();
        let _ = routine.resume();
        let round = seen.borrow()[0].0;
        assert_eq!(*seen.borrow(), [(round, expected(round))]);
        let at = times.iter().position(|time| time.0 == *sp).expect("a time");
        assert_eq!(round, at as u64, "it went on from another time");
    }
    assert_eq!(routine.stack_pointer(), None, "one that has finished has none");
}
