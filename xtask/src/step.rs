//! What a cell is made of, and how a cargo call of the matrix becomes a process.

use std::process::Command;

use crate::checks::Check;
use crate::workspace::Workspace;

/// One square of the matrix: a name and what must succeed for it to be green.
#[derive(Debug)]
pub(crate) struct Cell {
    /// `group` or `group/subject`; cells of one group check the same thing on different subjects.
    pub(crate) name: String,
    /// The backend it is about, if it is about one.
    pub(crate) backend: Option<&'static str>,
    /// When it runs.
    pub(crate) tier: Tier,
    /// What the machine must have, beyond the toolchain that runs xtask.
    pub(crate) needs: Needs,
    /// Whether to fail if no test ran.
    pub(crate) expects: Expects,
    /// In order; the first that fails ends the cell.
    pub(crate) steps: Vec<Step>,
    /// What would go unnoticed without this cell.
    pub(crate) why: &'static str,
}

impl Cell {
    /// A cell of the default tier that needs nothing, expects no tests and has no steps.
    pub(crate) fn new(name: &str, why: &'static str) -> Cell {
        Cell {
            name: name.to_owned(),
            backend: None,
            tier: Tier::Default,
            needs: Needs::Nothing,
            expects: Expects::NoTests,
            steps: Vec::new(),
            why,
        }
    }

    pub(crate) fn backend(mut self, backend: &'static str) -> Cell {
        self.backend = Some(backend);
        self
    }

    pub(crate) fn tier(mut self, tier: Tier) -> Cell {
        self.tier = tier;
        self
    }

    pub(crate) fn needs(mut self, needs: Needs) -> Cell {
        self.needs = needs;
        self
    }

    pub(crate) fn expects(mut self, expects: Expects) -> Cell {
        self.expects = expects;
        self
    }

    /// Adds a cargo call after the steps it has.
    pub(crate) fn step(mut self, call: Cargo) -> Cell {
        self.steps.push(Step::Cargo(call));
        self
    }

    /// Adds a check after the steps it has.
    pub(crate) fn check(mut self, check: Check) -> Cell {
        self.steps.push(Step::Check(check));
        self
    }

    /// What comes before the slash of its name.
    pub(crate) fn group(&self) -> &str {
        self.name.split('/').next().unwrap_or(&self.name)
    }
}

/// When a cell runs unless it is named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tier {
    /// Always.
    Default,
    /// With `--full`.
    Full,
}

/// What a cell cannot do without. It is skipped, visibly, where that is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Needs {
    /// Nothing but the toolchain that runs xtask.
    Nothing,
    /// A nightly toolchain, and [`SANITIZER_TARGET`] as the host.
    Sanitizer,
}

/// Whether a cell is there to run tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expects {
    /// It is: no test means that a name or a feature is wrong, so it fails.
    Tests,
    /// It only compiles or inspects.
    NoTests,
}

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Call cargo; green if it exits with success.
    Cargo(Cargo),
    /// Look at something that cargo does not look at.
    Check(Check),
}

/// The target that the sanitizer cells build for and run on.
pub(crate) const SANITIZER_TARGET: &str = "x86_64-unknown-linux-gnu";

/// A cargo call.
#[derive(Debug)]
pub(crate) struct Cargo {
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    toolchain: Option<&'static str>,
    own_target: Option<String>,
}

/// Starts a cargo call.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Cargo {
    Cargo { args: args.into_iter().map(str::to_owned).collect(), env: Vec::new(), toolchain: None, own_target: None }
}

impl Cargo {
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Cargo {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Cargo {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// Adds `--test NAME` for each name.
    pub(crate) fn tests<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Cargo {
        names.into_iter().fold(self, |cargo, name| cargo.args(["--test", name]))
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Cargo {
        self.env.push((name, value.into()));
        self
    }

    /// Uses this rustup toolchain instead of the one that runs xtask.
    pub(crate) fn toolchain(mut self, name: &'static str) -> Cargo {
        self.toolchain = Some(name);
        self
    }

    /// Builds into a directory of its own below the target directory. All others share one: cargo keeps builds with
    /// different features apart by itself, but not builds with different `RUSTFLAGS`.
    pub(crate) fn own_target(mut self, name: impl Into<String>) -> Cargo {
        self.own_target = Some(name.into());
        self
    }

    /// The process, with the working directory at the root of the workspace.
    pub(crate) fn command(&self, workspace: &Workspace) -> Command {
        let mut command = match self.toolchain {
            Some(toolchain) => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "cargo"]);
                command
            }
            None => Command::new(&workspace.cargo),
        };
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(name) = &self.own_target {
            command.env("CARGO_TARGET_DIR", workspace.target.join(name));
        }
        command.current_dir(&workspace.root);
        command
    }

    /// What cargo is asked to do.
    pub(crate) fn verb(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// The call as somebody could type it.
    pub(crate) fn shown(&self) -> String {
        let mut words = Vec::new();
        for (name, value) in &self.env {
            words.push(if value.contains(' ') { format!("{name}='{value}'") } else { format!("{name}={value}") });
        }
        if let Some(name) = &self.own_target {
            words.push(format!("CARGO_TARGET_DIR=target/{name}"));
        }
        words.push(match self.toolchain {
            Some(toolchain) => format!("cargo +{toolchain}"),
            None => "cargo".to_owned(),
        });
        words.extend(self.args.iter().cloned());
        words.join(" ")
    }

    /// Whether the call changes what is compiled in a way that cargo does not keep apart.
    #[cfg(test)]
    pub(crate) fn spoils_a_shared_target(&self) -> bool {
        let flags = self.env.iter().any(|(name, _)| *name == "RUSTFLAGS");
        (flags || self.toolchain.is_some()) && self.own_target.is_none()
    }
}
