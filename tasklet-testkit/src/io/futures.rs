//! Sockets in async code: who polls is a tasklet that waits for a future, on either scheduler, or a soft tasklet.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_io::{AsyncRead, AsyncWrite};
use tasklet_bridge::futures::block_on;
use tasklet_core::backend::Backend;
use tasklet_io::Async;
use tasklet_io::futures::{AsyncStream, Readable, Writable};
use tasklet_io::net::{TcpListener, TcpStream};
use tasklet_io::unix::{UnixListener, UnixStream};
use tasklet_scheduler::stealing;

use super::Case;
use super::setup::{Flag, Place, bytes, give_way, run, spawn, until};

async fn read(stream: &mut (impl AsyncRead + Unpin), buf: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| Pin::new(&mut *stream).poll_read(context, buf)).await
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let mut room = [0; 5000];
    loop {
        match read(stream, &mut room).await.unwrap() {
            0 => return all,
            got => all.extend_from_slice(&room[..got]),
        }
    }
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await.unwrap();
        bytes = &bytes[written..];
    }
}

async fn close(stream: &mut (impl AsyncWrite + Unpin)) {
    poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await.unwrap();
}

/// Counts how often it wakes.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls a read of one byte.
fn poll_read(stream: &mut AsyncStream<impl Readable>, waker: &Waker) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut [0])
}

/// Whole and in order, through full buffers, to an end, with what is no socket too.
pub fn what_async_code_sends_arrives<B: Backend>(case: Case) {
    fn through(reader: impl Readable, writer: impl Writable + Send + 'static) {
        let sent = bytes(2 << 20);
        let (mut reader, mut writer) = (AsyncStream::new(reader), AsyncStream::new(writer));
        let expected = sent.clone();
        let writing = spawn(move || {
            block_on(async {
                write_all(&mut writer, &sent).await;
                close(&mut writer).await;
            });
        });
        let got = block_on(read_all(&mut reader));
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
        writing.join().unwrap();
    }
    run::<B>(case, || {
        let (one, other) = super::setup::pair();
        through(one, other);
        let (one, other) = UnixStream::pair().unwrap();
        through(one, other);
        let (reader, writer) = tasklet_io::pipe::pipe().unwrap();
        through(reader, writer);
    });
}

/// One task waits for both directions of one stream, each of which is woken.
pub fn a_task_waits_for_both_directions<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let echo = spawn(move || {
            let mut one = AsyncStream::new(one);
            let (mut got, mut sent) = (0usize, 0usize);
            let chunk = [7; 4096];
            block_on(poll_fn(|context| {
                // It sends more than fits, and reads what comes meanwhile.
                while sent < 1 << 20 {
                    match Pin::new(&mut one).poll_write(context, &chunk) {
                        Poll::Ready(written) => sent += written.unwrap(),
                        Poll::Pending => break,
                    }
                }
                while got < 100 {
                    match Pin::new(&mut one).poll_read(context, &mut [0; 1]) {
                        Poll::Ready(read) => got += read.unwrap(),
                        Poll::Pending => break,
                    }
                }
                if got == 100 && sent >= 1 << 20 { Poll::Ready(()) } else { Poll::Pending }
            }));
            sent
        });
        for _ in 0..100 {
            other.write_all(b"x").unwrap();
            give_way();
        }
        let mut got = 0;
        while got < 1 << 20 {
            got += other.read(&mut [0; 10_000]).unwrap();
        }
        assert_eq!(echo.join().unwrap(), got);
    });
}

/// A read that is given up leaves the bytes, and the next event, to others.
pub fn a_dropped_read_takes_nothing<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let bells = [(); 3].map(|()| Arc::new(Bell::default()));
        let mut streams = bells.each_ref().map(|_| AsyncStream::new(one.try_clone().unwrap()));
        for (stream, bell) in streams.iter_mut().zip(&bells) {
            assert!(poll_read(stream, &bell.clone().into()).is_pending());
        }
        let [first, second, mut third] = streams;
        // Before it is woken, and after.
        drop(first);
        other.write_all(b"x").unwrap();
        until(|| bells[1].rings() + bells[2].rings() > 0);
        drop(second);
        until(|| bells[2].rings() > 0);
        assert_eq!(bells[0].rings(), 0, "who has gone is not woken");
        let waker = bells[2].clone().into();
        assert!(matches!(poll_read(&mut third, &waker), Poll::Ready(Ok(1))));
        assert!(poll_read(&mut third, &waker).is_pending());
        drop(third);
        // A tasklet that waits as ever, beside one that was given up.
        other.write_all(b"yz").unwrap();
        let mut one = one;
        one.read_exact(&mut [0; 2]).unwrap();
    });
}

