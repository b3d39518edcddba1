//! Crawls sites, politely: a tasklet for each page, so many requests at a time and in a second, limits for a page and for the whole.
//!
//! What there is of the runtime here: [`scope`](tasklet::scope) for the pages of one step; a semaphore for all requests, a lock that is held while its
//! owner waits, and timers, for the rate of each site; [`timeout`](tasklet::timeout) around code that connects, writes and reads as if it had a thread to
//! itself; a [`CancelToken`](tasklet::CancelToken) for a crawl that does not end, and a soft tasklet that cancels it when the time is up.
//!
//! | file | what it is |
//! |---|---|
//! | `crawl` | which page when |
//! | `page` | one page: its address, its request, its links |
//! | `sites` | three small sites to crawl, in the same program |
//!
//! Without an address it crawls its own sites, which listen at the loopback address and keep books of who asks them. What it prints is the same each time.
//!
//! ```text
//! cargo run --release --example crawler
//! cargo run --release --example http_server -- target/doc --port 8080
//! cargo run --release --example crawler -- --rate 1000 --depth 2 http://127.0.0.1:8080/tasklet/
//! ```

#![forbid(unsafe_code)]

mod crawl;
mod page;
mod sites;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use tasklet::Runtime;

use crate::crawl::{Limits, crawl};
use crate::page::Address;
use crate::sites::Sites;

const USAGE: &str = "usage: crawler [OPTION...] [ADDRESS...]

Follows the links of the pages at these addresses (http://HOST[:PORT]/PATH), or of its own sites if there is none, and prints what it finds.

  --depth N      follow N links in a row (4)
  --pages N      ask for N pages at most (1000)
  --fetches N    ask for N pages at a time (4)
  --rate N       ask each site for N pages in a second (100)
  --patience MS  wait MS milliseconds for a page (2000)
  --time MS      end after MS milliseconds (60000)";

fn main() -> ExitCode {
    let (limits, addresses) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("crawler: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let printed = Runtime::with_defaults().map_err(io::Error::other).and_then(|runtime| {
        runtime.run(|| if addresses.is_empty() { crawl_own(limits) } else { Ok(crawl_others(addresses, limits)) })
    });
    match printed {
        Ok(text) => {
            // Whoever does not want to read it has ended before us.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("crawler: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<(Limits, Vec<Address>)>, String> {
    let seconds = Duration::from_secs;
    let mut limits =
        Limits { depth: 4, pages: 1000, fetches: 4, rate: 100, burst: 2, patience: seconds(2), time: seconds(60) };
    let mut addresses = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = |least: u32| {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
            let number = value.parse().ok().filter(|number| *number >= least);
            number.ok_or_else(|| format!("{argument} {value}: needs a number of {least} or more"))
        };
        match &*argument {
            "-h" | "--help" => return Ok(None),
            "--depth" => limits.depth = number(0)? as usize,
            "--pages" => limits.pages = number(1)? as usize,
            "--fetches" => limits.fetches = number(1)? as usize,
            "--rate" => limits.rate = number(1)?,
            "--patience" => limits.patience = Duration::from_millis(number(1)?.into()),
            "--time" => limits.time = Duration::from_millis(number(1)?.into()),
            option if option.starts_with('-') => return Err(format!("there is no option {option}")),
            address => {
                let address =
                    Address::new(address).ok_or_else(|| format!("{address} is no address of a page, http://.."))?;
                addresses.push(address);
            }
        }
    }
    Ok(Some((limits, addresses)))
}

fn crawl_others(addresses: Vec<Address>, limits: Limits) -> String {
    let report = crawl(addresses, limits);
    let mut text = String::new();
    for (address, found) in &report.pages {
        text += &format!("{} {found}\n", address.as_str());
    }
    if report.too_deep > 0 {
        text += &format!("Too deep to be asked for: {} pages.\n", report.too_deep);
    }
    if report.too_many > 0 {
        text += &format!("Too many to be asked for: {} pages.\n", report.too_many);
    }
    text
}

fn crawl_own(limits: Limits) -> io::Result<String> {
    let sites = Sites::start()?;
    let named = |name: &str| sites.names.iter().find(|(other, _)| *other == name).map(|(_, address)| address);
    let start = format!("http://{}/", named("library").expect("it is one of them"));
    let mut text = crawl_others(Address::new(&start).into_iter().collect(), limits);
    // Ports are others each time.
    for (name, address) in &sites.names {
        text = text.replace(address, name);
    }
    let (last, pages): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| !line.starts_with("http://"));
    let mut pages = pages;
    pages.sort_unstable();
    let mut text: String = pages.iter().chain(&last).map(|line| format!("{line}\n")).collect();
    text += &sites.verdict(limits.fetches, limits.rate, limits.burst);
    Ok(text)
}
