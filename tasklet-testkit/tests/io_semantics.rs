//! What sockets and other descriptors promise, on the reference backend.

tasklet_testkit::io_suite!(tasklet_testkit::thread_backend::Threads);
