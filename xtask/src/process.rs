//! Runs one process: its output in one piece and in order, and never for ever.

use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Where output goes besides into [`Finished::output`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Echo {
    /// Nowhere.
    Silent,
    /// To our standard output, as it comes.
    Live,
}

/// How a process ended.
pub(crate) struct Finished {
    pub(crate) end: End,
    /// Standard output and standard error as they were interleaved.
    pub(crate) output: String,
}

/// Why a process ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Killed because it ran past its limit.
    TimedOut,
}

/// How often to look whether the process has ended; short beside the shortest cargo call.
const POLL: Duration = Duration::from_millis(20);

/// How long to wait for the end of the output once the process has ended. More is there only if something it started
/// outlived it, and then the end may never come.
const GRACE: Duration = Duration::from_secs(2);

/// Runs `command` without standard input until it ends or `limit` has passed.
pub(crate) fn run(mut command: Command, limit: Duration, echo: Echo) -> anyhow::Result<Finished> {
    let program = command.get_program().to_owned();
    // One pipe for both streams keeps a test's message beside the line that names the test.
    let (reader, writer) = std::io::pipe().context("could not make a pipe")?;
    let both = writer.try_clone().context("could not copy a pipe")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(both);
    let mut child = command.spawn().with_context(|| format!("could not start {}", program.display()))?;
    // The command still holds our copies of the writing end; the reader would wait for them.
    drop(command);

    let output = Arc::new(Mutex::new(Vec::new()));
    let (end_of_output, ended) = mpsc::channel();
    let sink = Arc::clone(&output);
    thread::spawn(move || {
        collect(reader, &sink, echo);
        // Nobody listens once the grace is over.
        let _ = end_of_output.send(());
    });

    let deadline = Instant::now() + limit;
    let end = loop {
        if let Some(status) = child.try_wait().context("could not wait for a process")? {
            break End::Exited(status);
        }
        if Instant::now() >= deadline {
            kill_with_descendants(child.id());
            child.kill().context("could not kill a process")?;
            child.wait().context("could not wait for a process")?;
            break End::TimedOut;
        }
        thread::sleep(POLL);
    };
    let _ = ended.recv_timeout(GRACE);
    let output = String::from_utf8_lossy(&output.lock().expect("the reader does not panic")).into_owned();
    Ok(Finished { end, output })
}

fn collect(mut reader: impl Read, sink: &Mutex<Vec<u8>>, echo: Echo) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        if echo == Echo::Live {
            // Output that cannot be shown is still collected.
            let _ = std::io::stdout().write_all(&buffer[..length]);
        }
        sink.lock().expect("nobody panics with the lock held").extend_from_slice(&buffer[..length]);
    }
}

/// Kills what `root` started: a test that hangs is a grandchild, and killing cargo alone would leave it running.
///
/// Reads `/proc`, so elsewhere than on Linux only the process itself is killed, by the caller. A process group would be
/// simpler, but a group of its own does not get the terminal's Ctrl-C.
fn kill_with_descendants(root: u32) {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // `pid (name) state parent ...`, where the name may hold anything, a parenthesis too.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((process, parent))
        })
        .collect();
    let mut doomed = vec![root];
    let mut next = 0;
    while let Some(&parent) = doomed.get(next) {
        doomed.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    let _ = Command::new("kill").arg("-KILL").args(doomed.iter().map(u32::to_string)).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_arrive_in_order() {
        let script = "echo one; echo two >&2; echo three; exit 3";
        let finished = run(shell(script), Duration::from_secs(60), Echo::Silent).unwrap();
        assert_eq!(finished.output, "one\ntwo\nthree\n");
        assert!(matches!(finished.end, End::Exited(status) if status.code() == Some(3)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn process_past_its_limit_is_killed_with_its_children() {
        let script = "sleep 600 & echo $!; wait";
        let finished = run(shell(script), Duration::from_millis(300), Echo::Silent).unwrap();
        assert!(matches!(finished.end, End::TimedOut));
        let grandchild: u32 = finished.output.trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // It is killed a moment after the signal, and then listed as a zombie until somebody collects it.
            let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < deadline, "still running: {stat}");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn missing_program_is_an_error_with_its_name() {
        let error = run(Command::new("no-such-program"), POLL, Echo::Silent).err().unwrap();
        assert!(error.to_string().contains("no-such-program"));
    }
}
