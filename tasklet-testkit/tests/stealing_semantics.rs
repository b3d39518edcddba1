//! What the work-stealing runtime promises, on the reference backend.

tasklet_testkit::stealing_suite!(tasklet_testkit::thread_backend::Threads);
