//! What goes wrong outside: peers that reset, descriptors that run out.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_io::Async;
use tasklet_io::net::{TcpListener, TcpStream};
use tasklet_io::unix::UnixStream;

use super::Case;
use super::setup::{Flag, bytes, give_way, listener, pair, run, run_virtual, spawn, until};

/// A loop that accepts does not take a processor for itself, and goes on when there are descriptors again.
pub fn accept_pauses_when_descriptors_run_out<B: Backend>(case: Case) {
    accepts_with_pauses::<B>(case, TcpListener::accept);
}

/// The listener is accepted from with `accept`.
pub(super) fn accepts_with_pauses<B: Backend>(
    case: Case,
    accept: impl Fn(&TcpListener) -> io::Result<(TcpStream, SocketAddr)> + Send + 'static,
) {
    let ended = case.in_child(|| {
        run_virtual::<B>(case, move |_| {
            let listener = listener();
            let clients: Vec<_> = (0..2).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
            let free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
            limit_descriptors(free);
            let mut waits = Vec::new();
            for _ in 0..10 {
                let begun = current::now();
                assert_eq!(accept(&listener).unwrap_err().raw_os_error(), Some(libc::EMFILE));
                waits.push((current::now() - begun).as_millis());
            }
            // A worker that is idle may move the clock a little.
            let pauses = [0, 5, 10, 20, 40, 80, 160, 320, 640, 1000];
            assert!(waits.iter().zip(pauses).all(|(&waited, pause)| (pause..pause + 5).contains(&waited)), "{waits:?}");
            limit_descriptors(free + 100);
            let first = accept(&listener).unwrap();
            let begun = current::now();
            let second = accept(&listener).unwrap();
            assert!(current::now() - begun < Duration::from_millis(5), "after a success there is no pause");
            drop((clients, first, second));
        });
    });
    assert!(ended.success, "{ended:?}");
}

/// The error is seen by a reader that waits, and by one that comes later.
pub fn a_reset_is_an_error_of_the_read<B: Backend>(case: Case) {
    run::<B>(case, || {
        for first_waits in [false, true] {
            let (client, mut server) = pair();
            let read = move || server.read(&mut [0; 8]).unwrap_err().kind();
            let reset = || reset(client);
            if first_waits {
                let reader = spawn(read);
                (0..3).for_each(|_| give_way());
                reset();
                assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);
            } else {
                reset();
                let mut read = read;
                assert_eq!(read(), ErrorKind::ConnectionReset);
            }
        }
    });
}

/// A write to who has gone is an error, and no signal.
pub fn who_has_gone_cannot_be_written_to<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        run::<B>(case, || {
            let (mut one, other) = UnixStream::pair().unwrap();
            drop(other);
            assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            let (mut client, server) = pair();
            drop(server);
            // The first writes may come before the news that nobody is there.
            let mut kind = None;
            until(|| {
                kind = client.write(b"x").err().map(|error| error.kind());
                kind.is_some()
            });
            let kind = kind.unwrap();
            assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind}");
        });
    });
    assert!(ended.success, "{ended:?}");
}

/// Another's shutdown ends the waits of a reader and of a writer.
pub fn a_shutdown_ends_waits<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (client, server) = pair();
        let begun = [Flag::default(), Flag::default()];
        let (mut reading, mut writing) = (client.try_clone().unwrap(), client.try_clone().unwrap());
        let told = begun.clone();
        let reader = spawn(move || {
            told[0].set();
            reading.read(&mut [0; 8]).unwrap()
        });
        let told = begun.clone();
        let writer = spawn(move || {
            told[1].set();
            writing.write_all(&bytes(16 << 20)).unwrap_err().kind()
        });
        until(|| begun.iter().all(Flag::is_set));
        (0..20).for_each(|_| give_way());
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.join().unwrap(), 0);
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
        drop(server);
    });
}

/// Where nobody answers, time limits and kills end a connect.
pub fn a_connect_waits_for_an_answer<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        // SAFETY: the call has no pointers.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let limit = Duration::from_secs(3600);
        let mut connected = Vec::new();
        let error = loop {
            match TcpStream::connect_timeout(&addr, limit) {
                Ok(client) => connected.push(client),
                Err(error) => break error,
            }
            assert!(connected.len() < 1000, "a backlog of nobody takes so many");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let begun = Flag::default();
        let told = begun.clone();
        let client = spawn(move || {
            told.set();
            TcpStream::connect(addr).is_ok()
        });
        until(|| begun.is_set());
        (0..5).for_each(|_| give_way());
        client.kill();
        assert!(client.join().unwrap_err().is_killed());
    });
}

