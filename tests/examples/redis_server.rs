//! `redis_server` as redis-cli and redis-benchmark see it, as clients see it that nobody wishes for, and when it is to end.

mod commands;
mod limits;
mod pubsub;

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::program::{self, PROMPT, run_with_input, stderr, stdout};
use crate::service::Service;

const TOOLS: &str =
    "redis-cli and redis-benchmark are installed: Debian has them in `redis-tools`, and `.ci/run` sees to it";

struct Server(Service);

impl Server {
    fn new() -> Server {
        Server::with(&[])
    }

    fn with(arguments: &[&str]) -> Server {
        Server(Service::start(program::command("redis_server").args(["--port", "0"]).args(arguments)))
    }

    fn port(&self) -> &str {
        self.0.host().rsplit(':').next().unwrap()
    }

    fn connect(&self) -> TcpStream {
        self.0.connect()
    }

    /// What redis-cli prints for commands, each a line.
    fn cli(&self, commands: &str) -> String {
        let output = run_with_input(self.tool("redis-cli", &["--no-raw"]), commands.as_bytes());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    #[track_caller]
    fn says(&self, talk: &[(&str, &str)]) {
        let commands: String = talk.iter().map(|(command, _)| format!("{command}\n")).collect();
        let replies: String = talk.iter().map(|(_, reply)| format!("{reply}\n")).collect();
        assert_eq!(self.cli(&commands), replies);
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(name);
        assert!(Command::new(name).arg("--version").output().is_ok(), "{TOOLS}");
        command.args(["-h", "127.0.0.1", "-p", self.port()]).args(arguments);
        command
    }

    /// What comes back for bytes until the server closes.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks for its keys, without looking at one, until that is so.
    #[track_caller]
    fn wait_for_keys(&self, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PROMPT;
        loop {
            let info = self.cli("INFO\n");
            if is_so(info.split_once("# Keyspace").unwrap().1.trim()) {
                return;
            }
            assert!(Instant::now() < deadline, "{info}");
        }
    }

    /// Bytes of memory that it has.
    fn resident(&self) -> usize {
        let id = self.0.child().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    fn ends_well(self) {
        self.0.terminate();
        let ended = self.0.ends_well();
        assert_eq!((&*ended.stdout, &*ended.stderr), ("", ""));
    }
}

/// A request as clients send it.
fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[track_caller]
fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    stream.read_exact(&mut found).unwrap();
    assert!(found == expected, "{}", found[..found.len().min(200)].escape_ascii());
}

/// redis-cli that listens.
struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Listener {
    fn new(server: &Server, channels: &[&str]) -> Listener {
        let mut command = server.tool("redis-cli", &["SUBSCRIBE"]);
        let mut child = command.args(channels).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect(TOOLS);
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut listener = Listener { child, lines };
        for (number, channel) in channels.iter().enumerate() {
            listener.hears(&["subscribe", channel, &(number + 1).to_string()]);
        }
        listener
    }

    #[track_caller]
    fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(program::line(self.child.id(), &mut self.lines).trim_end(), *expected);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
