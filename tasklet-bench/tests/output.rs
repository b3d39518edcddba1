//! What `tasklet-bench` prints, as a script that reads it relies on.

use std::io::Read;
use std::process::{Command, Output, Stdio};

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

const DEPTH: [(&str, &str); 4] =
    [("depth.1", "bytes"), ("depth.5", "bytes"), ("depth.20", "bytes"), ("depth.buffer", "bytes")];

const ECHO: [(&str, &str); 5] =
    [("echo", "requests/s"), ("echo.p50", "us"), ("echo.p99", "us"), ("echo.core0", "%"), ("echo.core1", "%")];

const HTTP: [(&str, &str); 5] =
    [("http", "requests/s"), ("http.p50", "us"), ("http.p99", "us"), ("http.core0", "%"), ("http.core1", "%")];

const RELAY: [(&str, &str); 6] = [
    ("relay.copy", "MiB/s"),
    ("relay.copy.cpu", "us"),
    ("relay.64k", "MiB/s"),
    ("relay.64k.cpu", "us"),
    ("relay.8k", "MiB/s"),
    ("relay.8k.cpu", "us"),
];

const ACCEPT_STORM: [(&str, &str); 4] = [
    ("accept_storm.one", "connections/s"),
    ("accept_storm.one.busiest", "%"),
    ("accept_storm.each", "connections/s"),
    ("accept_storm.each.busiest", "%"),
];

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
    prints("depth", "", &DEPTH);
    prints("depth", "--scheduler stealing --workers 2", &DEPTH);
    prints("echo", "--scheduler stealing --workers 2", &ECHO);
    prints("idle_sockets", "", &[("idle_sockets", "bytes")]);
    prints("accept_storm", "", &ACCEPT_STORM);
    prints("relay", "", &RELAY);
    prints_on("http --once --quick --workers 2", &HTTP);
    for rival in ["tokio", "may"] {
        prints_on(&format!("echo --quick --connections 3 --workers 2 --rival {rival}"), &ECHO);
        prints_on(&format!("http --once --quick --connections 3 --workers 2 --rival {rival}"), &HTTP);
    }
    prints_on("idle_sockets --quick --rival tokio", &[("idle_sockets", "bytes")]);
    let against_crossbeam =
        [("threads_mpmc.ours", "ns"), ("threads_mpmc.crossbeam", "ns"), ("threads_mpmc.ratio", "x")];
    prints("threads_mpmc", "", &against_crossbeam);
    prints("skew", "", &[("skew.one", "ms"), ("skew.all", "ms"), ("skew.speedup", "x")]);
}

#[test]
fn as_many_connections_as_are_asked_for_are_held() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = server.local_addr().expect("its address").to_string();
    let mut held = Command::new(env!("CARGO_BIN_EXE_tasklet-bench"))
        .args(["--hold", &addr, "--connections", "7"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let connections: Vec<_> = (0..7).map(|_| server.accept().expect("a connection").0).collect();
    drop(held.stdin.take());
    assert!(held.wait().expect("it ends").success());
    for mut connection in connections {
        assert_eq!(connection.read(&mut [0]).expect("its end"), 0);
    }
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
        for workload in ["yield", "pingpong", "ring", "spawn_join"] {
            prints_on(&format!("{workload} {options}"), &[(workload, "ns")]);
        }
        prints_on(&format!("depth {options}"), &DEPTH);
        prints_on(&format!("sleep {options}"), &SLEEP);
        prints_on(&format!("idle_mem {options}"), &IDLE_MEM);
    }
}

#[test]
fn swapped_tasklets_run_what_is_defined_for_them() {
    for backend in ["corosensei", "context"] {
        for scheduler in ["local", "stealing --workers 2"] {
            let options = format!("--quick --kind swapped --backend {backend} --scheduler {scheduler}");
            for workload in ["yield", "pingpong", "ring", "spawn_join"] {
                prints_on(&format!("{workload} {options}"), &[(workload, "ns")]);
            }
            prints_on(&format!("idle_mem {options}"), &IDLE_MEM);
            prints_on(&format!("depth {options}"), &DEPTH);
        }
    }
}

