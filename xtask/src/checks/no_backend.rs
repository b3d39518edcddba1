//! What a user reads who needs a backend and chose none.
//!
//! A program is compiled twice as a package of its own outside the workspace, where no other crate turns features on: with
//! a backend it must compile, so that without one it fails for that reason and no other.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// Words that the compiler's message must have.
const EXPECTED: &str = "select a backend";

/// A program that needs the default backend.
const PROGRAM: &str = include_str!("../../ui/no_backend.rs");

pub(super) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.target.join("xtask").join("no-backend");
    let with = compile(workspace, &folder, "backend-corosensei")?;
    if !with.status.success() {
        bail!("xtask/ui/no_backend.rs does not compile even with a backend\n{}", errors(&with));
    }
    let without = compile(workspace, &folder, "")?;
    if without.status.success() {
        bail!("xtask/ui/no_backend.rs compiles without a backend; it must use the default one");
    }
    let errors = errors(&without);
    if !errors.contains(EXPECTED) {
        bail!("the compiler's message without a backend does not say `{EXPECTED}`\n{errors}");
    }
    Ok(())
}

/// Checks the program with this feature of the facade, or with none.
fn compile(workspace: &Workspace, folder: &Path, feature: &str) -> anyhow::Result<Output> {
    write(folder, "src/main.rs", PROGRAM)?;
    write(folder, "Cargo.toml", &manifest(&workspace.root, feature))?;
    // The workspace's versions: nothing new to download, and no newer dependency that fails by itself.
    let lock = std::fs::read_to_string(workspace.root.join("Cargo.lock")).context("could not read Cargo.lock")?;
    write(folder, "Cargo.lock", &lock)?;
    Command::new(&workspace.cargo)
        .args(["check", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        // The dependencies are compiled already, by the cells before.
        .env("CARGO_TARGET_DIR", &workspace.target)
        .current_dir(&workspace.root)
        .output()
        .context("could not start `cargo check`")
}

fn manifest(root: &Path, feature: &str) -> String {
    // A TOML literal string takes a path as it is.
    let features = if feature.is_empty() { String::new() } else { format!("{feature:?}") };
    format!(
        "[package]\nname = \"no-backend\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [workspace]\n\n\
         [dependencies]\n\
         tasklet = {{ path = '{}', default-features = false, features = [{features}] }}\n",
        root.display()
    )
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).with_context(|| format!("could not make {}", parent.display()))?;
    std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_stands_outside_the_workspace() {
        let text = manifest(Path::new("/some where"), "backend-context");
        assert!(text.contains("[workspace]\n"), "{text}");
        assert!(
            text.contains("path = '/some where', default-features = false, features = [\"backend-context\"]"),
            "{text}"
        );
        assert!(manifest(Path::new("/x"), "").contains("features = []"));
    }
}