/// Where no way leads, a connect says so, and a listener is not held up by those who have given up before they were accepted.
pub fn no_way_and_gone_already<B: Backend>(case: Case) {
    run::<B>(case, || {
        // To everybody: no connection leads there.
        let error = TcpStream::connect("255.255.255.255:9").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{error}");
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        for _ in 0..3 {
            reset(TcpStream::connect(addr).unwrap());
        }
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"x").unwrap();
        let from = client.local_addr().unwrap();
        // Systems differ in whether those that have gone are passed over, or accepted and found reset.
        let mut server = loop {
            let (mut server, who) = listener.accept().unwrap();
            if who == from {
                break server;
            }
            assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        };
        server.read_exact(&mut [0; 1]).unwrap();
    });
}

/// What nobody has had to wait for is not watched: a descriptor is registered by the first wait, and until it is closed.
#[cfg(target_os = "linux")]
pub fn the_first_wait_registers<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        run::<B>(case, || {
            let before = registered();
            let (mut client, mut server) = UnixStream::pair().unwrap();
            for _ in 0..3 {
                client.write_all(b"x").unwrap();
                server.read_exact(&mut [0; 1]).unwrap();
            }
            assert_eq!(registered(), before, "nobody has waited for it");
            let reader = spawn(move || {
                server.read_exact(&mut [0; 1]).unwrap();
                server
            });
            until(|| registered() > before);
            client.write_all(b"x").unwrap();
            let server = reader.join().unwrap();
            let waiting = registered();
            drop(server);
            assert!(registered() < waiting, "it is closed");
        });
    });
    assert!(ended.success, "{ended:?}");
}

/// How many descriptors the pollers of this process watch, once for each descriptor of a poller.
#[cfg(target_os = "linux")]
fn registered() -> usize {
    let of = |name: std::ffi::OsString| std::fs::read_to_string(std::path::Path::new("/proc/self/fdinfo").join(name));
    let all = std::fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(|entry| of(entry.ok()?.file_name()).ok());
    all.map(|text| text.lines().filter(|line| line.starts_with("tfd:")).count()).sum()
}

/// Closes a connection so that its peer gets an error.
fn reset(connection: TcpStream) {
    connection.set_linger(Some(Duration::ZERO)).unwrap();
    assert_eq!(connection.linger().unwrap(), Some(Duration::ZERO));
}

/// Those who send a byte now and then are in nobody's way.
pub fn slow_clients_do_not_slow_the_fast<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (slow, waiting): (Vec<_>, Vec<_>) = (0..100)
            .map(|_| {
                let (client, mut server) = pair();
                let waiting = spawn(move || {
                    let mut received = Vec::new();
                    server.read_to_end(&mut received).unwrap();
                    received.len()
                });
                (client, waiting)
            })
            .unzip();
        let (mut client, mut server) = pair();
        let echo = spawn(move || {
            let mut piece = [0; 1];
            while server.read(&mut piece).unwrap() == 1 {
                server.write_all(&piece).unwrap();
            }
        });
        for mut slow in &slow {
            slow.write_all(b"x").unwrap();
            client.write_all(b"y").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        drop(client);
        echo.join().unwrap();
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "they have not ended");
        drop(slow);
        waiting.into_iter().for_each(|waiting| assert_eq!(waiting.join().unwrap(), 1));
    });
}

/// A scheduler ends that has watched what a tasklet of another waits for.
pub fn the_end_of_a_watcher_forgets_nobody<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (mut client, server) = pair();
        let (watched, end) = (Flag::default(), Flag::default());
        let mut reader = server.try_clone().unwrap();
        let (told, ends) = (watched.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            run::<B>(Case { workers: 0, ..case }, move || {
                reader.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                // It waits here, so it is watched from here.
                assert_eq!(reader.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
                reader.set_read_timeout(None).unwrap();
                told.set();
                until(|| ends.is_set());
            });
        });
        until(|| watched.is_set());
        let waits = Flag::default();
        let told = waits.clone();
        let mut server = server;
        let other = spawn(move || {
            told.set();
            server.read(&mut [0; 8]).unwrap()
        });
        until(|| waits.is_set());
        (0..10).for_each(|_| give_way());
        end.set();
        until(|| thread.is_finished());
        thread.join().unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(other.join().unwrap(), 1);
    });
}

