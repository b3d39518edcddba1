//! A tasklet that overflows its stack ends the process, with a message that helps if the handler is installed.

#![forbid(unsafe_code)]
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use tasklet::local;
use tasklet::stack::StackSize;

const CHILD: &str = "TASKLET_TEST_CHILD";

const SIGABRT: i32 = 6;

/// A size that is not the default.
const SMALL: usize = 64 << 10;

/// Runs the test named `test` in a child process with `role`.
fn child(test: &str, role: &str) -> (Output, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, role)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

#[expect(unconditional_recursion, reason = "the point of the test")]
#[inline(never)]
fn dig(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 100]);
    dig(depth + 1) + frame[depth as usize % 100]
}

/// Three tasklets that take turns; the one at `index` then overflows its stack.
fn overflow(index: usize, stack_size: Option<StackSize>) {
    let scheduler = local::Scheduler::new();
    for number in 0..3 {
        let builder = scheduler.tasklet().name(format!("digger {number}"));
        let builder = if let Some(size) = stack_size { builder.stack_size(size) } else { builder };
        builder.spawn(move || {
            for _ in 0..5 {
                local::schedule();
            }
            if number == index {
                let this = local::current();
                eprintln!("id {} size {}", this.id(), this.stack_size().bytes());
                std::hint::black_box(dig(0));
            }
            local::schedule();
        });
    }
    let outcome = scheduler.run();
    eprintln!("survived: {outcome:?}");
}

/// The child's own account of the tasklet: its number and its stack size.
#[track_caller]
fn account(text: &str) -> (&str, &str) {
    let line = text.lines().find_map(|line| line.strip_prefix("id ")).unwrap_or_else(|| panic!("{text}"));
    line.split_once(" size ").unwrap()
}

#[test]
fn the_handler_names_tasklet_and_size_and_aborts() {
    const TEST: &str = "the_handler_names_tasklet_and_size_and_aborts";
    let Ok(role) = std::env::var(CHILD) else {
        for role in ["0", "1", "2", "2 small"] {
            let (output, text) = child(TEST, role);
            let (id, size) = account(&text);
            let name = &role[..1];
            let message =
                format!("tasklet 'digger {name}' (id {id}) overflowed its stack of {size} bytes; raise it with ");
            assert!(text.contains(&message), "{role}: {text}");
            assert!(text.contains("TaskletBuilder::stack_size"), "{role}: {text}");
            assert_eq!(output.status.signal(), Some(SIGABRT), "{role}: {text}");
            assert!(!text.contains("survived"), "{role}: {text}");
        }
        return;
    };
    tasklet::stack::install_overflow_handler().unwrap();
    let size = role.ends_with("small").then(|| StackSize::new(SMALL).unwrap());
    overflow(role[..1].parse().unwrap(), size);
}

#[test]
fn without_the_handler_the_process_dies_all_the_same() {
    const TEST: &str = "without_the_handler_the_process_dies_all_the_same";
    if std::env::var_os(CHILD).is_none() {
        let (output, text) = child(TEST, "child");
        assert!(output.status.signal().is_some(), "{text}");
        assert!(!text.contains("survived"), "{text}");
        return;
    }
    overflow(1, None);
}

#[test]
fn a_thread_that_overflows_is_left_to_the_standard_library() {
    const TEST: &str = "a_thread_that_overflows_is_left_to_the_standard_library";
    if std::env::var_os(CHILD).is_none() {
        let (output, text) = child(TEST, "child");
        assert_eq!(output.status.signal(), Some(SIGABRT), "{text}");
        assert!(text.contains("has overflowed its stack") && !text.contains("tasklet '"), "{text}");
        return;
    }
    tasklet::stack::install_overflow_handler().unwrap();
    let _scheduler = local::Scheduler::new();
    let thread = std::thread::Builder::new().name("diver".into()).stack_size(256 << 10);
    let _ = thread.spawn(|| std::hint::black_box(dig(0))).unwrap().join();
}
