//! A server that sends back what it is sent.

use std::io::{Read, Write};

use tasklet_core::backend::Backend;
use tasklet_io::net::{TcpListener, TcpStream};
use tasklet_scheduler::stealing;

use super::{join, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::load::{self, ROOM};

/// Requests in each second, and how long they took.
pub(super) fn echo<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    load::against(setting, |tell| {
        within::<B, _>(setting, || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            tell(listener.local_addr()?);
            let mut connections = Vec::new();
            for _ in 0..setting.members {
                let (stream, _) = listener.accept()?;
                connections.push(stealing::spawn(move || serve(&stream)));
            }
            connections.into_iter().try_for_each(|connection| join(connection)?)
        })
    })
}

fn serve(mut stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut room = [0; ROOM];
    loop {
        match stream.read(&mut room) {
            // Reset, when the client goes with a message on the way.
            Ok(0) | Err(_) => return Ok(()),
            Ok(got) => drop(stream.write_all(&room[..got])),
        }
    }
}
