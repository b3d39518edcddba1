//! Listeners, Unix sockets, std's types, and readiness as what a select waits for.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tasklet_channels::{select, unbounded};
use tasklet_core::backend::Backend;
use tasklet_io::net::{TcpListener, TcpStream};
use tasklet_io::unix::{UnixListener, UnixStream};

use super::Case;
use super::setup::{Place, bytes, give_way, listener, pair, run, run_virtual, spawn, until};

/// As through TCP: in order, whole, with ends.
pub fn unix_streams_carry_bytes<B: Backend>(case: Case) {
    run::<B>(case, || {
        let place = Place::new();
        let listener = UnixListener::bind(&place).unwrap();
        let path = listener.local_addr().unwrap();
        assert_eq!(path.as_pathname(), Some(place.as_ref()));
        let client = spawn(move || {
            let mut client = UnixStream::connect_addr(&path).unwrap();
            client.write_all(&bytes(1 << 20)).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        });
        let (mut server, _) = listener.accept().unwrap();
        let mut piece = [0; 8];
        assert!(server.peek(&mut piece).unwrap() > 0);
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert!(received == bytes(1 << 20));
        server.write_all(b"whole").unwrap();
        drop(server);
        assert_eq!(client.join().unwrap(), "whole");
    });
}

/// Nobody is refused because many have come at once.
pub fn a_full_backlog_makes_a_unix_connect_wait<B: Backend>(case: Case) {
    run::<B>(case, || {
        let place = Place::new();
        let listener = UnixListener::bind(&place).unwrap();
        // SAFETY: the call has no pointers.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let connected = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (connected, path) = (connected.clone(), listener.local_addr().unwrap());
                spawn(move || {
                    let client = UnixStream::connect_addr(&path).unwrap();
                    connected.fetch_add(1, Ordering::Relaxed);
                    client
                })
            })
            .collect();
        until(|| connected.load(Ordering::Relaxed) > 0);
        (0..20).for_each(|_| give_way());
        assert!(connected.load(Ordering::Relaxed) < 8, "the backlog is full");
        let servers: Vec<_> = (0..8).map(|_| listener.accept().unwrap()).collect();
        clients.into_iter().for_each(|client| drop(client.join().unwrap()));
        assert_eq!(servers.len(), 8);
    });
}

/// Those who wait in it, those who come later, and those who have connected and were not accepted.
pub fn a_closed_listener_accepts_nobody<B: Backend>(case: Case) {
    run::<B>(case, || {
        let listener = Arc::new(listener());
        let addr = listener.local_addr().unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|at| {
                let listener = listener.clone();
                spawn(move || {
                    if at == 0 {
                        assert_eq!(listener.incoming().count(), 0);
                    } else {
                        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NotConnected);
                    }
                })
            })
            .collect();
        let thread = std::thread::spawn({
            let listener = listener.clone();
            move || assert!(listener.accept().is_err())
        });
        (0..5).for_each(|_| give_way());
        listener.close();
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
        thread.join().unwrap();
        let error = listener.accept().unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
        assert!(listener.incoming().next().is_none());
        assert!(TcpStream::connect(addr).is_err());
        listener.close();

        let place = Place::new();
        let listener = UnixListener::bind(&place).unwrap();
        let mut early = UnixStream::connect(&place).unwrap();
        listener.close();
        assert!(matches!(early.read(&mut [0; 1]), Ok(0) | Err(_)), "it is refused");
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(UnixStream::connect(&place).is_err());
    });
}

