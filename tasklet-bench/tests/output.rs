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

fn prints_on(line: &str, expected: &[(&str, &str)]) {
    let found = lines(&bench(line));
    let expected: Vec<_> = expected.iter().map(|(name, unit)| (name.to_string(), unit.to_string())).collect();
    assert_eq!(found, expected, "{line}");
}

fn prints(workload: &str, options: &str, expected: &[(&str, &str)]) {
    for backend in BACKENDS {
        prints_on(&format!("{workload} --quick --backend {backend} {options}"), expected);
    }
}

/// Workloads of one figure, with their units.
const ONE_FIGURE: [(&str, &str); 12] = [
    ("yield", "ns"),
    ("pingpong", "ns"),
    ("ring", "ns"),
    ("sieve", "ms"),
    ("mpmc", "ns"),
    ("mpsc_unbounded", "ns"),
    ("select", "ns"),
    ("mutex", "ns"),
    ("spawn_join", "ns"),
    ("skynet", "ms"),
    ("fib", "ms"),
    ("fib_spawn", "ms"),
];

const IDLE_MEM: [(&str, &str); 3] =
    [("idle_mem.bytes", "bytes"), ("idle_mem.create", "ns"), ("idle_mem.wake_all", "ms")];

const SLEEP: [(&str, &str); 2] = [("sleep.wall", "ms"), ("sleep.cpu", "ms")];

#[test]
fn workloads_of_one_figure_print_one_line_in_nanoseconds() {
    for workload in ["yield", "pingpong", "ring", "spawn_join"] {
        prints(workload, "--scheduler local --workers 1", &[(workload, "ns")]);
    }
}

#[test]
fn the_stealing_scheduler_runs_the_same_and_more_with_any_number_of_workers() {
    for (workload, unit) in ONE_FIGURE {
        for workers in [1, 2, 3] {
            prints(workload, &format!("--scheduler stealing --workers {workers}"), &[(workload, unit)]);
        }
    }
}

#[test]
fn sizes_that_are_not_the_usual_multiples_work() {
    for workload in ["yield", "pingpong", "ring", "spawn_join"] {
        prints(workload, "--n 1", &[(workload, "ns")]);
    }
    prints("spawn_join", "--n 10001 --runs 2", &[("spawn_join", "ns")]);
    for (workload, unit) in ONE_FIGURE {
        prints(workload, "--n 1 --scheduler stealing", &[(workload, unit)]);
    }
    prints("skynet", "--n 1001", &[("skynet", "ms")]);
}

#[test]
fn workloads_of_several_figures_print_a_line_for_each() {
    prints("idle_mem", "", &IDLE_MEM);
    prints("idle_mem", "--once", &IDLE_MEM);
    prints("idle_mem", "--scheduler stealing --workers 2", &IDLE_MEM);
    prints("sleep", "--workers 2", &SLEEP);
    let against_crossbeam =
        [("threads_mpmc.ours", "ns"), ("threads_mpmc.crossbeam", "ns"), ("threads_mpmc.ratio", "x")];
    prints("threads_mpmc", "", &against_crossbeam);
    prints("skew", "", &[("skew.one", "ms"), ("skew.all", "ms"), ("skew.speedup", "x")]);
}

#[test]
fn what_needs_a_sleeping_worker_finds_one() {
    prints("wake_latency", "--workers 2", &[("wake_latency", "ns")]);
    prints_on("idle_cpu --once --n 100", &[("idle_cpu", "%")]);
}

#[test]
fn soft_tasklets_run_what_is_defined_for_them() {
    for workers in [1, 2] {
        let options = format!("--quick --kind soft --scheduler stealing --workers {workers}");
        prints_on(&format!("spawn_join {options}"), &[("spawn_join", "ns")]);
        prints_on(&format!("sleep {options}"), &SLEEP);
        prints_on(&format!("idle_mem {options}"), &IDLE_MEM);
    }
}

#[test]
fn rivals_print_the_same_lines() {
    for workers in [1, 2] {
        let of = |rival: &str, workload: &str, expected: &[(&str, &str)]| {
            prints_on(&format!("{workload} --quick --rival {rival} --workers {workers}"), expected);
        };
        for (workload, unit) in ONE_FIGURE {
            if workload != "fib" {
                of("tokio", workload, &[(workload, unit)]);
            }
            if ["spawn_join", "fib", "fib_spawn"].contains(&workload) {
                of("rayon", workload, &[(workload, unit)]);
            }
        }
        of("tokio", "sleep", &SLEEP);
        of("tokio", "idle_mem", &IDLE_MEM);
        of("tokio", "wake_latency", &[("wake_latency", "ns")]);
    }
    prints_on("wake_latency --quick --rival threads", &[("wake_latency", "ns")]);
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
    let others = ["threads_mpmc", "skew", "sleep", "wake_latency", "idle_cpu", "idle_mem"];
    let names: Vec<&str> = ONE_FIGURE.iter().map(|(name, _)| *name).chain(others).collect();
    for workload in &names {
        assert!(text.lines().any(|line| line.starts_with(&format!("{workload}: "))), "{workload} in {text}");
    }
    assert_eq!(text.matches("not evidence for").count(), names.len());
}

#[test]
fn bad_flags_exit_with_two_and_say_why() {
    for (line, says) in [
        ("", "which workload?"),
        ("seive", "no workload is called `seive`"),
        ("yield --backend boost", "there is: corosensei, context, generator"),
        ("yield --scheduler global", "there is: local, stealing"),
        ("yield --workers 2", "local is one thread"),
        ("yield --n none", "--n none"),
        ("yield --runs 0", "above zero"),
        ("yield --kind hard", "there is: stackful, soft"),
        ("fib --kind soft", "it is for: stealing, rayon"),
        ("fib --rival tokio", "it is for: stealing, rayon"),
    ] {
        let output = bench(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(says), "{line}: {errors}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}
