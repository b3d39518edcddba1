//! What it costs and gives to trim the stacks of tasklets that have called deep once and wait: `cargo run --release --example trim_costs -- N`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tasklet_backend_corosensei::Corosensei;
use tasklet_channels::{Channel, SharedChannel};
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, Runtime};

const DEEP: usize = 100 << 10;

/// Uses so many bytes of the stack.
fn dive(bytes: usize) {
    fn down(top: usize, bytes: usize) -> u8 {
        let frame = black_box([1u8; 1024]);
        if top - frame.as_ptr().addr() >= bytes { frame[7] } else { down(top, bytes) + black_box(&frame)[9] }
    }
    let top = 0u8;
    black_box(down(std::ptr::from_ref(black_box(&top)).addr(), bytes));
}

struct Divers {
    runtime: Runtime<Corosensei>,
    gate: SharedChannel<()>,
    handles: Vec<JoinHandle<()>>,
}

impl Divers {
    /// Tasklets of one worker that wait, dive when they are woken, and wait again.
    fn new(count: usize) -> Divers {
        // Nothing is trimmed that is not asked for.
        let runtime = stealing::Builder::new().workers(1).trim_after(None).build().unwrap();
        let gate: SharedChannel<()> = Channel::new().share();
        let tasklet = |gate: SharedChannel<()>| {
            move || {
                while gate.recv().is_ok() {
                    dive(DEEP);
                }
            }
        };
        let handles: Vec<_> = (0..count).map(|_| runtime.spawn(tasklet(gate.clone()))).collect();
        let divers = Divers { runtime, gate, handles };
        divers.settle();
        divers
    }

    fn count(&self) -> usize {
        self.handles.len()
    }

    fn settle(&self) {
        while self.gate.balance() != -(self.count() as isize) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// All dive once. Returns nanoseconds for each.
    fn dive(&self) -> f64 {
        let (gate, count) = (self.gate.clone(), self.count());
        let took = self.runtime.run(move || {
            let start = Instant::now();
            (0..count).for_each(|_| gate.send(()).unwrap());
            stealing::yield_now();
            while gate.balance() != -(count as isize) {
                stealing::yield_now();
            }
            start.elapsed()
        });
        self.per_stack(took)
    }

    /// Trims all. Returns nanoseconds for each.
    fn trim(&self) -> f64 {
        let start = Instant::now();
        self.runtime.trim();
        // The worker does what it is asked in order.
        let _ = self.runtime.stack_usage(&self.handles[0]);
        self.per_stack(start.elapsed())
    }

    fn per_stack(&self, took: Duration) -> f64 {
        took.as_nanos() as f64 / self.count() as f64
    }

    fn resident(&self) -> usize {
        self.runtime.depot().resident() / self.count()
    }
}

fn main() {
    let count = std::env::args().nth(1).map_or(10_000, |count| count.parse().expect("a number of tasklets"));
    let divers = Divers::new(count);
    println!("{count} tasklets that wait, per stack: {} bytes in memory", divers.resident());
    let first = divers.dive();
    println!("dive of 100 KiB, first: {first:.0} ns, then {} bytes in memory", divers.resident());
    for _ in 0..3 {
        let again = divers.dive();
        let trim = divers.trim();
        let left = divers.resident();
        let vain = divers.trim();
        let after = divers.dive();
        println!(
            "dive {again:.0} ns; trim {trim:.0} ns, then {left} bytes in memory; trim in vain {vain:.0} ns; dive after it {after:.0} ns"
        );
    }
}