/// The last waker that polled is woken, and no other.
pub fn a_waker_is_replaced<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let mut one = AsyncStream::new(one);
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        for bell in &bells {
            assert!(poll_read(&mut one, &bell.clone().into()).is_pending());
        }
        other.write_all(b"x").unwrap();
        until(|| bells[1].rings() > 0);
        assert_eq!(bells.map(|bell| bell.rings()), [0, 1]);
        // As soon as something is there it is read, also where the wake was not seen.
        assert!(matches!(poll_read(&mut one, Waker::noop()), Poll::Ready(Ok(1))));
        assert!(poll_read(&mut one, Waker::noop()).is_pending());
    });
}

/// A waker may poll where it is woken: who waits again is not told again of what it was told of, and others are told too.
pub fn a_waker_that_polls_is_woken_once<B: Backend>(case: Case) {
    struct Eager {
        stream: Mutex<AsyncStream<UnixStream>>,
        wakes: AtomicUsize,
        is_done: AtomicBool,
    }
    impl Eager {
        fn go_on(self: Arc<Self>) {
            let waker = self.clone().into();
            while let Poll::Ready(read) = poll_read(&mut self.stream.lock().unwrap(), &waker) {
                self.is_done.fetch_or(read.unwrap() == 0, Ordering::Relaxed);
                if self.is_done.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
    impl Wake for Eager {
        fn wake(self: Arc<Self>) {
            // One that is woken for ever is given up.
            if self.wakes.fetch_add(1, Ordering::Relaxed) < 1000 {
                self.go_on();
            }
        }
    }
    run::<B>(case, || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let eager = [(); 2].map(|()| {
            let stream = Mutex::new(AsyncStream::new(one.try_clone().unwrap()));
            Arc::new(Eager { stream, wakes: AtomicUsize::default(), is_done: AtomicBool::default() })
        });
        eager.iter().for_each(|eager| eager.clone().go_on());
        let wakes = || eager.each_ref().map(|eager| eager.wakes.load(Ordering::Relaxed));
        other.write_all(b"x").unwrap();
        until(|| wakes().iter().all(|&wakes| wakes > 0));
        (0..20).for_each(|_| give_way());
        // There may be an event of the socket's beginning, too.
        assert!(wakes().iter().all(|&wakes| wakes <= 2), "{:?}", wakes());
        drop(other);
        until(|| eager.iter().all(|eager| eager.is_done.load(Ordering::Relaxed)));
    });
}

/// Connections come about; a refusal is an error; a wait that is given up accepts nobody.
pub fn async_code_connects_and_accepts<B: Backend>(case: Case) {
    run::<B>(case, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        {
            let mut given_up = pin!(listener.accept_async());
            assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let client = spawn(move || block_on(TcpStream::connect_async(addr)).unwrap().local_addr().unwrap());
        let (_, from) = block_on(listener.accept_async()).unwrap();
        assert_eq!(client.join().unwrap(), from);
        drop(listener);
        let error = block_on(TcpStream::connect_async(addr)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        let place = Place::new();
        let listener = UnixListener::bind(&place).unwrap();
        let client = spawn(move || UnixStream::connect(&place).is_ok());
        block_on(listener.accept_async()).unwrap();
        assert!(client.join().unwrap());
        listener.close();
        assert!(block_on(listener.accept_async()).is_err());
    });
}

/// The end of one direction is told, and errors are.
pub fn ends_and_errors_are_told<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let mut one = AsyncStream::new(one);
        block_on(close(&mut one));
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
        other.write_all(b"x").unwrap();
        assert_eq!(block_on(read(&mut one, &mut [0; 8])).unwrap(), 1);
        assert_eq!(block_on(read(&mut one, &mut [])).unwrap(), 0);
        drop(other);
        assert_eq!(block_on(read(&mut one, &mut [0; 8])).unwrap(), 0);
        block_on(close(&mut one));
        let written = block_on(poll_fn(|context| Pin::new(&mut one).poll_write(context, b"x")));
        assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// A task that always finds something lets others run now and then, and goes on by itself.
pub fn a_busy_task_gives_way<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let mut one = AsyncStream::new(one);
        other.write_all(&[0; 1000]).unwrap();
        let bell = Arc::new(Bell::default());
        let waker = bell.clone().into();
        let mut stretches = Vec::new();
        for _ in 0..3 {
            let mut stretch = 0;
            while poll_read(&mut one, &waker).is_ready() {
                stretch += 1;
            }
            stretches.push((stretch, bell.rings()));
        }
        assert_eq!(stretches, [(128, 1), (128, 2), (128, 3)]);
    });
}

