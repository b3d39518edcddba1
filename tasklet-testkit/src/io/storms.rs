//! Signals in the middle of calls of the system, which are begun again.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_io::fs::File;
use tasklet_io::net::{TcpListener, TcpStream, UdpSocket};
use tasklet_io::process::Command;
use tasklet_io::{Relay, copy};

use super::Case;
use super::setup::{Directory, bytes, give_way, pair, run, until};

/// From now on, a signal that the tests send ends a call that blocks.
fn interrupt_calls() {
    extern "C" fn nothing(_: libc::c_int) {}

    // SAFETY: the handler does nothing. Without `SA_RESTART`; all zero is a valid set of flags and signals.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// A thread that blocks is not disturbed.
pub fn signals_do_not_end_a_wait<B: Backend>(case: Case) {
    use std::os::unix::thread::JoinHandleExt;

    interrupt_calls();
    run::<B>(case, || {
        let (mut client, mut server) = pair();
        let thread = thread::spawn(move || server.read(&mut [0; 8]).unwrap());
        for _ in 0..200 {
            // SAFETY: the thread was not joined.
            unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR2) };
            give_way();
        }
        client.write_all(b"whole").unwrap();
        until(|| thread.is_finished());
        assert_eq!(thread.join().unwrap(), 5);
    });
}

/// Sends signals to all threads of the process, again and again, while this lives.
#[cfg(target_os = "linux")]
struct Storm {
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

#[cfg(target_os = "linux")]
impl Storm {
    fn new() -> Storm {
        interrupt_calls();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        let thread = thread::spawn(move || {
            // SAFETY: calls without memory.
            let (process, own) = unsafe { (libc::getpid(), libc::gettid()) };
            while !ends.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc/self/task").unwrap() {
                    let id: libc::pid_t = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
                    if id != own {
                        // SAFETY: a call without memory; a thread that has ended is an error.
                        unsafe { libc::syscall(libc::SYS_tgkill, process, id, libc::SIGUSR2) };
                    }
                }
                // So that calls get done in between.
                thread::sleep(Duration::from_micros(200));
            }
        });
        Storm { is_over, thread: Some(thread) }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Storm {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Whatever the call, what calls it is not told, and nothing is lost or done twice.
#[cfg(target_os = "linux")]
pub fn no_call_tells_of_a_signal<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        let _storm = Storm::new();
        run::<B>(case, || (0..3).for_each(|_| every_call()));
        // Of a thread, whose calls block.
        (0..3).for_each(|_| every_call());
    });
    assert!(ended.success, "{ended:?}");
}

/// Waits of milliseconds in calls that block, and what comes of them.
#[cfg(target_os = "linux")]
fn every_call() {
    const LONG: Duration = Duration::from_millis(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        thread::sleep(LONG);
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(&bytes(1 << 20)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        back
    });
    let (server, _) = listener.accept().unwrap();
    // What comes is sent back, by the system.
    assert_eq!(copy(&server, &server).unwrap(), 1 << 20);
    drop(server);
    assert!(client.join().unwrap() == bytes(1 << 20));

    let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = one.local_addr().unwrap();
    let sender = thread::spawn(move || {
        thread::sleep(LONG);
        other.send_to(b"datagram", to).unwrap();
    });
    assert_eq!(one.recv_from(&mut [0; 16]).unwrap().0, 8);
    sender.join().unwrap();

    // A file that blocks those who open and read it.
    let directory = Directory::new();
    let path = directory.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let to = path.clone();
    let writer = thread::spawn(move || {
        thread::sleep(LONG);
        let mut writer = fs::File::options().write(true).open(to).unwrap();
        for piece in [b"fi", b"fo"] {
            thread::sleep(LONG);
            writer.write_all(piece).unwrap();
        }
    });
    let (target, mut far) = pair();
    let mut relay = Relay::new();
    assert_eq!(relay.copy(&File::open(&path).unwrap(), &target).unwrap(), 4);
    drop(target);
    writer.join().unwrap();
    let mut received = String::new();
    far.read_to_string(&mut received).unwrap();
    assert_eq!(received, "fifo");
    let path = directory.join("file");
    tasklet_io::fs::write(&path, bytes(100_000)).unwrap();
    assert!(tasklet_io::fs::read(&path).unwrap() == bytes(100_000));

    let output = Command::new("sh").args(["-c", "sleep 0.002; echo out"]).stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stdout == b"out\n", "{output:?}");
}
