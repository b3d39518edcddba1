//! The contract of tasklet-core's `Backend`, on this backend.

tasklet_testkit::contract_suite!(tasklet_backend_context::BoostContext);
