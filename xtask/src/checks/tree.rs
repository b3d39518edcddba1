//! What the facade pulls in when one backend is chosen.

use std::process::Command;

use anyhow::{Context, bail};

use crate::matrix::BACKENDS;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace, backend: &str) -> anyhow::Result<()> {
    let output = Command::new(&workspace.cargo)
        .args(["tree", "-p", "tasklet", "--no-default-features", "--features"])
        .arg(format!("backend-{backend}"))
        // -e normal: what a user of the library compiles. --prefix none: one `name version` per line.
        .args(["-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(&workspace.root)
        .output()
        .context("could not start `cargo tree`")?;
    if !output.status.success() {
        bail!("`cargo tree` failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    super::verdict(&findings(&String::from_utf8_lossy(&output.stdout), backend))
}

fn findings(tree: &str, backend: &str) -> Vec<String> {
    let has = |package: &str| tree.lines().any(|line| line.split(' ').next() == Some(package));
    let mut findings = Vec::new();
    for candidate in BACKENDS {
        for package in [candidate.to_owned(), format!("tasklet-backend-{candidate}")] {
            match (candidate == backend, has(&package)) {
                (true, false) => findings.push(format!("tasklet with backend-{backend} does not depend on {package}")),
                (false, true) => findings.push(format!("tasklet with only backend-{backend} depends on {package}")),
                _ => {}
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_backend_is_found_whatever_pulls_it_in() {
        let tree = "tasklet v0.1.0 (/x)\ntasklet-backend-context v0.1.0 (/x)\ncontext v3.0.0\ncontextual v1.0.0\n";
        assert!(findings(tree, "context").is_empty());
        let found = findings(&format!("{tree}generator v0.8.12\n"), "context");
        assert_eq!(found, ["tasklet with only backend-context depends on generator"]);
    }

    #[test]
    fn missing_backend_is_found() {
        assert_eq!(findings("tasklet v0.1.0 (/x)\n", "generator").len(), 2);
    }
}
