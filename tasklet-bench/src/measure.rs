//! Repeating a workload: a run that does not count, then the median of the others.

use std::env;
use std::process::{Command, Stdio};

use crate::Result;
use crate::flags::Job;
use crate::subject::Setting;
use crate::workloads::Isolation;

/// The median of each of the workload's figures.
pub(crate) fn measure(job: &Job) -> Result<Vec<f64>> {
    if job.once {
        return (job.run)(&job.setting);
    }
    let run = || match job.workload.isolation {
        Isolation::Scheduler => (job.run)(&job.setting),
        Isolation::Process => run_in_child(job),
    };
    // Fills caches, predictors and the allocator, and lets the processor raise its clock.
    run()?;
    let runs: Vec<Vec<f64>> = (0..job.runs).map(|_| run()).collect::<Result<_>>()?;
    Ok((0..job.workload.figures.len()).map(|at| median(runs.iter().map(|run| run[at]).collect())).collect())
}

/// The middle value, or the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

/// One run in a process of its own, and what it printed.
fn run_in_child(job: &Job) -> Result<Vec<f64>> {
    let output = Command::new(env::current_exe()?)
        .args(child_options(job))
        // What goes wrong in the child is told by the child.
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("a run in a process of its own failed: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let values: Vec<f64> = text.lines().map(value).collect::<Result<_>>()?;
    if values.len() != job.workload.figures.len() {
        return Err(format!("a run in a process of its own printed {text:?}").into());
    }
    Ok(values)
}

/// What asks for one such run.
fn child_options(job: &Job) -> Vec<String> {
    let Setting { n, workers, members, .. } = job.setting;
    let mut options = vec![job.workload.name.to_owned(), "--once".to_owned()];
    options.extend(job.subject.options().into_iter().map(str::to_owned));
    options.extend([format!("--n={n}"), format!("--workers={workers}")]);
    options.extend(job.workload.members().map(|(option, _)| format!("{option}={members}")));
    options
}

/// The value in a line of output.
fn value(line: &str) -> Result<f64> {
    let value = line.split('\t').nth(1).ok_or_else(|| format!("no value in {line:?}"))?;
    Ok(value.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
        assert_eq!(median(vec![5.0]), 5.0);
    }

    #[test]
    fn a_child_is_told_everything() {
        let parse = |options: Vec<String>| match crate::flags::parse(options.into_iter().map(Into::into)) {
            Ok(crate::flags::Command::Measure(job)) => job,
            other => panic!("{other:?}"),
        };
        for line in
            ["echo --connections 7 --workers 2 --n 9", "ring --tasklets 3 --kind soft", "idle_mem --rival tokio"]
        {
            let job = parse(line.split(' ').map(str::to_owned).collect());
            let child = parse(child_options(&job));
            assert!(child.once && !job.once);
            assert_eq!(
                format!("{:?} {:?}", child.setting, child.subject),
                format!("{:?} {:?}", job.setting, job.subject)
            );
        }
    }

    #[test]
    fn value_stands_between_the_tabs() {
        assert_eq!(value("idle_mem.bytes\t4700.5\tbytes").unwrap(), 4700.5);
        assert!(value("nothing").is_err());
        assert!(value("a\tb\tc").is_err());
    }
}
