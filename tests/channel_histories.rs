//! Small histories of channels have an order, on the default backend of this build.

tasklet_testkit::history_suite!(tasklet::backend::Default);
