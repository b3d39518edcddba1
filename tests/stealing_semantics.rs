//! What the work-stealing runtime promises, on the default backend of this build.

tasklet_testkit::stealing_suite!(tasklet::backend::Default);
