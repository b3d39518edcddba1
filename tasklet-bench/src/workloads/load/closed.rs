//! Connections in a closed loop: the next message goes out when the last one has come back.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{MESSAGE, ROOM};
use crate::Result;

/// Requests of this share of all do not count: connections begin, memory is touched for the first time.
const WARM_UP: usize = 10;

/// For how long nothing may come back before a run is given up.
const STALL: Duration = Duration::from_secs(10);

struct Connection {
    stream: TcpStream,
    sent: Instant,
}

impl Connection {
    fn send(&mut self) -> Result<()> {
        self.sent = Instant::now();
        // 64 bytes always fit: the last ones have come back.
        let written = self.stream.write(&[7; MESSAGE])?;
        if written == MESSAGE { Ok(()) } else { Err("a message was cut in two; no figure".into()) }
    }
}

/// Sends a message on each connection whenever the last one has come back. Requests in each second, and the microseconds that half of
/// them and 99 in 100 took at most.
pub(crate) fn drive(addr: SocketAddr, connections: usize, requests: usize) -> Result<Vec<f64>> {
    let mut poll = Poll::new()?;
    let mut all = Vec::with_capacity(connections);
    for key in 0..connections {
        let stream = std::net::TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(key), Interest::READABLE)?;
        all.push(Connection { stream, sent: Instant::now() });
    }
    let mut took = Vec::with_capacity(requests);
    let warm_up = requests / WARM_UP;
    let (mut back, mut begun) = (0, Instant::now());
    all.iter_mut().try_for_each(Connection::send)?;
    let mut events = Events::with_capacity(connections.min(1024));
    let mut room = [0; ROOM];
    while took.len() < requests {
        poll.poll(&mut events, Some(STALL))?;
        if events.is_empty() {
            return Err(format!("nothing came back for {STALL:?}; no figure").into());
        }
        for event in &events {
            let connection = &mut all[event.token().0];
            match connection.stream.read(&mut room) {
                Ok(MESSAGE) => {}
                Ok(0) => return Err("the server has closed a connection; no figure".into()),
                Ok(got) => return Err(format!("{got} bytes came back of {MESSAGE}; no figure").into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            back += 1;
            if back == warm_up {
                begun = Instant::now();
            } else if back > warm_up {
                took.push(connection.sent.elapsed());
            }
            connection.send()?;
        }
    }
    let time = begun.elapsed();
    let count = took.len();
    took.sort_unstable();
    let micros = |at: usize| took[at].as_secs_f64() * 1e6;
    Ok(vec![count as f64 / time.as_secs_f64(), micros(count / 2), micros(count * 99 / 100)])
}
