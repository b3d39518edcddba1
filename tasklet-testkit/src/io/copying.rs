//! Copies from one descriptor to another: amounts, ends, limits, kills, and descriptors that the system cannot copy between.

use std::fs;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::SendFlags;
use tasklet_core::backend::Backend;
use tasklet_io::fs::File;
use tasklet_io::net::TcpStream;
use tasklet_io::pipe::pipe;
use tasklet_io::unix::UnixStream;
use tasklet_io::{Async, Relay, copy};

use super::Case;
use super::faults::limit_descriptors;
use super::setup::{Directory, Flag, bytes, give_way, pair, run, run_virtual, spawn, until};

/// More than the buffers of two connections and a pipe hold.
const MUCH: usize = 16 << 20;

/// A file with these bytes, and what it is in.
fn file(content: &[u8]) -> (File, Directory) {
    let directory = Directory::new();
    let path = directory.join("file");
    fs::write(&path, content).unwrap();
    (fs::File::open(&path).unwrap().into(), directory)
}

/// In order, whole, however slow who reads it; and the writer is not shut down.
pub fn all_that_comes_is_copied<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut near, reader) = pair();
        let (mut writer, mut far) = pair();
        let sender = spawn(move || {
            for piece in bytes(MUCH).chunks(100_003) {
                near.write_all(piece).unwrap();
                give_way();
            }
        });
        let copier = spawn(move || {
            assert_eq!(copy(&reader, &writer).unwrap(), MUCH as u64);
            assert_eq!(copy(&reader, &writer).unwrap(), 0, "it is at its end");
            writer.write_all(b"and more").unwrap();
        });
        (0..100).for_each(|_| give_way());
        let mut received = Vec::new();
        far.read_to_end(&mut received).unwrap();
        sender.join().unwrap();
        copier.join().unwrap();
        assert!(received.strip_suffix(b"and more") == Some(&bytes(MUCH)));
    });
}

/// Between any two kinds of streams.
pub fn streams_of_any_kind_are_copied<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut near, first) = UnixStream::pair().unwrap();
        let (into_pipe, out_of_pipe) = {
            let (reader, writer) = pipe().unwrap();
            (writer, reader)
        };
        let (second, third) = UnixStream::pair().unwrap();
        let (reader, last) = std::io::pipe().unwrap();
        let (mut end, last) = (Async::new(reader).unwrap(), Async::new(last).unwrap());
        near.write_all(&bytes(10_000)).unwrap();
        drop(near);
        assert_eq!(copy(&first, &into_pipe).unwrap(), 10_000);
        drop(into_pipe);
        assert_eq!(copy(&out_of_pipe, &second).unwrap(), 10_000);
        second.shutdown(Shutdown::Write).unwrap();
        assert_eq!(copy(&third, &last).unwrap(), 10_000);
        drop(last);
        let mut received = Vec::new();
        end.read_to_end(&mut received).unwrap();
        assert!(received == bytes(10_000));
    });
}

/// No more is read than asked for.
pub fn a_part_is_copied<B: Backend>(case: Case) {
    run::<B>(case, || {
        let ((mut near, mut reader), (writer, mut far)) = (pair(), pair());
        near.write_all(b"headbodytail").unwrap();
        let mut relay = Relay::new();
        assert_eq!(relay.copy_up_to(&reader, &writer, 0).unwrap(), 0);
        assert_eq!(relay.copy_up_to(&reader, &writer, 4).unwrap(), 4);
        let mut next = [0; 4];
        reader.read_exact(&mut next).unwrap();
        assert_eq!(&next, b"body");
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(relay.copy_up_to(&reader, &writer, 1000).unwrap(), 4, "there is no more");
        assert_eq!((relay.copied(), relay.held()), (8, 0));
        drop(writer);
        let mut received = String::new();
        far.read_to_string(&mut received).unwrap();
        assert_eq!(received, "headtail");
    });
}

/// From its position on, which moves by what was sent.
pub fn a_file_is_copied<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (writer, mut far) = pair();
        let receiver = spawn(move || {
            let mut received = Vec::new();
            (0..100).for_each(|_| give_way());
            far.read_to_end(&mut received).unwrap();
            received
        });
        let content = bytes(MUCH);
        let (mut file, _directory) = file(&content);
        file.seek(std::io::SeekFrom::Start(1000)).unwrap();
        let mut relay = Relay::new();
        assert_eq!(relay.copy_up_to(&file, &writer, 3_000_000).unwrap(), 3_000_000);
        assert_eq!(file.stream_position().unwrap(), 3_001_000);
        assert_eq!(relay.copy(&file, &writer).unwrap(), (MUCH - 3_001_000) as u64);
        assert_eq!(relay.copy(&file, &writer).unwrap(), 0);
        assert_eq!(relay.copied(), (MUCH - 1000) as u64);
        drop(writer);
        assert!(receiver.join().unwrap() == content[1000..]);
    });
}

