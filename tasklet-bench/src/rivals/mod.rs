//! The workloads in other people's runtimes, to be measured in the same run: a ratio of figures from two days means little here.
//!
//! Each has the same definition, written as a user of that runtime would. What a runtime has no word for, it does not run.

pub(crate) mod go;
pub(crate) mod may;
pub(crate) mod rayon;
pub(crate) mod threads;
pub(crate) mod tokio;
