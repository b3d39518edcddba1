//! The test matrix as data: every cell, every flag, and why it is there.
//!
//! Order is order of execution: what fails in a second comes first. Only groups and their subjects live here; how a cell
//! runs is in [`crate::run`], and the table of crates, which the `alone` cells follow, is in [`crate::crates`].
//!
//! Cells share one target directory, so that each dependency is compiled once: none sets `RUSTFLAGS` or a toolchain there.

use crate::checks::Check;
use crate::crates::{Alone, CRATES};
use crate::flags::{Flood, StressFlags};
use crate::step::{Cargo, Cell, Expects, Needs, SANITIZER_TARGET, Tier, cargo};
use crate::workspace::TestFiles;

/// The stack-switching backends. Each has a crate `tasklet-backend-NAME`, a feature `backend-NAME` of the facade, and wraps
/// a package called `NAME`.
pub(crate) const BACKENDS: [&str; 3] = ["corosensei", "context", "generator"];

/// The reference backend: each coroutine an OS thread. It lives in the testkit, which instantiates the suites on it.
pub(crate) const REFERENCE: &str = "threads";

/// The group that `cargo xtask lint` runs.
pub(crate) const LINT: &str = "lint";

/// The test files that instantiate the scheduler's semantics, in the facade for its backend, in the testkit for
/// [`REFERENCE`].
const LOCAL_TESTS: [&str; 2] = ["local_semantics", "differential"];

/// The same for the work-stealing runtime.
const STEALING_TESTS: [&str; 1] = ["stealing_semantics"];

/// The same for channels, select, locks, sockets and borders, under both schedulers: what they promise, and that random programs and small
/// histories keep to it.
const CHANNEL_TESTS: [&str; 6] = [
    "channel_semantics",
    "channel_programs",
    "channel_histories",
    "sync_semantics",
    "io_semantics",
    "bridge_semantics",
];

/// The test file with the stress programme of the work-stealing runtime, in the facade and in the testkit. Its short form is one of
/// the others there.
const STRESS_TEST: &str = "stress_stealing";

/// The facade's test file that runs the examples and looks at their output.
const EXAMPLES_TEST: &str = "examples";

/// The whole matrix.
pub(crate) fn cells(files: &TestFiles) -> Vec<Cell> {
    let mut cells = lints();
    cells.extend(BACKENDS.map(tree));
    cells.push(reference_contract(files));
    cells.push(reference_local());
    cells.push(reference_stealing());
    cells.push(reference_channels());
    for backend in BACKENDS {
        cells.extend([contract(backend), local(backend), stealing(backend), channels(backend)]);
        cells.push(facade_tests(backend, files));
        cells.extend([examples(backend), docs(backend)]);
    }
    cells.extend([no_backend(), all_features()]);
    cells.extend(alone());
    cells.extend(MODELLED.map(loom));
    cells.extend(sanitizers());
    cells.extend(long());
    cells
}

fn lints() -> Vec<Cell> {
    let mut clippy = Cell::new("lint/clippy", "warnings that nobody denies are warnings that nobody reads")
        // --all-targets: tests and examples are code. --all-features: what no feature compiles, nobody checks.
        // -D warnings after the dashes reaches our crates only, and leaves the dependencies' build alone.
        .step(cargo(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]));
    for backend in BACKENDS {
        // With one backend other code is unused than with all of them.
        clippy = clippy.step(facade("clippy", backend).args(["--all-targets", "--", "-D", "warnings"]));
    }
    let rustdoc = cargo(["doc", "--workspace", "--no-deps", "--all-features"])
        // A broken link is a warning to rustdoc and a lie to a reader. Not RUSTFLAGS: it rebuilds no dependency.
        .env("RUSTDOCFLAGS", "-D warnings");
    vec![
        Cell::new("lint/fmt", "one layout, so that a diff shows what changed")
            // --check: report, do not edit.
            .step(cargo(["fmt", "--all", "--check"])),
        Cell::new("lint/tidy", "files stay short and say what they are; an edge between crates is a decision")
            .check(Check::Tidy)
            .check(Check::Edges),
        Cell::new("lint/unsafe", "one crate without the lints, and undocumented unsafe code comes in there")
            .check(Check::UnsafeCode),
        clippy,
        Cell::new("lint/rustdoc", "links in the documentation lead somewhere").step(rustdoc),
    ]
}

