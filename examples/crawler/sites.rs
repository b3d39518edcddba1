//! Some small sites at the loopback address, to crawl: a good one, one without end, and one where everything is broken.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tasklet::net::{TcpListener, TcpStream};
use tasklet::stealing::now;
use tasklet::sync::Mutex;
use tasklet::{sleep, spawn};

/// The sites, and what they have seen.
pub(crate) struct Sites {
    /// Their names, and where they are.
    pub(crate) names: Vec<(&'static str, String)>,
    seen: Arc<Seen>,
    start: Duration,
    /// Keeps others from listening where nobody is to listen.
    _nobody: TcpListener,
}

#[derive(Default)]
struct Seen {
    /// How often each page was asked for.
    requests: Mutex<BTreeMap<(&'static str, String), u32>>,
    /// Requests that are being answered, and the most there have been.
    current: AtomicUsize,
    most: AtomicUsize,
    /// When a site was asked last.
    times: Mutex<BTreeMap<&'static str, Duration>>,
}

/// What a site does when it is asked.
enum Answer {
    /// Sends a page.
    Html(String),
    /// Sends these bytes and closes.
    Bytes(&'static [u8]),
    /// Sends a page that does not end.
    Endless,
    /// A byte now and then.
    Slow,
    /// Does not read what it was asked for, and closes: the client sees a reset.
    Reset,
}

impl Sites {
    /// Starts them.
    pub(crate) fn start() -> io::Result<Sites> {
        let listeners =
            [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let nobody = TcpListener::bind("127.0.0.1:0")?;
        nobody.close();
        let mut names = vec![("nobody", nobody.local_addr()?.to_string())];
        for (name, listener) in ["library", "calendar", "ruin"].into_iter().zip(&listeners) {
            names.push((name, listener.local_addr()?.to_string()));
        }
        let sites = Sites { names, seen: Arc::default(), start: now(), _nobody: nobody };
        let names = Arc::new(sites.names.clone());
        for (site, listener) in ["library", "calendar", "ruin"].into_iter().zip(listeners) {
            let (seen, names) = (sites.seen.clone(), names.clone());
            spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (seen, names) = (seen.clone(), names.clone());
                    // Whoever breaks off is not the site's concern.
                    spawn(move || drop(serve(site, stream, &seen, &names)));
                }
            });
        }
        Ok(sites)
    }

    /// Says what they have seen, if that is what they may expect of a crawler that keeps to these limits.
    pub(crate) fn verdict(&self, fetches: usize, rate: u32, burst: u32) -> String {
        let requests = self.seen.requests.lock().expect("no site panics");
        let twice: Vec<_> = requests.iter().filter(|(_, count)| **count > 1).map(|(page, _)| page).collect();
        let once = if twice.is_empty() { "no page twice".to_owned() } else { format!("these pages again: {twice:?}") };
        let most = self.seen.most.load(Ordering::Relaxed);
        let most = if most <= fetches { format!("never more than {fetches}") } else { format!("up to {most}") };
        let mut times = self.seen.times.lock().expect("no site panics");
        // A request may be late, but not early.
        times.retain(|site, last| {
            let count: u32 = requests.iter().filter(|((other, _), _)| other == site).map(|(_, count)| count).sum();
            *last - self.start < Duration::from_secs(1) / rate * count.saturating_sub(burst)
        });
        let fast =
            if times.is_empty() { format!("no faster than {rate} a second") } else { format!("too fast: {times:?}") };
        format!("The sites were asked for {once}, {most} at a time, {fast} each.\n")
    }
}

fn serve(site: &'static str, mut stream: TcpStream, seen: &Seen, names: &[(&str, String)]) -> io::Result<()> {
    let mut head = [0; 4096];
    // It is short and was sent with one write, so it comes in one piece.
    let length = stream.peek(&mut head)?;
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    *seen.requests.lock().expect("no site panics").entry((site, target.to_owned())).or_default() += 1;
    seen.times.lock().expect("no site panics").insert(site, now());
    let answer = answer(site, target);
    if !matches!(answer, Answer::Reset) {
        stream.read_exact(&mut vec![0; length])?;
    }
    match answer {
        Answer::Html(mut html) => {
            for (name, address) in names {
                html = html.replace(&format!("//{name}/"), &format!("//{address}/"));
            }
            let most = seen.current.fetch_add(1, Ordering::Relaxed) + 1;
            seen.most.fetch_max(most, Ordering::Relaxed);
            sleep(Duration::from_millis(5));
            // Before the client can know that it has all of it, and ask for another.
            seen.current.fetch_sub(1, Ordering::Relaxed);
            let length = html.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + &html).as_bytes())
        }
        Answer::Bytes(bytes) => stream.write_all(bytes),
        Answer::Reset => Ok(()),
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")?;
            loop {
                stream.write_all(b"over and ")?;
            }
        }
        Answer::Slow => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")?;
            loop {
                sleep(Duration::from_millis(50));
                stream.write_all(b".")?;
            }
        }
    }
}

fn answer(site: &str, target: &str) -> Answer {
    let not_found = Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let html = match (site, target) {
        ("library", "/") => {
            "<h1>The library</h1> See the <a href=books/>books</a>, the same <a href='./books/../books/#new'>books</a>,
             the <a href=\"//calendar/1\">calendar</a>, the <a href=//ruin/>ruin</a>, <a href=/cellar/>the cellar</a>,
             <a href=/lost>what is lost</a> and <a href=mailto:us@example.org>us</a>."
        }
        ("library", "/books/") => {
            "<a href='sieve?page=1'>A sieve</a> <a href='sieve?page=2'>of Eratosthenes</a> <a href=/old>older</a> <a href=/>back</a>"
        }
        ("library", "/books/sieve?page=1") => "two three five seven <a href='?page=2'>more</a>",
        ("library", "/books/sieve?page=2") => {
            "eleven thirteen &amp; seventeen <a href='?page=1'>less</a> <a href='..'>up</a>"
        }
        ("library", "/new") => "nothing but <a href=//nobody/>a promise</a>",
        ("library", "/cellar/") => "you should not be here",
        ("library", "/old") => {
            return Answer::Bytes(b"HTTP/1.1 301 Moved\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n");
        }
        ("library", "/robots.txt") => {
            return Answer::Bytes(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nUser-agent: other\nDisallow: /\n\n\
                  User-agent: *\nDisallow: /cellar # mind the step\nDisallow:\n",
            );
        }
        ("ruin", "/") => {
            "<a href=slow>slow</a> <a href=endless>endless</a> <a href=reset>reset</a> <a href=short>short</a>
             <a href=garbage>garbage</a> <a href=status>status</a> <a href=file>file</a> <a href=http://[>link</a>"
        }
        ("ruin", "/slow") => return Answer::Slow,
        ("ruin", "/endless") => return Answer::Endless,
        ("ruin", "/reset") => return Answer::Reset,
        ("ruin", "/short") => return Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe first few"),
        ("ruin", "/garbage") => return Answer::Bytes(b"\x16\x03\x01 this is something else\r\n\r\n"),
        ("ruin", "/status") => return Answer::Bytes(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        ("ruin", "/file") => return Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG"),
        ("calendar", target) => match target[1..].parse::<u64>() {
            Ok(day) => return Answer::Html(format!("nothing on day {day}, see <a href=/{}>tomorrow</a>", day + 1)),
            Err(_) => return not_found,
        },
        _ => return not_found,
    };
    Answer::Html(html.to_owned())
}
