//! Series: workloads with their options, measured one after the other. A line of output says which options it is for:
//! `idle_mem.bytes --kind soft --n 1000<TAB>value<TAB>unit`. What is read back here is made from such lines.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::flags::{self, Command, Job};
use crate::subject::{KINDS, Tasklets};
use crate::{Failure, Result};

/// A series.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// Its lines, without what all of them have; with `--quick` or without.
    lines: fn(bool) -> Vec<String>,
    /// What all have.
    common: &'static str,
}

/// All series.
pub(crate) static SERIES: [Series; 1] =
    [Series { name: "kinds", lines: kinds, common: "--scheduler stealing --workers 1" }];

/// What the kinds of tasklets cost, side by side.
fn kinds(quick: bool) -> Vec<String> {
    let (sizes, rings) =
        if quick { ([10, 20, 30, 40], [2, 3, 50]) } else { ([1000, 10_000, 100_000, 1_000_000], [2, 503, 50_000]) };
    let of = |kind: &Tasklets| {
        let kind = kind.name();
        let idle = sizes.map(|n| format!("idle_mem --kind {kind} --n {n}"));
        let rings = rings.map(|members| format!("ring --kind {kind} --tasklets {members}"));
        let others = ["yield", "pingpong", "sleep", "depth"].map(|workload| format!("{workload} --kind {kind}"));
        idle.into_iter().chain(others).chain(rings)
    };
    KINDS.iter().flat_map(of).collect()
}

impl Series {
    /// Each job, with the options that its lines name.
    ///
    /// # Errors
    ///
    /// `options`, which all jobs get too, are no options of one of them.
    pub(crate) fn jobs(&self, quick: bool, options: &[String]) -> Result<Vec<(String, Job)>> {
        let job = |line: String| {
            let (_, named) = line.split_once(' ').unwrap_or((&line, ""));
            let words = line.split_whitespace().chain(self.common.split_whitespace());
            let words = words.chain(options.iter().map(String::as_str)).map(OsString::from);
            match flags::parse(words)? {
                Command::Measure(job) => Ok((format!(" {named}"), job)),
                other => Err(format!("a line of the series {} asks for {other:?}", self.name).into()),
            }
        };
        (self.lines)(quick).into_iter().map(job).collect()
    }
}

/// A figure that was read back.
#[derive(Debug, PartialEq)]
pub(crate) struct Measured {
    /// The workload, which of its figures, and the options.
    pub(crate) name: String,
    pub(crate) value: f64,
    unit: String,
}

/// The figures in a file.
///
/// # Errors
///
/// It cannot be read, or has other lines; the text begins with the file's name.
pub(crate) fn read(file: &Path) -> Result<Vec<Measured>> {
    let text = fs::read_to_string(file).map_err(|error| format!("could not read {}: {error}", file.display()))?;
    parse(&text).map_err(|Failure(error)| format!("{}: {error}", file.display()).into())
}

pub(crate) fn parse(text: &str) -> Result<Vec<Measured>> {
    let measured = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, value, unit] = fields[..] else {
            return Err(format!("no `workload<TAB>value<TAB>unit`: {line:?}").into());
        };
        let value = value.parse().map_err(|_| format!("no number in {line:?}"))?;
        Ok(Measured { name: name.to_owned(), value, unit: unit.to_owned() })
    };
    text.lines().map(measured).collect()
}

/// A table in Markdown with a column for each kind of tasklets, and a row for each figure of them.
pub(crate) fn table(figures: &[Measured]) -> String {
    let names = KINDS.each_ref().map(Tasklets::name);
    let mut rows = Vec::new();
    let mut cells = HashMap::new();
    for figure in figures {
        for (column, name) in names.iter().enumerate() {
            let option = format!(" --kind {name}");
            if figure.name.contains(&option) {
                let row = (figure.name.replace(&option, ""), &figure.unit);
                let decimals = usize::from(figure.value < 100.0);
                cells.insert((row.clone(), column), format!("{:.decimals$}", figure.value));
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
    }
    let mut text = format!("| figure | unit | {} |\n|---|---|---|---|---|\n", names.join(" | "));
    for row in rows {
        let cell = |column| cells.get(&(row.clone(), column)).map_or("", String::as_str);
        let _ = writeln!(text, "| `{}` | {} | {} | {} | {} |", row.0, row.1, cell(0), cell(1), cell(2));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_series_can_be_measured() {
        for series in &SERIES {
            for quick in [true, false] {
                let jobs = series.jobs(quick, &["--runs".to_owned(), "3".to_owned()]).unwrap();
                assert!(jobs.iter().all(|(_, job)| job.runs == 3 && job.setting.workers == 1));
                let names: Vec<_> = jobs.iter().map(|(named, job)| format!("{}{named}", job.workload.name)).collect();
                assert!((1..names.len()).all(|at| !names[at..].contains(&names[at - 1])), "{names:?}");
            }
        }
    }

    #[test]
    fn sizes_are_those_that_the_lines_name() {
        let jobs = SERIES[0].jobs(false, &[]).unwrap();
        let find = |named: &str| &jobs.iter().find(|(options, _)| options == named).expect(named).1.setting;
        assert_eq!(find(" --kind soft --n 1000000").n, 1_000_000);
        assert_eq!(find(" --kind swapped --tasklets 50000").members, 50_000);
    }

    #[test]
    fn a_table_has_a_column_for_each_kind() {
        let lines = "ring --kind soft --tasklets 2\t99.96\tns\nring --kind stackful --tasklets 2\t50\tns\nyield\t1\tns\n\
                     idle_mem.bytes --kind swapped --n 7\t686.5\tbytes\n";
        let expected = "| figure | unit | stackful | swapped | soft |\n|---|---|---|---|---|\n\
                        | `ring --tasklets 2` | ns | 50.0 |  | 100.0 |\n| `idle_mem.bytes --n 7` | bytes |  | 686 |  |\n";
        assert_eq!(table(&parse(lines).unwrap()), expected);
    }

    #[test]
    fn other_lines_are_refused() {
        for (line, says) in [("yield\tmuch\tns", "no number in \"yield"), ("yield\t1", "<TAB>"), ("", "")] {
            assert!(parse(line).map_or_else(|Failure(error)| error.contains(says), |read| read.is_empty()), "{line}");
        }
    }
}
