//! Go: its servers are a program of their own, built by `go` from the source beside this crate's.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{env, fs, process};

use crate::Result;
use crate::subject::{Run, Setting};
use crate::workloads::Kind;
use crate::workloads::load::{self, Meeting};

const SERVERS: &str = include_str!("../../rivals/servers.go");

/// What does one run, if Go is measured there.
pub(crate) fn run(kind: Kind) -> Option<Run> {
    match kind {
        Kind::Echo => Some(echo),
        Kind::Http => Some(http),
        _ => None,
    }
}

fn echo(setting: &Setting) -> Result<Vec<f64>> {
    load::echo(setting, |meeting| serve("echo", setting, meeting))
}

/// By the HTTP server of Go's library.
fn http(setting: &Setting) -> Result<Vec<f64>> {
    load::http(setting, |meeting| serve("http", setting, meeting))
}

/// Runs a server, on the cores of the calling thread, until the meeting is over.
fn serve(name: &str, setting: &Setting, meeting: &Meeting) -> Result<()> {
    let program = Program::build()?;
    let mut command = Command::new(program.0.join("servers"));
    command.arg(name).env("GOMAXPROCS", setting.workers.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Server(command.spawn()?);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().ok_or("the server has no output")?).read_line(&mut line)?;
    let addr = line.trim().parse().map_err(|_| format!("the server printed {line:?} and not its address"))?;
    meeting.is_at(addr);
    meeting.wait();
    Ok(())
}

/// A folder with the program. It goes with this.
struct Program(PathBuf);

impl Program {
    fn build() -> Result<Program> {
        let program = Program(env::temp_dir().join(format!("tasklet-bench-{}", process::id())));
        fs::create_dir_all(&program.0)?;
        fs::write(program.0.join("servers.go"), SERVERS)?;
        let built = Command::new("go").args(["build", "-o", "servers", "servers.go"]).current_dir(&program.0).status();
        let built = built.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                "the rival is built by the program `go`, which is not installed (Debian's package `golang-go`)"
                    .to_owned()
            }
            _ => format!("could not run `go`: {error}"),
        })?;
        if built.success() { Ok(program) } else { Err("`go` could not build the rival, and says why above".into()) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
