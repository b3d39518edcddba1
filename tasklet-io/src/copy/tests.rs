//! Readers whose ends and messages are no bytes of a stream: a read that is cut short, or one too many, loses something.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;
use crate::pipe::pipe;

#[test]
fn the_end_that_a_terminal_tells_of_once_is_the_end() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    // What is typed, and that it is all.
    fs::File::from(master.try_clone().unwrap()).write_all(b"hello\n\x04").unwrap();
    let reader = Async::new(terminal).unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (mut far, writer) = pipe().unwrap();
    assert_eq!(copy(&reader, &writer).unwrap(), 6);
    let mut typed = [0; 6];
    far.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"hello\n");
}

#[test]
fn no_message_is_cut_short_by_an_empty_one() {
    let (near, reader) = UnixDatagram::pair().unwrap();
    let reader = Async::new(reader).unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (mut far, writer) = pipe().unwrap();
    near.send(&[]).unwrap();
    near.send(&[7; 2000]).unwrap();
    let mut relay = Relay::new();
    let copy = |relay: &mut Relay| -> io::Result<()> {
        // The empty one may be taken for the end.
        relay.copy_up_to(&reader, &writer, 2000)?;
        let left = 2000 - relay.copied();
        relay.copy_up_to(&reader, &writer, left).map(drop)
    };
    assert!(copy(&mut relay).is_ok(), "{relay:?}");
    let mut received = [0; 2000];
    far.read_exact(&mut received).unwrap();
    assert_eq!(received, [7; 2000]);
}
