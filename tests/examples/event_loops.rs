//! `poll_loop` and `inside_tokio`: schedulers in loops that are not theirs.

use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::program::{
    command, line, output, run, run_with_closed_output, run_with_input, stderr, stdout, wait_promptly,
};

/// Processor time that a program has used so far, in ticks of a hundredth of a second.
fn ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // What follows the name, in which there may be anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Takes the last line off, and the number of calls out of it.
fn calls(output: &str, lines: usize) -> u32 {
    let last = output.lines().last().unwrap();
    let rest = last.strip_prefix(&format!("{lines} lines, ")).unwrap_or_else(|| panic!("{output}"));
    rest.strip_suffix(" calls of the scheduler").unwrap().parse().unwrap()
}

#[test]
fn poll_loop_works_at_several_lines() {
    let output = run_with_input(command("poll_loop"), "one\n2 two\n\nd\u{e9}j\u{e0} vu".as_bytes());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let text = stdout(&output);
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(calls(&text, 4) < 100, "{text}");
    lines.pop();
    lines.sort_unstable();
    assert_eq!(lines, ["2 two: 3 letters", ": 0 letters", "d\u{e9}j\u{e0} vu: 6 letters", "one: 3 letters"]);
}

#[test]
fn poll_loop_answers_while_the_input_is_open_and_is_quiet_meanwhile() {
    let mut child = command("poll_loop").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for word in ["a", "bc"] {
        writeln!(input, "{word}").unwrap();
        assert_eq!(line(child.id(), &mut output), format!("{word}: {} letters\n", word.len()));
    }
    // It has nothing to do for a while.
    let before = ticks(&child);
    std::thread::sleep(Duration::from_millis(300));
    assert!(ticks(&child) - before <= 2, "it uses the processor while it waits");
    drop(input);
    assert!(wait_promptly(child).status.success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(calls(&rest, 2) < 100, "{rest}");
}

#[test]
fn poll_loop_gets_many_lines_from_another_program() {
    let mut seq = Command::new("seq").arg("2000").stdout(Stdio::piped()).spawn().unwrap();
    let output = output(command("poll_loop").stdin(seq.stdout.take().unwrap()));
    assert!(seq.wait().unwrap().success());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().filter(|line| line.ends_with(": 0 letters")).count(), 2000);
    calls(&text, 2000);
}

#[test]
fn poll_loop_takes_no_arguments_and_ends_with_its_output() {
    let output = run("poll_loop", ["x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("usage: poll_loop"), "{}", stderr(&output));
    let output = run_with_closed_output("poll_loop", &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn inside_tokio_talks_both_ways() {
    let child = command("inside_tokio").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = wait_promptly(child);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let expected = "\
task: all numbers are sent
task: the tasklet has squared 5 numbers
tasklet: the tasks have summed up 55
all have ended
";
    assert_eq!(stdout(&output), expected);
}
