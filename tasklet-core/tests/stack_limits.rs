//! Limits end in errors that name the number that was hit, and say what to do.

#![cfg(unix)]

mod child;

use std::error::Error;

use tasklet_core::stack::{Depot, GuardMode, Stack, StackConfig, StackError, StackPool, StackSize};

/// Takes stacks until there are no more.
fn exhaust(pool: &StackPool, size: StackSize) -> (Vec<Stack>, StackError) {
    let mut stacks = Vec::new();
    loop {
        match pool.acquire(size) {
            Ok(stack) => stacks.push(stack),
            Err(error) => return (stacks, error),
        }
    }
}

/// Address space that a stack of the default size takes.
fn stride() -> usize {
    let pool = StackPool::default();
    let neighbours = [0; 2].map(|_| pool.acquire(StackSize::DEFAULT).unwrap());
    neighbours[1].limit().addr().abs_diff(neighbours[0].limit().addr())
}

#[test]
fn sizes_are_rounded_up_to_pages() {
    for asked in [8192, 8193, 12288, 100_000, 131_072, 131_073, 1 << 30] {
        let size = StackSize::new(asked).unwrap();
        assert!(size.bytes() >= asked && size.bytes().is_multiple_of(4096), "{asked} -> {size:?}");
        assert!(size.bytes() < asked + (64 << 10), "{asked} -> {size:?}");
    }
    assert_eq!(StackSize::new(StackSize::DEFAULT.bytes()).unwrap(), StackSize::DEFAULT);
}

#[test]
fn sizes_out_of_range_are_named() {
    for (asked, limit) in [(0, "8192"), (8191, "8192"), ((1 << 30) + 1, "1073741824"), (usize::MAX, "1073741824")] {
        let error = StackSize::new(asked).unwrap_err();
        let text = error.to_string();
        assert!(error.is_invalid_size() && error.source().is_none());
        assert!(text.contains(&format!("a stack of {asked} bytes")) && text.contains(limit), "{text}");
        assert!(!text.ends_with('.'), "{text}");
    }
}

#[test]
fn stacks_are_at_least_as_large_as_asked() {
    let pool = StackPool::default();
    for asked in [8192, 9000, 70_000, 131_072, 1 << 20, 1 << 30] {
        for _ in 0..10 {
            let stack = pool.acquire(StackSize::new(asked).unwrap()).unwrap();
            assert!(stack.size() >= asked);
            assert_eq!(stack.top() as usize - stack.limit() as usize, stack.size());
        }
    }
}

#[test]
fn the_ceiling_is_kept_and_named() {
    let ceiling = 10_000_000;
    let depot = Depot::new(StackConfig::new().ceiling(ceiling));
    let pool = depot.pool();
    let (stacks, error) = exhaust(&pool, StackSize::DEFAULT);
    assert!(error.is_ceiling());
    let text = error.to_string();
    assert!(text.contains("ceiling of 10000000 bytes") && text.contains("StackConfig::ceiling"), "{text}");
    let reserved = depot.stats().reserved;
    assert!(reserved <= ceiling && text.contains(&format!("{reserved} are reserved")), "{text}");
    // Less than one stack of room is left: slabs shrink to what fits.
    assert_eq!(stacks.len(), ceiling / stride());

    // Room made by one size is used for another.
    drop(stacks);
    assert!(pool.acquire(StackSize::new(8 << 20).unwrap()).is_ok());
}

#[test]
fn a_stack_larger_than_the_ceiling_is_refused() {
    let pool = Depot::new(StackConfig::new().ceiling(100_000)).pool();
    assert!(pool.acquire(StackSize::DEFAULT).unwrap_err().is_ceiling());
    assert_eq!(pool.stats(), Default::default());
}

