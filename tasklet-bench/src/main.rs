//! Workloads that measure tasklet.
fn main() {}
