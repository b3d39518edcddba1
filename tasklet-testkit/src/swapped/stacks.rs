//! What lies on a stack that is copied away and back: it is as it was, where it was.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tasklet_channels::{bounded, rendezvous};
use tasklet_core::backend::Backend;
use tasklet_core::clock::VirtualClock;
use tasklet_core::current;
use tasklet_core::driver::VirtualDriver;
use tasklet_core::stack::{Depot, StackConfig, StackPool, StackSize, StackUsage};
use tasklet_scheduler::stealing;
use tasklet_scheduler::swapped::Slots;

use super::Case;
use super::setup::{end, until};
use super::setup::{evict, give_way, one_slot, run, run_on, runtime, scheduler, spawn_here, spawn_waiting};
use crate::kinds;
use crate::stealing::trims::{DEEP, SHALLOW, deep_down};

/// Frames of different sizes up to `depth`, each with a number and a reference to the frame above; `at_the_end` is called in the last. Adds up
/// what the frames hold.
#[inline(never)]
pub(super) fn descend(depth: u64, above: Option<&Cell<u64>>, at_the_end: &mut dyn FnMut()) -> u64 {
    let own = Cell::new(black_box(depth));
    let sum = match depth {
        0 => {
            at_the_end();
            0
        }
        _ if depth.is_multiple_of(7) => large::<{ 12 << 10 }>(depth, &own, at_the_end),
        _ if depth.is_multiple_of(3) => large::<333>(depth, &own, at_the_end),
        _ => descend(depth - 1, Some(&own), at_the_end),
    };
    if let Some(above) = above {
        assert_eq!(above.get(), depth + 1, "the frame above was changed");
        above.set(above.get() + 1_000);
    }
    // Who was called from here has counted, through its reference.
    assert_eq!(own.get(), depth + if depth == 0 { 0 } else { 1_000 });
    sum + depth
}

/// Part of the recursion, with so many bytes.
#[inline(never)]
fn large<const SIZE: usize>(depth: u64, above: &Cell<u64>, at_the_end: &mut dyn FnMut()) -> u64 {
    let bytes = black_box([depth as u8; SIZE]);
    let sum = descend(depth - 1, Some(above), at_the_end);
    assert!(black_box(&bytes).iter().all(|byte| *byte == depth as u8), "a frame of {SIZE} bytes was changed");
    sum
}

/// Deep recursion with frames of many sizes, suspended at its end and on the way back.
pub fn deep_frames_come_back<B: Backend>(case: Case) {
    run::<B>(case, || {
        for depth in [0, 1, 5, 50, 200] {
            let tasklets: Vec<_> = (0..3)
                .map(|_| {
                    spawn_here(move || {
                        let mut rounds = 0;
                        let sum = descend(depth, None, &mut || {
                            (0..3).for_each(|_| give_way());
                            rounds += 1;
                        });
                        (sum, rounds)
                    })
                })
                .collect();
            for tasklet in tasklets {
                assert_eq!(tasklet.join().unwrap(), (depth * (depth + 1) / 2, 1));
            }
        }
    });
}

/// Locals that ask for much alignment have it, also after they were away, and addresses that were kept are those of the same values.
pub fn locals_keep_their_addresses<B: Backend>(case: Case) {
    #[repr(align(64))]
    struct Line([u8; 64]);
    #[repr(align(4096))]
    struct Page([u8; 4096]);

    run::<B>(case, || {
        let tasklets: Vec<_> = (1..6_u8)
            .map(|number| {
                spawn_here(move || {
                    let (line, page) = (Line([number; 64]), Page([number; 4096]));
                    let mut list = [Cell::new(0_u32), Cell::new(0), Cell::new(0)];
                    let before = [(&raw const line).addr(), (&raw const page).addr(), list.as_ptr().addr()];
                    let inside: Vec<&Cell<u32>> = list.iter().collect();
                    for round in 1..20 {
                        give_way();
                        inside[round % 3].set(inside[round % 3].get() + 1);
                        let now = [(&raw const line).addr(), (&raw const page).addr(), list.as_ptr().addr()];
                        assert_eq!(black_box(now), before);
                        assert!(now[0].is_multiple_of(64) && now[1].is_multiple_of(4096));
                        assert!(black_box(&line).0.iter().chain(&black_box(&page).0).all(|byte| *byte == number));
                    }
                    list.iter_mut().map(|cell| *cell.get_mut()).sum::<u32>()
                })
            })
            .collect();
        for tasklet in tasklets {
            assert_eq!(tasklet.join().unwrap(), 19);
        }
    });
}

