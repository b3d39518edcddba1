//! What channels and select promise, on the reference backend.

tasklet_testkit::channel_suite!(tasklet_testkit::thread_backend::Threads);