fn tree(backend: &'static str) -> Cell {
    Cell::new(&format!("tree/{backend}"), "choosing one backend must not build the others, nor need their C compiler")
        .backend(backend)
        .check(Check::Tree { backend })
}

fn contract(backend: &'static str) -> Cell {
    Cell::new(&format!("contract/{backend}"), "a backend is correct when the contract suite passes on it")
        .backend(backend)
        .expects(Expects::Tests)
        .step(cargo(["test", "-p"]).arg(format!("tasklet-backend-{backend}")))
}

fn reference_contract(files: &TestFiles) -> Cell {
    Cell::new(
        "contract/threads",
        "the suite must hold without a stack switch, or it tests the switch and not the contract",
    )
    .backend(REFERENCE)
    .expects(Expects::Tests)
    // The unit tests and every test file that is not a scheduler's, which have a cell of their own.
    .step(cargo(["test", "-p", "tasklet-testkit", "--lib"]).tests(except(&files.testkit, &scheduler_tests())))
}

fn local(backend: &'static str) -> Cell {
    Cell::new(&format!("local/{backend}"), "the order of the deterministic scheduler is contract, on every backend")
        .backend(backend)
        .expects(Expects::Tests)
        .step(facade("test", backend).tests(LOCAL_TESTS))
}

fn reference_local() -> Cell {
    Cell::new("local/threads", "the same order where tools that cannot follow a stack switch can look at it")
        .backend(REFERENCE)
        .expects(Expects::Tests)
        .step(cargo(["test", "-p", "tasklet-testkit"]).tests(LOCAL_TESTS))
}

fn stealing(backend: &'static str) -> Cell {
    Cell::new(
        &format!("stealing/{backend}"),
        "what the runtime promises holds on every backend, with one worker and several",
    )
    .backend(backend)
    .expects(Expects::Tests)
    .step(facade("test", backend).tests(STEALING_TESTS))
}

fn reference_stealing() -> Cell {
    Cell::new("stealing/threads", "the same promises where a started tasklet has a thread that tools can look at")
        .backend(REFERENCE)
        .expects(Expects::Tests)
        .step(cargo(["test", "-p", "tasklet-testkit"]).tests(STEALING_TESTS))
}

fn channels(backend: &'static str) -> Cell {
    Cell::new(
        &format!("channels/{backend}"),
        "channels, select and locks promise the same under both schedulers, to everybody",
    )
    .backend(backend)
    .expects(Expects::Tests)
    .step(facade("test", backend).tests(CHANNEL_TESTS))
}

fn reference_channels() -> Cell {
    Cell::new("channels/threads", "the same promises where a started tasklet has a thread that tools can look at")
        .backend(REFERENCE)
        .expects(Expects::Tests)
        .step(cargo(["test", "-p", "tasklet-testkit"]).tests(CHANNEL_TESTS))
}

/// The test files of the schedulers' cells.
fn scheduler_tests() -> Vec<&'static str> {
    [&LOCAL_TESTS[..], &STEALING_TESTS, &CHANNEL_TESTS].concat()
}

fn facade_tests(backend: &'static str, files: &TestFiles) -> Cell {
    let others = [&scheduler_tests()[..], &[EXAMPLES_TEST]].concat();
    Cell::new(&format!("facade/{backend}"), "what a user imports works with this backend as the default")
        .backend(backend)
        .expects(Expects::Tests)
        // Every test file that has no cell of its own, so that a new one is run without being listed here.
        .step(facade("test", backend).arg("--lib").tests(except(&files.facade, &others)))
}

fn examples(backend: &'static str) -> Cell {
    Cell::new(&format!("examples/{backend}"), "examples are what is copied first; their output is checked")
        .backend(backend)
        .expects(Expects::Tests)
        // `cargo test --test` builds no examples. Building them here also puts this backend's where the test looks.
        .step(facade("build", backend).arg("--examples"))
        .step(facade("test", backend).tests([EXAMPLES_TEST]))
}

fn docs(backend: &'static str) -> Cell {
    Cell::new(&format!("docs/{backend}"), "README and documentation examples compile and hold with this backend")
        .backend(backend)
        .expects(Expects::Tests)
        .step(facade("test", backend).arg("--doc"))
}

