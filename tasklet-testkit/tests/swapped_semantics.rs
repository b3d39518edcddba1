//! What swapped tasklets promise, on the reference backend, which says that it has none.

tasklet_testkit::swapped_suite!(tasklet_testkit::thread_backend::Threads);
