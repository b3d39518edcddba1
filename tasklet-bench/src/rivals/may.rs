//! may: coroutines with stacks, on a pool of threads that the process has one of.

use std::io::{Read, Write};

use may::coroutine;
use may::net::{TcpListener, TcpStream};

use crate::Result;
use crate::subject::{Run, Setting};
use crate::workloads::Kind;
use crate::workloads::load::http::Talk;
use crate::workloads::load::{Meeting, ROOM, against, closed, wrk};

/// What does one run, if may is measured there.
pub(crate) fn run(kind: Kind) -> Option<Run> {
    match kind {
        Kind::Echo => Some(echo),
        Kind::Http => Some(http),
        _ => None,
    }
}

/// Requests in each second, and how long they took.
fn echo(setting: &Setting) -> Result<Vec<f64>> {
    let (connections, requests) = (usize::try_from(setting.members)?, usize::try_from(setting.n)?);
    let client = move |addr| closed::drive(addr, connections, requests);
    let (figures, ()) = against(setting, client, |meeting| accept(setting, meeting, echoes))?;
    Ok(figures)
}

/// Requests in each second, and how long they took. As our own, with the same parser.
fn http(setting: &Setting) -> Result<Vec<f64>> {
    let (connections, seconds) = (setting.members, setting.n);
    let client = move |addr| wrk::drive(addr, connections, seconds);
    let (figures, ()) = against(setting, client, |meeting| accept(setting, meeting, talks))?;
    Ok(figures)
}

/// Serves each connection with `serve` until the meeting is over and all have ended.
fn accept(setting: &Setting, meeting: &Meeting, serve: fn(TcpStream) -> Result<()>) -> Result<()> {
    may::config().set_workers(setting.workers);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    meeting.is_at(listener.local_addr()?);
    let mut coroutines = Vec::new();
    loop {
        let (stream, _) = listener.accept()?;
        if meeting.is_over() {
            break;
        }
        #[expect(unsafe_code, reason = "may's way of spawning")]
        // SAFETY: it uses no thread-local storage and little of its stack.
        coroutines.push(unsafe { coroutine::spawn(move || serve(stream)) });
    }
    for coroutine in coroutines {
        coroutine.join().map_err(|_| "a coroutine panicked; no figure")??;
    }
    Ok(())
}

fn echoes(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut room = [0; ROOM];
    loop {
        match stream.read(&mut room) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(got) => drop(stream.write_all(&room[..got])),
        }
    }
}

fn talks(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut talk = Talk::default();
    let mut room = [0; ROOM];
    loop {
        match stream.read(&mut room) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(got) => drop(stream.write_all(talk.take(&room[..got])?)),
        }
    }
}
