//! What pools and the depot behind them promise: reuse, return from anywhere, trim, and counters that add up.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

use tasklet_core::stack::{Depot, GuardMode, Stack, StackConfig, StackPool, StackSize};

fn touch(stack: &Stack, pages: usize) {
    for page in 0..pages {
        let address = stack.top().wrapping_sub(1 + page * 4096);
        assert!(address >= stack.limit());
        // SAFETY: inside the stack, which the test owns.
        unsafe { address.write_volatile(1) };
    }
}

#[test]
fn nothing_is_mapped_before_the_first_stack() {
    assert_eq!(StackPool::default().stats(), Default::default());
}

#[test]
fn a_program_with_three_stacks_reserves_little() {
    let pool = StackPool::default();
    let _stacks: Vec<_> = (0..3).map(|_| pool.acquire(StackSize::DEFAULT).unwrap()).collect();
    assert!(pool.stats().reserved < 3 << 20, "{:?}", pool.stats());
}

#[test]
fn a_dropped_stack_is_handed_out_next() {
    let pool = StackPool::default();
    let _first = pool.acquire(StackSize::DEFAULT).unwrap();
    let second = pool.acquire(StackSize::DEFAULT).unwrap();
    let limit = second.limit();
    drop(second);
    assert_eq!(pool.acquire(StackSize::DEFAULT).unwrap().limit(), limit);
}

#[test]
fn sizes_of_one_class_share_stacks_and_others_do_not() {
    let pool = StackPool::default();
    let limit = pool.acquire(StackSize::new(100 << 10).unwrap()).unwrap().limit();
    assert_eq!(pool.acquire(StackSize::new(110 << 10).unwrap()).unwrap().limit(), limit);
    assert_ne!(pool.acquire(StackSize::new(120 << 10).unwrap()).unwrap().limit(), limit);
}

#[test]
fn stacks_do_not_overlap_and_guards_lie_between() {
    let pool = StackPool::default();
    let sizes = [8 << 10, 128 << 10, 200 << 10].map(|bytes| StackSize::new(bytes).unwrap());
    let stacks: Vec<_> = (0..3000).map(|i| pool.acquire(sizes[i % 3]).unwrap()).collect();
    let mut ranges: Vec<_> = stacks.iter().map(|s| (s.limit() as usize, s.top() as usize)).collect();
    ranges.sort();
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 4096 <= pair[1].0));
}

#[test]
fn tops_are_aligned_and_staggered_within_a_page() {
    let pool = StackPool::default();
    let stacks: Vec<_> = (0..64).map(|_| pool.acquire(StackSize::DEFAULT).unwrap()).collect();
    let mut offsets = BTreeMap::new();
    for stack in &stacks {
        assert!((stack.top() as usize).is_multiple_of(64));
        *offsets.entry(stack.top() as usize % 4096).or_insert(0) += 1;
    }
    assert_eq!(offsets.len(), 8, "{offsets:?}");
    assert!(offsets.values().all(|&count| count == 8), "{offsets:?}");
    // Most of the top page is left: a parked tasklet's frames fit in it.
    assert!(offsets.keys().all(|&offset| offset == 0 || offset >= 3200), "{offsets:?}");
}

