//! Uses the facade's default backend; the `no-backend` cell compiles it with none.

fn main() {
    let scheduler = tasklet::local::Scheduler::new();
    drop(scheduler);
}
