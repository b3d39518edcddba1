//! Small histories of channels have an order, on the reference backend.

tasklet_testkit::history_suite!(tasklet_testkit::thread_backend::Threads);
