//! What a server answers. Connections are read and written as std's, whoever's they are.

use std::io::{Read, Write};

use super::ROOM;
use crate::Result;

/// Takes what has come on one connection, and gives what is to be sent.
pub(crate) trait Answer: Default {
    fn take<'a>(&'a mut self, got: &'a [u8]) -> Result<&'a [u8]>;
}

/// What was sent.
#[derive(Default)]
pub(crate) struct Echo;

impl Answer for Echo {
    fn take<'a>(&'a mut self, got: &'a [u8]) -> Result<&'a [u8]> {
        Ok(got)
    }
}

/// Answers what comes until the client has gone.
pub(crate) fn all<A: Answer>(mut stream: impl Read + Write) -> Result<()> {
    let mut answer = A::default();
    let mut room = [0; ROOM];
    loop {
        match stream.read(&mut room) {
            // Reset, when the client goes with a message on the way.
            Ok(0) | Err(_) => return Ok(()),
            Ok(got) => drop(stream.write_all(answer.take(&room[..got])?)),
        }
    }
}