#[test]
fn the_mapping_budget_is_kept_and_named() {
    let depot = Depot::new(StackConfig::new().guard_mode(GuardMode::Mprotect).mapping_budget(100));
    let pool = depot.pool();
    let (stacks, error) = exhaust(&pool, StackSize::MIN);
    assert!(error.is_mapping_budget());
    let text = error.to_string();
    for part in ["budget of 100 kernel mappings", "vm.max_map_count", "StackConfig::mapping_budget", "costs two"] {
        assert!(text.contains(part), "{text}");
    }
    let stats = depot.stats();
    assert!(stats.mappings <= 100, "{stats:?}");
    // At most a slab per 16 stacks, and two mappings per stack.
    assert!(stacks.len() >= 45, "{}", stacks.len());

    // The whole budget comes back, for another size too.
    drop(stacks);
    let (stacks, _) = exhaust(&pool, StackSize::DEFAULT);
    assert!(stacks.len() >= 45, "{}", stacks.len());
}

#[test]
fn free_stacks_of_other_sizes_give_way_to_guards() {
    let pool = Depot::new(StackConfig::new().guard_mode(GuardMode::Mprotect).mapping_budget(100)).pool();
    // Its slab has room that only lacks guards.
    let _first = pool.acquire(StackSize::DEFAULT).unwrap();
    drop(exhaust(&pool, StackSize::MIN));
    let (stacks, _) = exhaust(&pool, StackSize::DEFAULT);
    assert!(stacks.len() >= 44, "{}", stacks.len());
}

#[test]
fn no_budget_at_all_is_an_error() {
    for mode in [GuardMode::Auto, GuardMode::Mprotect] {
        let pool = Depot::new(StackConfig::new().guard_mode(mode).mapping_budget(0)).pool();
        assert!(pool.acquire(StackSize::MIN).unwrap_err().is_mapping_budget());
    }
}

#[test]
fn free_stacks_of_other_pools_are_used_before_a_limit_is_reported() {
    let depot = Depot::new(StackConfig::new().ceiling(40 * stride()));
    let (idle, busy) = (depot.pool(), depot.pool());
    let (stacks, _) = exhaust(&idle, StackSize::DEFAULT);
    assert_eq!(stacks.len(), 40);
    drop(stacks);
    let (stacks, _) = exhaust(&busy, StackSize::DEFAULT);
    assert_eq!(stacks.len(), 40);
}

#[test]
fn the_kernels_refusal_of_address_space_is_an_error() {
    match child::role() {
        None => {
            let output = child::run("the_kernels_refusal_of_address_space_is_an_error", "child");
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{text}");
            assert!(text.contains("refused as expected"), "{text}");
        }
        Some(_) => {
            let limit = 1 << 30;
            // AddressSanitizer reserves terabytes beforehand and could not live under any limit.
            let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
            let pages: u64 = status.split(' ').next().and_then(|size| size.parse().ok()).unwrap_or(0);
            if pages * 4096 > limit {
                return eprintln!("refused as expected of a process that holds {pages} pages already");
            }
            let bounds = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            // SAFETY: `bounds` is live for the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &bounds) }, 0);
            let pool = StackPool::default();
            let (stacks, error) = exhaust(&pool, StackSize::new(1 << 20).unwrap());
            // Slabs shrink until nothing fits: most of the limit is used.
            assert!(stacks.len() > 700, "{}", stacks.len());
            assert!(error.is_out_of_memory() && error.source().is_some());
            drop(stacks);
            let text = error.to_string();
            assert!(text.contains("RLIMIT_AS") && text.contains("1073741824") && text.contains("mmap"), "{text}");
            assert!(pool.acquire(StackSize::new(1 << 29).unwrap()).is_ok(), "the free slabs were not given back");
            eprintln!("refused as expected");
        }
    }
}

/// Linux 6.13 and later; elsewhere the budget is the test.
#[cfg(target_os = "linux")]
#[test]
fn a_hundred_thousand_stacks_take_few_mappings() {
    let count_maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let pool = StackPool::default();
    let before = count_maps();
    let mut stacks = Vec::new();
    for _ in 0..100_000 {
        match pool.acquire(StackSize::DEFAULT) {
            Ok(stack) => stacks.push(stack),
            // An older kernel: guards cost mappings there.
            Err(error) => return assert!(error.is_mapping_budget() && stacks.len() > 1000, "{error}"),
        }
    }
    // Other tests of this process map and unmap meanwhile, hence not fewer.
    let maps = count_maps().saturating_sub(before);
    assert!(pool.stats().mappings < 100, "{:?}", pool.stats());
    assert!(maps < 1000, "{maps}");
}
