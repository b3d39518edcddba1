//! What locks and other synchronisation promise, on the default backend of this build.

tasklet_testkit::sync_suite!(tasklet::backend::Default);
