//! Datagrams.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_io::net::UdpSocket;
use tasklet_io::unix::UnixDatagram;

use super::Case;
use super::setup::{Place, give_way, run, run_virtual, spawn, until};

/// Each whole, and from whom it is.
pub fn datagrams_keep_their_bounds<B: Backend>(case: Case) {
    run::<B>(case, || {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = server.local_addr().unwrap();
        let echo = spawn(move || {
            let mut buf = [0; 100];
            for _ in 0..20 {
                let (length, from) = server.peek_from(&mut buf).unwrap();
                assert_eq!(server.recv_from(&mut buf).unwrap(), (length, from));
                assert_eq!(server.send_to(&buf[..length], from).unwrap(), length);
            }
        });
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(addr).unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        let mut buf = [0; 100];
        // Also one without bytes.
        for length in 0..20 {
            assert_eq!(client.send(&[length as u8; 20][..length]).unwrap(), length);
            assert_eq!(client.peek(&mut buf).unwrap(), length);
            assert_eq!(client.recv(&mut buf).unwrap(), length);
            assert!(buf[..length].iter().all(|&byte| byte == length as u8));
        }
        echo.join().unwrap();
    });
}

/// As for streams.
pub fn a_receive_takes_no_longer_than_its_limit<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3600))).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        socket.send_to(b"late", socket.local_addr().unwrap()).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);

        let place = Place::new();
        let receiver = UnixDatagram::bind(&place).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_write_timeout(Some(Duration::from_secs(3600))).unwrap();
        let error = (0..100_000).find_map(|_| sender.send_to(b"x", &place).err()).expect("there is room for so many");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1);
    });
}

/// Whether it is connected or not: more are sent than the receiver has room for.
pub fn a_full_receiver_makes_the_sender_wait<B: Backend>(case: Case) {
    const MANY: usize = 1000;
    run::<B>(case, || {
        for is_connected in [true, false] {
            let place = Place::new();
            let receiver = UnixDatagram::bind(&place).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            if is_connected {
                sender.connect(&place).unwrap();
            }
            let addr = receiver.local_addr().unwrap();
            let sent = Arc::new(AtomicUsize::new(0));
            let told = sent.clone();
            let writer = spawn(move || {
                for at in 0..MANY {
                    let message = at.to_le_bytes();
                    let length =
                        if is_connected { sender.send(&message) } else { sender.send_to_addr(&message, &addr) };
                    assert_eq!(length.unwrap(), message.len());
                    told.fetch_add(1, Ordering::Relaxed);
                }
            });
            until(|| sent.load(Ordering::Relaxed) > 0);
            (0..10).for_each(|_| give_way());
            for at in 0..MANY {
                let mut message = [0; 8];
                assert_eq!(receiver.recv(&mut message).unwrap(), 8);
                assert_eq!(usize::from_le_bytes(message), at);
            }
            writer.join().unwrap();
        }
    });
}