/// A listener for each worker, at one port.
pub fn listeners_share_a_port<B: Backend>(case: Case) {
    run::<B>(case, || {
        let one = TcpListener::bind_reuse_port("127.0.0.1:0").unwrap();
        let addr = one.local_addr().unwrap();
        let other = TcpListener::bind_reuse_port(addr).unwrap();
        assert_eq!(TcpListener::bind(addr).unwrap_err().kind(), ErrorKind::AddrInUse);
        let accepted = Arc::new(AtomicUsize::new(0));
        let acceptors: Vec<_> = [&one, &other]
            .map(|listener| {
                let (listener, accepted) = (listener.try_clone().unwrap(), accepted.clone());
                spawn(move || {
                    for stream in listener.incoming() {
                        drop(stream.unwrap());
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .into();
        let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(addr).unwrap()).collect();
        until(|| accepted.load(Ordering::Relaxed) == clients.len());
        one.close();
        other.close();
        acceptors.into_iter().for_each(|acceptor| acceptor.join().unwrap());
    });
}

/// Both ways; not while there are other handles.
pub fn std_sockets_become_ours_and_back<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (client, mut server) = pair();
        let other = client.try_clone().unwrap();
        assert_eq!(client.into_std().unwrap_err().kind(), ErrorKind::ResourceBusy);
        server.write_all(b"x").unwrap();
        let mut std = other.into_std().unwrap();
        std.read_exact(&mut [0; 1]).unwrap();
        std.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        // It blocks, which takes the time.
        assert!(std.read(&mut [0; 1]).is_err());
        let mut again = TcpStream::try_from(std).unwrap();
        let reader = spawn(move || again.read_exact(&mut [0; 1]).unwrap());
        give_way();
        server.write_all(b"y").unwrap();
        reader.join().unwrap();
        let fd = std::os::fd::OwnedFd::from(server.into_std().unwrap());
        let server: std::net::TcpStream = TcpStream::try_from(fd).unwrap().try_into().unwrap();
        drop(server);
    });
}

/// A select waits for what can be read, and for what can be written, among others.
pub fn readiness_is_selectable<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        let (sender, receiver) = unbounded::<u8>();
        // Nothing is there, though nobody has looked yet.
        select! {
            arm(server.readable_arm()) -> _ => panic!("there is nothing to read"),
            default => {}
        }
        select! {
            arm(server.writable_arm()) -> ready => ready.unwrap(),
            recv(receiver) -> _ => panic!("nobody has sent"),
        }
        let reader = spawn(move || {
            let mut got = Vec::new();
            while got.len() < 20 {
                select! {
                    arm(server.readable_arm()) -> ready => {
                        ready.unwrap();
                        let mut piece = [0; 1];
                        assert_eq!(server.read(&mut piece).unwrap(), 1, "it said so");
                        got.push(piece[0]);
                    }
                    recv(receiver) -> message => got.push(message.unwrap()),
                }
            }
            got.iter().map(|&byte| usize::from(byte)).sum::<usize>()
        });
        for _ in 0..10 {
            client.write_all(&[1]).unwrap();
            (0..3).for_each(|_| give_way());
            sender.send(100).unwrap();
            (0..3).for_each(|_| give_way());
        }
        assert_eq!(reader.join().unwrap(), 1010);
    });
}

/// One whose time is up has not taken anything, nor has it left anything behind; a thread is told that it cannot.
pub fn a_select_gives_up_readiness<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let (mut client, mut server) = pair();
        for _ in 0..3 {
            select! {
                arm(server.readable_arm()) -> _ => panic!("there is nothing to read"),
                default(Duration::from_secs(60)) => {}
            }
        }
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0; 1]).unwrap();
        let thread = std::thread::spawn(move || {
            select! {
                arm(server.readable_arm()) -> ready => assert_eq!(ready.unwrap_err().kind(), ErrorKind::Unsupported),
            }
        });
        until(|| thread.is_finished());
        thread.join().unwrap();
    });
}

/// Who could not wait for something, which nobody watches, finds it when it has come.
pub fn a_wait_that_fails_leaves_nothing_behind<B: Backend>(case: Case) {
    run::<B>(case, || {
        let thread = std::thread::spawn(|| {
            let (server, mut client) = UnixStream::pair().unwrap();
            let look = || {
                select! {
                    arm(server.readable_arm()) -> ready => ready,
                }
            };
            for _ in 0..2 {
                assert_eq!(look().unwrap_err().kind(), ErrorKind::Unsupported);
            }
            client.write_all(b"x").unwrap();
            look().unwrap();
        });
        until(|| thread.is_finished());
        thread.join().unwrap();
    });
}

/// What a listener has is another's.
pub fn an_address_in_use_is_refused<B: Backend>(case: Case) {
    run::<B>(case, || {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        assert_eq!(TcpListener::bind(addr).unwrap_err().kind(), ErrorKind::AddrInUse);
        // Its last handle gone, it is free at once.
        drop(listener);
        drop(TcpListener::bind(addr).unwrap());
        for malformed in ["127.0.0.1", "127.0.0.1:http:", ":::", "127.0.0.1:65536", ""] {
            assert!(TcpStream::connect(malformed).is_err(), "{malformed}");
            assert!(TcpListener::bind(malformed).is_err(), "{malformed}");
        }
        assert_eq!(TcpStream::connect(&[][..]).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}
