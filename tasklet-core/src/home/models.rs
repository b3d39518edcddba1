//! Other threads ask while the scheduler looks into its inbox, sleeps, and goes.

use std::time::Duration;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;
use crate::driver::{Driver, Reactor, ThreadDriver};

/// A request that can be told from others.
fn request(token: &HomeToken, number: u32) -> Remote {
    let mut spec = crate::tasklet::Spec::here();
    spec.name = Some(number.to_string());
    Remote::Insert(Record::unbound(crate::id::TaskletIds::default().next_id(), spec, token))
}

fn numbers(requests: Vec<Remote>) -> Vec<u32> {
    let number = |request| match request {
        Remote::Insert(record) => record.name().and_then(|name| name.parse().ok()),
        _ => None,
    };
    requests.into_iter().filter_map(number).collect()
}

/// What a scheduler with nothing to run does: looks at the flag, takes what there is, sleeps.
fn take(token: &HomeToken, driver: &ThreadDriver, wanted: usize) -> Vec<u32> {
    let mut taken = Vec::new();
    loop {
        if token.has_requests() {
            taken.extend(numbers(token.take_requests()));
        }
        if taken.len() == wanted {
            return taken;
        }
        // If a notification or the flag could be missed, nobody would end this, and loom reports a deadlock.
        driver.wait(None);
    }
}

#[test]
fn sleeping_scheduler_gets_every_request() {
    loom::model(|| {
        let driver = ThreadDriver::default();
        let token = Home::new(driver.notifier());
        let others: Vec<_> = (0..2)
            .map(|number| {
                let (home, request) = (token.home().clone(), request(&token, number));
                thread::spawn(move || assert!(home.submit(request).is_ok()))
            })
            .collect();
        let mut taken = take(&token, &driver, 2);
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(token.take_requests().is_empty());
    });
}

#[test]
fn requests_of_one_thread_arrive_in_order() {
    loom::model(|| {
        let driver = ThreadDriver::default();
        let token = Home::new(driver.notifier());
        let home = token.home().clone();
        let requests = [request(&token, 0), request(&token, 1)];
        let other = thread::spawn(move || {
            for request in requests {
                assert!(home.submit(request).is_ok());
            }
        });
        assert_eq!(take(&token, &driver, 2), [0, 1]);
        other.join().unwrap();
    });
}

#[test]
fn request_to_a_closing_scheduler_is_taken_or_comes_back() {
    loom::model(|| {
        let driver = ThreadDriver::default();
        let token = Home::new(driver.notifier());
        let (home, first) = (token.home().clone(), request(&token, 0));
        let other = thread::spawn(move || match home.submit(first) {
            Ok(()) => Vec::new(),
            Err(back) => numbers(vec![back]),
        });
        let mut all = if token.has_requests() { numbers(token.take_requests()) } else { Vec::new() };
        all.extend(numbers(token.close()));
        assert!(token.home().submit(request(&token, 1)).is_err());
        all.extend(other.join().unwrap());
        assert_eq!(all, [0], "it is in one place");
        assert!(token.take_requests().is_empty(), "nothing comes after the end");
    });
}

#[test]
fn last_remote_is_missed_only_after_its_request_was_seen() {
    loom::model(|| {
        let driver = ThreadDriver::default();
        let token = Home::new(driver.notifier());
        token.home().add_remote();
        let (home, request) = (token.home().clone(), request(&token, 0));
        let other = thread::spawn(move || {
            assert!(home.submit(request).is_ok());
            home.remove_remote();
        });
        let mut taken = Vec::new();
        // Remotes first, then the flag: a scheduler that asks in this order does not call it a deadlock with a request in the inbox.
        while token.home().has_remotes() || token.has_requests() {
            driver.wait(None);
            taken.extend(numbers(token.take_requests()));
        }
        assert_eq!(taken, [0]);
        other.join().unwrap();
    });
}

/// A descriptor: readable from when somebody has written until that is fetched.
#[derive(Default)]
struct Descriptor {
    readable: Mutex<bool>,
    changed: Condvar,
}

impl Notify for Descriptor {
    fn notify(&self) {
        *self.readable.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

struct Poller(Arc<Descriptor>);

impl Reactor for Poller {
    fn wait(&self, timeout: Option<Duration>) -> bool {
        let mut readable = self.0.readable.lock().unwrap();
        while timeout.is_none() && !*readable {
            readable = self.0.changed.wait(readable).unwrap();
        }
        *readable = false;
        false
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.0.clone()
    }
}

/// A host that polls the descriptor itself, and looks at the scheduler when that is readable. If it could wait for what has been asked, nobody
/// would end that, and loom reports a deadlock.
fn host_gets_every_request(waits: bool) {
    loom::model(move || {
        let driver = ThreadDriver::default();
        let descriptor = Arc::new(Descriptor::default());
        let cell = driver.reactor().unwrap();
        cell.get_or_attach(|| Ok(Box::new(Poller(descriptor.clone())))).unwrap();
        let token = Home::new(driver.notifier());
        let others: Vec<_> = (0..2)
            .map(|number| {
                let (home, request) = (token.home().clone(), request(&token, number));
                thread::spawn(move || assert!(home.submit(request).is_ok()))
            })
            .collect();
        let mut taken = Vec::new();
        while taken.len() < 2 {
            cell.take_back();
            driver.poll();
            if waits {
                // In between, the scheduler waits itself.
                driver.wait(Some(Duration::ZERO));
            }
            taken.extend(numbers(token.take_requests()));
            if taken.len() < 2 && cell.lend() {
                let mut readable = descriptor.readable.lock().unwrap();
                while !*readable {
                    readable = descriptor.changed.wait(readable).unwrap();
                }
            }
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn host_that_polls_gets_every_request() {
    host_gets_every_request(false);
}

#[test]
fn host_of_a_scheduler_that_waits_gets_every_request() {
    host_gets_every_request(true);
}
