//! What the borders to other ways of running things promise, under either scheduler.
//!
//! Each function tests one behaviour on a [`Backend`](tasklet_core::backend::Backend), and does not know which.
//! [`bridge_suite!`](crate::bridge_suite) expands to one `#[test]` for each, which runs under the local scheduler and under the work-stealing one
//! with one worker, two and four, and on [swapped](crate::kinds) stacks with up to two.
//!
//! | chapter | what it tests |
//! |---|---|
//! | [`pools`] | Pools of rayon's: results, panics, kills, time limits, whoever calls. |
//! | [`pumps`] | The local scheduler in an event loop of somebody else's: nothing is missed, and nothing is done in vain. |

pub mod pools;
pub mod pumps;

/// One run of a test. Without workers: under the local scheduler.
pub use crate::stealing::Case;

/// Expands to one `#[test]` per behaviour of the borders, for the given backend.
#[macro_export]
macro_rules! bridge_suite {
    ($backend:ty) => {
        $crate::__bridge_tests! { $backend, [0, 1, 2, 4];
            pools: parallel_iterators_work_on_what_is_borrowed, own "it lends the stack";
            pools: both_halves_of_a_join_come_back, own "it lends the stack";
            pools: a_panic_comes_back, own "it lends the stack";
            pools: others_run_meanwhile, own "it lends the stack";
            pools: a_kill_waits_for_the_job, own "it lends the stack";
            pools: a_thousand_tasklets_share_two_threads, own "it lends the stack";
            pools: who_is_in_the_pool_stays_there, own "it lends the stack";
            pools: a_plain_thread_does_what_rayon_does;
            pools: a_job_has_a_handle;
            pools: a_killed_job_is_dropped_once;
            pools: a_swapped_tasklet_is_refused;
        }
        $crate::__bridge_tests! { $backend, [1, 2];
            pools: a_time_limit_waits_for_the_job, own "it lends the stack";
        }
        $crate::__bridge_tests! { $backend, [0];
            pumps: timers_tell_how_long_to_wait;
            pumps: what_other_threads_do_ends_the_wait;
            pumps: sockets_end_the_wait;
            pumps: what_the_host_does_ends_the_wait;
            pumps: many_calls_of_the_host_hide_nothing;
            pumps: a_host_that_waits_in_the_scheduler_goes_on;
            pumps: the_host_has_stacks_looked_at;
            pumps: events_are_fetched;
            pumps: no_event_is_left_when_the_host_waits;
            pumps: a_budget_ends_a_run;
            pumps: a_failed_tasklet_is_told;
            pumps: a_driver_without_a_descriptor_is_refused;
            pumps: a_scheduler_has_one_pump;
            pumps: a_dropped_pump_tells_nobody;
            pumps: a_host_moves_a_clock_of_its_own;
            pumps: tasklets_do_not_pump;
        }
    };
}

/// One `#[test]` per line of the list in [`bridge_suite!`](crate::bridge_suite), with these numbers of workers. Those with a
/// reason run on [stacks of their own](crate::kinds) alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __bridge_tests {
    ($backend:ty, $workers:expr; $($chapter:ident: $test:ident $(, $mark:ident $($reason:literal)?)*;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::stealing::run_cases::<$backend>(test, &$workers, &[$($crate::__mark!($mark $($reason)?)),*], $crate::bridges::$chapter::$test::<$backend>);
            }
        )*
    };
}
