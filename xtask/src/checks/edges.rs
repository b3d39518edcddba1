//! Edges between our crates, against the table in [`crate::crates`].

use crate::crates::{CRATES, Edges};
use crate::workspace::{Member, Workspace};

pub(super) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    super::verdict(&findings(&workspace.members))
}

fn findings(members: &[Member]) -> Vec<String> {
    let mut findings = Vec::new();
    for member in members {
        let Some(krate) = CRATES.iter().find(|krate| krate.name == member.name) else {
            findings.push(format!("{}: not in the table of crates, xtask/src/crates.rs", member.name));
            continue;
        };
        let Edges::Only(allowed) = krate.may_use else { continue };
        for used in member.uses.iter().filter(|used| !allowed.contains(&used.as_str())) {
            findings.push(format!("{}: depends on {used}; of ours it may only use {allowed:?}", member.name));
        }
    }
    for krate in CRATES {
        if !members.iter().any(|member| member.name == krate.name) {
            findings.push(format!("{}: in the table of crates, xtask/src/crates.rs, but not a member", krate.name));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(changed: &str, uses: &[&str]) -> Vec<Member> {
        let member = |name: &str| Member {
            name: name.to_owned(),
            manifest: "Cargo.toml".into(),
            roots: Vec::new(),
            tests: Vec::new(),
            uses: if name == changed { uses.iter().map(|&used| used.to_owned()).collect() } else { Vec::new() },
        };
        CRATES.iter().map(|krate| member(krate.name)).collect()
    }

    #[test]
    fn edge_outside_the_table_is_found() {
        assert!(findings(&members("tasklet-channels", &["tasklet-core"])).is_empty());
        assert!(findings(&members("tasklet", &["tasklet-core", "tasklet-scheduler"])).is_empty());
        let found = findings(&members("tasklet-channels", &["tasklet-core", "tasklet-scheduler"]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("tasklet-channels: depends on tasklet-scheduler"), "{found:?}");
    }

    #[test]
    fn member_and_table_must_agree() {
        let mut all = members("", &[]);
        all[0].name = "tasklet-novel".to_owned();
        let found = findings(&all);
        assert!(found[0].starts_with("tasklet-novel: not in the table"), "{found:?}");
        assert!(found[1].ends_with("but not a member"), "{found:?}");
    }
}
