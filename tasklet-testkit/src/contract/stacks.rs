//! A coroutine's stack: its size, its guard, its alignment (B4), and what is kept on it across suspends (B3).

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

use tasklet_core::backend::{Backend, Resumed, StackSource};

use super::Instance;
use super::routine::{Pause, Routine, size, source};
use crate::child;

const PAGE: usize = 4096;
const DECLARED: usize = 128 << 10;

/// Recurses until fewer than a page lies between the stack pointer and `limit`, suspending at the deepest point.
#[inline(never)]
fn dive<B: Backend>(pause: Option<Pause<B>>, limit: usize, deepest: &Cell<usize>) -> u8 {
    // Small next to a page, so that the last step does not leap over the rest.
    let frame = black_box([1_u8; 64]);
    let here = (&raw const frame).addr();
    deepest.set(here);
    if here > limit + PAGE {
        let below = dive(pause, limit, deepest);
        return black_box(below ^ frame[63]);
    }
    if let Some(pause) = pause {
        pause.suspend();
    }
    black_box(frame[0])
}

/// B4: all of the size asked for can be used, but for what a page holds.
pub fn recursion_reaches_within_a_page_of_the_declared_size<B: Backend>(_: Instance) {
    let stack = source::<B>(size(DECLARED)).expect("a stack");
    let ours = match &stack {
        StackSource::Ours(stack) => Some((stack.limit().addr(), stack.top().addr())),
        StackSource::Backend(_) => None,
    };
    let bounds = Rc::new(Cell::new((0, 0)));
    let deepest = Rc::new(Cell::new(usize::MAX));
    let (seen, depth) = (Rc::clone(&bounds), Rc::clone(&deepest));
    let mut routine = Routine::<B>::try_on(stack, move |pause| {
        let first = 0_u8;
        let top = (&raw const first).addr();
        // Where the backend made the stack, its end is at least the declared size below the first frame.
        seen.set(ours.unwrap_or((top - DECLARED, top)));
        dive(Some(pause), seen.get().0, &depth);
    })
    .expect("a coroutine");

    assert_eq!(routine.resume(), Resumed::Suspended);
    let (limit, top) = bounds.get();
    assert!(deepest.get() <= limit + PAGE);
    assert!(deepest.get() >= limit, "the last step went past the end: take a smaller frame");
    assert!(top - deepest.get() >= DECLARED - PAGE);

    routine.finish().expect("no panic");
}

/// B4: past the end is a guard, and the process dies by a signal instead of writing to somebody else's memory.
pub fn running_past_the_end_faults<B: Backend>(instance: Instance) {
    let ended = child::run(instance.test, "", "", || {
        let mut routine = Routine::<B>::with_size(size(DECLARED), |_| {
            dive::<B>(None, 0, &Cell::new(0));
        });
        let _ = routine.finish();
        println!("survived");
    });
    assert!(ended.signal.is_some(), "the child did not die by a signal: {ended:?}");
    assert!(!ended.stdout.contains("survived"), "{ended:?}");
}

/// B4: the stack is aligned well enough for the compiler to align locals further, and they stay where they are.
pub fn over_aligned_locals_survive_suspends<B: Backend>(_: Instance) {
    #[repr(align(64))]
    struct Line([u64; 8]);

    #[inline(never)]
    fn hold<B: Backend>(pause: Pause<B>, seed: u64, depth: usize) {
        let line = black_box(Line(std::array::from_fn(|place| seed + place as u64)));
        let address = (&raw const line).addr();
        assert_eq!(address % 64, 0);
        pause.suspend();
        if depth > 0 {
            hold(pause, seed + 100, depth - 1);
        }
        assert_eq!((&raw const line).addr(), address);
        assert!(line.0.iter().enumerate().all(|(place, &value)| value == seed + place as u64));
    }

    let mut routines: Vec<_> = (0..8).map(|seed| Routine::<B>::new(move |pause| hold(pause, seed, 10))).collect();
    for _ in 0..11 {
        for routine in &mut routines {
            assert_eq!(routine.resume(), Resumed::Suspended);
        }
    }
    for routine in &mut routines {
        routine.finish().expect("aligned and unchanged");
    }
}

/// B3, B4: vectors that the compiler keeps on the stack, with instructions that fault on a wrong alignment, come back unchanged.
pub fn vector_values_survive_suspends<B: Backend>(_: Instance) {
    let mut pair = [1.0, 1000.0].map(|seed| {
        Routine::<B>::new(move |pause| {
            #[cfg(target_arch = "x86_64")]
            if std::is_x86_feature_detected!("avx") {
                // SAFETY: the processor has AVX.
                return unsafe { avx(pause, seed) };
            }
            portable(pause, seed);
        })
    });
    for _ in 0..20 {
        for routine in &mut pair {
            assert_eq!(routine.resume(), Resumed::Suspended);
        }
    }
    for routine in &mut pair {
        routine.finish().expect("unchanged");
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn avx<B: Backend>(pause: Pause<B>, seed: f32) {
    use std::arch::x86_64::{_mm256_add_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps};

    let start: [f32; 8] = std::array::from_fn(|lane| seed + lane as f32);
    // SAFETY: eight floats are read from eight floats.
    let mut sum = unsafe { _mm256_loadu_ps(start.as_ptr()) };
    let step = _mm256_set1_ps(black_box(2.0));
    for _ in 0..20 {
        pause.suspend();
        sum = _mm256_add_ps(sum, step);
    }
    let mut end = [0.0_f32; 8];
    // SAFETY: eight floats are written to eight floats.
    unsafe { _mm256_storeu_ps(end.as_mut_ptr(), sum) };
    assert!(start.iter().zip(end).all(|(&start, end)| end == start + 40.0));
}

/// Four floats at once, as far as the compiler takes the hint.
fn portable<B: Backend>(pause: Pause<B>, seed: f32) {
    let mut sum: [f32; 4] = std::array::from_fn(|lane| seed + lane as f32);
    for _ in 0..20 {
        pause.suspend();
        sum = sum.map(|lane| lane + black_box(2.0));
    }
    assert!(sum.iter().enumerate().all(|(lane, &value)| value == seed + lane as f32 + 40.0));
}

/// B3: rounding is that of the thread, before and after suspends.
pub fn floating_point_results_are_those_of_a_thread<B: Backend>(_: Instance) {
    fn step(sum: f64, n: u32) -> f64 {
        let single = 1.0_f32 / black_box(n as f32);
        sum + 1.0 / f64::from(black_box(n)) + f64::from(single).sqrt()
    }
    let expected = (1..=1000).fold(0.0, step);
    let result = Rc::new(Cell::new(0.0));
    let sum = Rc::clone(&result);
    let mut routine = Routine::<B>::new(move |pause| {
        for n in 1..=1000 {
            sum.set(step(sum.get(), n));
            if n % 10 == 0 {
                pause.suspend();
            }
        }
    });
    let mut outside = 0.0;
    for n in 1..=1000 {
        outside = step(outside, n);
        if n % 10 == 0 {
            assert_eq!(routine.resume(), Resumed::Suspended);
            assert_eq!(result.get().to_bits(), f64::to_bits(outside));
        }
    }
    routine.finish().expect("no panic");
    assert_eq!(result.get().to_bits(), expected.to_bits());
}
