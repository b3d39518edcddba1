//! Touching the guard below a stack kills the process, whatever made the guard.

#![cfg(unix)]

mod child;

use std::os::unix::process::ExitStatusExt;

use tasklet_core::stack::{Depot, GuardMode, Stack, StackConfig, StackSize};

fn stacks(mode: GuardMode) -> Vec<Stack> {
    let pool = Depot::new(StackConfig::new().guard_mode(mode)).pool();
    (0..100).map(|_| pool.acquire(StackSize::DEFAULT).unwrap()).collect()
}

fn write(address: *mut u8) {
    // SAFETY: the address belongs to a stack that the test owns, or to its guard, where the write kills the test's child.
    unsafe { address.write_volatile(1) };
}

/// In the child, touches the ends of the usable part and then the byte below.
fn dies_below_the_limit(test: &str, mode: GuardMode) {
    match child::role() {
        None => {
            for which in ["0", "57", "99"] {
                let output = child::run(test, which);
                let text = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "stack {which}: {text}");
                assert!(text.contains("touching the guard"), "stack {which}: {text}");
            }
        }
        Some(which) => {
            let stacks = stacks(mode);
            let stack = &stacks[which.parse::<usize>().unwrap()];
            for stack in &stacks {
                write(stack.limit());
                write(stack.top().wrapping_sub(1));
            }
            eprintln!("touching the guard");
            write(stack.limit().wrapping_sub(1));
        }
    }
}

#[test]
fn touching_a_guard_kills() {
    dies_below_the_limit("touching_a_guard_kills", GuardMode::Auto);
}

#[test]
fn touching_an_mprotect_guard_kills() {
    dies_below_the_limit("touching_an_mprotect_guard_kills", GuardMode::Mprotect);
}

#[test]
fn guards_outlive_reuse_and_trim() {
    match child::role() {
        None => {
            let output = child::run("guards_outlive_reuse_and_trim", "child");
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
            assert!(text.contains("touching the guard"), "{text}");
        }
        Some(_) => {
            let depot = Depot::new(StackConfig::new().warm_limit(10).cache_limit(4));
            let pool = depot.pool();
            let kept: Vec<_> = (0..50).map(|_| pool.acquire(StackSize::MIN).unwrap()).collect();
            let dropped: Vec<_> = (0..50).map(|_| pool.acquire(StackSize::MIN).unwrap()).collect();
            dropped.iter().for_each(|stack| write(stack.limit()));
            drop(dropped);
            depot.trim();
            let again: Vec<_> = (0..50).map(|_| pool.acquire(StackSize::MIN).unwrap()).collect();
            eprintln!("touching the guard");
            write(again[25].limit().wrapping_sub(1));
            drop(kept);
        }
    }
}