/// Where the system has no way from here to there, through memory.
pub fn what_the_system_cannot_copy_is_copied<B: Backend>(case: Case) {
    run::<B>(case, || {
        // A file of the system's, which cannot be sent; an event counter, from which nothing leads into a pipe; a file that is appended to, to
        // which nothing leads from one.
        let (writer, mut far) = pair();
        let status = File::open("/proc/self/mounts").unwrap();
        let expected = fs::read("/proc/self/mounts").unwrap();
        assert_eq!(copy(&status, &writer).unwrap(), expected.len() as u64);
        // SAFETY: a call without memory.
        let counter = unsafe { libc::eventfd(0x1234, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        assert!(counter >= 0);
        // SAFETY: it is new, and nobody else's.
        let counter: OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(counter) };
        let counter = Async::new(counter).unwrap();
        assert_eq!(Relay::new().copy_up_to(&counter, &writer, 8).unwrap(), 8);
        drop(writer);
        let mut received = Vec::new();
        far.read_to_end(&mut received).unwrap();
        assert!(received == [&expected[..], &0x1234_u64.to_ne_bytes()].concat());

        let directory = Directory::new();
        let path = directory.join("log");
        fs::write(&path, "before ").unwrap();
        let log = Async::new(fs::File::options().append(true).open(&path).unwrap()).unwrap();
        let (mut near, reader) = pair();
        near.write_all(&bytes(200_000)).unwrap();
        drop(near);
        assert_eq!(copy(&reader, &log).unwrap(), 200_000);
        assert!(fs::read(&path).unwrap() == [b"before ", &bytes(200_000)[..]].concat());
    });
}

/// What was read and not written is written by the next who copies with the relay.
pub fn a_killed_copy_loses_nothing<B: Backend>(case: Case) {
    run::<B>(case, || {
        let content = bytes(MUCH);
        let (near, reader) = pair();
        let sent = content.clone();
        let sender = spawn(move || (&near).write_all(&sent).unwrap());
        check_kills(content.clone(), move |relay, writer| relay.copy(&reader, writer));
        sender.join().unwrap();
        let (file, _directory) = file(&content);
        check_kills(content, move |relay, writer| relay.copy(&file, writer));
    });
}

/// Kills a copy whose other end does not read, several times, and lets one come to its end.
fn check_kills(
    content: Vec<u8>,
    copy: impl Fn(&mut Relay, &TcpStream) -> std::io::Result<u64> + Send + Sync + 'static,
) {
    let (writer, mut far) = pair();
    let (copy, writer, relay) = (Arc::new(copy), Arc::new(writer), Arc::new(Mutex::new(Relay::new())));
    let start = || {
        let (copy, writer, relay) = (copy.clone(), writer.clone(), relay.clone());
        spawn(move || copy(&mut relay.lock().unwrap_or_else(PoisonError::into_inner), &writer).unwrap())
    };
    let mut received = vec![0; content.len()];
    let mut at = 0;
    for round in 0..20 {
        let copier = start();
        // The copy is in another phase each time: between a read and a write, waiting, with a thread.
        (0..round % 7).for_each(|_| give_way());
        copier.kill();
        assert!(copier.join().unwrap_err().is_killed());
        let relay = relay.lock().unwrap_or_else(PoisonError::into_inner);
        while (at as u64) < relay.copied() {
            at += far.read(&mut received[at..]).unwrap();
        }
        assert_eq!(at as u64, relay.copied(), "no more has come than it says");
        // More than the buffers hold is left, so that the next cannot come to its end either.
        if at > content.len() / 4 {
            break;
        }
    }
    let copier = start();
    far.read_exact(&mut received[at..]).unwrap();
    copier.join().unwrap();
    let relay = relay.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!((relay.copied(), relay.held()), (content.len() as u64, 0));
    assert!(received == content);
}

/// Of reads and writes; a copy that goes on afterwards has missed nothing.
pub fn a_copy_keeps_time_limits<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let (near, reader) = UnixStream::pair().unwrap();
        let (writer, mut far) = UnixStream::pair().unwrap();
        let mut relay = Relay::new();
        reader.set_read_timeout(Some(Duration::from_secs(3600))).unwrap();
        let error = relay.copy(&reader, &writer).unwrap_err();
        assert!(error.kind() == ErrorKind::TimedOut && error.to_string().contains("3600s"), "{error}");
        assert_eq!((relay.copied(), relay.held()), (0, 0));
        let sender = spawn(move || (&near).write_all(&bytes(MUCH)).unwrap());
        reader.set_read_timeout(None).unwrap();
        writer.set_write_timeout(Some(Duration::from_secs(7200))).unwrap();
        let error = relay.copy(&reader, &writer).unwrap_err();
        assert!(error.kind() == ErrorKind::TimedOut && error.to_string().contains("7200s"), "{error}");
        assert!(relay.copied() != 0 && relay.held() != 0, "{relay:?}");
        writer.set_write_timeout(None).unwrap();
        let receiver = spawn(move || {
            let mut received = Vec::new();
            far.read_to_end(&mut received).unwrap();
            received
        });
        relay.copy(&reader, &writer).unwrap();
        drop(writer);
        sender.join().unwrap();
        assert!(receiver.join().unwrap() == bytes(MUCH));
        assert_eq!((relay.copied(), relay.held()), (MUCH as u64, 0));
    });
}

