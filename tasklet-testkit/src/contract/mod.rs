//! What a stack-switching backend must do, as tests.
//!
//! Each function tests one behaviour of a [`Backend`](tasklet_core::backend::Backend); `B1` to `B9`, and `B11`, are the obligations of that
//! trait. [`contract_suite!`](crate::contract_suite) expands to one `#[test]` for each:
//!
//! ```
//! // tests/contract.rs of a backend crate
//! tasklet_testkit::contract_suite!(tasklet_testkit::thread_backend::Threads, alive_at_once: 2_000);
//! # fn main() {}
//! ```
//!
//! The suite sees a backend only through the trait: who writes a backend of their own can run it too.

pub mod lifetime;
pub mod many;
pub mod nesting;
pub mod order;
pub mod panics;
pub mod stacks;
pub mod swaps;

mod routine;

/// What a test of the suite is told about the place it was instantiated at.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// The test's module path and name, for a child process that runs the same test.
    pub test: &'static str,
    /// How many coroutines the backend shall keep alive at once.
    pub alive_at_once: usize,
}

impl Instance {
    /// How often a test does what it does very often: 100,000 times, and a hundredth of that where `TASKLET_TEST_QUICK` is set,
    /// for tools that slow everything down.
    pub fn rounds(&self) -> usize {
        if std::env::var_os("TASKLET_TEST_QUICK").is_some() { 1_000 } else { 100_000 }
    }
}

/// Expands to one `#[test]` per behaviour of the contract, for the given backend.
///
/// `alive_at_once: N` lowers the number of coroutines that must exist at the same time from 10,000, for a backend whose coroutines
/// are dear.
#[macro_export]
macro_rules! contract_suite {
    ($backend:ty) => {
        $crate::contract_suite!($backend, alive_at_once: 10_000);
    };
    ($backend:ty, alive_at_once: $alive:expr) => {
        $crate::__contract_tests! { $backend, $alive;
            order: creating_runs_nothing;
            order: resume_suspend_and_finish_alternate;
            order: one_stack_serves_many_coroutines_in_turn;
            order: a_coroutine_suspends_many_times;
            order: every_resume_runs_on_the_same_thread;
            panics: a_panic_is_caught_at_the_root_with_its_payload;
            panics: kill_by_unwinding_runs_drops_in_order;
            panics: a_kill_can_be_caught_and_ignored;
            panics: suspending_inside_catch_unwind_keeps_the_catch;
            panics: panics_of_two_coroutines_interleave;
            stacks: recursion_reaches_within_a_page_of_the_declared_size;
            stacks: running_past_the_end_faults;
            stacks: over_aligned_locals_survive_suspends;
            stacks: vector_values_survive_suspends;
            stacks: floating_point_results_are_those_of_a_thread;
            nesting: coroutines_nest_fifty_deep;
            nesting: suspending_an_outer_coroutine_takes_the_inner_one_along;
            nesting: suspending_the_outermost_of_three_takes_both_inner_ones_along;
            lifetime: a_suspended_coroutine_that_is_dropped_is_leaked_intact;
            lifetime: into_stack_of_a_suspended_coroutine_leaks_it;
            lifetime: a_coroutine_that_never_ran_gives_its_stack_back;
            lifetime: a_finished_coroutine_gives_its_stack_back;
            lifetime: dropping_ten_thousand_that_never_ran_frees_them;
            swaps: nothing_below_the_stack_pointer_is_needed;
            swaps: a_suspended_coroutine_goes_on_from_an_earlier_time;
            many: thousands_are_alive_at_once;
            many: eight_threads_run_their_own;
            many: running_out_of_room_is_an_error;
        }
    };
}

/// One `#[test]` per line of the list in [`contract_suite!`](crate::contract_suite).
#[doc(hidden)]
#[macro_export]
macro_rules! __contract_tests {
    ($backend:ty, $alive:expr; $($group:ident: $test:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::contract::$group::$test::<$backend>($crate::contract::Instance { test, alive_at_once: $alive });
            }
        )*
    };
}
