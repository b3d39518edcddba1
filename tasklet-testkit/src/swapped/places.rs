//! The places where a tasklet can wait, one of each kind.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tasklet_bridge::futures::block_on;
use tasklet_channels::{Channel, bounded, broadcast, oneshot, rendezvous, select, unbounded, watch};
use tasklet_core::current;
use tasklet_core::tasklet::{Record, spot};
use tasklet_sync::{Barrier, Condvar, Event, Mutex, RwLock, Semaphore, WaitGroup};

use super::setup::{give_way, ignore, spawn_here};

/// A place where one tasklet waits, and another ends that.
pub(super) struct Place {
    pub(super) name: &'static str,
    /// Waits, in the end or for this long at most. Whether it was served.
    pub(super) wait: Box<dyn FnOnce(Option<Duration>) -> bool>,
    pub(super) serve: Box<dyn FnOnce()>,
}

fn place(
    name: &'static str,
    wait: impl FnOnce(Option<Duration>) -> bool + 'static,
    serve: impl FnOnce() + 'static,
) -> Place {
    Place { name, wait: Box::new(wait), serve: Box::new(serve) }
}

/// One of each kind.
pub(super) fn all() -> Vec<Place> {
    let mut all = Vec::new();
    channels(&mut all);
    others(&mut all);
    locks(&mut all);
    all
}

fn channels(all: &mut Vec<Place>) {
    let (sender, receiver) = rendezvous();
    let wait = move |limit| match limit {
        Some(limit) => receiver.recv_timeout(limit) == Ok(7),
        None => receiver.recv() == Ok(7),
    };
    all.push(place("receive", wait, move || sender.send(7).unwrap()));

    let (sender, receiver) = rendezvous();
    let wait = move |limit| match limit {
        Some(limit) => sender.send_timeout([7; 9], limit).is_ok(),
        None => sender.send([7; 9]).is_ok(),
    };
    all.push(place("send", wait, move || assert_eq!(receiver.recv(), Ok([7; 9]))));

    let (sender, receiver) = bounded(1);
    sender.send(0).unwrap();
    let wait = move |limit| match limit {
        Some(limit) => sender.reserve_timeout(limit).is_ok(),
        None => sender.reserve().is_ok(),
    };
    all.push(place("reserve", wait, move || assert_eq!(receiver.recv(), Ok(0))));

    let (sender, receiver) = unbounded();
    let wait = move |limit: Option<Duration>| {
        let mut got = Vec::new();
        match limit {
            Some(limit) => got.extend(receiver.recv_timeout(limit)),
            None => drop(receiver.recv_many(&mut got, 3)),
        }
        got == [5]
    };
    all.push(place("receive many", wait, move || sender.send(5).unwrap()));

    let channel = Channel::<u8>::new().share();
    let other = channel.clone();
    let wait = move |limit| match limit {
        Some(limit) => channel.recv_timeout(limit) == Ok(1),
        None => channel.recv() == Ok(1),
    };
    all.push(place("Stackless's channel", wait, move || other.send(1).unwrap()));

    let channel = Channel::<u8>::new();
    let other = channel.clone();
    let wait = move |limit| match limit {
        Some(limit) => channel.send_timeout(1, limit).is_ok(),
        None => channel.send(1).is_ok(),
    };
    all.push(place("Stackless's channel, of one thread", wait, move || assert_eq!(other.recv(), Ok(1))));

    let (sender, receiver) = oneshot();
    let wait = move |limit| match limit {
        Some(limit) => receiver.recv_timeout(limit) == Ok(1),
        None => receiver.recv() == Ok(1),
    };
    all.push(place("oneshot", wait, move || sender.send(1).unwrap()));

    let (sender, receiver) = broadcast(4);
    let wait = move |limit| match limit {
        Some(limit) => receiver.recv_timeout(limit).is_ok(),
        None => receiver.recv().is_ok(),
    };
    all.push(place("broadcast", wait, move || ignore(sender.send(1).unwrap())));

    let (sender, receiver) = watch(0);
    let wait = move |limit| match limit {
        Some(limit) => receiver.changed_timeout(limit).is_ok(),
        None => receiver.changed().is_ok(),
    };
    all.push(place("watch", wait, move || sender.send(1).unwrap()));

    let (sender, receiver) = unbounded();
    let (_kept, never) = unbounded::<u8>();
    let wait = move |limit: Option<Duration>| {
        let _kept = &_kept;
        match limit {
            Some(limit) => {
                select! { recv(never) -> _ => false, recv(receiver) -> got => got == Ok(3), default(limit) => false }
            }
            None => select! { recv(never) -> _ => false, recv(receiver) -> got => got == Ok(3) },
        }
    };
    all.push(place("select", wait, move || sender.send(3).unwrap()));
}

