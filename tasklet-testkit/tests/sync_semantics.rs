//! What locks and other synchronisation promise, on the reference backend.

tasklet_testkit::sync_suite!(tasklet_testkit::thread_backend::Threads);
