#![doc = include_str!("README.md")]

pub mod blocking;
pub mod budgets;
pub mod cancel;
pub mod ceilings;
pub mod fairness;
pub mod joins;
pub mod kills;
pub mod locals;
pub mod permits;
pub mod places;
pub mod runtimes;
pub mod scopes;
pub mod shutdown;
pub mod soft;
pub mod stacks;
pub mod streaks;
pub mod time;
pub mod trims;

pub(crate) mod setup;

pub use setup::Case;
#[doc(hidden)]
pub use setup::run_cases;

/// Expands to one `#[test]` per behaviour of the work-stealing runtime, for the given backend.
#[macro_export]
macro_rules! stealing_suite {
    ($backend:ty) => {
        $crate::__stealing_tests! { $backend, [1, 2, 4];
            joins: join_returns_the_result, soft;
            joins: join_returns_the_panic, soft;
            joins: a_detached_tasklet_goes_on, soft;
            joins: several_wait_on_one_handle, soft;
            joins: a_plain_thread_joins, soft;
            joins: a_tasklet_of_another_runtime_joins, soft;
            joins: a_handle_is_a_future, soft;
            joins: join_timeout_gives_the_handle_back, soft;
            joins: a_tasklet_cannot_join_itself;
            joins: is_finished_tells_the_end, soft;
            joins: results_are_dropped_once, soft;
            places: a_started_tasklet_never_moves, own "scopes lend the stack";
            places: a_local_tasklet_may_hold_an_rc;
            places: a_local_tasklet_stays_on_its_worker;
            places: a_tasklet_runs_on_the_worker_it_was_spawned_on;
            places: a_worker_that_does_not_exist_is_refused;
            places: a_builder_spawns_into_the_runtime_it_is_for, soft;
            runtimes: spawning_outside_of_a_runtime_panics_helpfully;
            runtimes: a_thread_enters_runtimes, soft;
            runtimes: runtimes_are_independent, soft;
            runtimes: a_channel_joins_two_runtimes, soft;
            runtimes: run_is_for_code_outside, own "running in another runtime lends the stack";
            runtimes: hooks_run_once_on_each_named_thread;
            runtimes: a_panicking_hook_disturbs_nothing;
            runtimes: workers_run_on_threads_of_the_application, soft;
            runtimes: the_thread_that_builds_works_too;
            runtimes: a_dropped_worker_ends_its_runtime;
            runtimes: spawns_race_with_the_last_worker_that_is_dropped;
            runtimes: a_runtime_ends_without_those_that_never_came;
            runtimes: workers_that_come_race_with_the_end;
            runtimes: a_spawn_handler_that_fails_fails_the_build;
            runtimes: a_worker_that_is_given_up_fails_the_build;
            runtimes: absurd_numbers_are_refused;
            runtimes: a_ceiling_without_room_for_the_workers_fails_the_build;
            budgets: a_loop_of_permits_gives_way;
            budgets: a_restless_future_gives_way;
            budgets: a_loop_of_tries_gives_way;
            budgets: a_loop_of_checkpoints_gives_way;
            budgets: a_receiver_that_never_waits_gives_way, soft;
            budgets: a_kill_waits_for_a_scheduling_point;
            permits: permits_are_kept_and_merge;
            permits: anybody_may_unpark;
            permits: no_permit_is_lost;
            permits: plain_threads_park_too;
            permits: park_timeout_ends_with_the_permit;
            time: sleepers_of_all_workers_wake, soft;
            kills: a_new_local_tasklet_that_is_killed_never_runs;
            kills: kills_race_with_starts, soft;
            kills: a_waiting_tasklet_is_killed_where_it_waits, soft;
            kills: a_kill_comes_from_anywhere, soft;
            kills: a_tasklet_kills_itself, soft;
            kills: kills_after_the_end_have_no_effect, soft;
            kills: a_tasklet_that_catches_its_kill_lives_on;
            kills: a_kill_passes_through_catch_unwind;
            kills: a_kill_waits_for_a_blocking_call, own "blocking calls lend the stack";
            kills: a_kill_waits_for_both_halves_of_a_join;
            kills: a_value_for_a_killed_receiver_is_dropped_once, soft;
            kills: a_killed_senders_value_is_dropped_once, soft;
            cancel: nobody_waits_under_a_cancelled_token;
            cancel: cancelling_ends_waits;
            cancel: a_cancelled_tasklet_decides_how_it_ends;
            cancel: tokens_are_a_tree;
            cancel: tokens_nest_in_a_tasklet;
            cancel: a_token_is_cancelled_from_anywhere;
            cancel: a_mask_puts_a_kill_off;
            cancel: a_kill_does_not_end_a_masked_wait;
            cancel: a_mask_puts_timeouts_and_cancellation_off;
            locals: each_tasklet_has_its_own_value;
            locals: values_are_dropped_in_reverse_when_the_tasklet_ends;
            locals: reentrant_use_panics;
            locals: a_value_that_needs_itself_panics;
            locals: a_value_survives_a_panic_in_its_use;
            scopes: children_borrow, own "scopes lend the stack";
            scopes: a_scope_waits_for_all_its_children, own "scopes lend the stack";
            scopes: a_scope_waits_when_its_closure_panics, own "scopes lend the stack";
            scopes: a_killed_parent_outlives_its_children, own "scopes lend the stack";
            scopes: a_killed_parent_waits_for_a_child_that_lives_on, own "scopes lend the stack";
            scopes: a_timeout_ends_a_scope, own "scopes lend the stack";
            scopes: an_unjoined_panic_makes_the_scope_panic, own "scopes lend the stack";
            scopes: a_joined_panic_does_not_hide_another, own "scopes lend the stack";
            scopes: a_plain_thread_opens_a_scope;
            scopes: join_returns_both_results;
            scopes: both_halves_of_a_join_may_wait, own "swapped tasklets call one half of a join after the other";
            scopes: a_panic_in_a_join_comes_when_both_have_ended, own "swapped tasklets call one half of a join after the other";
            scopes: a_half_of_a_join_may_spawn;
            soft: a_future_gives_its_result;
            soft: wakes_come_from_other_threads;
            soft: wakes_merge;
            soft: a_kill_drops_the_future;
            soft: shutdown_drops_waiting_futures;
            soft: a_future_may_block;
            soft: many_soft_tasklets_need_few_stacks;
            soft: block_on_works_everywhere;
            soft: block_on_can_be_ended;
            soft: wakers_are_counted;
            soft: one_that_nobody_can_wake_ends;
            soft: a_kill_inside_a_poll_ends_it_at_once;
            soft: panics_of_destructors_are_swallowed;
            soft: the_end_of_a_runtime_takes_all_kinds;
            blocking: a_blocking_call_borrows, own "blocking calls lend the stack";
            blocking: a_blocking_panic_comes_back, own "blocking calls lend the stack";
            blocking: the_worker_goes_on_meanwhile, own "blocking calls lend the stack";
            blocking: calls_run_in_parallel_up_to_the_ceiling, own "blocking calls lend the stack";
            blocking: idle_threads_end, own "blocking calls lend the stack";
            blocking: an_idle_thread_is_used_again, own "blocking calls lend the stack";
            blocking: blocking_nests, own "blocking calls lend the stack";
            blocking: a_plain_thread_calls_right_there;
            stacks: short_tasklets_need_few_stacks;
            stacks: a_tasklet_has_the_stack_it_asked_for, own "swapped tasklets have a slot's stack, whatever they ask for";
            stacks: an_absurd_stack_size_is_an_error_of_the_join, own "swapped tasklets have a slot's stack, whatever they ask for";
            stacks: a_ceiling_is_waited_for;
            stacks: a_ceiling_is_waited_for_by_all_kinds;
            stacks: a_tasklet_that_waits_for_a_stack_is_killed, own "it needs a stack for each";
            stacks: who_needs_a_larger_stack_than_others_have_is_told, own "swapped tasklets have a slot's stack, whatever they ask for";
            stacks: stacks_are_used_again, own "it needs a stack for each";
            trims: a_deep_tasklet_gives_its_pages_back_and_goes_on, own "it measures stacks of their own";
            trims: a_trimmed_tasklet_is_killed, own "it measures stacks of their own";
            trims: a_running_tasklet_is_left_alone, own "it measures stacks of their own";
            trims: anybody_asks_how_much_of_a_stack_is_used, own "it measures stacks of their own";
            trims: questions_about_stacks_race_with_ends, own "it measures stacks of their own";
            trims: a_ceiling_on_memory_takes_from_those_that_wait, own "it measures stacks of their own";
            trims: a_ceiling_on_memory_is_waited_for, own "it measures stacks of their own";
            trims: who_waits_on_another_stack_is_left_alone, own "swapped tasklets wait on their slot's stack";
            ceilings: who_waits_for_memory_is_quiet, own "it needs a stack for each";
            ceilings: memory_comes_back_from_elsewhere, own "it needs a stack for each";
            shutdown: shutdown_kills_what_waits, soft;
            shutdown: dropping_a_runtime_ends_it, soft;
            shutdown: a_tasklet_that_catches_every_kill_is_leaked;
            shutdown: a_tasklet_that_computes_on_is_named;
            shutdown: a_blocking_call_that_goes_on_is_counted, own "blocking calls lend the stack";
            shutdown: a_runtime_cannot_be_ended_by_its_own_tasklet, soft;
            shutdown: spawning_into_an_ending_runtime_counts_as_killed, soft;
            shutdown: an_ending_runtime_hangs_nobody_who_cleans_up, own "scopes lend the stack";
            shutdown: unstarted_closures_are_dropped, soft;
            shutdown: a_destructor_sends_while_its_runtime_ends, soft;
            shutdown: the_figures_add_up;
            shutdown: ending_at_any_time_leaves_nothing, soft;
        }
        $crate::__stealing_tests! { $backend, [1];
            joins: waiters_go_on_in_the_order_of_waiting, soft;
            fairness: tasklets_that_yield_take_turns;
            fairness: a_hot_pair_starves_nobody, soft;
            fairness: a_spawn_storm_starves_nobody, soft;
            fairness: a_full_injector_starves_nobody, soft;
            fairness: restless_soft_tasklets_starve_nobody;
            fairness: everything_at_once_starves_nobody, soft;
            fairness: old_new_tasklets_start_within_the_bound, soft;
            fairness: the_injector_is_looked_at_by_a_busy_worker;
            time: sleepers_wake_in_the_order_of_their_deadlines;
            time: a_sleep_takes_its_time;
            time: sleeping_until_the_past_returns_at_once;
            time: an_interval_leaves_missed_ticks_out;
            time: a_timeout_ends_what_takes_too_long;
            time: a_timeout_comes_at_a_scheduling_point;
            time: timeouts_nest;
            time: a_future_that_is_given_up_leaves_the_permit;
            time: an_outer_limit_is_not_lost_to_an_inner_one;
            time: a_timeout_does_not_lose_a_message;
            time: a_timeout_leaves_the_channel_as_it_was;
            time: a_timeout_does_not_deny_a_message_that_was_taken;
            time: a_kill_counts_more_than_a_timeout;
            time: a_timeout_ends_every_kind_of_wait;
            time: a_timeout_needs_a_tasklet;
            kills: a_new_tasklet_that_is_killed_never_runs, soft;
            scopes: a_panic_before_the_second_half_drops_it;
            streaks: polls_in_a_row_are_one_turn;
            streaks: a_poll_finds_no_values_of_another;
            streaks: a_poll_is_not_under_the_mask_of_another;
            streaks: a_poll_takes_no_permit_of_another;
            streaks: requests_come_before_the_next_poll;
            streaks: a_poll_is_not_ended_by_a_kill_of_another;
            trims: what_waits_for_a_while_is_trimmed, own "it measures stacks of their own";
            trims: a_busy_worker_trims_too, own "it measures stacks of their own";
            trims: an_idle_worker_gives_free_stacks_back, own "it needs a stack for each";
            trims: a_busy_worker_gives_free_stacks_back, own "it needs a stack for each";
            ceilings: a_ceiling_on_memory_holds, own "it needs a stack for each";
            ceilings: pauses_between_looks_for_memory_grow, own "it needs a stack for each";
        }
        $crate::__stealing_tests! { $backend, [2, 4];
            ceilings: a_worker_gets_memory_from_others, own "it needs a stack for each";
            ceilings: ends_make_room_on_other_workers, own "it needs a stack for each";
            places: children_of_a_busy_worker_start_elsewhere, own "scopes lend the stack";
        }
        $crate::__stealing_tests! { $backend, [2];
            shutdown: a_panic_aborts_if_the_policy_says_so, soft;
        }
    };
}

/// One `#[test]` per line of a list in [`stealing_suite!`](crate::stealing_suite), with these numbers of workers. What stands
/// behind a name says with which [kinds](crate::kinds) of tasklets.
#[doc(hidden)]
#[macro_export]
macro_rules! __stealing_tests {
    ($backend:ty, $workers:expr; $($chapter:ident: $test:ident $(, $mark:ident $($reason:literal)?)*;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::stealing::run_cases::<$backend>(test, &$workers, &[$($crate::__mark!($mark $($reason)?)),*], $crate::stealing::$chapter::$test::<$backend>);
            }
        )*
    };
}
