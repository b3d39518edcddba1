//! What must hold of the matrix whatever is added to it.

use std::collections::HashSet;

use super::*;
use crate::step::Step;

fn matrix() -> Vec<Cell> {
    cells(&TestFiles {
        facade: vec![
            "facade".into(),
            "local_semantics".into(),
            "stealing_semantics".into(),
            "channel_semantics".into(),
            "examples".into(),
            "million".into(),
        ],
        testkit: vec![
            "contract".into(),
            "differential".into(),
            "stealing_semantics".into(),
            "channel_semantics".into(),
        ],
    })
}

fn calls(cell: &Cell) -> Vec<String> {
    cell.steps
        .iter()
        .map(|step| match step {
            Step::Cargo(cargo) => cargo.shown(),
            Step::Check(_) => String::new(),
        })
        .collect()
}

fn find<'a>(cells: &'a [Cell], name: &str) -> &'a Cell {
    cells.iter().find(|cell| cell.name == name).unwrap_or_else(|| panic!("no cell {name}"))
}

#[test]
fn names_are_unique() {
    let mut seen = HashSet::new();
    for cell in matrix() {
        assert!(seen.insert(cell.name.clone()), "{} twice", cell.name);
    }
}

#[test]
fn every_cell_has_a_step_and_a_reason() {
    for cell in matrix() {
        assert!(!cell.steps.is_empty(), "{} does nothing", cell.name);
        assert!(!cell.why.is_empty(), "{} has no reason", cell.name);
    }
}

#[test]
fn every_backend_is_in_every_group_of_the_default_tier() {
    let cells = matrix();
    for group in ["tree", "contract", "local", "stealing", "facade", "examples", "docs"] {
        for backend in BACKENDS {
            let cell = find(&cells, &format!("{group}/{backend}"));
            assert_eq!((cell.backend, cell.tier), (Some(backend), Tier::Default));
        }
    }
    for group in ["contract", "local", "stealing"] {
        assert_eq!(find(&cells, &format!("{group}/{REFERENCE}")).backend, Some(REFERENCE));
    }
}

#[test]
fn every_crate_has_a_cell_alone() {
    let cells = matrix();
    for krate in CRATES.iter().filter(|krate| krate.name != "tasklet") {
        find(&cells, &format!("alone/{}", krate.name));
    }
    find(&cells, "no-backend");
}

#[test]
fn other_flags_or_toolchains_build_elsewhere() {
    for cell in matrix() {
        for step in &cell.steps {
            if let Step::Cargo(call) = step {
                assert!(!call.spoils_a_shared_target(), "{}: {}", cell.name, call.shown());
            }
        }
    }
}

#[test]
fn a_cell_that_runs_tests_expects_some() {
    for cell in matrix() {
        let tests = calls(&cell).iter().any(|call| call.contains("cargo test") || call.contains("nightly test"));
        assert_eq!(tests, cell.expects == Expects::Tests, "{}", cell.name);
    }
}

#[test]
fn facade_cells_run_the_test_files_that_no_other_cell_runs() {
    let cells = matrix();
    let facade = calls(find(&cells, "facade/context")).concat();
    assert!(facade.ends_with("--features backend-context,futures --lib --test facade --test million"), "{facade}");
    let contract = calls(find(&cells, "contract/threads")).concat();
    assert!(contract.ends_with("-p tasklet-testkit --lib --test contract"), "{contract}");
}

#[test]
fn stress_passes_on_what_was_asked_for() {
    let flags = StressFlags { seconds: 5, seed: Some(7), workers: vec![2], flood: None, backend: "context" };
    let [call] = &calls(&stress(&flags))[..] else { panic!("one call") };
    for part in ["TASKLET_STRESS_SECONDS=5", "TASKLET_STRESS_SEED=7", "TASKLET_STRESS_WORKERS=2", "backend-context"] {
        assert!(call.contains(part), "{part}: {call}");
    }
    assert!(call.ends_with("--test stress_stealing -- nothing_is_lost_in_a_long_time --ignored --nocapture"), "{call}");
    let random = calls(&stress(&StressFlags { backend: REFERENCE, ..StressFlags::default() })).concat();
    assert!(!random.contains("STRESS_SEED") && random.contains("-p tasklet-testkit"), "{random}");
}

#[test]
fn a_flood_passes_on_what_was_asked_for() {
    let flood = Some(Flood { messages: Some(9), flavour: Some("watch".into()) });
    let call = calls(&stress(&StressFlags { workers: vec![1, 4], flood, ..StressFlags::default() })).concat();
    for part in ["TASKLET_STRESS_MESSAGES=9", "TASKLET_STRESS_WORKERS=1,4", "TASKLET_STRESS_FLAVOUR=watch"] {
        assert!(call.contains(part), "{part}: {call}");
    }
    assert!(call.ends_with("-- large_floods_arrive --ignored --nocapture"), "{call}");
}

#[test]
fn sanitizer_cells_can_be_typed_as_shown() {
    let cells = matrix();
    let [call] = &calls(find(&cells, "tsan/threads"))[..] else { panic!("one call") };
    assert!(call.starts_with("RUSTFLAGS='-Zsanitizer=thread "), "{call}");
    assert!(call.contains(" CARGO_TARGET_DIR=target/sanitizer-thread cargo +nightly test --target "), "{call}");
}
