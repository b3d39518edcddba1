//! What a runtime costs that has nothing to do and no memory for another stack: `cargo run --release --example ceiling_costs -- N WORKERS`.
//!
//! N tasklets wait, the ceiling on resident bytes is hit, and on each worker tasklets wait for a stack that nobody gives them.

use std::time::{Duration, Instant};

use tasklet_backend_corosensei::Corosensei;
use tasklet_channels::{Channel, SharedChannel};
use tasklet_scheduler::stealing::{self, Runtime};

/// Seconds in which nothing happens.
const SECONDS: u64 = 5;

/// Ticks of the process's processor time, a hundred to a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a kernel that tells");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let (count, workers) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(2));
    let runtime: Runtime<Corosensei> =
        stealing::Builder::new().workers(workers).trim_after(None).resident_ceiling(count * 4096).build().unwrap();
    let gate: SharedChannel<()> = Channel::new().share();
    // Some more than there is memory for.
    let handles: Vec<_> = (0..count + count / 2 + 100)
        .map(|number| {
            let gate = gate.clone();
            runtime.spawn_on(number % workers, move || gate.recv().is_ok()).unwrap()
        })
        .collect();
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let waiting = gate.balance();
        if waiting == before && waiting != 0 {
            break;
        }
        before = waiting;
    }
    println!(
        "{count} pages, {workers} workers: {} tasklets wait, {} for a stack",
        -before,
        handles.len() as isize + before
    );
    let (start, slept, ticks_before) = (Instant::now(), runtime.metrics().slept, ticks());
    for second in 1..=SECONDS {
        std::thread::sleep(Duration::from_secs(second).saturating_sub(start.elapsed()));
        println!(
            "after {second} s: {} ms of processor time, slept {} times",
            (ticks() - ticks_before) * 10,
            runtime.metrics().slept - slept
        );
    }
    // One that ends makes room for one.
    let start = Instant::now();
    for _ in 0..handles.len() {
        gate.send(()).unwrap();
    }
    assert!(handles.into_iter().all(|handle| handle.join().unwrap()));
    println!("all have ended {} ms after they were told to", start.elapsed().as_millis());
}