fn no_backend() -> Cell {
    Cell::new("no-backend", "the facade is usable as a library of types, and says so clearly where a backend is needed")
        // Building the library alone leaves out the development dependencies, which turn features on.
        .step(cargo(["build", "-p", "tasklet", "--no-default-features", "--lib"]))
        .check(Check::NoBackend)
}

fn all_features() -> Cell {
    Cell::new("all-features", "features only add: all backends in one build, with the documented default")
        .expects(Expects::Tests)
        // Checked, not built: some features need a linker flag to link (a sanitizer's run time).
        .step(cargo(["check", "--workspace", "--all-targets", "--all-features"]))
        // --tests runs the one that runs the examples.
        .step(cargo(["build", "-p", "tasklet", "--all-features", "--examples"]))
        .step(cargo(["test", "-p", "tasklet", "--all-features", "--lib", "--tests"]))
        // What is documented of features that no other cell has on.
        .step(cargo(["test", "-p", "tasklet", "--all-features", "--doc"]))
}

fn alone() -> impl Iterator<Item = Cell> {
    // The facade without features is `no-backend`.
    CRATES.iter().filter(|krate| krate.name != "tasklet").map(|krate| {
        let cell = Cell::new(
            &format!("alone/{}", krate.name),
            "built alone a crate cannot borrow a feature that a neighbour turned on",
        );
        // Built, not checked: the test cells use the same artifacts. Without tests, whose dependencies turn features on.
        let cell = cell.step(cargo(["build", "-p", krate.name, "--no-default-features"]));
        match krate.alone {
            Alone::Build => cell,
            Alone::Test => {
                cell.expects(Expects::Tests).step(cargo(["test", "-p", krate.name, "--no-default-features"]))
            }
        }
    })
}

/// The crates with protocols between threads: their models meet every order of the threads' steps.
const MODELLED: [&str; 5] = ["core", "channels", "scheduler", "sync", "io"];

fn loom(name: &'static str) -> Cell {
    Cell::new(&format!("loom/{name}"), "an order of two threads' steps that no test meets is one that a user does")
        .tier(Tier::Full)
        .expects(Expects::Tests)
        .step(
            // Models only: the other tests use the same locks, which work inside of a model and nowhere else.
            cargo(["test", "--release", "-p"])
                .arg(format!("tasklet-{name}"))
                .args(["--lib", "--", "models"])
                // The cfg makes the crates take their atomics and locks from loom.
                .env("RUSTFLAGS", "--cfg loom")
                // Orders grow exponentially with the number of times that a thread is interrupted. Three find each of the faults
                // that were put into the protocols to see the models fail, in seconds; without a limit it is minutes.
                .env("LOOM_MAX_PREEMPTIONS", "3")
                .own_target("loom"),
        )
}

