//! The order and the errors of the local scheduler, on the default backend of this build.

tasklet_testkit::semantics_suite!(tasklet::backend::Default);
