//! Crawls a site, politely: a tasklet for each page, so many requests in a second, limits for a page and for the whole.
//!
//! What there is of the runtime here: [`scope`] for the pages, which find each other; [`join`] for what is computed of one; [`interval`] and a
//! channel for the rate; [`timeout`] for a page that does not answer; a [`CancelToken`] for a site that does not end, and a soft tasklet of
//! [`spawn_async`] that cancels it when the time is up.
//!
//! The site is made up, and so is the time: on a virtual clock, two seconds are over at once, and the same is printed on every run. With
//! `real` as argument, the clock is the real one, and the runtime uses every core.
//!
//! ```text
//! cargo run --release --example crawler
//! cargo run --release --example crawler real
//! ```

#![forbid(unsafe_code)]

use std::collections::btree_map::{BTreeMap, Entry};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasklet::stealing::{BuildError, Scope, interval, now, sleep_async, try_sleep_until};
use tasklet::time::{VirtualClock, VirtualDriver};
use tasklet::{Builder, CancelToken, Channel, ParkError, Runtime, SharedChannel, join, scope, spawn_async, timeout};

/// Time between two requests.
const PACE: Duration = Duration::from_millis(20);
/// How long a page may take.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long the whole may take.
const TIME: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let is_real = match std::env::args_os().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [real] if real == "real" => true,
        _ => {
            eprintln!("usage: crawler [real]");
            return ExitCode::from(2);
        }
    };
    let runtime = match if is_real { Runtime::with_defaults() } else { in_virtual_time() } {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("crawler: {error}");
            return ExitCode::FAILURE;
        }
    };
    let pages = runtime.run(|| crawl("/"));
    let mut text = String::new();
    for (path, page) in pages.iter().filter(|(path, _)| !path.starts_with("/calendar/")) {
        text += &format!("{path:12} {page}\n");
    }
    let left = pages.values().filter(|page| page.starts_with("left")).count();
    text += &format!("Every page below /calendar/ has a next one. When the time was up, {left} was left.\n");
    // Whoever does not want to read it has ended before us.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// One worker: whoever sleeps last moves the clock, and with others at work, that would be too early.
fn in_virtual_time() -> Result<Runtime, BuildError> {
    let clock = Arc::new(VirtualClock::default());
    let sleeps = clock.clone();
    Builder::new().workers(1).clock(clock).driver(move |_| Box::new(VirtualDriver::new(sleeps.clone()))).build()
}

struct Crawl {
    /// A rendezvous with the clock: who has received may ask for a page.
    turns: SharedChannel<()>,
    time_is_up: CancelToken,
    /// What became of each page that was found.
    pages: Mutex<BTreeMap<String, String>>,
}

fn crawl(start: &str) -> BTreeMap<String, String> {
    let crawl = Crawl { turns: Channel::new().share(), time_is_up: CancelToken::new(), pages: Mutex::default() };
    let token = crawl.time_is_up.clone();
    let alarm = spawn_async(async move {
        sleep_async(TIME).await;
        token.cancel();
    });
    scope(|clocks| {
        clocks.spawn(|| {
            let mut ticks = interval(PACE);
            loop {
                ticks.tick();
                if crawl.turns.send(()).is_err() {
                    return;
                }
            }
        });
        // Returns when the last page is done: pages spawn pages.
        scope(|pages| crawl.found(pages, start));
        crawl.turns.close();
    });
    alarm.kill();
    crawl.pages.into_inner().unwrap()
}

impl Crawl {
    /// Starts a tasklet for a page unless there has been one.
    fn found<'scope>(&'scope self, pages: &'scope Scope<'scope, '_>, path: &str) {
        let path = match self.pages.lock().unwrap().entry(path.to_owned()) {
            Entry::Vacant(page) => page.insert_entry(String::new()).key().clone(),
            Entry::Occupied(_) => return,
        };
        pages.spawn(move || {
            let page = self.time_is_up.run(|| self.visit(pages, &path)).unwrap_or_else(|why| format!("left: {why}"));
            self.pages.lock().unwrap().insert(path, page);
        });
    }

    /// Asks for a page, counts its words and goes after its links. Fails if the time is up.
    fn visit<'scope>(&'scope self, pages: &'scope Scope<'scope, '_>, path: &str) -> Result<String, String> {
        self.turns.recv().map_err(|error| error.to_string())?;
        let text = match timeout(PATIENCE, || ask(path)) {
            Ok(Ok(Some(text))) => text,
            Ok(Ok(None)) => return Ok("not found".to_owned()),
            Ok(Err(cancelled)) => return Err(cancelled.to_string()),
            Err(elapsed) => return Ok(format!("no answer: {elapsed}")),
        };
        let is_link = |word: &&str| word.starts_with('/');
        let (links, words) = join(
            || text.split_whitespace().filter(is_link).map(|link| self.found(pages, link)).count(),
            || text.split_whitespace().filter(|word| !is_link(word)).count(),
        );
        Ok(format!("{words} words, {links} links"))
    }
}

/// The server: answers after a while, or not at all.
fn ask(path: &str) -> Result<Option<String>, ParkError> {
    let (takes, text) = match path {
        "/" => (10, "welcome to our little site /news /about /calendar/1".to_owned()),
        "/news" => (40, "nothing new since /news/old and /news/older".to_owned()),
        "/news/old" => (80, "we moved away from /geocities to /".to_owned()),
        "/news/older" => (90, "we are on the web /".to_owned()),
        "/about" => (30, "this is /us and this is our /cat".to_owned()),
        "/us" => (3_600_000, "the page that nobody has ever seen".to_owned()),
        "/cat" => (20, "meow".to_owned()),
        _ => match path.strip_prefix("/calendar/").map(str::parse::<u64>) {
            Some(Ok(day)) => (5, format!("nothing on day {day} but see /calendar/{}", day + 1)),
            _ => return Ok(None),
        },
    };
    try_sleep_until(now() + Duration::from_millis(takes))?;
    Ok(Some(text))
}
