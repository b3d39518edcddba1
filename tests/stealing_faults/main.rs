//! The work-stealing runtime under bad input and faults: limits of the system, races, panics in odd places, foreign libraries, wrong code.
//!
//! | file | what it is about |
//! |---|---|
//! | `limits` | address space, threads and stacks that cannot be had; numbers that make no sense |
//! | `million` | a million tasklets under a low ceiling of stacks |
//! | `races` | kills against starts and ends; wake-ups against workers that go to sleep |
//! | `unwinding` | panics in destructors, hooks, wakers and futures; waits of destructors that run in a panic |
//! | `foreign` | `std::thread::scope` and rayon in tasklets |
//! | `exit` | processes that end with live tasklets |
//! | `idle` | what a runtime costs that has nothing to do |
//! | `user_code` | destructors and wakers that the worker calls |
//! | `misuse` | safe code that gets core's pieces wrong |

mod child;
mod exit;
mod foreign;
mod idle;
#[cfg(target_os = "linux")]
mod limits;
mod million;
mod misuse;
mod races;
mod support;
mod unwinding;
mod user_code;
