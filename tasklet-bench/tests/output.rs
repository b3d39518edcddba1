//! What `tasklet-bench` prints, as a script that reads it relies on.

use std::process::{Command, Output};

const BACKENDS: [&str; 3] = ["corosensei", "context", "generator"];

fn bench(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tasklet-bench")).args(line.split_whitespace()).output().expect("it starts")
}

/// Names and units, after checking that there are three fields and that the value is a number.
fn lines(output: &Output) -> Vec<(String, String)> {
    assert!(output.status.success(), "{output:?}");
    let text = std::str::from_utf8(&output.stdout).expect("text");
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, value, unit] = fields[..] else { panic!("three fields, not {line:?}") };
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "a number, not {line:?}");
        (name.to_owned(), unit.to_owned())
    };
    text.lines().map(read).collect()
}

fn prints(workload: &str, options: &str, expected: &[(&str, &str)]) {
    for backend in BACKENDS {
        let found = lines(&bench(&format!("{workload} --quick --backend {backend} {options}")));
        let expected: Vec<_> = expected.iter().map(|(name, unit)| (name.to_string(), unit.to_string())).collect();
        assert_eq!(found, expected, "{workload} on {backend}");
    }
}

#[test]
fn workloads_of_one_figure_print_one_line_in_nanoseconds() {
    for workload in ["yield", "pingpong", "ring", "spawn_join"] {
        prints(workload, "--scheduler local --workers 1", &[(workload, "ns")]);
    }
}

#[test]
fn sizes_that_are_not_the_usual_multiples_work() {
    for workload in ["yield", "pingpong", "ring", "spawn_join"] {
        prints(workload, "--n 1", &[(workload, "ns")]);
    }
    prints("spawn_join", "--n 10001 --runs 2", &[("spawn_join", "ns")]);
}

#[test]
fn idle_mem_prints_three_lines() {
    let expected = [("idle_mem.bytes", "bytes"), ("idle_mem.create", "ns"), ("idle_mem.wake_all", "ms")];
    prints("idle_mem", "", &expected);
    prints("idle_mem", "--once", &expected);
}

#[test]
fn a_ceiling_on_stacks_is_an_error_not_a_panic() {
    let output = bench("idle_mem --backend generator --n 100000 --once");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("could not start") && !errors.contains("panicked"), "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn list_defines_every_workload() {
    let output = bench("--list");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    for workload in ["yield", "pingpong", "ring", "spawn_join", "idle_mem"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{workload}: "))), "{workload} in {text}");
    }
    assert_eq!(text.matches("not evidence for").count(), 5);
}

#[test]
fn bad_flags_exit_with_two_and_say_why() {
    for (line, says) in [
        ("", "which workload?"),
        ("sieve", "no workload is called `sieve`"),
        ("yield --backend boost", "there is: corosensei, context, generator"),
        ("yield --scheduler stealing", "there is: local"),
        ("yield --workers 2", "one thread"),
        ("yield --n none", "--n none"),
        ("yield --runs 0", "above zero"),
        ("yield --kind soft", "--kind"),
    ] {
        let output = bench(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(says), "{line}: {errors}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}
