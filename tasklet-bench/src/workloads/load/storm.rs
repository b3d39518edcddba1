//! Connections that come, ask once and go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use rustix::net::sockopt::set_socket_linger;

use super::MESSAGE;
use crate::Result;

/// Threads that connect.
const THREADS: u64 = 8;

/// Connects so many times. Returns the connections in each second.
pub(crate) fn drive(addr: SocketAddr, connections: u64) -> Result<f64> {
    let each = connections.div_ceil(THREADS);
    let begun = Instant::now();
    let visits: Vec<_> = (0..THREADS).map(|_| thread::spawn(move || (0..each).try_for_each(|_| visit(addr)))).collect();
    for visit in visits {
        visit.join().map_err(|_| "a client panicked; no figure")??;
    }
    Ok((each * THREADS) as f64 / begun.elapsed().as_secs_f64())
}

fn visit(addr: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    // It goes without a rest: ports would be used up.
    set_socket_linger(&stream, Some(std::time::Duration::ZERO))?;
    stream.write_all(&[7; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])?;
    Ok(())
}
