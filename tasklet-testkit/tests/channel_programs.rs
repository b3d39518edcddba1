//! Random programs over channels lose nothing, on the reference backend.

tasklet_testkit::program_suite!(tasklet_testkit::thread_backend::Threads);