/// Who waits often enough for what another scheduler watches has it watched by its own: the other one's thread may be busy.
pub fn a_source_moves_to_who_waits_for_it<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (mut client, mut server) = pair();
        server.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let watched = Flag::default();
        let (mut reader, told) = (server.try_clone().unwrap(), watched.clone());
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            run::<B>(Case { workers: 0, ..case }, move || {
                assert_eq!(reader.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
                told.set();
                // The whole thread waits.
                let _ = ends.recv();
            });
        });
        until(|| watched.is_set());
        for _ in 0..20 {
            assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
        }
        server.set_read_timeout(None).unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0; 1]).unwrap();
        drop(end);
        until(|| thread.is_finished());
        thread.join().unwrap();
    });
}

/// What cannot be watched where it is moved to is not forgotten: whoever has waited elsewhere finds that out.
pub fn a_source_that_cannot_move_forgets_nobody<B: Backend>(case: Case) {
    fn never(_: &OwnedFd) -> io::Result<()> {
        Err(ErrorKind::WouldBlock.into())
    }
    run::<B>(case, move || {
        let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        let server = Async::new(OwnedFd::from(server)).unwrap();
        server.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        let waits = Flag::default();
        let (reader, told) = (server.clone(), waits.clone());
        let thread = std::thread::spawn(move || {
            run::<B>(Case { workers: 0, ..case }, move || {
                let waiting = spawn(move || reader.read_with(never).is_err());
                (0..3).for_each(|_| give_way());
                told.set();
                assert!(waiting.join().unwrap(), "it cannot be watched");
            });
        });
        until(|| waits.is_set());
        // In its place is a file now, which no poller takes.
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        // SAFETY: both descriptors are open, and nobody expects of this one what a file does not do.
        assert!(unsafe { libc::dup2(file.as_raw_fd(), server.as_fd().as_raw_fd()) } >= 0);
        let mut kinds = (0..20).map(|_| server.write_with(never).unwrap_err().kind());
        assert!(kinds.any(|kind| kind != ErrorKind::TimedOut), "it moves, or tries to");
        until(|| thread.is_finished());
        thread.join().unwrap();
        drop(client);
    });
}

/// Two that are no clones cannot both be watched in one place, and the one that is stays so.
pub fn who_cannot_be_watched_takes_nobodys_place<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        let server = Arc::new(server);
        let [first, second] = [(); 2].map(|()| Async::new(server.clone()).unwrap());
        let read = |socket: &Async<Arc<std::os::unix::net::UnixStream>>, limit| {
            socket.set_read_timeout(Some(limit)).unwrap();
            socket.read_with(|socket| (&**socket).read(&mut [0; 8]))
        };
        let short = Duration::from_millis(1);
        assert_eq!(read(&first, short).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(read(&second, short).unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(second);
        let writer = spawn(move || {
            (&client).write_all(b"x").unwrap();
            client
        });
        assert_eq!(read(&first, Duration::from_secs(5)).unwrap(), 1);
        writer.join().unwrap();
    });
}

/// Of connections that have ended in every way, and of the scheduler.
#[cfg(target_os = "linux")]
pub fn no_descriptor_is_left<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = count();
        for _ in 0..3 {
            run::<B>(case, || {
                let listener = listener();
                let addr = listener.local_addr().unwrap();
                let acceptor = spawn(move || listener.accept().is_ok());
                (0..3).for_each(|_| give_way());
                acceptor.kill();
                assert!(acceptor.join().is_err());
                assert!(TcpStream::connect(addr).is_err());
                let (mut client, mut server) = pair();
                let reader = spawn(move || server.read(&mut [0; 8]).is_ok());
                (0..3).for_each(|_| give_way());
                client.write_all(b"x").unwrap();
                reader.join().unwrap();
                let (client, mut server) = pair();
                let reader = spawn(move || server.read(&mut [0; 8]).is_ok());
                (0..3).for_each(|_| give_way());
                reader.kill();
                assert!(reader.join().is_err());
                drop(client);
                assert!(TcpListener::bind("127.0.0.1:x").is_err());
            });
        }
        // A thread of the last runtime may be about to end.
        until(|| count() == before);
    });
    assert!(ended.success, "{ended:?}");
}

/// No descriptor gets a number from this one on.
pub(super) fn limit_descriptors(first: RawFd) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable, then readable.
    let results = unsafe {
        let got = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = first as libc::rlim_t;
        (got, libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))
    };
    assert_eq!(results, (0, 0), "RLIMIT_NOFILE");
}