/// Sanitizer cells: which one, on which cell name, with which packages and features, and its options.
///
/// To add one, add a line. An instrumented build is compiled with other flags, so each sanitizer has its own target directory.
///
/// None of them is valgrind: nobody tells it of stacks, so it takes a switch to one that is near for a call or a return, and what lies between for
/// gone. A test of ten tasklets that yield, with stacks of their own, gives thousands of reports. Of swapped ones it would have to
/// be told, at each copy, that there is a stack again where one has ended.
fn sanitizers() -> Vec<Cell> {
    vec![
        // Not the test that lowers the limit on address space: the sanitizer itself needs more.
        sanitizer(
            "asan",
            "address",
            REFERENCE,
            &["-p", "tasklet-testkit", "--lib", "--tests", "--", "--skip", "running_out_of_room"],
            ASAN_OPTIONS,
        ),
        sanitizer(
            "asan",
            "address",
            "corosensei",
            // The feature tells the sanitizer where each stack is. With it the backend does not swap, so no test runs swapped: the
            // sanitizer keeps what may be used of a stack beside it, by address. What it knows of a frame would stay behind, for
            // whoever comes to that address next, and a copy of a stack reads the gaps between its variables.
            &[
                "-p",
                "tasklet-backend-corosensei",
                "-p",
                "tasklet",
                "--features",
                "tasklet-backend-corosensei/sanitizer",
                "--test",
                "contract",
                "--test",
                "local_semantics",
                "--test",
                "stealing_semantics",
                "--test",
                "channel_semantics",
                "--test",
                "sync_semantics",
                "--test",
                "channel_programs",
                "--test",
                "channel_histories",
                "--test",
                "differential",
                "--test",
                "soundness",
                "--test",
                "user_code",
                "--test",
                STRESS_TEST,
                "--test",
                "stealing_faults",
            ],
            ASAN_OPTIONS,
        ),
        // What the tests above leak on purpose, the stress programme does not, and a runtime that has ended leaves nothing.
        sanitizer("leaks", "address", REFERENCE, &["-p", "tasklet-testkit", "--test", STRESS_TEST], LEAK_OPTIONS),
        // A stack switch looks like a crash to it unless the switch announces itself, which needs nothing on threads.
        // Not the tests of the stealing runtime: its threads sleep on std's condition variables all the time, and what orders them then
        // is hidden in an std that is not instrumented; and it does not follow fences. (`-Zbuild-std` would show it the former.)
        sanitizer(
            "tsan",
            "thread",
            REFERENCE,
            &[
                "-p",
                "tasklet-testkit",
                "--lib",
                "--test",
                "contract_threads",
                "--test",
                "local_semantics",
                "--test",
                "differential",
            ],
            TSAN_OPTIONS,
        ),
        sanitizer(
            "tsan",
            "thread",
            "corosensei",
            // The feature announces each switch. One thread at a time: with several, tasklets sleep on std's condition variable,
            // and what that orders is hidden in an std that is not instrumented. (With `-Zbuild-std` all tests can be looked at.)
            &[
                "-p",
                "tasklet-backend-corosensei",
                "-p",
                "tasklet",
                "--features",
                "tasklet-backend-corosensei/tsan",
                "--test",
                "contract",
                "--test",
                "differential",
                "--",
                // It lowers the limit on address space, as above.
                "--skip",
                "running_out_of_room",
            ],
            TSAN_OPTIONS,
        ),
    ]
}

/// detect_leaks: a suspended coroutine that cannot be unwound is leaked and counted, on purpose. abort_on_error: tests of
/// overflow look for a signal. detect_stack_use_after_return: its fake stacks take locals off the stack that is measured.
const ASAN_OPTIONS: (&str, &str) = ("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=0");

/// As above, and at the end of the process nothing may be left that nobody can reach. On threads: it does not look for pointers on the
/// stacks of coroutines.
const LEAK_OPTIONS: (&str, &str) = ("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=0");

/// The first race ends the run: what follows one is noise. The file names the reports that std causes by not being
/// instrumented; a contended std lock is one that it cannot name, so the reference backend hands over with atomics of its own.
const TSAN_OPTIONS: (&str, &str) =
    ("TSAN_OPTIONS", concat!("halt_on_error=1 suppressions=", env!("CARGO_MANIFEST_DIR"), "/tsan.supp"));

fn sanitizer(
    group: &'static str,
    name: &'static str,
    subject: &'static str,
    packages: &[&str],
    (variable, options): (&'static str, &'static str),
) -> Cell {
    // -Zsanitizer is why this is nightly. std comes without it, which the compiler calls an ABI mismatch and refuses
    // unless told that it is meant.
    let flags = format!("-Zsanitizer={name} -Cunsafe-allow-abi-mismatch=sanitizer");
    Cell::new(&format!("{group}/{subject}"), "bugs in unsafe code that happen not to fail a test")
        .backend(subject)
        .tier(Tier::Full)
        .needs(Needs::Sanitizer)
        .expects(Expects::Tests)
        .step(
            // --target keeps the flags away from build scripts. No documentation tests: rustdoc would need the flags too.
            cargo(["test", "--target", SANITIZER_TARGET])
                .args(packages.iter().copied())
                .toolchain("nightly")
                .env("RUSTFLAGS", flags)
                .env(variable, options)
                // A hundredth of the rounds: instrumented code is slow, and it is looked at, not counted.
                .env("TASKLET_TEST_QUICK", "1")
                .own_target(format!("sanitizer-{name}")),
        )
}

