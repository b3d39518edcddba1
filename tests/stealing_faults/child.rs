//! Tests that limit or end their process: the test starts its own executable again, for itself alone, with a role in the environment.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROLE: &str = "TASKLET_TEST_CHILD";

/// Longer than any child takes that does not hang.
const LIMIT: Duration = Duration::from_secs(60);

/// The role of this process, if a test started it with [`run`].
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs the test named `test` in a child process that has `role`, with more environment. Returns its output and what it wrote to stderr.
#[track_caller]
pub(crate) fn run_with(test: &str, role: &str, environment: &[(&str, &str)]) -> (Output, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = wait(child, test);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

/// As [`run_with`], with the environment as it is.
#[track_caller]
pub(crate) fn run(test: &str, role: &str) -> (Output, String) {
    run_with(test, role, &[])
}

#[track_caller]
fn wait(mut child: Child, test: &str) -> Output {
    let start = Instant::now();
    // Children write a few lines, which a pipe holds.
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("the child of {test} hangs: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}