fn others(all: &mut Vec<Place>) {
    let (gate, opened) = unbounded();
    let wait = move |limit| {
        let child = spawn_here(move || opened.recv() == Ok(1));
        match limit {
            Some(limit) => {
                let finished = child.wait_timeout(limit).unwrap();
                if !finished {
                    child.kill();
                }
                finished
            }
            None => child.join().unwrap(),
        }
    };
    all.push(place("join", wait, move || gate.send(1).unwrap()));

    let who = Rc::new(RefCell::new(None::<Arc<Record>>));
    let waiting = who.clone();
    let wait = move |limit: Option<Duration>| {
        *waiting.borrow_mut() = Some(current::record());
        match limit {
            Some(limit) => spot::park_until(current::now() + limit) == Ok(spot::Permit::Taken),
            None => spot::park() == Ok(spot::Permit::Taken),
        }
    };
    all.push(place("permit", wait, move || who.take().unwrap().spot().unpark()));

    let (sender, receiver) = rendezvous();
    let wait = move |limit: Option<Duration>| match limit {
        // A future has no limit: somebody else's is waited for.
        Some(limit) => receiver.recv_timeout(limit).is_ok(),
        None => block_on(async { receiver.recv_async().await == Ok(4) }),
    };
    all.push(place("future", wait, move || sender.send(4).unwrap()));
}

fn locks(all: &mut Vec<Place>) {
    let mutex: &Mutex<u8> = Box::leak(Box::default());
    let guard = mutex.lock().unwrap();
    let wait = move |limit| match limit {
        Some(limit) => mutex.try_lock_for(limit).is_ok(),
        None => mutex.lock().is_ok(),
    };
    all.push(place("mutex", wait, move || drop(guard)));

    let lock: &RwLock<u8> = Box::leak(Box::default());
    let guard = lock.write().unwrap();
    let wait = move |limit| match limit {
        Some(limit) => lock.try_read_for(limit).is_ok(),
        None => lock.read().is_ok(),
    };
    all.push(place("read", wait, move || drop(guard)));

    let lock: &RwLock<u8> = Box::leak(Box::default());
    let guard = lock.read().unwrap();
    let wait = move |limit| match limit {
        Some(limit) => lock.try_write_for(limit).is_ok(),
        None => lock.write().is_ok(),
    };
    all.push(place("write", wait, move || drop(guard)));

    let semaphore = Arc::new(Semaphore::new(1));
    let other = semaphore.clone();
    let wait = move |limit| match limit {
        Some(limit) => semaphore.acquire_many_timeout(2, limit).is_ok(),
        None => semaphore.acquire_many(2).count() == 2,
    };
    all.push(place("semaphore", wait, move || other.add_permits(1)));

    let event = Arc::new(Event::new());
    let other = event.clone();
    let wait = move |limit| match limit {
        Some(limit) => event.wait_timeout(limit).is_ok(),
        None => {
            event.wait();
            true
        }
    };
    all.push(place("event", wait, move || other.set()));

    let both = Arc::new((Mutex::new(0), Condvar::new()));
    let other = both.clone();
    let wait = move |limit| {
        let guard = both.0.lock().unwrap();
        match limit {
            Some(limit) => !both.1.wait_timeout_while(guard, limit, |number| *number == 0).unwrap().1.timed_out(),
            None => *both.1.wait_while(guard, |number| *number == 0).unwrap() == 1,
        }
    };
    let serve = move || {
        *other.0.lock().unwrap() = 1;
        other.1.notify_all();
    };
    all.push(place("condition", wait, serve));

    let barrier = Arc::new(Barrier::new(2));
    let other = barrier.clone();
    let wait = move |limit| match limit {
        Some(limit) => barrier.wait_timeout(limit).is_ok(),
        None => {
            barrier.wait();
            true
        }
    };
    all.push(place("barrier", wait, move || ignore(other.wait())));

    let group = WaitGroup::new();
    let other = group.clone();
    let wait = move |limit: Option<Duration>| match limit {
        Some(limit) => group.wait_timeout(limit).is_ok(),
        None => {
            group.wait();
            true
        }
    };
    all.push(place("group", wait, move || {
        give_way();
        drop(other);
    }));
}
