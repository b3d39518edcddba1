//! One who reads and a poller that tells of what has come, in every order of their steps.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use tasklet_core::operation::AnyBackend;
use tasklet_core::wait::{self, Patience};

use super::*;

/// All orders with up to three switches of thread that are not asked for.
fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(f);
}

/// A descriptor: what is in its buffer, and whether its other end is closed.
struct Pipe {
    source: Source,
    /// Bytes, and [`CLOSED`].
    state: AtomicU32,
}

const CLOSED: u32 = 1 << 8;

impl Pipe {
    fn new() -> Arc<Pipe> {
        Arc::new(Pipe { source: Source::new(), state: AtomicU32::new(0) })
    }

    /// The system's read, which takes all there is. `None` if it would have to wait. That it sees what the poller has told of is the protocol's to see to.
    fn read(&self) -> Option<u32> {
        if self.state.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.state.fetch_and(CLOSED, Ordering::Relaxed) {
            0 => None,
            state => Some(state & !CLOSED),
        }
    }

    /// As an operation does. What it reads is less than it asks for.
    fn read_and_wait(&self) -> u32 {
        loop {
            let seen = self.source.seen();
            if seen.allows(Direction::Read) {
                match self.read() {
                    None => self.source.clear(Direction::Read, seen),
                    Some(got) => {
                        if got != 0 {
                            self.source.clear_spent(Direction::Read, seen);
                        }
                        return got;
                    }
                }
            } else {
                let attempt = Await { source: &self.source, wanted: Wanted::Ready(Direction::Read) };
                assert_eq!(wait::perform::<AnyBackend, _>(attempt, None, Patience::Wait), Ended::Done);
            }
        }
    }

    /// Something comes, and the poller tells of it afterwards.
    fn come(&self, what: u32) {
        self.state.fetch_add(what, Ordering::Relaxed);
        let ready = if what & CLOSED == 0 { Ready::READ } else { Ready::READ | Ready::READ_ENDED };
        self.source.tell(ready);
    }
}

#[test]
fn reader_misses_nothing() {
    model(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let poller = thread::spawn(move || other.come(1));
        assert_eq!(pipe.read_and_wait(), 1);
        poller.join().unwrap();
    });
}

#[test]
fn reader_misses_nothing_that_follows() {
    model(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let poller = thread::spawn(move || {
            other.come(1);
            other.come(2);
        });
        let mut sum = 0;
        while sum < 3 {
            sum += pipe.read_and_wait();
        }
        poller.join().unwrap();
    });
}

#[test]
fn reader_sees_the_end() {
    model(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let poller = thread::spawn(move || {
            other.come(1);
            other.come(CLOSED);
        });
        assert_eq!(pipe.read_and_wait(), 1);
        assert_eq!(pipe.read_and_wait(), 0);
        assert_eq!(pipe.read_and_wait(), 0);
        poller.join().unwrap();
    });
}

#[test]
fn end_that_comes_with_the_last_bytes_is_seen() {
    model(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        // One event tells of both, as a poller does that looks late.
        let poller = thread::spawn(move || other.come(1 + CLOSED));
        assert_eq!(pipe.read_and_wait(), 1);
        assert_eq!(pipe.read_and_wait(), 0);
        poller.join().unwrap();
    });
}

#[test]
fn two_readers_are_both_woken() {
    model(|| {
        let pipe = Pipe::new();
        let readers = [pipe.clone(), pipe.clone()].map(|pipe| thread::spawn(move || pipe.read_and_wait()));
        pipe.come(1);
        pipe.come(CLOSED);
        let sum: u32 = readers.map(|reader| reader.join().unwrap()).into_iter().sum();
        assert_eq!(sum, 1);
    });
}
