//! A server among the examples while it runs: where it listens, how many descriptors it has, how it ends.

use std::fs;
use std::io::{BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{PROMPT, line, signal, stderr, wait_promptly};

/// A program whose first line says where it listens. It is killed with this, if it has not ended.
pub(crate) struct Service {
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    /// The first line.
    pub(crate) address: String,
}

/// What a service has written when it has ended, but for the first line.
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Service {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Service {
        Service::try_start(command).unwrap_or_else(|said| panic!("it does not say where it is: {said}"))
    }

    /// As [`start`](Self::start); what it says if it ends instead.
    #[track_caller]
    pub(crate) fn try_start(command: &mut Command) -> Result<Service, String> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let line = line(child.id(), &mut stdout);
        if line.is_empty() {
            return Err(stderr(&wait_promptly(child)));
        }
        Ok(Service { child: Some(child), stdout, address: line.trim().to_owned() })
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.host()).unwrap();
        stream.set_read_timeout(Some(PROMPT)).unwrap();
        stream.set_write_timeout(Some(PROMPT)).unwrap();
        stream
    }

    /// Where it listens, without a scheme.
    pub(crate) fn host(&self) -> &str {
        self.address.rsplit('/').next().unwrap()
    }

    pub(crate) fn child(&self) -> &Child {
        self.child.as_ref().unwrap()
    }

    pub(crate) fn terminate(&self) {
        signal(self.child(), "TERM");
    }

    /// How many descriptors it has.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child().id())).unwrap().count()
    }

    /// Whether none of its threads has anything to do.
    pub(crate) fn is_asleep(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child().id())).unwrap();
        threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok()).all(|stat| {
            // Behind the name, which may be anything.
            stat.rsplit_once(") ").unwrap().1.starts_with('S')
        })
    }

    /// Waits until it has fewer than so many.
    #[track_caller]
    pub(crate) fn settles_below(&self, count: usize) {
        let start = Instant::now();
        while self.descriptors() >= count {
            assert!(start.elapsed() < PROMPT, "{} descriptors, not below {count}", self.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nobody listens there any more: it has seen that it is to end.
    #[track_caller]
    pub(crate) fn listens_no_more(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.host()).is_ok() {
            assert!(start.elapsed() < PROMPT, "it still accepts connections");
            thread::yield_now();
        }
    }

    /// Waits for a successful end.
    #[track_caller]
    pub(crate) fn ends_well(self) -> Ended {
        self.ends_with(0)
    }

    /// Waits for an end with this status.
    #[track_caller]
    pub(crate) fn ends_with(mut self, code: i32) -> Ended {
        let output = wait_promptly(self.child.take().unwrap());
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{}: {stderr}", output.status);
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        Ended { stdout, stderr }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
