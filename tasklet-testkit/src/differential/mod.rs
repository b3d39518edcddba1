//! The differential test: random programs whose event log a model of the Stackless rules has written.
//!
//! The programs and their logs are data, in `differential/programs`; the README beside them says how they are made and which
//! corners of the rules they keep out of. [`check`] runs them on the local scheduler, on any backend, and compares.
//!
//! - [`program`]: the little language, as text and as operations.
//! - [`interpreter`]: runs a program and writes its log.

pub mod interpreter;
pub mod program;

use std::fmt;
use std::path::Path;

use tasklet_core::backend::Backend;

use crate::kinds;
use program::Program;

/// Events shown before and after the first one that differs.
const CONTEXT: usize = 12;

/// The first event in which a program's log is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    program: String,
    index: usize,
    before: String,
    expected: String,
    found: String,
}

impl Difference {
    /// Compares two logs, event by event.
    pub fn between(program: &Program, found: &[String]) -> Option<Difference> {
        let expected = &program.log;
        let longest = expected.len().max(found.len());
        let index = (0..longest).find(|&index| expected.get(index) != found.get(index))?;
        let from = |log: &[String]| match log.get(index..) {
            None | Some([]) => "the end of the log".to_owned(),
            Some(rest) => rest[..rest.len().min(CONTEXT)].join(" "),
        };
        Some(Difference {
            program: program.name.clone(),
            index,
            before: expected[index.saturating_sub(CONTEXT)..index].join(" "),
            expected: from(expected),
            found: from(found),
        })
    }

    /// The event's place in the log, from zero.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {} differs in event {}", self.program, self.index)?;
        writeln!(f, "  after    {}", self.before)?;
        writeln!(f, "  expected {}", self.expected)?;
        write!(f, "  found    {}", self.found)
    }
}

/// The programs that are committed, in the order of their files' names.
///
/// # Panics
///
/// They cannot be read.
pub fn programs() -> Vec<Program> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/programs");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder entry can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.iter().flat_map(|path| read(path)).collect()
}

/// The programs of one file.
///
/// # Panics
///
/// It cannot be read.
pub fn read(path: &Path) -> Vec<Program> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    program::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs programs on the local scheduler, with each [kind](kinds) of stacks, and compares their logs with the expected ones.
///
/// # Panics
///
/// A log differs: prints each such program, with its first difference.
pub fn check<B: Backend>(programs: &[Program]) {
    assert!(!programs.is_empty(), "there are no programs to run");
    let kinds = kinds::of::<B>(&[]);
    let difference = |program: &Program| {
        kinds.iter().find_map(|&kind| {
            let difference = Difference::between(program, &interpreter::run::<B>(program, kind))?;
            Some(format!("with {kind:?} stacks: {difference}"))
        })
    };
    let differences: Vec<String> = programs.iter().filter_map(difference).collect();
    let (failed, all) = (differences.len(), programs.len());
    assert!(differences.is_empty(), "{failed} of {all} programs differ\n{}", differences.join("\n"));
}
