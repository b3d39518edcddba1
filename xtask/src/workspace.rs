//! The workspace as cargo sees it: where things are, the members, and the edges between them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// What `cargo metadata` says that the matrix needs.
pub(crate) struct Workspace {
    /// The cargo that runs us, so that a toolchain chosen on the command line stays chosen.
    pub(crate) cargo: PathBuf,
    /// The directory of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// The members, in no order to rely on.
    pub(crate) members: Vec<Member>,
}

/// A package of the workspace.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    /// The root files of its library, or of its binaries if it has none.
    pub(crate) roots: Vec<PathBuf>,
    /// Names of its integration test files.
    pub(crate) tests: Vec<String>,
    /// Packages of this workspace among its normal dependencies.
    pub(crate) uses: Vec<String>,
}

/// The integration test files of the two packages whose tests are spread over several cells.
pub(crate) struct TestFiles {
    pub(crate) facade: Vec<String>,
    pub(crate) testkit: Vec<String>,
}

impl Workspace {
    /// Asks cargo. Reads manifests only: no network, no build.
    pub(crate) fn load() -> anyhow::Result<Workspace> {
        let cargo = PathBuf::from(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let output = Command::new(&cargo)
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .output()
            .with_context(|| format!("could not start `{} metadata`", cargo.display()))?;
        if !output.status.success() {
            bail!("`cargo metadata` failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("could not read `cargo metadata`")?;
        let members = array(&metadata, "packages")?.iter().map(member).collect::<anyhow::Result<_>>()?;
        Ok(Workspace {
            cargo,
            root: string(&metadata, "workspace_root")?.into(),
            target: string(&metadata, "target_directory")?.into(),
            members,
        })
    }

    pub(crate) fn test_files(&self) -> TestFiles {
        let of = |name: &str| {
            let member = self.members.iter().find(|member| member.name == name);
            member.map(|member| member.tests.clone()).unwrap_or_default()
        };
        TestFiles { facade: of("tasklet"), testkit: of("tasklet-testkit") }
    }
}

fn member(package: &Value) -> anyhow::Result<Member> {
    let mut libraries = Vec::new();
    let mut binaries = Vec::new();
    let mut tests = Vec::new();
    for target in array(package, "targets")? {
        let kinds = array(target, "kind")?;
        let is = |kind: &str| kinds.iter().any(|value| value == kind);
        if is("test") {
            tests.push(string(target, "name")?);
        } else if is("lib") || is("proc-macro") {
            libraries.push(PathBuf::from(string(target, "src_path")?));
        } else if is("bin") {
            binaries.push(PathBuf::from(string(target, "src_path")?));
        }
    }
    tests.sort();
    let mut uses = Vec::new();
    for dependency in array(package, "dependencies")? {
        // A path makes it one of ours; a kind makes it a development or build dependency.
        if !dependency["path"].is_null() && dependency["kind"].is_null() {
            uses.push(string(dependency, "name")?);
        }
    }
    Ok(Member {
        name: string(package, "name")?,
        manifest: string(package, "manifest_path")?.into(),
        roots: if libraries.is_empty() { binaries } else { libraries },
        tests,
        uses,
    })
}

fn string(value: &Value, key: &str) -> anyhow::Result<String> {
    let text = value[key].as_str().with_context(|| format!("`cargo metadata` has no text `{key}`"))?;
    Ok(text.to_owned())
}

fn array<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("`cargo metadata` has no list `{key}`"))
}
