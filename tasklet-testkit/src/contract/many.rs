//! Many coroutines at once, on one thread and on several, and the end of what there is room for (B9).

use std::cell::Cell;
use std::panic;
use std::rc::Rc;
use std::thread;

use tasklet_core::backend::{Backend, Resumed};
use tasklet_core::stack::StackSize;

use super::Instance;
use super::routine::{Routine, size, source};
use crate::child;

/// Thousands exist, suspended, and are resumed in an order that has nothing to do with that of their creation.
pub fn thousands_are_alive_at_once<B: Backend>(instance: Instance) {
    let count = instance.alive_at_once;
    let sum = Rc::new(Cell::new(0));
    let mut routines: Vec<_> = (0..count)
        .map(|number| {
            let sum = Rc::clone(&sum);
            Routine::<B>::with_size(StackSize::MIN, move |pause| {
                let mine = std::hint::black_box([number; 4]);
                pause.suspend();
                sum.set(sum.get() + mine[3]);
                pause.suspend();
                sum.set(sum.get() + mine[0]);
            })
        })
        .collect();
    let mut order: Vec<_> = (0..count).collect();
    println!("seed 0x7a51");
    let mut random = Random::new(0x7a51);
    for expected in [Resumed::Suspended, Resumed::Suspended, Resumed::Finished] {
        random.shuffle(&mut order);
        for &number in &order {
            assert_eq!(routines[number].resume(), expected);
        }
    }
    assert_eq!(sum.get(), count * (count - 1));
}

/// Coroutines of several threads know nothing of each other, also while they panic.
pub fn eight_threads_run_their_own<B: Backend>(_: Instance) {
    // Printed here and not on the threads: ThreadSanitizer does not see the lock of the test's captured output.
    println!("seeds 1 to 8");
    let threads: Vec<_> = (0..8_u64)
        .map(|number| {
            thread::spawn(move || {
                let mut random = Random::new(number + 1);
                let mut routines: Vec<_> = (0..32)
                    .map(|routine| {
                        Routine::<B>::new(move |pause| {
                            for round in 0..50_u64 {
                                let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                                    pause.suspend();
                                    panic::resume_unwind(Box::new((number, routine, round)));
                                }));
                                let payload = caught.expect_err("a panic");
                                assert_eq!(payload.downcast_ref::<(u64, i32, u64)>(), Some(&(number, routine, round)));
                            }
                        })
                    })
                    .collect();
                while !routines.is_empty() {
                    let at = random.below(routines.len());
                    if routines[at].resume() == Resumed::Finished {
                        routines.swap_remove(at).into_stack();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}

/// B9: where the address space ends, `create` says so; it does not panic, print or abort, and what exists goes on working.
pub fn running_out_of_room_is_an_error<B: Backend>(instance: Instance) {
    let ended = child::run(instance.test, "", "", || {
        // Enough for the process and for hundreds of stacks of this size, not for thousands.
        child::limit_address_space(4 << 30);
        let mut routines = Vec::new();
        let error = loop {
            let made =
                source::<B>(size(4 << 20)).and_then(|stack| Routine::<B>::try_on(stack, |pause| pause.suspend()));
            match made {
                Ok(mut routine) => {
                    assert_eq!(routine.resume(), Resumed::Suspended);
                    routines.push(routine);
                }
                Err(error) => break error,
            }
            assert!(routines.len() < 2000, "the limit was not noticed");
        };
        println!("made {}: {error}", routines.len());
        // Frees some room first: printing and checking may need it.
        routines.truncate(routines.len() / 2);
        for mut routine in routines {
            routine.finish().expect("no panic");
        }
        println!("all finished");
    });
    assert!(ended.success, "{ended:?}");
    assert!(ended.stdout.contains("all finished"), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

/// Numbers without a pattern, the same at every run: xorshift64.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.below(place + 1));
        }
    }
}
