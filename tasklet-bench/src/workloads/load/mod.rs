//! Clients of servers: on a thread of their own, or a process.
//!
//! | file | what it is |
//! |---|---|
//! | `closed` | connections on which the next message goes out when the last one has come back |
//! | `wrk` | `wrk`, the program |
//! | `hold` | connections that do nothing, in another process |
//! | `storm` | connections that come, ask once and go |
//! | `answers` | what a server answers, on connections that are read and written as std's |
//! | `http` | what a server answers to HTTP |

pub(crate) mod answers;
mod closed;
pub(crate) mod hold;
pub(crate) mod http;
pub(crate) mod storm;
mod wrk;

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;
use crate::process::BusyCores;
use crate::subject::Setting;

/// Bytes of a message.
pub(crate) const MESSAGE: usize = 64;

/// What a server reads into.
pub(crate) const ROOM: usize = 1024;

/// What a server and its client tell each other.
pub(crate) struct Meeting {
    tell: mpsc::Sender<SocketAddr>,
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Meeting {
    /// The server accepts connections there.
    pub(crate) fn is_at(&self, addr: SocketAddr) {
        // Else the client has failed, and says why.
        let _ = self.tell.send(addr);
    }

    /// The client has gone: the connection that was accepted last is none of its, and the server ends.
    pub(crate) fn is_over(&self) -> bool {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is over, for a server that is another process.
    pub(crate) fn wait(&self) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(is_over, |is_over| !*is_over).unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the server.
    fn end(&self, addr: SocketAddr) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
        // Else it has ended.
        let _ = TcpStream::connect(addr);
    }
}

/// A server of [`MESSAGE`]s under a closed loop. Requests in each second, how long they took, and how busy the cores were.
pub(crate) fn echo(setting: &Setting, serve: impl FnOnce(&Arc<Meeting>) -> Result<()>) -> Result<Vec<f64>> {
    let (connections, requests) = (usize::try_from(setting.members)?, usize::try_from(setting.n)?);
    let (figures, ()) = against(setting, busy(move |addr| closed::drive(addr, connections, requests)), serve)?;
    Ok(figures)
}

/// A server of HTTP under `wrk`. The same figures.
pub(crate) fn http(setting: &Setting, serve: impl FnOnce(&Arc<Meeting>) -> Result<()>) -> Result<Vec<f64>> {
    let (connections, seconds) = (setting.members, setting.n);
    let (figures, ()) = against(setting, busy(move |addr| wrk::drive(addr, connections, seconds)), serve)?;
    Ok(figures)
}

/// A client, and how busy the first two cores were in its time.
fn busy(client: impl FnOnce(SocketAddr) -> Result<Vec<f64>>) -> impl FnOnce(SocketAddr) -> Result<Vec<f64>> {
    move |addr| {
        let before = BusyCores::now()?;
        let mut figures = client(addr)?;
        figures.extend(BusyCores::now()?.since(&before));
        Ok(figures)
    }
}

/// Runs a server and its client, and returns what both have found out. `serve` says where it listens, accepts connections until the meeting is over, and returns when
/// all have ended.
///
/// With one worker, the server's threads are on the first core and the client is on the second; else they are where the system puts them.
pub(crate) fn against<C: Send + 'static, S>(
    setting: &Setting,
    client: impl FnOnce(SocketAddr) -> Result<C> + Send + 'static,
    serve: impl FnOnce(&Arc<Meeting>) -> Result<S>,
) -> Result<(C, S)> {
    let (tell, told) = mpsc::channel();
    let meeting = Arc::new(Meeting { tell, is_over: Mutex::new(false), changed: Condvar::new() });
    let is_pinned = setting.workers == 1;
    let client = thread::spawn({
        let meeting = Arc::downgrade(&meeting);
        move || {
            // Else the server has failed, and says why.
            let addr = told.recv()?;
            let found = if is_pinned { pin(1).and_then(|()| client(addr)) } else { client(addr) };
            if let Some(meeting) = meeting.upgrade() {
                meeting.end(addr);
            }
            found
        }
    });
    let before = sched_getaffinity(None)?;
    let served = if is_pinned { pin(0).and_then(|()| serve(&meeting)) } else { serve(&meeting) };
    // For the next ones.
    sched_setaffinity(None, &before)?;
    // A client that waits for an address waits no more.
    drop(meeting);
    let found = client.join().map_err(|_| "the client panicked; no figure")?;
    // A server that fails takes its client with it.
    let served = served?;
    Ok((found?, served))
}

/// The calling thread, and those it starts, run on one core.
fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    let refused =
        |error| format!("the server and its client need a core each: no thread may run on core {core}: {error}");
    Ok(sched_setaffinity(None, &set).map_err(refused)?)
}
