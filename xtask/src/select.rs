//! Which cells run: by name, by group, by backend, by tier, and what is near a name that does not exist.

use anyhow::bail;

use crate::flags::TestFlags;
use crate::matrix::{BACKENDS, REFERENCE};
use crate::step::{Cell, Tier};

/// The cells of `all` that `flags` ask for, in the matrix's order.
///
/// A cell that is named runs whatever its tier; the others run if their tier does. `--backend` narrows either.
pub(crate) fn select(all: Vec<Cell>, flags: &TestFlags) -> anyhow::Result<Vec<Cell>> {
    for name in &flags.cells {
        if !all.iter().any(|cell| names(name, cell)) {
            let known = all.iter().flat_map(|cell| [cell.name.as_str(), cell.group()]);
            bail!("no cell or group is called `{name}`{}", near(name, known));
        }
    }
    let backends = || BACKENDS.into_iter().chain([REFERENCE]);
    for name in &flags.backends {
        if !backends().any(|backend| backend == name) {
            bail!("no backend is called `{name}`{}", near(name, backends()));
        }
    }
    let wanted = |cell: &Cell| {
        let by_name = flags.cells.iter().any(|name| names(name, cell));
        let by_tier = flags.cells.is_empty() && (flags.full || flags.list || cell.tier == Tier::Default);
        let by_backend = |backend: &str| flags.backends.iter().any(|name| name == backend);
        (by_name || by_tier) && (flags.backends.is_empty() || cell.backend.is_some_and(by_backend))
    };
    let chosen: Vec<Cell> = all.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("no cell is both {} and about backend {}", flags.cells.join(" or "), flags.backends.join(" or "));
    }
    Ok(chosen)
}

fn names(name: &str, cell: &Cell) -> bool {
    cell.name == name || cell.group() == name
}

/// `; did you mean ...?` with the known names that look like `name`, else all of them.
pub(crate) fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let mut close: Vec<(usize, &str)> = known
        .iter()
        .map(|&candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            // A third of the letters wrong is still a typing error; a whole part of the name is a part remembered.
            *distance <= 1 + candidate.len() / 3 || (name.len() > 2 && candidate.contains(name))
        })
        .collect();
    close.sort_unstable();
    if let Some(&(best, _)) = close.first() {
        close.retain(|(distance, candidate)| *distance <= best + 1 || candidate.contains(name));
    }
    close.truncate(4);
    if close.is_empty() {
        format!("; known are: {}", known.join(", "))
    } else {
        let close: Vec<String> = close.into_iter().map(|(_, candidate)| format!("`{candidate}`")).collect();
        format!("; did you mean {}?", close.join(" or "))
    }
}

/// Levenshtein's distance: how many letters to insert, remove or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Vec<Cell> {
        vec![
            Cell::new("lint/fmt", "why"),
            Cell::new("local/context", "why").backend("context"),
            Cell::new("local/threads", "why").backend("threads"),
            Cell::new("tsan/threads", "why").backend("threads").tier(Tier::Full),
        ]
    }

    fn chosen(cells: &[&str], backends: &[&str], full: bool) -> Result<Vec<String>, String> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let flags = TestFlags { cells: owned(cells), backends: owned(backends), full, ..TestFlags::default() };
        match select(matrix(), &flags) {
            Ok(cells) => Ok(cells.into_iter().map(|cell| cell.name).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn full_tier_runs_when_asked_for_or_named() {
        assert_eq!(chosen(&[], &[], false).unwrap(), ["lint/fmt", "local/context", "local/threads"]);
        assert_eq!(chosen(&[], &[], true).unwrap().len(), 4);
        assert_eq!(chosen(&["tsan/threads"], &[], false).unwrap(), ["tsan/threads"]);
    }

    #[test]
    fn group_stands_for_its_cells_and_backend_narrows() {
        assert_eq!(chosen(&["local"], &[], false).unwrap(), ["local/context", "local/threads"]);
        assert_eq!(chosen(&["local"], &["threads"], false).unwrap(), ["local/threads"]);
        assert_eq!(chosen(&[], &["context"], false).unwrap(), ["local/context"]);
    }

    #[test]
    fn unknown_names_are_errors_that_name_the_near_ones() {
        assert!(chosen(&["local/contxt"], &[], false).unwrap_err().contains("did you mean `local/context`?"));
        assert!(chosen(&[], &["corosense"], false).unwrap_err().contains("did you mean `corosensei`?"));
        assert!(chosen(&["zzzzzzzz"], &[], false).unwrap_err().contains("known are: lint, lint/fmt,"));
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        assert!(chosen(&["lint"], &["context"], false).unwrap_err().contains("both lint and about backend context"));
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
