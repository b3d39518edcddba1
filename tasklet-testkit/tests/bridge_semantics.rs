//! What the borders to other ways of running things promise, on the reference backend.

tasklet_testkit::bridge_suite!(tasklet_testkit::thread_backend::Threads);
