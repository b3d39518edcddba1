//! Random mixes of everything on the work-stealing runtime, on the default backend of this build. The long form is what
//! `cargo xtask stress` runs.

use tasklet::backend::Default as Backend;
use tasklet_testkit::stress::{Size, flood, stress};

#[test]
fn nothing_is_lost_in_a_short_time() {
    stress::<Backend>(2, Size::Normal);
}

#[test]
#[ignore = "takes a minute; `cargo xtask stress` runs it"]
fn nothing_is_lost_in_a_long_time() {
    stress::<Backend>(60, Size::Normal);
}

#[test]
fn small_floods_arrive() {
    flood::<Backend>(100_000);
}

#[test]
#[ignore = "takes minutes; `cargo xtask stress --channels` runs it"]
fn large_floods_arrive() {
    flood::<Backend>(100_000_000);
}
