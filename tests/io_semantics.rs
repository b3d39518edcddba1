//! What sockets, other descriptors, files, processes and signals promise, on the default backend of this build.

tasklet_testkit::io_suite!(tasklet::backend::Default);
