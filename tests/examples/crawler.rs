//! `crawler` on its own sites, on those of `http_server`, and on some that look at how they are crawled.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{self, Folder, PROMPT, run, stderr, stdout};
use crate::service::Service;

#[track_caller]
fn crawl(arguments: &[&str]) -> String {
    let output = run("crawler", arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    stdout(&output)
}

/// A site in this process, whose connections have a thread each. Lives as long as the process.
struct Site {
    address: String,
    /// How often each page was asked for.
    requests: Arc<Mutex<HashMap<String, u32>>>,
}

impl Site {
    fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(HashMap::new()));
        let (answer, seen) = (Arc::new(answer), requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, seen) = (answer.clone(), seen.clone());
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    let target = read_head(&mut stream);
                    *seen.lock().unwrap().entry(target.clone()).or_default() += 1;
                    // Who has lost patience does not read it.
                    let _ = stream.get_mut().write_all(answer(&target).as_bytes());
                });
            }
        });
        Site { address, requests }
    }

    fn at(&self, target: &str) -> String {
        format!("{}{target}", self.address)
    }

    /// What is printed, with the pages of this site as paths.
    fn crawl(&self, options: &[&str], start: &str) -> String {
        crawl(&[options, &[&self.at(start)]].concat()).replace(&self.address, "")
    }

    fn nobody_came_twice(&self) -> bool {
        self.requests.lock().unwrap().values().all(|count| *count == 1)
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> String {
    let mut target = String::new();
    for line in stream.lines() {
        let line = line.unwrap();
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["GET", of, "HTTP/1.0"] => target = of.to_owned(),
            [] => break,
            _ => {}
        }
    }
    target
}

fn html(text: &str) -> String {
    format!("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n{text}")
}

fn not_found() -> String {
    "HTTP/1.0 404 Not Found\r\n\r\n".to_owned()
}

/// A page with links to `/1` and so on.
fn links(count: usize) -> String {
    html(&(1..=count).map(|n| format!("<a href={n}>{n}</a> ")).collect::<String>())
}

#[test]
fn its_own_sites_are_found_and_asked_politely() {
    assert_eq!(crawl(&[]), include_str!("output/crawler.txt"));
}

#[test]
fn a_folder_behind_http_server_is_found() {
    let folder = Folder::new("crawler-site");
    folder.file(
        "index.html",
        b"<title>Start</title> <a href='a%20b.html?x#y'>one</a> <A HREF=\"./sub/../notes.txt\">two</A>",
    );
    folder.file("a b.html", b"<p>back to <a href=/>the start</a>, on to <a href=/none>nothing</a>");
    folder.file("notes.txt", b"<a href=/never>no link here</a>");
    folder.file("robots.txt", b"User-Agent: *\r\nDisallow: /none\r\n");
    let server = Service::start(program::command("http_server").arg(&folder.0).args(["--port", "0"]));
    let address = server.address.as_str();
    let found = crawl(&[address, &format!("{address}/#again")]).replace(address, "");
    let expected = "/ 3 words, 2 links\n/a%20b.html?x 8 words, 2 links\n/none not asked for: robots.txt says so\n\
                    /notes.txt 31 bytes, no page\n";
    assert_eq!(found, expected);
}

#[test]
fn so_many_are_asked_for_at_a_time() {
    // Each waits until there are three.
    let waiting = Arc::new((Mutex::new((0, 0, 0)), Condvar::new()));
    let shared = waiting.clone();
    let site = Site::new(move |target| match target {
        "/" => links(9),
        "/robots.txt" => not_found(),
        _ => {
            let (counts, come) = &*shared;
            let mut counts_now = counts.lock().unwrap();
            let (current, most, all) = &mut *counts_now;
            (*current, *all) = (*current + 1, *all + 1);
            *most = (*most).max(*current);
            let group = (*all + 2) / 3 * 3;
            come.notify_all();
            let (mut counts_now, _) = come.wait_timeout_while(counts_now, PROMPT, |(_, _, all)| *all < group).unwrap();
            counts_now.0 -= 1;
            html("three at a time")
        }
    });
    let found = site.crawl(&["--fetches", "3", "--rate", "10000", "--patience", "10000"], "/");
    assert_eq!(found.matches("4 words, 0 links").count(), 9, "{found}");
    let (_, most, _) = *waiting.0.lock().unwrap();
    assert_eq!(most, 3);
    assert!(site.nobody_came_twice());
}

