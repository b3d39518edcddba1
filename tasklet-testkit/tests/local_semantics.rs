//! The order and the errors of the local scheduler, on the reference backend.

tasklet_testkit::semantics_suite!(tasklet_testkit::thread_backend::Threads);