/// What a tasklet had in registers when it gave way is part of it.
pub fn registers_come_back<B: Backend>(case: Case) {
    fn numbers(seed: u64, rounds: u64) -> (u64, u64) {
        let mut floats = [1.5_f64, 2.5, 3.5, 4.5].map(|float| black_box(float * seed as f64));
        let mut words = [1_u64, 2, 3, 5, 7, 11].map(|word| black_box(word * seed));
        for round in 0..rounds {
            give_way();
            floats.iter_mut().for_each(|float| *float = float.sqrt() + 1.25);
            words.iter_mut().for_each(|word| *word = word.wrapping_mul(round + 3).rotate_left(7));
        }
        (
            floats.iter().fold(0, |sum, float| sum ^ float.to_bits()),
            words.iter().fold(0, |sum, word| sum.wrapping_mul(31) ^ word),
        )
    }

    run::<B>(case, || {
        let tasklets: Vec<_> = (1..6).map(|seed| spawn_here(move || numbers(seed, 40))).collect();
        // The same one after the other, with nobody else to run.
        let alone: Vec<_> = (1..6).map(|seed| spawn_here(move || numbers(seed, 40)).join().unwrap()).collect();
        let together: Vec<_> = tasklets.into_iter().map(|tasklet| tasklet.join().unwrap()).collect();
        assert_eq!(together, alone);
    });
}

/// Ten thousand on one slot; all wait at once, and each has what it had.
pub fn ten_thousand_take_turns<B: Backend>(case: Case) {
    let many = 10_000_usize;
    run::<B>(case, move || {
        let (gate, opened) = rendezvous::<usize>();
        let tasklets: Vec<_> = (0..many)
            .map(|number| {
                let opened = opened.clone();
                spawn_here(move || {
                    let mine = black_box([number; 8]);
                    let got = opened.recv().unwrap();
                    give_way();
                    assert!(black_box(&mine).iter().all(|word| *word == number));
                    got
                })
            })
            .collect();
        until(|| gate.blocked_receivers() == many);
        (0..many).for_each(|number| gate.send(number).unwrap());
        let got: usize = tasklets.into_iter().map(|tasklet| tasklet.join().unwrap()).sum();
        assert_eq!(got, many * (many - 1) / 2);
    });
}

/// Two that talk to each other from different slots are not copied; at one slot they are. With the last of them all memory for copies goes.
pub fn pairs_at_different_slots_are_not_copied<B: Backend>(case: Case) {
    for (count, is_copied) in [(2, false), (1, true)] {
        let scheduler = scheduler::<B>(case, one_slot().count(count));
        let (sender, receiver) = bounded(1);
        let (back, answers) = bounded(1);
        let most = Rc::new(Cell::new(0));
        scheduler.spawn(move || receiver.iter().for_each(|number: u64| back.send(number + 1).unwrap()));
        scheduler.spawn(move || {
            for number in 0..100 {
                sender.send(number).unwrap();
                assert_eq!(answers.recv(), Ok(number + 1));
            }
        });
        // Main runs between any two switches of theirs, so it sees whether there is a copy.
        while scheduler.run_count() > 1 {
            scheduler.schedule();
            most.set(most.get().max(scheduler.slot_stats().bytes));
        }
        assert_eq!(most.get() > 0, is_copied, "{count} slots");
        assert_eq!(scheduler.slot_stats().bytes, 0);
    }
}

/// Slots are made when they are needed, up to their number, and go when they are not and somebody asks.
pub fn unused_slots_go<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case, one_slot().count(3));
    assert_eq!(scheduler.slot_stats().slots, 0);
    let (gate, opened) = rendezvous::<()>();
    for (waiting, slots) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 3)] {
        let opened = opened.clone();
        scheduler.spawn(move || opened.recv().unwrap());
        scheduler.run().unwrap();
        let stats = scheduler.slot_stats();
        assert_eq!((stats.slots, stats.tasklets), (slots, waiting));
        assert_eq!(stats.bytes > 0, waiting > 3, "copies are made when a slot has more than one");
    }
    scheduler.trim();
    assert_eq!(scheduler.slot_stats().slots, 3, "they are used");
    (0..5).for_each(|_| gate.try_send(()).unwrap());
    scheduler.run().unwrap();
    scheduler.trim();
    let stats = scheduler.slot_stats();
    assert_eq!((stats.slots, stats.tasklets, stats.bytes), (0, 0, 0));
    // And are made again.
    scheduler.spawn_joinable(|| (0..3).for_each(|_| give_way())).join().unwrap();
}

/// Where there is no room for more slots, those that there are will do; where there is none for one, the run says so.
pub fn fewer_slots_will_do<B: Backend>(case: Case) {
    let size = Slots::new().count(8).size(StackSize::new(256 << 10).unwrap());
    let depot = Depot::new(StackConfig::new().slab_bytes(512 << 10).ceiling(512 << 10));
    let scheduler = kinds::local::<B>(case.kind).slots(size).stacks(StackPool::new(&depot)).build();
    let ended = Rc::new(Cell::new(0));
    for _ in 0..20 {
        let ended = ended.clone();
        scheduler.spawn(move || {
            (0..3).for_each(|_| give_way());
            ended.set(ended.get() + 1);
        });
    }
    scheduler.run().unwrap();
    assert_eq!(ended.get(), 20);
    assert!((1..8).contains(&scheduler.slot_stats().slots), "{:?}", scheduler.slot_stats());

    let depot = Depot::new(StackConfig::new().slab_bytes(64 << 10).ceiling(64 << 10));
    let scheduler = kinds::local::<B>(case.kind).slots(size).stacks(StackPool::new(&depot)).build();
    scheduler.spawn(|| ());
    assert!(scheduler.run().unwrap_err().to_string().contains("ceiling"));
}

