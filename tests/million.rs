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

/// Bytes of memory that one tasklet may take: its page, its share of the page tables, its control block and its channel.
const BYTES_EACH: u64 = 6000;

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
    let output = Command::new(hackysack()).arg("1000000").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with(&format!("backend  {}\nplayers  1000000\n", backend::Default::NAME)));
    let memory = text.lines().find_map(|line| line.strip_prefix("memory")).unwrap();
    let bytes = memory.split_whitespace().next().unwrap();
    assert!(bytes == "unknown" || bytes.parse::<u64>().unwrap() < BYTES_EACH, "{bytes} bytes per tasklet");
}
