//! Follows links, politely: how many pages at a time, how often of one site, which not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tasklet::stealing::{now, sleep_async, try_sleep_until};
use tasklet::sync::{Mutex, OnceCell, Semaphore};
use tasklet::{CancelToken, scope, spawn_async, timeout};

use crate::page::{Address, BODY, Page, fetch, read_html};

/// What a crawl keeps to.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Links from the first page to the last.
    pub(crate) depth: usize,
    /// Pages in all.
    pub(crate) pages: usize,
    /// Requests at a time, to all sites together.
    pub(crate) fetches: usize,
    /// Requests to one site in a second.
    pub(crate) rate: u32,
    /// Requests to one site that may come at once after it was left alone.
    pub(crate) burst: u32,
    /// How long a page may take.
    pub(crate) patience: Duration,
    /// How long the whole may take.
    pub(crate) time: Duration,
}

/// What became of a crawl.
pub(crate) struct Report {
    /// Of each page that was asked for, or was to be.
    pub(crate) pages: BTreeMap<Address, String>,
    /// How many pages were found and are too deep.
    pub(crate) too_deep: usize,
    /// How many pages were found and are too many.
    pub(crate) too_many: usize,
}

struct Crawl {
    limits: Limits,
    places: Semaphore,
    sites: Mutex<HashMap<String, Arc<Site>>>,
    time_is_up: CancelToken,
}

/// What is known of a site.
struct Site {
    /// Whoever asks next has it, and waits for all that it takes.
    turn: Mutex<Bucket>,
    /// What begins with one of these is not asked for.
    denied: OnceCell<Vec<String>>,
}

/// A bucket of tokens, each of which is one request. It fills up with time.
struct Bucket {
    period: Duration,
    burst: u32,
    /// When it will be full again.
    full_at: Duration,
}

impl Bucket {
    /// When there is a token.
    fn ready_at(&self) -> Duration {
        self.full_at.saturating_sub(self.period * (self.burst - 1))
    }

    fn take(&mut self) {
        self.full_at = self.full_at.max(now()) + self.period;
    }
}

/// What a visit of a page has led to.
struct Visit {
    found: String,
    links: Vec<Address>,
}

impl Visit {
    fn end(found: impl Into<String>) -> Visit {
        Visit { found: found.into(), links: Vec::new() }
    }
}

/// Crawls all that can be reached from some pages, within limits.
///
/// One step after the other: first those pages, then those that they have links to, and so on, all of one step at the same time. So how far away a page
/// is does not depend on who is faster, and what is found is the same each time.
pub(crate) fn crawl(start: impl IntoIterator<Item = Address>, limits: Limits) -> Report {
    let crawl = Crawl {
        limits,
        places: Semaphore::new(limits.fetches),
        sites: Mutex::default(),
        time_is_up: CancelToken::new(),
    };
    let token = crawl.time_is_up.clone();
    let alarm = spawn_async(async move {
        sleep_async(limits.time).await;
        token.cancel();
    });
    let mut report = Report { pages: BTreeMap::new(), too_deep: 0, too_many: 0 };
    let mut step: BTreeSet<Address> = start.into_iter().collect();
    for _ in 0..=limits.depth {
        let room = limits.pages - report.pages.len();
        report.too_many += step.len().saturating_sub(room);
        step = crawl.visit_all(step.into_iter().take(room), &mut report.pages);
    }
    report.too_deep = step.len();
    alarm.kill();
    report
}

impl Crawl {
    /// A tasklet for each page. Returns the pages that they lead to and that were not visited before.
    fn visit_all(
        &self,
        step: impl Iterator<Item = Address>,
        pages: &mut BTreeMap<Address, String>,
    ) -> BTreeSet<Address> {
        let visits: Vec<(Address, Visit)> = scope(|visitors| {
            let visit = |address: Address| {
                visitors.spawn(move || {
                    let visit = self.visit(&address);
                    (address, visit)
                })
            };
            let visitors: Vec<_> = step.map(visit).collect();
            visitors.into_iter().map(|visitor| visitor.join().expect("no visit panics")).collect()
        });
        let mut next = BTreeSet::new();
        for (address, Visit { found, links }) in visits {
            pages.insert(address, found);
            next.extend(links);
        }
        next.retain(|address| !pages.contains_key(address));
        next
    }

