//! What goes through a connection.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SendFlags;
use tasklet_channels::select;
use tasklet_core::backend::Backend;
use tasklet_io::Async;
use tasklet_io::net::TcpStream;

use super::Case;
use super::setup::{Flag, bytes, give_way, listener, pair, run, spawn, until};

/// More than the buffers of a connection hold.
const MUCH: usize = 16 << 20;

/// With what must not be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// In order, whole, whatever the sizes of the pieces.
pub fn what_is_sent_arrives<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        let sent = bytes(1 << 20);
        let expected = sent.clone();
        let writer = spawn(move || {
            for (at, piece) in sent.chunks(7919).enumerate() {
                client.write_all(piece).unwrap();
                if at % 16 == 0 {
                    give_way();
                }
            }
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received == expected);
    });
}

/// Writes that the buffers have no room for wait for the reader, and are whole in the end.
pub fn a_full_buffer_makes_the_writer_wait<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        let is_written = Flag::default();
        let told = is_written.clone();
        let writer = spawn(move || {
            client.write_all(&bytes(MUCH)).unwrap();
            told.set();
        });
        (0..100).for_each(|_| give_way());
        assert!(!is_written.is_set(), "nobody has read");
        let mut received = Vec::with_capacity(MUCH);
        server.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received == bytes(MUCH));
    });
}

/// Two tasklets at each end: one reads, one writes.
pub fn both_directions_at_once<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (client, server) = pair();
        let ends = [Arc::new(client), Arc::new(server)];
        let halves: Vec<_> = ends
            .iter()
            .flat_map(|end| {
                let (out, into) = (end.clone(), end.clone());
                let writer = spawn(move || {
                    (&*out).write_all(&bytes(MUCH / 4)).unwrap();
                    out.shutdown(Shutdown::Write).unwrap();
                });
                let reader = spawn(move || {
                    let mut received = Vec::new();
                    (&*into).read_to_end(&mut received).unwrap();
                    assert!(received == bytes(MUCH / 4));
                });
                [writer, reader]
            })
            .collect();
        halves.into_iter().for_each(|half| half.join().unwrap());
    });
}

/// What was sent before the end is received before it, by reads that are shorter and by reads that are longer than what is there.
pub fn an_end_is_seen_after_what_came_before<B: Backend>(case: Case) {
    run::<B>(case, || {
        for size in [1, 3, 4, 5, 64] {
            for first_waits in [false, true] {
                let (mut client, mut server) = pair();
                let waits = Flag::default();
                let told = waits.clone();
                let reader = spawn(move || {
                    if first_waits {
                        told.set();
                    }
                    let (mut piece, mut received) = (vec![0; size], Vec::new());
                    loop {
                        match server.read(&mut piece).unwrap() {
                            0 => break,
                            got => received.extend_from_slice(&piece[..got]),
                        }
                    }
                    // Again and again.
                    assert_eq!(server.read(&mut piece).unwrap(), 0);
                    received
                });
                if first_waits {
                    until(|| waits.is_set());
                    (0..3).for_each(|_| give_way());
                }
                client.write_all(b"1234").unwrap();
                drop(client);
                assert_eq!(reader.join().unwrap(), b"1234");
            }
        }
    });
}

/// After the end of one direction the other goes on.
pub fn one_direction_ends_alone<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        let echo = spawn(move || {
            let mut received = String::new();
            server.read_to_string(&mut received).unwrap();
            server.write_all(received.to_uppercase().as_bytes()).unwrap();
        });
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "HELLO");
        echo.join().unwrap();
        assert!(client.write(b"more").is_err(), "that direction has ended");
    });
}

/// What was peeked at is still there.
pub fn a_peek_takes_nothing<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        let reader = spawn(move || {
            let mut piece = [0; 8];
            assert_eq!(server.peek(&mut piece).unwrap(), 3);
            assert_eq!(server.peek(&mut piece).unwrap(), 3);
            assert_eq!(server.read(&mut piece).unwrap(), 3);
            assert_eq!(&piece[..3], b"abc");
        });
        give_way();
        client.write_all(b"abc").unwrap();
        reader.join().unwrap();
    });
}

/// A read of no bytes returns at once and is not taken for the end.
pub fn nothing_is_read_into_nothing<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        assert_eq!(server.read(&mut []).unwrap(), 0);
        assert_eq!(client.write(&[]).unwrap(), 0);
        client.write_all(b"x").unwrap();
        assert_eq!(server.read(&mut []).unwrap(), 0);
        let mut piece = [0; 2];
        assert_eq!(server.read(&mut piece).unwrap(), 1);
        assert_eq!(server.read(&mut []).unwrap(), 0);
    });
}

/// Several buffers in one call.
pub fn parts_are_written_together<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        let parts = [IoSlice::new(b"head "), IoSlice::new(b""), IoSlice::new(b"body")];
        assert_eq!(client.write_vectored(&parts).unwrap(), 9);
        drop(client);
        let mut received = String::new();
        server.read_to_string(&mut received).unwrap();
        assert_eq!(received, "head body");
    });
}

