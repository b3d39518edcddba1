//! Random programs behave on the local scheduler as the model of its rules says, on the reference backend.

use tasklet_testkit::differential;
use tasklet_testkit::thread_backend::Threads;

#[test]
fn every_program_has_the_log_the_model_gives() {
    differential::check::<Threads>(&differential::programs());
}
