//! What goes wrong on swapped stacks and is found out, or made to show: in child processes.

use std::hint::black_box;
use std::sync::mpsc;

use tasklet_core::backend::Backend;
use tasklet_core::current::install_overflow_handler;
use tasklet_sync::Semaphore;

use super::Case;
use super::setup::{give_way, one_slot, scheduler};

const SIGABRT: i32 = 6;

/// A tasklet lends its stack to a thread and waits, in tasklets' terms: without poison the thread may find what was there, with poison it does not.
pub fn poison_shows_a_stack_that_was_lent<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        for poison in [false, true] {
            let scheduler = scheduler::<B>(case, one_slot().poison(poison));
            let (away, is_away) = mpsc::channel();
            let (seen, has_seen) = mpsc::channel();
            scheduler.spawn(move || {
                // Large: the other tasklet uses less of the stack.
                let lent = black_box([0x11_u8; 16 << 10]);
                std::thread::scope(|scope| {
                    let lent = &lent;
                    scope.spawn(move || {
                        is_away.recv().unwrap();
                        let first = black_box(lent)[0];
                        eprintln!("poison {poison}: lent 11, found {first:x}");
                        seen.send(()).unwrap();
                        assert_eq!(first, 0x11, "somebody writes to what was lent");
                    });
                    // Here is the mistake.
                    give_way();
                });
            });
            scheduler.spawn(move || {
                away.send(()).unwrap();
                // Not in tasklets' terms: it keeps the stack.
                has_seen.recv().unwrap();
            });
            let failed = scheduler.run().is_err();
            eprintln!("poison {poison}: failed {failed}");
        }
    });
    let text = &ended.stderr;
    assert!(ended.success, "{ended:?}");
    assert!(text.contains("poison false: lent 11, found 11") && text.contains("poison false: failed false"), "{text}");
    assert!(text.contains("poison true: lent 11, found d1") && text.contains("poison true: failed true"), "{text}");
    assert!(text.contains("somebody writes to what was lent"), "{text}");
}

/// Whoever waits at a place on its own stack is found when that is to be copied.
pub fn a_wait_at_ones_own_semaphore_aborts<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        let scheduler = scheduler::<B>(case, one_slot());
        scheduler.spawn(|| {
            let own = Semaphore::new(0);
            drop(own.acquire());
        });
        scheduler.spawn(give_way);
        let _ = scheduler.run();
        eprintln!("survived");
    });
    let text = &ended.stderr;
    assert_eq!(ended.signal, Some(SIGABRT), "{ended:?}");
    assert!(text.contains("waits at a lock or channel that lies on its own stack: move it to the heap"), "{text}");
    assert!(text.contains("copying a swapped tasklet's stack") && !text.contains("survived"), "{text}");
}

/// The handler names the tasklet that runs, the size of its slot, and how to make that larger.
pub fn an_overflow_names_tasklet_and_slot<B: Backend>(case: Case) {
    #[expect(unconditional_recursion, reason = "the point of the test")]
    #[inline(never)]
    fn dig(depth: u64) -> u64 {
        let frame = black_box([depth; 100]);
        dig(depth + 1) + frame[depth as usize % 100]
    }

    let ended = case.in_child(|| {
        install_overflow_handler().unwrap();
        let scheduler = scheduler::<B>(case, one_slot());
        for number in 0..3 {
            scheduler.tasklet().name(format!("digger {number}")).spawn(move || {
                (0..5).for_each(|_| give_way());
                if number == 1 {
                    black_box(dig(0));
                }
                give_way();
            });
        }
        let _ = scheduler.run();
        eprintln!("survived");
    });
    let text = &ended.stderr;
    assert_eq!(ended.signal, Some(SIGABRT), "{ended:?}");
    let size = 1 << 20;
    assert!(text.contains("tasklet 'digger 1' (id ") && !text.contains("survived"), "{text}");
    assert!(text.contains(&format!("overflowed its stack of {size} bytes; raise it with Slots::size")), "{text}");
}
