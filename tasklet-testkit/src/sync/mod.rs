//! What locks and other synchronisation promise, whoever uses them: tasklets of either scheduler, and plain threads.
//!
//! Each function tests one behaviour on a [`Backend`](tasklet_core::backend::Backend), and does not know which.
//! [`sync_suite!`](crate::sync_suite) expands to one `#[test]` for each, which runs under the local scheduler and under the work-stealing one
//! with one worker, two and four, and with [swapped and soft](crate::kinds) tasklets with up to two.
//!
//! | chapter | what it tests |
//! |---|---|
//! | [`locks`] | Exclusion between tasklets and threads, fairness, poisoning, tries, readers and writers. |
//! | [`conditions`] | Condition variables: one, all, their order. |
//! | [`permits`] | Semaphores: order, many at once, owned permits, counts in random programs. |
//! | [`meeting`] | Barriers, groups, events. |
//! | [`onces`] | What is done or made once. |
//! | [`leaving`] | Kills, cancellations and time limits, and that nothing is lost by them. |
//! | [`programs`] | Random programs over all of it, with kills and time limits. |
//! | [`circles`] | Circles of locks are reported, with debug assertions. |

pub mod circles;
pub mod conditions;
pub mod leaving;
pub mod locks;
pub mod meeting;
pub mod onces;
pub mod permits;
pub mod programs;

mod setup;

/// One run of a test. Without workers: under the local scheduler.
pub use crate::stealing::Case;

/// Expands to one `#[test]` per behaviour of locks and other synchronisation, for the given backend.
#[macro_export]
macro_rules! sync_suite {
    ($backend:ty) => {
        $crate::__sync_tests! { $backend, [0, 1, 2, 4];
            locks: one_at_a_time_is_in_a_mutex, soft;
            locks: a_mutex_is_held_while_its_tasklet_waits, soft;
            locks: a_fair_mutex_goes_to_the_oldest, soft;
            locks: a_fair_unlock_goes_to_the_oldest, soft;
            locks: a_panic_poisons, soft;
            locks: a_kill_poisons;
            locks: a_try_takes_what_is_free;
            locks: many_read_and_one_writes, soft;
            locks: a_writer_is_not_starved, soft;
            locks: a_downgrade_lets_readers_in, soft;
            conditions: notify_one_wakes_the_oldest, soft;
            conditions: notify_all_wakes_those_who_wait, soft;
            conditions: messages_go_through_a_condition, soft;
            permits: waiters_are_let_in_oldest_first, soft;
            permits: few_do_not_pass_many, soft;
            permits: owned_permits_travel, soft;
            permits: permits_are_added_and_forgotten, soft;
            permits: permits_go_back_to_a_full_semaphore, soft;
            permits: permits_are_split_and_merged, soft;
            permits: random_programs_keep_their_counts, soft;
            meeting: a_barrier_lets_all_pass_together, soft;
            meeting: a_party_that_goes_away_has_not_come;
            meeting: a_group_waits_for_all_members;
            meeting: an_event_stays_until_it_is_reset, soft;
            meeting: an_event_wakes_those_who_wait, soft;
            onces: one_caller_does_it, soft;
            onces: what_unwinds_poisons_a_once, soft;
            onces: a_cell_is_made_by_one, soft;
            onces: a_cell_whose_maker_unwinds_is_made_by_the_next, soft;
            onces: a_lazy_value_is_made_when_it_is_used, soft;
            leaving: a_killed_waiter_passes_the_mutex_on;
            leaving: a_killed_waiter_of_a_fair_mutex_passes_it_on;
            leaving: a_killed_writer_lets_readers_in;
            leaving: a_killed_acquirer_passes_its_permits_on;
            leaving: a_killed_acquirer_stands_in_nobodys_way;
            leaving: a_killed_waiter_passes_its_notification_on;
            leaving: a_destructor_waits_in_place;
            leaving: a_destructor_waits_for_what_happens;
            leaving: random_kills_lose_nothing;
            programs: random_programs_keep_every_promise;
            circles: two_locks_in_opposite_order_are_reported;
            circles: a_thread_in_a_circle_is_named;
            circles: locking_twice_is_reported;
            circles: what_is_done_once_and_a_lock_in_a_circle_are_reported;
            circles: a_lock_that_is_gone_is_in_no_circle;
            circles: a_lock_that_was_moved_is_the_same;
            circles: one_that_was_let_in_is_in_no_circle;
            circles: a_long_chain_is_no_circle;
        }
        $crate::__sync_tests! { $backend, [1, 2, 4];
            leaving: a_cancelled_tasklet_locks;
            leaving: a_cancellation_ends_long_waits;
        }
        $crate::__sync_tests! { $backend, [0];
            circles: a_reader_leaves_by_its_own_guard;
        }
        $crate::__sync_tests! { $backend, [0, 1];
            locks: a_waiter_is_not_passed_for_ever;
            leaving: limits_end_waits;
        }
        $crate::__sync_tests! { $backend, [1];
            leaving: limits_end_waits_of_threads;
            circles: a_wait_with_a_limit_is_no_deadlock;
        }
    };
}

/// One `#[test]` per line of a list in [`sync_suite!`](crate::sync_suite), with these numbers of workers. What stands
/// behind a name says with which [kinds](crate::kinds) of tasklets.
#[doc(hidden)]
#[macro_export]
macro_rules! __sync_tests {
    ($backend:ty, $workers:expr; $($chapter:ident: $test:ident $(, $mark:ident $($reason:literal)?)*;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::stealing::run_cases::<$backend>(test, &$workers, &[$($crate::__mark!($mark $($reason)?)),*], $crate::sync::$chapter::$test::<$backend>);
            }
        )*
    };
}
