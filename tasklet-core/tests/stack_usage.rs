//! What of a stack in use is in memory, what of it goes back, and the ceiling on all of that.

#![cfg(all(unix, not(miri)))]

mod child;

use std::os::unix::process::ExitStatusExt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use tasklet_core::stack::{Depot, GuardMode, Stack, StackConfig, StackError, StackPool, StackSize};

const PAGE: usize = 4096;

fn write(address: *mut u8, value: u8) {
    // SAFETY: the address belongs to a stack that the test owns, or to its guard, where the write kills the test's child.
    unsafe { address.write_volatile(value) };
}

fn read(address: *mut u8) -> u8 {
    // SAFETY: the address belongs to a stack that the test owns.
    unsafe { address.read_volatile() }
}

/// Touches so many pages from the top down.
fn touch(stack: &Stack, pages: usize) {
    (0..pages).for_each(|page| write(stack.top().wrapping_sub(1 + page * PAGE), 1));
}

/// Releases what lies below an address of the stack, and tells how much that was.
fn release(pool: &StackPool, stack: &Stack, below: *mut u8) -> usize {
    let pages = stack.pages().below(NonNull::new(below).unwrap());
    let presence = pages.presence();
    // SAFETY: the test owns the stack and has no use for what is in it.
    unsafe { pool.release(&[(pages, presence)]) };
    presence.resident
}

#[test]
fn what_lies_below_an_address_is_released_and_nothing_else() {
    for mode in [GuardMode::Auto, GuardMode::Mprotect] {
        let pool = Depot::new(StackConfig::new().guard_mode(mode)).pool();
        let neighbours = [0; 3].map(|_| pool.acquire(StackSize::DEFAULT).unwrap());
        let stack = &neighbours[1];
        let pages = stack.pages();
        assert_eq!((pages.presence().resident, pages.presence().lowest), (0, None), "nothing was touched");
        assert!(pages.len().is_multiple_of(PAGE) && pages.len() >= stack.size() && pages.len() < stack.size() + PAGE);
        neighbours.iter().for_each(|stack| write(stack.limit(), 3));
        neighbours.iter().for_each(|stack| touch(stack, 10));
        assert_eq!(pages.presence().lowest, Some(stack.limit().addr()));
        assert_eq!(pages.presence().resident, 11 * PAGE);
        // In the middle of the third page from the top, which stays.
        let middle = (stack.top().wrapping_sub(1 + 2 * PAGE)).map_addr(|at| (at & !(PAGE - 1)) + 100);
        write(middle, 7);
        write(middle.wrapping_sub(100), 8);
        assert_eq!(release(&pool, stack, middle), 8 * PAGE);
        assert_eq!(pages.presence().resident, 3 * PAGE);
        assert_eq!(pages.presence().lowest, Some(middle.addr() - 100));
        assert_eq!((read(middle), read(middle.wrapping_sub(100)), read(stack.top().wrapping_sub(1))), (7, 8, 1));
        for other in [&neighbours[0], &neighbours[2]] {
            assert_eq!(other.pages().presence().resident, 11 * PAGE);
            assert_eq!(read(other.limit()), 3);
        }
        assert_eq!(release(&pool, stack, middle), 0);
        // It can be used again.
        write(stack.limit(), 9);
        assert_eq!((read(stack.limit()), pages.presence().resident), (9, 4 * PAGE));
    }
}

#[test]
fn nothing_is_below_the_lowest_page_and_all_below_the_top() {
    let pool = StackPool::default();
    let stack = pool.acquire(StackSize::MIN).unwrap();
    let limit = NonNull::new(stack.limit()).unwrap();
    for at in [0, 1, PAGE - 1] {
        assert_eq!(stack.pages().below(NonNull::new(stack.limit().wrapping_add(at)).unwrap()).len(), 0);
    }
    assert_eq!(stack.pages().below(NonNull::new(stack.limit().wrapping_add(PAGE)).unwrap()).len(), PAGE);
    assert_eq!(stack.pages().below(limit.map_addr(|_| usize::MAX.try_into().unwrap())).len(), stack.pages().len());
    assert!(stack.pages().contain(limit.addr().get()) && !stack.pages().contain(limit.addr().get() - 1));
}

#[test]
fn a_guard_outlives_the_release_of_its_stack() {
    for mode in [GuardMode::Auto, GuardMode::Mprotect] {
        match child::role() {
            None => {
                let output = child::run("a_guard_outlives_the_release_of_its_stack", &format!("{mode:?}"));
                let text = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
                assert!(text.contains("touching the guard"), "{text}");
            }
            Some(role) if role == format!("{mode:?}") => {
                let pool = Depot::new(StackConfig::new().guard_mode(mode)).pool();
                let stacks = [0; 3].map(|_| pool.acquire(StackSize::DEFAULT).unwrap());
                stacks.iter().for_each(|stack| write(stack.limit(), 1));
                for stack in &stacks {
                    assert_eq!(release(&pool, stack, stack.top()), PAGE);
                }
                eprintln!("touching the guard");
                write(stacks[1].limit().wrapping_sub(1), 1);
            }
            Some(_) => {}
        }
    }
}

