//! Connections that do nothing, held by another process: of a server with many of them, the process has only its own ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

/// Lets this process have as many descriptors as it may.
pub(crate) fn raise_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Has a process hold connections to a server until `done` is told, or its other end has gone.
pub(crate) fn elsewhere(addr: SocketAddr, connections: u64, done: &Receiver<()>) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--hold", &addr.to_string(), "--connections", &connections.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What goes wrong in the child is told by the child.
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("the child has no output")?).read_line(&mut line)?;
    if !line.is_empty() {
        // Told or not, it is over.
        let _ = done.recv();
    }
    drop(child.stdin.take());
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the process that holds the connections failed: {status}").into())
    }
}

/// Opens connections, says so, and holds them until the standard input ends.
pub(crate) fn hold(addr: SocketAddr, connections: u64) -> Result<()> {
    raise_limit()?;
    let open =
        |at| TcpStream::connect(addr).map_err(|error| format!("connection {at} of {connections}: {error}").into());
    let held: Vec<TcpStream> = (0..connections).map(open).collect::<Result<_>>()?;
    writeln!(io::stdout(), "{} connections are held until the standard input ends", held.len())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