/// Cells that take minutes and gigabytes. `--release`: they measure limits, and a debug build has others.
/// `--ignored`: the tests are marked so, and the facade cells compile them without running them.
fn long() -> Vec<Cell> {
    let mut cells = Vec::new();
    // Not generator: it brings its own stacks, and their number ends far below a million.
    for backend in ["corosensei", "context"] {
        let million = facade("test", backend).arg("--release").tests(["million"]);
        cells.push(
            Cell::new(&format!("million/{backend}"), "a million tasklets at once fit into 24 GiB")
                .backend(backend)
                .tier(Tier::Full)
                .expects(Expects::Tests)
                // One thread: two of these tests at once do not fit.
                .step(million.args(["--", "--ignored", "--test-threads=1"])),
        );
    }
    for backend in BACKENDS {
        let stress = facade("test", backend).arg("--release").tests(["stress"]);
        cells.push(
            Cell::new(&format!("stress-long/{backend}"), "orders that come up once in a million runs")
                .backend(backend)
                .tier(Tier::Full)
                .expects(Expects::Tests)
                // --nocapture: each test prints its seed, which a test that hangs could not show otherwise.
                .step(stress.args(["--", "--ignored", "--nocapture"])),
        );
    }
    cells.extend(
        BACKENDS
            .into_iter()
            .chain([REFERENCE])
            .map(|backend| stress(&StressFlags { backend, ..StressFlags::default() })),
    );
    for backend in BACKENDS {
        // A hundredth of what the command sends by default: seconds for each flavour.
        let flood = Some(Flood { messages: Some(1_000_000), ..Flood::default() });
        cells.push(stress(&StressFlags { backend, flood, ..StressFlags::default() }));
    }
    for backend in BACKENDS {
        let faults = facade("test", backend).arg("--release").tests(["stealing_faults"]);
        cells.push(
            Cell::new(
                &format!("wakes-long/{backend}"),
                "a wake-up that is lost once in a million hangs a server within the hour",
            )
            .backend(backend)
            .tier(Tier::Full)
            .expects(Expects::Tests)
            .step(faults.args(["--", "--ignored"])),
        );
    }
    cells
}

/// The stress programme of the work-stealing runtime: what `cargo xtask stress` runs.
pub(crate) fn stress(flags: &StressFlags) -> Cell {
    let backend = flags.backend;
    let call = if backend == REFERENCE { cargo(["test", "-p", "tasklet-testkit"]) } else { facade("test", backend) };
    let mut call = call.arg("--release").tests([STRESS_TEST]).env("TASKLET_STRESS_SECONDS", flags.seconds.to_string());
    if let Some(seed) = flags.seed {
        call = call.env("TASKLET_STRESS_SEED", seed.to_string());
    }
    if !flags.workers.is_empty() {
        let workers: Vec<_> = flags.workers.iter().map(u64::to_string).collect();
        call = call.env("TASKLET_STRESS_WORKERS", workers.join(","));
    }
    let (group, why, test) = if let Some(flood) = &flags.flood {
        if let Some(messages) = flood.messages {
            call = call.env("TASKLET_STRESS_MESSAGES", messages.to_string());
        }
        if let Some(flavour) = &flood.flavour {
            call = call.env("TASKLET_STRESS_FLAVOUR", flavour.clone());
        }
        ("flood", "a message that is lost or doubled once in millions is in no small test", "large_floods_arrive")
    } else {
        (
            "stress-stealing",
            "nothing is lost or doubled in orders that nobody thought of",
            "nothing_is_lost_in_a_long_time",
        )
    };
    Cell::new(&format!("{group}/{backend}"), why)
        .backend(backend)
        .tier(Tier::Full)
        .expects(Expects::Tests)
        // The long form only. --nocapture: it prints its seed or its figures as it goes on, which a run that hangs could not show otherwise.
        .step(call.args(["--", test, "--ignored", "--nocapture"]))
}

/// The facade with one backend, and async code, which examples and documents show.
fn facade(verb: &str, backend: &str) -> Cargo {
    // --no-default-features: the default is a backend, which would hide that this one is incomplete.
    cargo([verb, "-p", "tasklet", "--no-default-features", "--features"]).arg(format!("backend-{backend},futures"))
}

fn except<'a>(names: &'a [String], others: &[&str]) -> Vec<&'a str> {
    names.iter().map(String::as_str).filter(|name| !others.contains(name)).collect()
}

#[cfg(test)]
mod tests;
