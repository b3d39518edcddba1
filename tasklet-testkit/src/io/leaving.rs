//! Waits that end before what they wait for has happened.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_io::net::TcpStream;

use super::Case;
use super::setup::{Flag, bytes, give_way, listener, pair, run, run_virtual, spawn, until};

/// What comes later is for the next reader.
pub fn a_killed_reader_has_taken_nothing<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, server) = pair();
        let mut other = server.try_clone().unwrap();
        let begun = Flag::default();
        let told = begun.clone();
        let reader = spawn(move || {
            told.set();
            let mut server = server;
            let _ = server.read(&mut [0; 8]);
        });
        until(|| begun.is_set());
        (0..3).for_each(|_| give_way());
        reader.kill();
        assert!(reader.join().unwrap_err().is_killed());
        client.write_all(b"whole").unwrap();
        let mut received = [0; 5];
        other.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"whole");
    });
}

/// Who connects later is the next one's.
pub fn a_killed_acceptor_has_taken_nobody<B: Backend>(case: Case) {
    run::<B>(case, || {
        let listener = listener();
        let other = listener.try_clone().unwrap();
        let begun = Flag::default();
        let told = begun.clone();
        let acceptor = spawn(move || {
            told.set();
            let _ = listener.accept();
        });
        until(|| begun.is_set());
        (0..3).for_each(|_| give_way());
        acceptor.kill();
        assert!(acceptor.join().unwrap_err().is_killed());
        let client = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let (server, _) = other.accept().unwrap();
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    });
}

/// What arrives is the beginning of what was to be sent.
pub fn a_killed_writer_has_written_whole_parts<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (client, mut server) = pair();
        let sent = bytes(16 << 20);
        let expected = sent.clone();
        let begun = Flag::default();
        let told = begun.clone();
        let writer = spawn(move || {
            told.set();
            let mut client = client;
            let _ = client.write_all(&sent);
        });
        until(|| begun.is_set());
        (0..100).for_each(|_| give_way());
        writer.kill();
        assert!(writer.join().unwrap_err().is_killed());
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert!(!received.is_empty() && received.len() < expected.len());
        assert!(expected.starts_with(&received));
    });
}

/// On the scheduler's clock; afterwards the connection is as before.
pub fn a_read_takes_no_longer_than_its_limit<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let (mut client, mut server) = pair();
        assert_eq!(server.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        server.set_read_timeout(Some(Duration::from_secs(3600))).unwrap();
        let error = server.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("3600s"), "{error}");
        client.write_all(b"late").unwrap();
        let mut received = [0; 4];
        server.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"late");
    });
}

/// The error of the system, and no wait.
pub fn nobody_listens<B: Backend>(case: Case) {
    run::<B>(case, || {
        let addr = listener().local_addr().unwrap();
        assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let limit = Duration::from_secs(60);
        assert_eq!(TcpStream::connect_timeout(&addr, limit).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}
