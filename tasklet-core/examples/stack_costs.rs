//! Prints what stacks cost here: time to take, reuse and trim them, and memory when each has touched its top page.
//!
//! `cargo run --release -p tasklet-core --example stack_costs -- [STACKS]`, with 100,000 stacks unless told otherwise.
//!
//! Not evidence for the cost of a tasklet: nothing runs on these stacks, and a first touch is dominated by the kernel clearing a
//! page, which on a virtual machine depends on the host.

use std::time::Instant;

use tasklet_core::stack::{Depot, GuardMode, Stack, StackConfig, StackSize};

fn main() {
    let count = match std::env::args().nth(1).map(|argument| argument.parse()) {
        None => 100_000,
        Some(Ok(count)) if count > 0 => count,
        Some(_) => {
            eprintln!("usage: stack_costs [STACKS], where STACKS is a number above zero");
            std::process::exit(2);
        }
    };
    for size in [128 << 10, 256 << 10] {
        let size = StackSize::new(size).expect("within the limits");
        measure(size, count, GuardMode::Auto);
        // Two mappings each: what the default budget allows.
        measure(size, count.min(10_000), GuardMode::Mprotect);
    }
}

fn measure(size: StackSize, count: usize, mode: GuardMode) {
    println!("{count} stacks of {} bytes, guards {mode:?}", size.bytes());
    let depot = Depot::new(StackConfig::new().guard_mode(mode).warm_limit(usize::MAX));
    let pool = depot.pool();
    let tables = page_tables();
    let line = |what: &str, value: f64, unit: &str| println!("  {what:<44} {value:>9.1} {unit}");
    let each = |start: Instant, count: usize| start.elapsed().as_nanos() as f64 / count as f64;
    let acquire = || match pool.acquire(size) {
        Ok(stack) => stack,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };

    let start = Instant::now();
    let stacks: Vec<Stack> = (0..count).map(|_| acquire()).collect();
    line("take fresh, guard included", each(start, count), "ns");
    line("mappings", depot.stats().mappings as f64, "");
    line("address space", depot.stats().reserved as f64 / count as f64, "bytes each");

    let start = Instant::now();
    for stack in &stacks {
        // SAFETY: 800 bytes below the top of a stack that we own.
        unsafe { stack.top().wrapping_sub(800).write_bytes(1, 800) };
    }
    line("touch 800 bytes for the first time", each(start, count), "ns");
    line("physical memory", depot.resident() as f64 / count as f64, "bytes each");
    if let (Some(before), Some(after)) = (tables, page_tables()) {
        line("page tables", after.saturating_sub(before) as f64 / count as f64, "bytes each");
    }
    let start = Instant::now();
    let _ = depot.resident();
    line("ask for the physical memory", each(start, count), "ns");

    // What the colours are for: a scheduler goes round its stacks, and each has a few hot lines below the top.
    let circle = &stacks[..count.min(1000)];
    let visits = 2000 * circle.len();
    let start = Instant::now();
    for _ in 0..2000 {
        for stack in circle {
            for cache_line in 1..=6 {
                // SAFETY: inside a stack that we own.
                unsafe { *stack.top().wrapping_sub(64 * cache_line).cast::<u64>() += 1 };
            }
            std::hint::black_box(stack);
        }
    }
    line("touch six lines of 1000 stacks in turn", each(start, visits), "ns");

    // Through the depot: far more than the pool's cache holds.
    let start = Instant::now();
    drop(stacks);
    line("drop all", each(start, count), "ns");
    let start = Instant::now();
    let stacks: Vec<Stack> = (0..count).map(|_| acquire()).collect();
    line("take all again", each(start, count), "ns");

    let rounds = 1_000_000;
    let one = acquire();
    drop(one);
    let start = Instant::now();
    for _ in 0..rounds {
        drop(std::hint::black_box(acquire()));
    }
    line("take and drop one, from the cache", each(start, rounds), "ns");

    // Every 64th stays, so that slabs cannot be unmapped and pages have to be released one stack at a time.
    let (kept, dropped): (Vec<_>, Vec<_>) = stacks.into_iter().enumerate().partition(|(index, _)| index % 64 == 0);
    let released = dropped.len();
    drop(dropped);
    let start = Instant::now();
    depot.trim();
    line("trim, page released", each(start, released), "ns");
    // Slabs whose pages were released are unmapped when their last stack returns, the others by trimming.
    let start = Instant::now();
    drop(kept);
    depot.trim();
    line("return the rest, slabs unmapped", each(start, count), "ns");
}

/// Bytes of page tables of this process, where the system says.
fn page_tables() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPTE:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()? * 1024)
}
