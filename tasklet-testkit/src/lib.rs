//! The contract of `tasklet` as test suites, generic over what they test, and what such suites need.
//!
//! - [`contract`]: what a stack-switching backend must do; one macro instantiates it.
//! - [`differential`]: random programs on the local scheduler, with the logs that a model of its rules gives.
//! - [`thread_backend`]: the reference backend, each coroutine an OS thread.

pub mod contract;
pub mod differential;
pub mod thread_backend;