/// The error is the writer's, and what could not be written is held, for another writer too.
pub fn nobody_takes_the_copy<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut near, reader) = UnixStream::pair().unwrap();
        let (writer, far) = UnixStream::pair().unwrap();
        drop(far);
        near.write_all(b"in vain").unwrap();
        let mut relay = Relay::new();
        assert_eq!(relay.copy(&reader, &writer).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!((relay.copied(), relay.held()), (0, 7));
        let (writer, mut far) = UnixStream::pair().unwrap();
        assert_eq!(relay.copy_up_to(&reader, &writer, 3).unwrap(), 3);
        assert_eq!((relay.copied(), relay.held()), (3, 4));
        let mut received = [0; 3];
        far.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"in ");
    });
}

/// A copy that never has to wait lets others run, and can be killed: where tasklets give way without being asked, which those of the local
/// scheduler do not.
pub fn an_endless_copy_gives_way<B: Backend>(case: Case) {
    if case.workers == 0 {
        return;
    }
    run::<B>(case, || {
        let zeros = Async::new(fs::File::open("/dev/zero").unwrap()).unwrap();
        let nothing = Async::new(fs::File::options().write(true).open("/dev/null").unwrap()).unwrap();
        let begun = Flag::default();
        let told = begun.clone();
        let copier = spawn(move || {
            told.set();
            copy(&zeros, &nothing)
        });
        until(|| begun.is_set());
        (0..3).for_each(|_| give_way());
        copier.kill();
        assert!(copier.join().unwrap_err().is_killed());
    });
}

/// A thread blocks, as it does in a read.
pub fn a_thread_copies<B: Backend>(case: Case) {
    run::<B>(case, || {
        let ((near, reader), (writer, mut far)) = (pair(), pair());
        let copier = std::thread::spawn(move || copy(&reader, &writer).unwrap());
        let sender = spawn(move || (&near).write_all(&bytes(MUCH)).unwrap());
        let mut received = Vec::new();
        far.read_to_end(&mut received).unwrap();
        sender.join().unwrap();
        assert_eq!(copier.join().unwrap(), MUCH as u64);
        assert!(received == bytes(MUCH));
    });
}

/// What comes after an urgent byte is copied, whether the end comes at once, later, or not yet; by a thread too, which does not try again and again.
pub fn a_copy_goes_past_an_urgent_byte<B: Backend>(case: Case) {
    fn send(near: &TcpStream) {
        for (what, flags) in [("before", SendFlags::empty()), ("!", SendFlags::OOB), ("after", SendFlags::empty())] {
            assert_eq!(rustix::net::send(near, what.as_bytes(), flags).unwrap(), what.len());
        }
    }
    run::<B>(case, || {
        for on_thread in [false, true] {
            for ends_at_once in [true, false] {
                let ((near, reader), (writer, mut far)) = (pair(), pair());
                far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                send(&near);
                if ends_at_once {
                    near.shutdown(Shutdown::Write).unwrap();
                }
                let copies = move || drop((copy(&reader, &writer).unwrap(), writer));
                let copier: Box<dyn FnOnce()> = if on_thread {
                    let copier = std::thread::spawn(copies);
                    Box::new(move || copier.join().unwrap())
                } else {
                    let copier = spawn(copies);
                    Box::new(move || copier.join().unwrap())
                };
                let mut received = [0; 22];
                let got = far.read_exact(&mut received[..11]);
                assert!(got.is_ok(), "on a thread: {on_thread}, ends at once: {ends_at_once}: {got:?}");
                let mut all = 11;
                if !ends_at_once {
                    send(&near);
                    far.read_exact(&mut received[11..]).unwrap();
                    all = 22;
                }
                drop(near);
                assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
                assert_eq!(&received[..all], &b"beforeafterbeforeafter"[..all]);
                copier();
            }
        }
    });
}

/// Without descriptors for a pipe it copies all the same; those it has had are free afterwards.
pub fn a_copy_needs_no_descriptors_and_leaves_none<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        run::<B>(case, || {
            let count = || fs::read_dir("/proc/self/fd").unwrap().count();
            let through = |sent: &[u8]| {
                let (mut near, reader) = UnixStream::pair().unwrap();
                let (writer, mut far) = UnixStream::pair().unwrap();
                near.write_all(sent).unwrap();
                drop(near);
                let before = count();
                let mut relay = Relay::new();
                relay.copy(&reader, &writer).unwrap();
                assert_eq!(count(), before + 2, "a pipe");
                drop(relay);
                assert_eq!(count(), before);
                let (mut near, reader) = UnixStream::pair().unwrap();
                near.write_all(sent).unwrap();
                drop(near);
                limit_descriptors(fs::File::open("/dev/null").unwrap().as_raw_fd());
                copy(&reader, &writer).unwrap();
                limit_descriptors(1000);
                drop(writer);
                let mut received = Vec::new();
                far.read_to_end(&mut received).unwrap();
                received
            };
            assert_eq!(through(b"twice "), b"twice twice ");
        });
    });
    assert!(ended.success, "{ended:?}");
}