    fn visit(&self, address: &Address) -> Visit {
        let asked = self.time_is_up.run(|| -> io::Result<Option<Page>> {
            let site = self.site(address.site());
            let denied = site.denied.get_or_init(|| self.denied(&site, address));
            if denied.iter().any(|denied| address.target().starts_with(denied)) {
                return Ok(None);
            }
            self.ask(&site, address).map(Some)
        });
        match asked {
            Ok(None) => Visit::end("not asked for: robots.txt says so"),
            Ok(Some(page)) => describe(address, &page),
            Err(_) if self.time_is_up.is_cancelled() => Visit::end("left: the time for all was up"),
            // The system's number says more than is needed.
            Err(error) if error.raw_os_error().is_some() => Visit::end(format!("failed: {}", error.kind())),
            Err(error) => Visit::end(format!("failed: {error}")),
        }
    }

    fn site(&self, name: &str) -> Arc<Site> {
        let mut sites = self.sites.lock().expect("no site panics");
        let new = || {
            let Limits { rate, burst, .. } = self.limits;
            let bucket = Bucket { period: Duration::from_secs(1) / rate, burst, full_at: Duration::ZERO };
            Arc::new(Site { turn: Mutex::new(bucket), denied: OnceCell::new() })
        };
        sites.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// What a site does not want everybody to ask for. Nothing, if it does not say.
    fn denied(&self, site: &Site, address: &Address) -> Vec<String> {
        let robots = address.link("/robots.txt").expect("it is on the same site");
        let Ok(Page { status: 200, body, .. }) = self.ask(site, &robots) else { return Vec::new() };
        let (mut is_for_us, mut denied) = (false, Vec::new());
        for line in String::from_utf8_lossy(&body).lines() {
            match line.split('#').next().and_then(|line| line.split_once(':')) {
                Some((name, value)) if name.trim().eq_ignore_ascii_case("user-agent") => {
                    is_for_us = value.trim() == "*"
                }
                Some((name, value)) if is_for_us && name.trim().eq_ignore_ascii_case("disallow") => {
                    // An empty one denies nothing.
                    denied.extend(Some(value.trim().to_owned()).filter(|path| !path.is_empty()));
                }
                _ => {}
            }
        }
        denied
    }

    /// Asks for a page when it is this one's turn, and waits for it as long as patience lasts.
    fn ask(&self, site: &Site, address: &Address) -> io::Result<Page> {
        // The lock is held while its owner waits for a token, and then for a place: so no place is taken by who only waits, and the time of a request
        // is that at which it is sent.
        let mut bucket = site.turn.lock().expect("whoever has a turn does not panic");
        try_sleep_until(bucket.ready_at()).map_err(io::Error::other)?;
        let place = self.places.acquire_timeout(Duration::MAX).map_err(io::Error::other)?;
        bucket.take();
        drop(bucket);
        let answer = timeout(self.limits.patience, || fetch(address));
        drop(place);
        answer.unwrap_or_else(|elapsed| Err(io::Error::other(elapsed)))
    }
}

/// What there is in a page, and where it leads to.
fn describe(address: &Address, page: &Page) -> Visit {
    if let (300..=399, Some(location)) = (page.status, &page.location) {
        let link = address.link(location);
        let to = link.as_ref().map_or(&**location, Address::as_str);
        return Visit { found: format!("moved to {to}"), links: link.into_iter().collect() };
    }
    if page.status != 200 {
        return Visit::end(format!("status {}", page.status));
    }
    let cut = if page.is_cut { format!("cut after {BODY} bytes: ") } else { String::new() };
    if !page.is_html {
        return Visit::end(format!("{cut}{} bytes, no page", page.body.len()));
    }
    let (words, links) = read_html(&page.body);
    let links: BTreeSet<Address> = links.iter().filter_map(|link| address.link(link)).collect();
    Visit { found: format!("{cut}{words} words, {} links", links.len()), links: links.into_iter().collect() }
}
