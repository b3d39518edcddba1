//! may: coroutines with stacks, on a pool of threads that the process has one of.

use std::io::{Read, Write};

use may::coroutine;
use may::net::TcpListener;

use crate::Result;
use crate::subject::{Run, Setting};
use crate::workloads::{Kind, load};

/// What does one run, if may is measured there.
pub(crate) fn run(kind: Kind) -> Option<Run> {
    matches!(kind, Kind::Echo).then_some(echo)
}

/// Requests in each second, and how long they took.
fn echo(setting: &Setting) -> Result<Vec<f64>> {
    load::against(setting, |tell| {
        may::config().set_workers(setting.workers);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        tell(listener.local_addr()?);
        let mut coroutines = Vec::new();
        for _ in 0..setting.members {
            let (mut stream, _) = listener.accept()?;
            let serve = move || -> std::io::Result<()> {
                stream.set_nodelay(true)?;
                let mut room = [0; load::ROOM];
                loop {
                    match stream.read(&mut room) {
                        Ok(0) | Err(_) => return Ok(()),
                        Ok(got) => drop(stream.write_all(&room[..got])),
                    }
                }
            };
            #[expect(unsafe_code, reason = "may's way of spawning")]
            // SAFETY: it uses no thread-local storage and little of its stack.
            coroutines.push(unsafe { coroutine::spawn(serve) });
        }
        for coroutine in coroutines {
            coroutine.join().map_err(|_| "a coroutine panicked; no figure")??;
        }
        Ok(())
    })
}