#[test]
fn stacks_freed_on_another_thread_return_to_the_depot() {
    let depot = Depot::new(StackConfig::new().cache_limit(8));
    let (sender, receiver) = mpsc::channel::<Stack>();
    let consumer = thread::spawn(move || receiver.iter().map(drop).count());
    let producers: Vec<_> = (0..3)
        .map(|_| {
            let (pool, sender) = (depot.pool(), sender.clone());
            thread::spawn(move || {
                for _ in 0..2000 {
                    let stack = pool.acquire(StackSize::MIN).unwrap();
                    touch(&stack, 1);
                    sender.send(stack).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    assert_eq!(consumer.join().unwrap(), 6000);
    let stats = depot.stats();
    assert_eq!((stats.live, stats.leaked), (0, 0), "{stats:?}");
    depot.trim();
    assert_eq!(depot.stats(), Default::default());
}

#[test]
fn a_stack_outlives_its_pool_and_depot() {
    let depot = Depot::default();
    let pool = depot.pool();
    let stack = pool.acquire(StackSize::DEFAULT).unwrap();
    drop(pool);
    assert_eq!(depot.stats().live, 1);
    drop(depot);
    touch(&stack, 3);
}

#[test]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), ignore = "pages are released lazily")]
#[cfg_attr(miri, ignore = "no physical memory to count")]
fn trim_returns_memory_and_keeps_stacks_in_use() {
    for mode in [GuardMode::Auto, GuardMode::Mprotect] {
        let depot = Depot::new(StackConfig::new().guard_mode(mode).warm_limit(usize::MAX));
        let pool = depot.pool();
        let stacks: Vec<_> = (0..1000).map(|_| pool.acquire(StackSize::DEFAULT).unwrap()).collect();
        stacks.iter().for_each(|stack| touch(stack, 3));
        assert_eq!(depot.resident(), 1000 * 3 * 4096);
        // One stack of each slab stays, so that no slab can be unmapped.
        let (kept, dropped): (Vec<_>, Vec<_>) = stacks.into_iter().enumerate().partition(|(i, _)| i % 10 == 0);
        drop(dropped);
        assert_eq!(depot.resident(), 1000 * 3 * 4096, "nothing is released below the limit");
        depot.trim();
        assert_eq!(depot.resident(), 100 * 3 * 4096);
        // SAFETY: inside stacks that the test owns.
        assert!(kept.iter().all(|(_, stack)| unsafe { stack.top().wrapping_sub(1).read_volatile() } == 1));
        drop(kept);
        depot.trim();
        assert_eq!(depot.stats(), Default::default());
    }
}

#[test]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), ignore = "pages are released lazily")]
#[cfg_attr(miri, ignore = "no physical memory to count")]
fn memory_returns_after_a_burst_where_there_is_time() {
    let depot = Depot::new(StackConfig::new().warm_limit(100).cache_limit(20).slab_bytes(20 << 20));
    let pool = depot.pool();
    let stacks: Vec<_> = (0..2000).map(|_| pool.acquire(StackSize::DEFAULT).unwrap()).collect();
    stacks.iter().for_each(|stack| touch(stack, 2));
    let peak = depot.stats().reserved;
    drop(stacks);
    assert_eq!(depot.cool(7), 7, "as many as asked for");
    while depot.cool(64) != 0 {}
    assert!(depot.resident() <= 120 * 2 * 4096, "{}", depot.resident());
    assert!(depot.stats().reserved < peak / 4, "{:?} after {peak}", depot.stats());
}

#[test]
fn a_leaked_stack_is_counted_and_never_handed_out() {
    let depot = Depot::default();
    let pool = depot.pool();
    let stack = pool.acquire(StackSize::DEFAULT).unwrap();
    let (limit, top) = (stack.limit(), stack.top());
    touch(&stack, 1);
    stack.leak();
    depot.trim();
    let stats = depot.stats();
    assert_eq!((stats.live, stats.leaked), (0, 1), "{stats:?}");
    let others: Vec<_> = (0..500).map(|_| pool.acquire(StackSize::DEFAULT).unwrap()).collect();
    assert!(others.iter().all(|other| other.limit() != limit));
    drop((others, pool, depot));
    // SAFETY: leaked memory is never unmapped.
    assert_eq!(unsafe { top.wrapping_sub(1).read_volatile() }, 1);
}

/// SplitMix64: seeded, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

#[test]
fn counters_add_up_under_random_use() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let mode = [GuardMode::Auto, GuardMode::Mprotect][random.below(2)];
        let config = StackConfig::new()
            .guard_mode(mode)
            .cache_limit(random.below(20))
            .warm_limit(random.below(50))
            .slab_bytes(1 << (16 + random.below(8)));
        let depot = Depot::new(config);
        let mut pools = [depot.pool(), depot.pool()];
        let (mut live, mut leaked) = (Vec::<(Stack, u8)>::new(), Vec::new());
        for step in 0..3000u32 {
            match random.below(100) {
                0..50 => {
                    let size = StackSize::new((8 << 10) << random.below(3)).unwrap();
                    let stack = pools[random.below(pools.len())].acquire(size).unwrap();
                    let (limit, top) = (stack.limit() as usize, stack.top() as usize);
                    let overlaps = |other: &(usize, usize)| limit < other.1 && other.0 < top;
                    assert!(!leaked.iter().any(overlaps), "seed {seed} step {step}: a leaked stack came back");
                    // SAFETY: inside a stack that the test owns.
                    unsafe { stack.top().wrapping_sub(1).write_volatile(step as u8) };
                    live.push((stack, step as u8));
                }
                50..96 if !live.is_empty() => {
                    let (stack, mark) = live.swap_remove(random.below(live.len()));
                    // SAFETY: inside a stack that the test owns.
                    let read = unsafe { stack.top().wrapping_sub(1).read_volatile() };
                    assert_eq!(read, mark, "seed {seed} step {step}: somebody wrote to a live stack");
                }
                96 if leaked.len() < 5 && !live.is_empty() => {
                    let (stack, _) = live.swap_remove(random.below(live.len()));
                    leaked.push((stack.limit() as usize, stack.top() as usize));
                    stack.leak();
                }
                97 => depot.trim(),
                98 => {
                    let index = random.below(pools.len());
                    pools[index] = depot.pool();
                }
                _ => {}
            }
            let stats = depot.stats();
            let at = format!("seed {seed} step {step}: {stats:?}");
            assert_eq!((stats.live, stats.leaked), (live.len(), leaked.len()), "{at}");
            assert!(stats.reserved >= (stats.live + stats.cached + stats.leaked) * 3 * 4096, "{at}");
            assert!(stats.mappings <= 1 + stats.reserved / (3 * 4096) * 3, "{at}");
        }
        live.clear();
        depot.trim();
        let stats = depot.stats();
        assert_eq!((stats.live, stats.leaked), (0, leaked.len()), "seed {seed}: {stats:?}");
        assert!(!leaked.is_empty() || stats == Default::default(), "seed {seed}: {stats:?}");
    }
}