#[test]
fn a_ring_has_as_many_as_it_is_told() {
    for kind in ["stackful", "swapped", "soft"] {
        for members in [2, 3, 1000] {
            // Fewer hops than tasklets, and more.
            for hops in [1, 2500] {
                let options = format!("--scheduler stealing --kind {kind} --tasklets {members} --n {hops} --runs 1");
                prints_on(&format!("ring {options}"), &[("ring", "ns")]);
            }
        }
    }
    prints_on("ring --tasklets 2 --quick", &[("ring", "ns")]);
    prints_on("ring --tasklets 2 --quick --rival tokio", &[("ring", "ns")]);
}

#[test]
fn deep_calls_and_buffers_cost_what_they_hold() {
    let bytes = |options: &str| -> Vec<f64> {
        let output = bench(&format!("depth --n 2000 --runs 1 {options}"));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| line.split('\t').nth(1).unwrap().parse().unwrap()).collect()
    };
    for options in ["--kind swapped --scheduler local", "--kind swapped --scheduler stealing", "--kind soft"] {
        let [one, five, twenty, buffer] = bytes(options)[..] else { panic!("four figures of {options}") };
        // A call keeps eight words at least.
        assert!(five - one > 4.0 * 64.0 && twenty - five > 15.0 * 64.0, "{options}: {one} {five} {twenty}");
        assert!(buffer - one > 3500.0, "{options}: {one} {buffer}");
    }
    // A stack of its own is of whole pages, whatever is on it.
    let stackful = bytes("--kind stackful --scheduler stealing");
    assert!(stackful.iter().all(|bytes| *bytes > 4000.0), "{stackful:?}");
}

#[test]
fn a_series_names_the_options_of_each_figure_and_can_be_drawn() {
    let output = bench("--series kinds --quick");
    let names: Vec<String> = lines(&output).into_iter().map(|(name, _)| name).collect();
    for name in ["idle_mem.bytes --kind soft --n 10", "ring --kind swapped --tasklets 50", "depth.20 --kind stackful"] {
        assert!(names.iter().any(|other| other == name), "{name} in {names:?}");
    }
    let file = std::env::temp_dir().join(format!("tasklet-bench-{}", std::process::id()));
    std::fs::write(&file, &output.stdout).expect("a file in the folder for such files");
    let drawn = bench(&format!("--plot {}", file.display()));
    std::fs::remove_file(&file).expect("it was there");
    assert!(drawn.status.success() && drawn.stdout.starts_with(b"<svg "), "{drawn:?}");
}

#[test]
fn table_and_drawing_of_the_documents_are_of_the_same_figures() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let drawn = bench(&format!("--plot {docs}/kinds.tsv"));
    assert!(drawn.status.success(), "{drawn:?}");
    let kept = std::fs::read(format!("{docs}/memory.svg")).expect("a drawing");
    assert!(drawn.stdout == kept, "docs/memory.svg is older than docs/kinds.tsv; see BENCHMARKS.md for how to draw it");
    let table = bench(&format!("--table {docs}/kinds.tsv"));
    let (table, text) = (String::from_utf8_lossy(&table.stdout), include_str!("../../BENCHMARKS.md"));
    assert!(table.lines().count() > 20 && text.contains(&*table), "BENCHMARKS.md should have this table:\n{table}");
    let missing = bench("--plot no/such/file");
    let errors = String::from_utf8_lossy(&missing.stderr);
    assert!(missing.status.code() == Some(1) && errors.contains("no/such/file"), "{errors}");
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
    let others = [
        "threads_mpmc",
        "skew",
        "sleep",
        "wake_latency",
        "idle_cpu",
        "idle_mem",
        "depth",
        "echo",
        "http",
        "idle_sockets",
        "accept_storm",
        "relay",
    ];
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
        ("yield --kind hard", "there is: stackful, swapped, soft"),
        ("fib --kind soft", "it is for: stealing (stackful), rayon"),
        ("fib --rival tokio", "it is for: stealing (stackful), rayon"),
        ("yield --tasklets 5", "--tasklets is not for yield"),
        ("ring --tasklets 1", "from 2 to 10000000"),
        ("--series all", "there is: kinds"),
        ("--series kinds --kind soft", "only --runs and --quick"),
        ("--plot", "--plot needs a file"),
    ] {
        let output = bench(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(says), "{line}: {errors}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}
