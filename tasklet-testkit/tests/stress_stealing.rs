//! Random mixes of everything on the work-stealing runtime, on the reference backend. The long form is what
//! `cargo xtask stress --backend threads` runs.

use tasklet_testkit::Threads;
use tasklet_testkit::stress::{Size, flood, stress};

#[test]
fn nothing_is_lost_in_a_short_time() {
    stress::<Threads>(2, Size::Small);
}

#[test]
#[ignore = "takes a minute; `cargo xtask stress` runs it"]
fn nothing_is_lost_in_a_long_time() {
    stress::<Threads>(60, Size::Small);
}

#[test]
fn small_floods_arrive() {
    flood::<Threads>(2_000);
}

#[test]
#[ignore = "takes minutes; `cargo xtask stress --channels` runs it"]
fn large_floods_arrive() {
    flood::<Threads>(100_000_000);
}