/// Takes stacks and touches pages of each until there are no more, `limit` at most.
fn fill(pool: &StackPool, pages: usize, limit: usize) -> (Vec<Stack>, Option<StackError>) {
    let mut stacks = Vec::new();
    while stacks.len() < limit {
        match pool.acquire(StackSize::DEFAULT) {
            Ok(stack) => {
                touch(&stack, pages);
                stacks.push(stack);
            }
            Err(error) => return (stacks, Some(error)),
        }
    }
    (stacks, None)
}

#[test]
fn a_ceiling_on_memory_refuses_and_names_itself() {
    let ceiling = 1000 * PAGE;
    let depot = Depot::new(StackConfig::new().resident_ceiling(ceiling));
    let pool = depot.pool();
    let (mut stacks, error) = fill(&pool, 5, 10_000);
    let error = error.unwrap();
    assert!(
        error.is_resident_ceiling() && !error.is_ceiling() && !error.is_beyond_ceiling() && !error.is_out_of_memory()
    );
    let text = error.to_string();
    assert!(
        text.contains(&format!("ceiling of {ceiling} bytes")) && text.contains("StackConfig::resident_ceiling"),
        "{text}"
    );
    assert!(text.contains(&format!("of which {} ", depot.resident())), "{text}: {}", depot.resident());
    // Late by what the last 64 have touched beyond their first page.
    assert!((200..264).contains(&stacks.len()), "{} stacks", stacks.len());
    // What goes back makes room, from stacks in use and from those that end.
    let top = |stack: &Stack| stack.top().wrapping_sub(1);
    let released: usize = stacks.iter().map(|stack| release(&pool, stack, top(stack))).sum();
    assert_eq!(released, stacks.len() * 4 * PAGE);
    let (more, error) = fill(&pool, 1, 100);
    assert!(error.is_none() && more.len() == 100, "{} more", more.len());
    stacks.extend(more);
    let (more, error) = fill(&pool, 5, 10_000);
    assert!(error.unwrap().is_resident_ceiling());
    drop(more);
    let (_again, error) = fill(&pool, 1, 50);
    assert!(error.is_none(), "{error:?}");
}

#[test]
fn what_is_not_touched_does_not_count() {
    let pool = Depot::new(StackConfig::new().resident_ceiling(100 * PAGE)).pool();
    let (stacks, error) = fill(&pool, 0, 2_000);
    assert!(error.is_none(), "{} stacks, then {error:?}", stacks.len());
}

#[test]
fn free_stacks_of_all_pools_are_trimmed_before_one_is_refused() {
    let depot = Depot::new(StackConfig::new().resident_ceiling(200 * PAGE));
    let (one, other) = (depot.pool(), depot.pool());
    let (stacks, error) = fill(&one, 10, 10_000);
    assert!(error.unwrap().is_resident_ceiling());
    drop(stacks);
    assert!(depot.resident() >= 150 * PAGE, "they keep their pages");
    let (stacks, _) = fill(&other, 1, 60);
    assert_eq!(stacks.len(), 60);
}

#[test]
fn what_comes_back_after_a_refusal_serves_at_once() {
    let depot = Depot::new(StackConfig::new().resident_ceiling(100 * PAGE).cache_limit(0));
    let (one, other) = (depot.pool(), depot.pool());
    let (mut stacks, error) = fill(&one, 1, 1_000);
    assert!(error.unwrap().is_resident_ceiling());
    for round in 0..50 {
        assert!(other.acquire(StackSize::DEFAULT).unwrap_err().is_resident_ceiling(), "round {round}");
        // Straight to the depot, with its page.
        drop(stacks.pop());
        let stack = other.acquire(StackSize::DEFAULT).unwrap();
        touch(&stack, 1);
        stacks.push(stack);
        assert!(depot.resident() <= 101 * PAGE, "{} in round {round}", depot.resident() / PAGE);
    }
}

#[test]
fn what_was_unmapped_after_a_refusal_makes_room_at_once() {
    let depot = Depot::new(StackConfig::new().resident_ceiling(100 * PAGE).cache_limit(0));
    let pool = depot.pool();
    let (stacks, _) = fill(&pool, 1, 1_000);
    // As often as it takes until it is not measured again for a while.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        assert!(pool.acquire(StackSize::DEFAULT).unwrap_err().is_resident_ceiling());
    }
    drop(stacks);
    depot.trim();
    assert!(pool.acquire(StackSize::DEFAULT).is_ok());
}

#[test]
fn a_ceiling_below_a_page_is_beyond_all_hope() {
    let pool = Depot::new(StackConfig::new().resident_ceiling(PAGE - 1)).pool();
    assert!(pool.acquire(StackSize::DEFAULT).unwrap_err().is_beyond_ceiling());
}