/// One that is evicted in a nested call, while its frames differ at each wait.
pub fn eviction_comes_anywhere<B: Backend>(case: Case) {
    run_on::<B>(case, one_slot(), || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let seen = log.clone();
        let victim = spawn_waiting(move |ready| {
            let mut depths = vec![];
            for depth in [3, 60, 0, 31, 8, 90, 1] {
                ready();
                descend(depth, None, &mut || {
                    depths.push(depth);
                    evict();
                    seen.borrow_mut().push(depth);
                    give_way();
                });
            }
            depths
        });
        assert_eq!(victim.join().unwrap(), *log.borrow());
    });
}

/// The runtime's figures: every slot's stack comes back.
pub fn stacks_of_slots_come_back<B: Backend>(case: Case) {
    let runtime = runtime::<B>(case, one_slot().count(4));
    let handles: Vec<_> = (0..100).map(|_| runtime.spawn(|| (0..5).for_each(|_| give_way()))).collect();
    handles.into_iter().for_each(|handle| handle.join().unwrap());
    let live = runtime.metrics().stacks.live;
    assert!(live <= 6 * case.workers, "{live} stacks for a hundred that wait");
    // Nobody sits at a slot any more.
    runtime.trim();
    until(|| runtime.metrics().swapped.slots == 0);
    end(runtime);
}

/// A swapped tasklet is told what it has to itself, and what of the slot's stack is in memory for all of them.
pub fn what_a_swapped_tasklet_takes_is_told<B: Backend>(case: Case) {
    let size = StackSize::new(1 << 20).unwrap();
    let look = |usage: Option<StackUsage>| usage.expect("it has started");
    let is_slot = move |usage: &StackUsage| {
        let whole = size.bytes() <= usage.reserved && usage.reserved <= 2 * size.bytes();
        whole && 0 < usage.resident && usage.resident <= usage.high_water && usage.high_water <= usage.reserved
    };
    run_on::<B>(case, one_slot(), move || {
        let before = look(current::stack_usage());
        assert!(is_slot(&before) && before.sharers == 1 && before.copied == 0, "{before:?}");
        let (gate, opened) = rendezvous::<()>();
        let others: Vec<_> = (0..3)
            .map(|_| {
                let opened = opened.clone();
                spawn_here(move || {
                    let large = black_box([7_u8; 5000]);
                    opened.recv().unwrap();
                    large[0]
                })
            })
            .collect();
        until(|| gate.blocked_receivers() == 3);
        let after = look(current::stack_usage());
        assert!(is_slot(&after) && after.sharers == 4, "{after:?}");
        // It was copied away, and keeps the memory for that.
        assert!((100..100_000).contains(&after.copied), "{after:?}");
        if let Ok(runtime) = stealing::Handle::try_current() {
            // One that waits holds its large frame, in a copy; a soft one has no stack.
            let usage = look(runtime.stack_usage(&others[0]));
            assert!(is_slot(&usage) && usage.sharers == 4 && (5000..100_000).contains(&usage.copied), "{usage:?}");
        }
        (0..3).for_each(|_| gate.send(()).unwrap());
        assert!(others.into_iter().all(|other| other.join().unwrap() == 7));
        assert_eq!(look(current::stack_usage()).sharers, 1);
    });
}

/// What lies below the frames of whoever has a slot's stack goes back, as on any other stack; nobody who takes turns there notices.
pub fn slots_give_their_pages_back<B: Backend>(case: Case) {
    let hour = Duration::from_secs(3600);
    for by_itself in [false, true] {
        let clock = Arc::new(VirtualClock::default());
        let builder = kinds::local::<B>(case.kind).slots(one_slot()).clock(clock.clone());
        let scheduler = builder.driver(VirtualDriver::new(clock.clone())).trim_after(by_itself.then_some(hour)).build();
        let (gate, opened) = rendezvous::<u64>();
        let tasklets: Vec<_> = (0..3)
            .map(|_| {
                let opened = opened.clone();
                scheduler.spawn(move || {
                    deep_down(DEEP, &mut || {});
                    let got = opened.recv().unwrap();
                    deep_down(DEEP, &mut || give_way());
                    assert_eq!(got, 3);
                })
            })
            .collect();
        scheduler.run().unwrap();
        let usages = || tasklets.iter().map(|tasklet| tasklet.stack_usage().expect("it waits"));
        assert!(usages().all(|usage| usage.resident >= DEEP && usage.sharers == 3));
        if by_itself {
            // In the first round all have moved, and are looked at in the second.
            for _ in 0..4 {
                scheduler.run().unwrap();
                clock.advance(hour);
            }
        } else {
            scheduler.trim();
        }
        for usage in usages() {
            assert!(usage.resident <= SHALLOW && usage.high_water >= DEEP, "{usage:?}");
        }
        (0..3).for_each(|_| gate.try_send(3).unwrap());
        scheduler.run().unwrap();
        assert!(tasklets.iter().all(|tasklet| !tasklet.is_alive() && tasklet.stack_usage().is_none()));
    }
}
