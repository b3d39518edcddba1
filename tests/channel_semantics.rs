//! What channels and select promise, on the default backend of this build.

tasklet_testkit::channel_suite!(tasklet::backend::Default);
