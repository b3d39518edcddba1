//! What swapped tasklets promise, on the default backend of this build.

tasklet_testkit::swapped_suite!(tasklet::backend::Default);
