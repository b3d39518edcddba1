//! Tests that end their process: the test starts its own executable again, for itself alone, with a role in the environment.

use std::process::{Command, Output};

const ROLE: &str = "TASKLET_TEST_CHILD";

/// The role of this process, if a test started it with [`run`].
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs the test named `test` in a child process that has `role`.
pub(crate) fn run(test: &str, role: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        // Under a sanitizer: its own handlers would report faults that the tests raise on purpose.
        .env("ASAN_OPTIONS", "handle_segv=0:handle_sigbus=0:use_sigaltstack=0")
        .env("TSAN_OPTIONS", "handle_segv=0:handle_sigbus=0:use_sigaltstack=0")
        .output()
        .unwrap()
}
