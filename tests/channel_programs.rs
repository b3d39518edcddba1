//! Random programs over channels lose nothing, on the default backend of this build.

tasklet_testkit::program_suite!(tasklet::backend::Default);
