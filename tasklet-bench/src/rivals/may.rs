//! may: coroutines with stacks, on a pool of threads that the process has one of.

use may::coroutine;
use may::net::{TcpListener, TcpStream};

use crate::Result;
use crate::subject::{Run, Setting};
use crate::workloads::Kind;
use crate::workloads::load::answers::{Answer, Echo, all};
use crate::workloads::load::http::Talk;
use crate::workloads::load::{self, Meeting};

/// What does one run, if may is measured there.
pub(crate) fn run(kind: Kind) -> Option<Run> {
    match kind {
        Kind::Echo => Some(echo),
        Kind::Http => Some(http),
        _ => None,
    }
}

fn echo(setting: &Setting) -> Result<Vec<f64>> {
    load::echo(setting, |meeting| accept(setting, meeting, answers::<Echo>))
}

/// As our own, with the same parser.
fn http(setting: &Setting) -> Result<Vec<f64>> {
    load::http(setting, |meeting| accept(setting, meeting, answers::<Talk>))
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

fn answers<A: Answer>(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    all::<A>(stream)
}
