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

/// Makes this process's kernel look like one before 6.13: no guard markers, and no `process_madvise` on oneself.
#[cfg(target_os = "linux")]
fn pretend_an_older_kernel() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    // The third argument of a call, its low half, in `seccomp_data`.
    let advice = 16 + 2 * 8 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut program = [
        op(LOAD, 0, 0, 0),
        op(JUMP, libc::SYS_process_madvise as u32, 4, 0),
        op(JUMP, libc::SYS_madvise as u32, 0, 2),
        op(LOAD, advice, 0, 0),
        op(JUMP, 102, 2, 0),
        op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
        op(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        op(RETURN, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program is live for the call and ends in a return on every path.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_older_kernel_gets_mprotect_guards_by_itself() {
    match child::role() {
        None => {
            let output = child::run("an_older_kernel_gets_mprotect_guards_by_itself", "child");
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
            assert!(text.contains("touching the guard"), "{text}");
        }
        Some(_) => {
            pretend_an_older_kernel();
            let depot = Depot::default();
            let pool = depot.pool();
            let stacks: Vec<_> = (0..100).map(|_| pool.acquire(StackSize::DEFAULT).unwrap()).collect();
            assert!(depot.stats().mappings >= 200, "{:?}", depot.stats());
            // Pages are released one range at a time.
            stacks.iter().for_each(|stack| write(stack.limit()));
            assert_ne!(depot.resident(), 0);
            let last = stacks.into_iter().next_back().unwrap();
            depot.trim();
            assert_eq!(depot.resident(), 4096);
            eprintln!("touching the guard");
            write(last.limit().wrapping_sub(1));
        }
    }
}