#[test]
fn a_site_is_not_asked_faster_than_that() {
    let site = Site::new(|target| if target == "/" { links(10) } else { html("quick") });
    let start = Instant::now();
    let found = site.crawl(&["--rate", "20", "--fetches", "100"], "/");
    // Twelve with its robots.txt, two of them at once.
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(found.lines().count(), 11, "{found}");
    assert_eq!(site.requests.lock().unwrap().len(), 12);
    assert!(site.nobody_came_twice());
}

#[test]
fn who_waits_for_a_turn_holds_nobody_up() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let others: Vec<Site> = (0..3)
        .map(|_| {
            let seen = seen.clone();
            Site::new(move |target| {
                seen.lock().unwrap().push("other");
                if target == "/" { html("hello") } else { not_found() }
            })
        })
        .collect();
    let links: String = others.iter().map(|other| format!("<a href={}>other</a> ", other.at("/"))).collect();
    let first = seen.clone();
    let site = Site::new(move |target| match target {
        "/" => html(&format!("<a href=/1>mine</a> {links}")),
        "/1" => {
            first.lock().unwrap().push("mine");
            html("late")
        }
        _ => not_found(),
    });
    // Its second page has to wait for a second, and there is one place for all; the others have theirs meanwhile.
    let found = site.crawl(&["--rate", "1", "--fetches", "1"], "/");
    assert_eq!(found.lines().count(), 5, "{found}");
    assert_eq!(*seen.lock().unwrap(), ["other", "other", "other", "other", "other", "other", "mine"]);
}

#[test]
fn steps_and_pages_have_limits() {
    let site = Site::new(|target| match target.strip_prefix('/').map(str::parse::<u32>) {
        Some(Ok(n)) => html(&format!("<a href=/{}>more</a> <a href=/{}>and more</a>", 2 * n, 2 * n + 1)),
        _ => not_found(),
    });
    let options = ["--rate", "10000", "--fetches", "50"];
    let limited = |limit: &[&str]| site.crawl(&[&options[..], limit].concat(), "/1");
    assert_eq!(limited(&["--depth", "0"]), "/1 3 words, 2 links\nToo deep to be asked for: 2 pages.\n");
    let found = limited(&["--depth", "2"]);
    assert!(found.lines().count() == 8 && found.ends_with("\nToo deep to be asked for: 8 pages.\n"), "{found}");
    let found = limited(&["--depth", "3", "--pages", "10"]);
    assert!(found.lines().count() == 12 && found.contains("\nToo many to be asked for: 5 pages.\n"), "{found}");
}

#[test]
fn the_time_of_the_whole_is_limited() {
    let site = Site::new(|target| match target {
        "/" => links(3),
        "/robots.txt" => not_found(),
        // Longer than anybody waits here.
        _ => {
            thread::sleep(3 * PROMPT);
            String::new()
        }
    });
    let start = Instant::now();
    // One waits for an answer, one for a place, one for its turn.
    let found = site.crawl(&["--time", "500", "--patience", "100000", "--fetches", "1"], "/");
    assert!(start.elapsed() < PROMPT);
    assert_eq!(
        found,
        "/ 3 words, 3 links\n/1 left: the time for all was up\n/2 left: the time for all was up\n/3 left: the time for all was up\n"
    );
}

#[test]
fn what_it_cannot_do_is_said() {
    for arguments in [&["ftp://x/"][..], &["/"], &["--what"], &["--depth"], &["--depth", "-1"], &["--rate", "0"]] {
        let output = run("crawler", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("usage: crawler"), "{}", stderr(&output));
    }
    assert!(crawl(&["http://127.0.0.1:0/"]).starts_with("http://127.0.0.1:0/ failed: "));
}
