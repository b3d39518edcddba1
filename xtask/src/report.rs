//! What is counted and what is printed: a line per cell, the table, and the last line that machines read.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::process::Echo;
use crate::run::{Outcome, Verdict};
use crate::step::{Cell, Tier};

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

/// Adds up libtest's `test result:` lines. A cargo call prints one for each test binary and for documentation tests.
pub(crate) fn parse(output: &str) -> Counts {
    let mut sum = Counts::default();
    // Not only at the start of a line: with --nocapture a test may leave its own line unfinished.
    for result in output.lines().filter_map(|line| line.split_once("test result: ")) {
        let Some((_, numbers)) = result.1.split_once(". ") else { continue };
        for part in numbers.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => sum.passed += number,
                "failed" => sum.failed += number,
                "ignored" => sum.ignored += number,
                // Measured and filtered out: neither ran as a test.
                _ => {}
            }
        }
    }
    sum
}

/// Prints to standard output. A reader that went away must not end the run: the exit code still counts.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints the line of a cell that ended and, unless it was shown as it came, the output of one that failed.
pub(crate) fn finished(outcome: &Outcome, echo: Echo) {
    let name = &outcome.name;
    let seconds = outcome.elapsed.as_secs_f64();
    match &outcome.verdict {
        Verdict::Passed if outcome.counts == Counts::default() => say(&format!("ok      {name}  {seconds:.1}s\n")),
        Verdict::Passed => say(&format!("ok      {name}  {} tests  {seconds:.1}s\n", outcome.counts.passed)),
        Verdict::Skipped(what) => say(&format!("skipped {name}: {what}\n")),
        Verdict::Failed(reason) => {
            if echo == Echo::Silent {
                say(&format!("---- {name} ----\n{}----\n", outcome.output));
            }
            say(&format!("FAILED  {name}  {seconds:.1}s: {reason}\n"));
        }
    }
}

/// Prints the table, what failed and what was skipped, and the line that ends the output; the exit code says the same.
pub(crate) fn summary(outcomes: &[Outcome]) -> ExitCode {
    say(&format!("\n{}\n", table(outcomes)));
    for outcome in outcomes {
        let name = &outcome.name;
        match &outcome.verdict {
            Verdict::Passed => {}
            Verdict::Skipped(what) => say(&format!("skipped: {name}: {what}\n")),
            Verdict::Failed(reason) => {
                say(&format!("failed: {name}: {reason}\n    again: cargo xtask test --cell {name}\n"));
            }
        }
    }
    say(&format!("{}\n", last_line(outcomes)));
    if outcomes.iter().any(failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn failed(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Failed(_))
}

fn skipped(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Skipped(_))
}

fn table(outcomes: &[Outcome]) -> String {
    let mut rows = vec![["cell", "result", "passed", "failed", "ignored", "seconds"].map(str::to_owned)];
    for outcome in outcomes {
        let result = match outcome.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed(_) => "FAILED",
            Verdict::Skipped(_) => "skipped",
        };
        rows.push(row(&outcome.name, result, outcome.counts, outcome.elapsed));
    }
    let failed = outcomes.iter().filter(|outcome| failed(outcome)).count();
    let skipped = outcomes.iter().filter(|outcome| skipped(outcome)).count();
    let name = format!("total of {} cells, {failed} failed, {skipped} skipped", outcomes.len());
    let result = if failed == 0 { "ok" } else { "FAILED" };
    rows.push(row(&name, result, total(outcomes), outcomes.iter().map(|outcome| outcome.elapsed).sum()));

    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4, 5].map(width);
    rows.iter()
        .map(|[name, result, numbers @ ..]| {
            let mut line = format!("{name:<0$}  {result:<1$}", widths[0], widths[1]);
            for (number, width) in numbers.iter().zip(&widths[2..]) {
                line += &format!("  {number:>width$}");
            }
            line + "\n"
        })
        .collect()
}

fn row(name: &str, result: &str, counts: Counts, elapsed: Duration) -> [String; 6] {
    let Counts { passed, failed, ignored } = counts;
    let numbers = [passed, failed, ignored].map(|number| number.to_string());
    let [passed, failed, ignored] = numbers;
    [name.to_owned(), result.to_owned(), passed, failed, ignored, format!("{:.1}", elapsed.as_secs_f64())]
}

fn total(outcomes: &[Outcome]) -> Counts {
    outcomes.iter().fold(Counts::default(), |sum, Outcome { counts, .. }| Counts {
        passed: sum.passed + counts.passed,
        failed: sum.failed + counts.failed,
        ignored: sum.ignored + counts.ignored,
    })
}

/// `N passed, M failed, K skipped`, in tests, so that it never says `0 failed` of a run that failed: a cell that failed
/// without a failing test counts as one, and so does a cell that was skipped.
fn last_line(outcomes: &[Outcome]) -> String {
    let sum = total(outcomes);
    let bare = outcomes.iter().filter(|outcome| failed(outcome) && outcome.counts.failed == 0).count() as u64;
    let skipped = outcomes.iter().filter(|outcome| skipped(outcome)).count() as u64;
    format!("{} passed, {} failed, {} skipped", sum.passed, sum.failed + bare, sum.ignored + skipped)
}

/// Prints each cell's name, tier and reason.
pub(crate) fn list(cells: &[Cell]) {
    let width = cells.iter().map(|cell| cell.name.len()).max().unwrap_or(0);
    for cell in cells {
        let tier = match cell.tier {
            Tier::Default => "default",
            Tier::Full => "full",
        };
        say(&format!("{:<width$}  {tier:<7}  {}\n", cell.name, cell.why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, verdict: Verdict, passed: u64, failed: u64, ignored: u64) -> Outcome {
        let counts = Counts { passed, failed, ignored };
        Outcome { name: name.to_owned(), verdict, counts, elapsed: Duration::from_millis(1500), output: String::new() }
    }

    fn broken() -> Verdict {
        Verdict::Failed("broken".to_owned())
    }

    #[test]
    fn counts_of_all_test_binaries_are_summed() {
        let output = "\
running 3 tests
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.02s

   Doc-tests tasklet
test result: FAILED. 10 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.10s
seed 7 test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out
";
        assert_eq!(parse(output), Counts { passed: 13, failed: 3, ignored: 1 });
    }

    #[test]
    fn other_output_counts_nothing() {
        let output = "test result: the best one\n5 passed; 3 failed\ntest a_test ... ok\n";
        assert_eq!(parse(output), Counts::default());
    }

    #[test]
    fn last_line_counts_tests_and_never_hides_a_failed_or_skipped_cell() {
        let green = [outcome("a", Verdict::Passed, 3, 0, 2), outcome("b", Verdict::Passed, 4, 0, 0)];
        assert_eq!(last_line(&green), "7 passed, 0 failed, 2 skipped");
        let red = [
            outcome("a", broken(), 3, 2, 0),
            outcome("b", broken(), 0, 0, 0),
            outcome("c", Verdict::Skipped("no nightly toolchain".to_owned()), 0, 0, 0),
        ];
        assert_eq!(last_line(&red), "3 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn table_lines_up_and_ends_with_the_total() {
        let outcomes = [outcome("contract/context", Verdict::Passed, 30, 0, 0), outcome("lint/fmt", broken(), 0, 0, 0)];
        let table = table(&outcomes);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{table}");
        assert!(lines[3].starts_with("total of 2 cells, 1 failed, 0 skipped  FAILED  "), "{table}");
        assert!(lines[3].ends_with("3.0"), "{table}");
    }
}