/// Each read is a future of its own. Others run meanwhile, and what else the task waits for is looked at.
pub fn a_loop_of_reads_gives_way<B: Backend>(case: Case) {
    const ENOUGH: u32 = 1000;
    async fn until_set(stream: &Async<net::UnixStream>, flag: &Flag) {
        let mut count = 0;
        while !flag.is_set() {
            stream.readable_async().await.unwrap();
            count += 1;
            assert!(count < ENOUGH, "others do not run");
        }
    }
    run::<B>(case, move || {
        let (one, mut other) = net::UnixStream::pair().unwrap();
        other.write_all(b"x").unwrap();
        let one = Arc::new(Async::new(one).unwrap());
        let flag = Flag::default();
        let sets = flag.clone();
        // On this worker, if there are several.
        let setter: Box<dyn FnOnce()> = if case.workers == 0 {
            let setter = spawn(move || sets.set());
            Box::new(move || setter.join().unwrap())
        } else {
            let setter = stealing::spawn_local(move || sets.set());
            Box::new(move || setter.join().unwrap())
        };
        block_on(until_set(&one, &flag));
        setter();

        let flag = Flag::default();
        let mut busy = pin!(until_set(&one, &flag));
        let bell = Arc::new(Bell::default());
        assert!(busy.as_mut().poll(&mut Context::from_waker(&bell.clone().into())).is_pending());
        assert_eq!(bell.rings(), 1, "it goes on by itself");
        flag.set();
        assert!(busy.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());

        if case.workers == 1 {
            let flag = Flag::default();
            let (one, sets, looks) = (one.clone(), flag.clone(), flag.clone());
            let busy = stealing::spawn_async(async move { until_set(&one, &looks).await });
            stealing::spawn_async(async move { sets.set() }).join().unwrap();
            busy.join().unwrap();
        }
    });
}

/// As straight-line code does; but the thread of another executor is not made to wait.
pub fn async_code_pauses_when_descriptors_run_out<B: Backend>(case: Case) {
    super::faults::accepts_with_pauses::<B>(case, |listener| {
        let accepted = block_on(listener.accept_async());
        if accepted.is_err() {
            thread::scope(|scope| {
                let poll = || pin!(listener.accept_async()).poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(Err(error)) = scope.spawn(poll).join().unwrap() else { panic!("it is to pause") };
                assert_eq!(error.kind(), ErrorKind::Unsupported);
            });
        }
        accepted
    });
}

/// Where no scheduler polls, what would have to wait is an error that says so; what need not wait works.
pub fn no_scheduler_no_wait<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || {
            let mut one = AsyncStream::new(one);
            let Poll::Ready(Err(error)) = poll_read(&mut one, Waker::noop()) else { panic!("it cannot wait") };
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("spawn_async"), "{error}");
            one
        });
        let mut one = thread.join().unwrap();
        other.write_all(b"x").unwrap();
        // Here it can.
        assert_eq!(block_on(read(&mut one, &mut [0; 8])).unwrap(), 1);
    });
}

/// Soft tasklets serve many connections; a killed one has taken nothing.
pub fn soft_tasklets_use_sockets<B: Backend>(case: Case) {
    if case.workers == 0 {
        return;
    }
    run::<B>(case, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = stealing::spawn_async(async move {
            for _ in 0..20 {
                let (stream, _) = listener.accept_async().await.unwrap();
                stealing::spawn_async(async move {
                    let mut stream = AsyncStream::new(stream);
                    let mut room = [0; 100];
                    loop {
                        match read(&mut stream, &mut room).await.unwrap() {
                            0 => break close(&mut stream).await,
                            got => write_all(&mut stream, &room[..got]).await,
                        }
                    }
                });
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|number| {
                spawn(move || {
                    let mut client = TcpStream::connect(addr).unwrap();
                    for turn in 0..20 {
                        let mut back = [0; 2];
                        client.write_all(&[number, turn]).unwrap();
                        client.read_exact(&mut back).unwrap();
                        assert_eq!(back, [number, turn]);
                    }
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                    assert_eq!(client.read(&mut [0]).unwrap(), 0);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        server.join().unwrap();

        let (one, mut other) = UnixStream::pair().unwrap();
        let (mut stream, begun) = (AsyncStream::new(one.try_clone().unwrap()), Flag::default());
        let told = begun.clone();
        let reader = stealing::spawn_async(async move {
            told.set();
            read(&mut stream, &mut [0]).await.is_ok()
        });
        until(|| begun.is_set());
        (0..5).for_each(|_| give_way());
        reader.kill();
        assert!(reader.join().unwrap_err().is_killed());
        other.write_all(b"x").unwrap();
        let mut one = one;
        one.read_exact(&mut [0]).unwrap();
    });
}
