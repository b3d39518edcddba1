//! Ten thousand connections on which nothing comes: one that is in use beside them is as fast as ever, nothing is done for the others, and nothing is left.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tasklet::net::{TcpListener, TcpStream};
use tasklet::stealing::{self, Builder};

const CONNECTIONS: usize = 10_000;

/// Where the other process connects to.
const ADDRESS: &str = "TASKLET_IDLE_ADDRESS";

/// What it says when it has connected.
const HELD: &str = "held";

#[test]
fn idle_connections_cost_nothing_but_memory() {
    raise_limit();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let runtime = Builder::new().workers(2).build().unwrap();
    let listener = runtime.run(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = runtime.spawn({
        let listener = listener.try_clone().unwrap();
        move || {
            let mut served = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                served.push(stealing::spawn(move || echo(stream)));
            }
            served.into_iter().map(|served| served.join().unwrap()).sum::<usize>()
        }
    });
    let mut client = TcpStream::connect(addr).unwrap();
    let mut holder = hold(addr);
    // All are accepted when one that came later is.
    assert_eq!(round_trips(&mut client, 1), 1);
    drop(TcpStream::connect(addr).unwrap());
    assert_eq!(round_trips(&mut client, 1000), 1000);

    let (wall, cpu) = (Instant::now(), cpu_time());
    std::thread::sleep(Duration::from_millis(500));
    let (wall, cpu) = (wall.elapsed(), cpu_time() - cpu);
    assert!(cpu < wall / 20, "{cpu:?} of the processor in {wall:?} in which nothing came");

    // Who holds them goes: all are told.
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    drop(client);
    listener.close();
    assert_eq!(acceptor.join().unwrap(), 1001);
    assert!(runtime.shutdown(Duration::from_secs(60)).is_clean());
    drop(listener);
    let start = Instant::now();
    // A thread of the runtime may be about to end.
    while descriptors() > before {
        assert!(start.elapsed() < Duration::from_secs(20), "{} descriptors are left of {before}", descriptors());
        std::thread::yield_now();
    }
}

/// Sends back what comes. Returns how often something did.
fn echo(mut stream: TcpStream) -> usize {
    let mut room = [0; 64];
    let mut times = 0;
    loop {
        match stream.read(&mut room) {
            Ok(0) | Err(_) => return times,
            Ok(got) => stream.write_all(&room[..got]).unwrap(),
        }
        times += 1;
    }
}

fn round_trips(client: &mut TcpStream, times: usize) -> usize {
    (0..times)
        .filter(|at| {
            let sent = [*at as u8; 16];
            let mut back = [0; 16];
            client.write_all(&sent).unwrap();
            client.read_exact(&mut back).unwrap();
            back == sent
        })
        .count()
}

/// A process that has connected so often. It ends when its standard input does.
fn hold(addr: SocketAddr) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["holds_connections", "--exact", "--ignored", "--nocapture"])
        .env(ADDRESS, addr.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.find(|line| line == HELD);
    assert!(said.is_some(), "the other process has ended before it held its connections");
    // What the test harness says in it.
    std::thread::spawn(|| lines.count());
    child
}

#[test]
#[ignore = "is the other process of the test above"]
fn holds_connections() {
    let Ok(addr) = std::env::var(ADDRESS) else { return };
    raise_limit();
    let held: Vec<_> = (0..CONNECTIONS).map(|_| std::net::TcpStream::connect(&addr).unwrap()).collect();
    println!("\n{HELD}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(held);
}

/// Lets this process have as many descriptors as it may.
fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable, then readable.
    let results = unsafe {
        let got = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        (got, libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))
    };
    assert_eq!(results, (0, 0), "RLIMIT_NOFILE");
    let needed = CONNECTIONS as libc::rlim_t + 100;
    assert!(
        limit.rlim_max >= needed,
        "{needed} descriptors are needed, and {} allowed: see `ulimit -Hn`",
        limit.rlim_max
    );
}

/// What this process has used of processors.
fn cpu_time() -> Duration {
    // SAFETY: zeroes are numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}