/// Each byte is one reader's, and all of them see the end.
pub fn several_read_one_connection<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut client, server) = pair();
        let server = Arc::new(server);
        let sum = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (server, sum) = (server.clone(), sum.clone());
                spawn(move || {
                    let mut piece = [0; 100];
                    loop {
                        match (&*server).read(&mut piece).unwrap() {
                            0 => return,
                            got => sum.fetch_add(got, Ordering::Relaxed),
                        };
                    }
                })
            })
            .collect();
        for _ in 0..1000 {
            client.write_all(&[7; 100]).unwrap();
            give_way();
        }
        drop(client);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!(sum.load(Ordering::Relaxed), 100_000);
    });
}

/// The same type on both sides; the thread blocks, the tasklet parks.
pub fn a_thread_talks_to_a_tasklet<B: Backend>(case: Case) {
    run::<B>(case, || {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            for round in 0..100_u8 {
                stream.write_all(&[round]).unwrap();
                let mut answer = [0];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [round + 1]);
            }
        });
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0];
        while stream.read(&mut request).unwrap() == 1 {
            stream.write_all(&[request[0] + 1]).unwrap();
        }
        thread.join().unwrap();
    });
}

/// Who waits for a socket is in nobody's way, and is not kept waiting by those who always have something to do.
pub fn others_run_meanwhile<B: Backend>(case: Case) {
    let busy = 2 * case.workers.max(1);
    run::<B>(case, move || {
        let (mut client, mut server) = pair();
        let is_over = Flag::default();
        let told = is_over.clone();
        let busy: Vec<_> = (0..busy)
            .map(|_| {
                let is_over = is_over.clone();
                spawn(move || {
                    while !is_over.is_set() {
                        give_way();
                    }
                })
            })
            .collect();
        let reader = spawn(move || {
            let mut piece = [0; 1];
            for _ in 0..20 {
                server.read_exact(&mut piece).unwrap();
                server.write_all(&piece).unwrap();
            }
            told.set();
        });
        for _ in 0..20 {
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        reader.join().unwrap();
        busy.into_iter().for_each(|busy| busy.join().unwrap());
    });
}

/// More parts than the system takes or fills at a time: what is left over is not waited for in vain.
pub fn more_parts_than_the_system_takes<B: Backend>(case: Case) {
    const PARTS: usize = 3000;
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let sent = bytes(PARTS);
        let mut written = 0;
        while written < PARTS {
            let parts: Vec<_> = sent[written..].chunks(1).map(IoSlice::new).collect();
            written += client.write_vectored(&parts).unwrap();
        }
        let mut received = vec![0; PARTS];
        while server.peek(&mut received).unwrap() < PARTS {
            give_way();
        }
        let (mut received, mut read) = (vec![0; PARTS], 0);
        while read < PARTS {
            let mut parts: Vec<_> = received[read..].chunks_mut(1).map(IoSliceMut::new).collect();
            read += server.read_vectored(&mut parts).unwrap();
        }
        assert!(received == sent);
    });
}

/// A read ends before an urgent byte, though more may be there after it. That byte itself is nothing to be read, and nobody tries to again and again.
pub fn an_urgent_byte_is_in_nobodys_way<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (client, server) = pair();
        let send = |what: &[u8], flags| assert_eq!(rustix::net::send(&client, what, flags).unwrap(), what.len());
        let has_arrived =
            |flags| rustix::event::poll(&mut [PollFd::new(&server, flags)], Some(&Timespec::default())) == Ok(1);
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        // Who has waited has it watched.
        let mut reader = server.try_clone().unwrap();
        let reader = spawn(move || reader.read(&mut [0; 8]).unwrap());
        (0..3).for_each(|_| give_way());
        send(b"x", SendFlags::empty());
        assert_eq!(reader.join().unwrap(), 1);
        for _ in 0..3 {
            send(b"before", SendFlags::empty());
            send(b"!", SendFlags::OOB);
            send(b"after", SendFlags::empty());
            // What there is to be told of is told before it is read.
            until(|| has_arrived(PollFlags::PRI));
            (0..200).for_each(|_| give_way());
            let mut received = [0; 11];
            let mut read = 0;
            while read < received.len() {
                read +=
                    (&server).read(&mut received[read..]).unwrap_or_else(|error| panic!("after {read} bytes: {error}"));
            }
            assert_eq!(&received, b"beforeafter");
        }
        send(b"!", SendFlags::OOB);
        until(|| has_arrived(PollFlags::PRI));
        select! {
            arm(server.readable_arm()) -> _ => panic!("there is nothing to read"),
            default => {}
        }
        let reads = thread::spawn(move || {
            let (socket, mut reads) = (Async::new(server.into_std().unwrap()).unwrap(), 0);
            socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            let read = |mut socket: &net::TcpStream| {
                reads += 1;
                socket.read(&mut [0; 8])
            };
            assert_eq!(socket.read_with(read).unwrap_err().kind(), ErrorKind::TimedOut);
            reads
        });
        until(|| reads.is_finished());
        assert_eq!(reads.join().unwrap(), 1, "who blocks waits for what can be read");
    });
}
