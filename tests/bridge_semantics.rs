//! What the borders to other ways of running things promise, on the default backend of this build.

tasklet_testkit::bridge_suite!(tasklet::backend::Default);
