//! Philosophers at a round table, with a fork between each two neighbours: who eats needs both forks beside him.
//!
//! A fork is a channel with room for one message: to take it is to receive, to put it back is to send. If all took the fork on their left
//! first, all could hold one and wait for the other for ever. Here the forks are numbered and everybody takes the lower number first, so
//! that no circle of people who wait for each other can close.
//!
//! ```text
//! cargo run --release --example dining_philosophers
//! cargo run --release --no-default-features --features backend-context --example dining_philosophers
//! ```

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tasklet::{Receiver, Sender, bounded, scope, yield_now};

const PHILOSOPHERS: [&str; 5] = ["Hypatia", "Epictetus", "Diotima", "Zeno", "Aspasia"];
const MEALS: usize = 1000;

/// Lies on the table while there is a message in it.
struct Fork {
    put: Sender<()>,
    take: Receiver<()>,
    is_held: AtomicBool,
}

impl Fork {
    fn new() -> Fork {
        let (put, take) = bounded(1);
        put.send(()).expect("there is room for one");
        Fork { put, take, is_held: AtomicBool::new(false) }
    }

    fn take(&self) {
        self.take.recv().expect("the table stays until all have eaten");
        assert!(!self.is_held.swap(true, Ordering::Relaxed), "two hold one fork");
    }

    fn put(&self) {
        self.is_held.store(false, Ordering::Relaxed);
        self.put.send(()).expect("the table stays until all have eaten");
    }
}

fn main() -> ExitCode {
    let (meals, most) = tasklet::run(dine);
    let mut text = String::new();
    for (name, meals) in PHILOSOPHERS.iter().zip(&meals) {
        text += &format!("{name} has eaten {meals} times\n");
    }
    let half = PHILOSOPHERS.len() / 2;
    assert!(most <= half, "{most} eat with {} forks", PHILOSOPHERS.len());
    text += &format!("{} meals, never more than {half} at a time\n", meals.iter().sum::<usize>());
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("dining_philosophers: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// How often each has eaten, and how many did at the same time at most.
fn dine() -> (Vec<usize>, usize) {
    let forks: Vec<Fork> = PHILOSOPHERS.iter().map(|_| Fork::new()).collect();
    let (eating, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let meals = scope(|table| {
        let sit = |left: usize| {
            let right = (left + 1) % forks.len();
            let (first, second) = (&forks[left.min(right)], &forks[left.max(right)]);
            let (eating, most) = (&eating, &most);
            table.spawn(move || {
                let mut meals = 0;
                while meals < MEALS {
                    first.take();
                    second.take();
                    most.fetch_max(eating.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    // A meal takes time: the neighbours get hungry.
                    yield_now();
                    meals += 1;
                    eating.fetch_sub(1, Ordering::Relaxed);
                    second.put();
                    first.put();
                }
                meals
            })
        };
        let guests: Vec<_> = (0..forks.len()).map(sit).collect();
        guests.into_iter().map(|guest| guest.join().expect("nobody chokes")).collect()
    });
    assert!(forks.iter().all(|fork| fork.take.len() == 1), "a fork was taken home");
    (meals, most.into_inner())
}
