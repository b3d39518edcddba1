//! A million tasklets at once, on the backends that run on our stacks: `hackysack`, built for release.
//!
//! Takes gigabytes and is therefore not run by default:
//!
//! ```text
//! cargo test --release --test million -- --ignored --test-threads=1
//! ```

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tasklet::backend::{self, Backend, StackProvision};

/// Bytes of memory that one tasklet of each kind may take, with its channel: a page and its share of the page tables, what lies on its stack, or its
/// future; and its control block. A tenth more than what was measured, the same in each run: 4746, 1056 and 369.
const BYTES_EACH: [(&str, u64); 3] = [("stackful", 5250), ("swapped", 1180), ("soft", 406)];

/// Builds the example with the features of this test, whatever else was built there before, and returns where it is.
fn hackysack() -> PathBuf {
    let mut features = Vec::new();
    for (feature, is_on) in [
        ("backend-corosensei", cfg!(feature = "backend-corosensei")),
        ("backend-context", cfg!(feature = "backend-context")),
        ("backend-generator", cfg!(feature = "backend-generator")),
    ] {
        features.extend(is_on.then_some(feature));
    }
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--example", "hackysack", "--no-default-features", "--features"])
        .arg(features.join(","))
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success());
    profile.with_file_name("release").join("examples/hackysack").with_extension(std::env::consts::EXE_EXTENSION)
}

#[test]
#[ignore = "takes five gigabytes of memory"]
fn a_million_tasklets_wait_at_once() {
    if backend::Default::STACKS == StackProvision::Backend {
        eprintln!("not run: the {} backend has no room for a million stacks", backend::Default::NAME);
        return;
    }
    let hackysack = hackysack();
    for (kind, bytes_each) in BYTES_EACH {
        let output = Command::new(&hackysack).args(["1000000", "--kind", kind]).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        println!("{text}");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.starts_with(&format!("backend  {}\nkind     {kind}, ", backend::Default::NAME)), "{text}");
        assert!(text.contains("\nplayers  1000000\n"), "{text}");
        let memory = text.lines().find_map(|line| line.strip_prefix("memory")).unwrap();
        let bytes = memory.split_whitespace().next().unwrap();
        assert!(bytes == "unknown" || bytes.parse::<u64>().unwrap() < bytes_each, "{bytes} bytes per {kind} tasklet");
    }
}
