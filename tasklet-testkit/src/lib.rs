//! The contract of `tasklet` as test suites, generic over what they test, and what such suites need.
//!
//! - [`contract`]: what a stack-switching backend must do; one macro instantiates it.
//! - [`thread_backend`]: the reference backend, each coroutine an OS thread.

pub mod contract;
pub mod thread_backend;
