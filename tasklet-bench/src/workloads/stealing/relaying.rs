//! What comes on one connection goes out on another.

use std::io::{self, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tasklet_core::backend::Backend;
use tasklet_io::net::{TcpListener, TcpStream};

use super::within;
use crate::Result;
use crate::subject::Setting;
use crate::workloads::load::against;

const MEBIBYTE: usize = 1 << 20;

/// Of buffers: what a pipe holds, and what `std::io::copy` takes.
const LARGE: usize = 64 << 10;
const SMALL: usize = 8 << 10;

/// By the system and through buffers: mebibytes in each second, and microseconds of the worker's time for each.
pub(super) fn relay<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let ways: [fn(&TcpStream, &TcpStream) -> io::Result<u64>; 3] =
        [|from, to| tasklet_io::copy(from, to), by_buffer::<LARGE>, by_buffer::<SMALL>];
    let mut figures = Vec::new();
    for way in ways {
        figures.extend(relay_by::<B>(setting, way)?);
    }
    Ok(figures)
}

fn by_buffer<const ROOM: usize>(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<u64> {
    let mut room = vec![0; ROOM];
    let mut copied = 0;
    loop {
        let got = from.read(&mut room)?;
        if got == 0 {
            return Ok(copied);
        }
        to.write_all(&room[..got])?;
        copied += got as u64;
    }
}

fn relay_by<B: Backend>(setting: &Setting, way: fn(&TcpStream, &TcpStream) -> io::Result<u64>) -> Result<[f64; 2]> {
    let mebibytes = setting.n;
    let (took, cpu) = against(
        setting,
        move |addr| drive(addr, mebibytes),
        |meeting| {
            within::<B, _>(setting, || {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                meeting.is_at(listener.local_addr()?);
                let ((from, _), (to, _)) = (listener.accept()?, listener.accept()?);
                let before = cpu_time();
                way(&from, &to)?;
                let cpu = cpu_time() - before;
                to.shutdown(Shutdown::Write)?;
                // The last visitor is the one that ends the meeting.
                listener.accept()?;
                Ok(cpu)
            })
        },
    )?;
    let each = |time: Duration| time.as_secs_f64() / mebibytes as f64;
    Ok([1.0 / each(took), each(cpu) * 1e6])
}

/// Sends so much on the first connection, and takes it on the second.
fn drive(addr: SocketAddr, mebibytes: u64) -> Result<Duration> {
    let mut source = net::TcpStream::connect(addr)?;
    let mut sink = net::TcpStream::connect(addr)?;
    let begun = Instant::now();
    let sends = thread::spawn(move || {
        let piece = vec![7; MEBIBYTE];
        (0..mebibytes).try_for_each(|_| source.write_all(&piece))
    });
    let came = io::copy(&mut sink, &mut io::sink())?;
    let took = begun.elapsed();
    sends.join().map_err(|_| "the source panicked; no figure")??;
    let sent = mebibytes * MEBIBYTE as u64;
    if came == sent { Ok(took) } else { Err(format!("{came} bytes came of {sent}; no figure").into()) }
}

/// What this thread, a worker, has used.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
