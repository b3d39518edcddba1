//! The contract of tasklet-core's `Backend`, on the reference backend.

tasklet_testkit::contract_suite!(tasklet_testkit::thread_backend::Threads, alive_at_once: 2_000);
