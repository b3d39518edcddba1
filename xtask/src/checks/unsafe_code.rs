//! The lints on unsafe code: denied for the workspace, inherited by every crate, allowed nowhere.

use anyhow::Context;

use super::tidy::{Source, sources};
use crate::crates::{CRATES, UnsafeCode};
use crate::workspace::{Member, Workspace};

/// Lints that no crate may switch off; [`check`] also asks the root manifest to deny them.
const LINTS: [&str; 3] = ["unsafe_op_in_unsafe_fn", "undocumented_unsafe_blocks", "missing_safety_doc"];

pub(super) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let manifest = read(&workspace.root.join("Cargo.toml"))?;
    let mut findings = root_findings(&manifest);
    for member in &workspace.members {
        findings.extend(member_findings(member)?);
    }
    for source in sources(&workspace.root)? {
        findings.extend(allowed_lints(&source));
    }
    super::verdict(&findings)
}

fn root_findings(manifest: &str) -> Vec<String> {
    let denied = |lint: &str| {
        let tables = ["workspace.lints.rust", "workspace.lints.clippy"];
        tables.iter().any(|table| has_line(manifest, table, &format!("{lint} = \"deny\"")))
    };
    LINTS
        .iter()
        .filter(|lint| !denied(lint))
        .map(|lint| format!("Cargo.toml: [workspace.lints] must deny {lint}"))
        .collect()
}

fn member_findings(member: &Member) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    if !has_line(&read(&member.manifest)?, "lints", "workspace = true") {
        findings.push(format!("{}: Cargo.toml needs [lints] with workspace = true", member.name));
    }
    let krate = CRATES.iter().find(|krate| krate.name == member.name);
    if krate.is_some_and(|krate| krate.unsafe_code == UnsafeCode::Forbidden) {
        for root in &member.roots {
            if !read(root)?.contains("#![forbid(unsafe_code)]") {
                findings.push(format!("{}: its root needs #![forbid(unsafe_code)]", member.name));
            }
        }
    }
    Ok(findings)
}

/// Whether `line` is in the table `[name]` of a manifest. Line by line: our manifests write tables that way, and what is
/// written otherwise is reported as missing, so it cannot slip through.
fn has_line(manifest: &str, name: &str, line: &str) -> bool {
    let header = format!("[{name}]");
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|text| *text != header)
        .skip(1)
        .take_while(|text| !text.starts_with('['))
        .any(|text| text == line)
}

fn allowed_lints(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in source.code() {
        let attribute = line.contains("allow(") || line.contains("expect(");
        // Only where the whole of the attribute is on the line; rustfmt breaks long ones, but a lint's name is short.
        if attribute && line.trim_start().starts_with('#') && LINTS.iter().any(|lint| line.contains(lint)) {
            findings.push(format!("{}:{number}: switches off a lint on unsafe code", source.name));
        }
    }
    findings
}

fn read(path: &std::path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_counts_only_in_its_table() {
        let manifest = "[lints]\n# why\nworkspace = true\n\n[features]\ndefault = []\n";
        assert!(has_line(manifest, "lints", "workspace = true"));
        assert!(!has_line("[features]\nworkspace = true\n", "lints", "workspace = true"));
        assert!(!has_line("[lints]\n\n[features]\nworkspace = true\n", "lints", "workspace = true"));
    }

    #[test]
    fn lint_that_the_workspace_does_not_deny_is_found() {
        let manifest = "[workspace.lints.rust]\nunsafe_op_in_unsafe_fn = \"deny\"\n\n\
                        [workspace.lints.clippy]\nundocumented_unsafe_blocks = \"warn\"\nmissing_safety_doc = \"deny\"\n";
        assert_eq!(root_findings(manifest), ["Cargo.toml: [workspace.lints] must deny undocumented_unsafe_blocks"]);
    }

    #[test]
    fn lint_switched_off_in_a_source_is_found() {
        let attribute = "#![allow(clippy::undocumented_unsafe_blocks)]";
        let text = format!("//! A file.\n// {attribute} would be wrong\n{attribute}\n");
        let source = Source { name: "x.rs".into(), text };
        assert_eq!(allowed_lints(&source), ["x.rs:3: switches off a lint on unsafe code"]);
    }
}
