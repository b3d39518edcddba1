//! What every source file must be: short, introduced, and finished.

use std::path::Path;

use anyhow::Context;

use crate::workspace::Workspace;

/// The most lines of a file that is not a test. The file that everybody complains about is always the long one.
const MAX_LINES: usize = 600;

pub(super) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let findings: Vec<String> = sources(&workspace.root)?.iter().flat_map(findings).collect();
    super::verdict(&findings)
}

/// A source file.
pub(super) struct Source {
    /// Its path from the root of the workspace.
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// Its lines with their numbers, without those that are comments.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        self.name.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

/// Every Rust file of the workspace, by name. Leaves out build directories, and what is hidden.
pub(super) fn sources(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("could not list {}", folder.display()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            if entry.file_type().with_context(|| format!("could not look at {}", path.display()))?.is_dir() {
                if !name.starts_with('.') && !name.starts_with("target") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                sources.push(Source { name, text });
            }
        }
    }
    sources.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(sources)
}

fn findings(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_LINES && !source.is_test() {
        findings.push(format!("{}: {lines} lines, more than {MAX_LINES}; find the two concepts in it", source.name));
    }
    // The facade's documentation is the README.
    if !source.text.starts_with("//!") && !source.text.starts_with("#![doc = include_str!(") {
        findings.push(format!("{}: must start with //! and say what it is", source.name));
    }
    // Clippy denies these too, but only in code that its feature set and target compile. In pieces, or this file would
    // have them.
    let leftovers = [["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]].map(|parts| parts.concat());
    for (number, line) in source.code() {
        for leftover in leftovers.iter().filter(|leftover| line.contains(leftover.as_str())) {
            findings.push(format!("{}:{number}: has {leftover}", source.name));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: String) -> Vec<String> {
        findings(&Source { name: name.to_owned(), text })
    }

    #[test]
    fn short_introduced_file_is_fine() {
        assert!(found("a/src/lib.rs", "//! A crate.\n\nfn f() {}\n".to_owned()).is_empty());
        assert!(found("src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n".to_owned()).is_empty());
    }

    #[test]
    fn long_file_is_found_unless_it_is_a_test() {
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(MAX_LINES));
        assert!(found("a/src/lib.rs", long.clone())[0].contains("601 lines"));
        assert!(found("a/tests/lib.rs", long.clone()).is_empty());
        assert!(found("a/src/park/tests.rs", long).is_empty());
    }

    #[test]
    fn file_without_introduction_and_leftovers_are_found() {
        assert!(found("x.rs", "fn f() {}\n".to_owned())[0].contains("must start with //!"));
        let text = format!("//! X.\n// {0}) in a comment\nfn f() {{ {0}) }}\n", ["todo", "!("].concat());
        assert_eq!(found("x.rs", text), [format!("x.rs:3: has {}", ["todo", "!("].concat())]);
    }
}
