//! Runs the body of a test in a process of its own, for what ends a process or changes it.

use std::env;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// Set in the child, to the name of the test that started it, and which run of that.
const CHILD: &str = "TASKLET_CONTRACT_CHILD";

/// How a child ended.
#[derive(Debug)]
#[expect(dead_code, reason = "all fields show in messages of failed assertions")]
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) signal: Option<i32>,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Whether this is a child that another run of the test has started.
pub(crate) fn is_of_another(test: &str, which: &str) -> bool {
    env::var(CHILD).is_ok_and(|name| name != key(test, which))
}

fn key(test: &str, which: &str) -> String {
    format!("{test} {which}")
}

/// In the child: runs `body` and exits. In the parent: starts the child and says how it ended.
///
/// `test` is the module path and name of the test function that calls this, `which` is which of its runs.
/// The child reads `input`, which is less than a pipe holds.
pub(crate) fn run(test: &str, which: &str, input: &str, body: impl FnOnce()) -> Ended {
    let key = key(test, which);
    if env::var(CHILD).is_ok_and(|name| name == key) {
        body();
        std::process::exit(0);
    }
    // The test harness knows a test by its path without the crate's name.
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let mut child = Command::new(env::current_exe().expect("the path of this program"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child process");
    // Which may have ended without reading it.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("what the child has written");
    Ended {
        success: output.status.success(),
        signal: output.status.signal(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Limits the address space of this process, a child, to `bytes`.
pub(crate) fn limit_address_space(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: `limit` is readable.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(result, 0, "RLIMIT_AS");
}
